//! `IS [NOT] DISTINCT FROM` binds closer than NOT, AND and OR: sqlparser lets what stands behind it take these in.
//!
//! What must hold: an AND or OR that stands where only something of higher precedence can was put there by this mistake: what is
//! in parentheses is a node of its own.

use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator};

/// Puts an expression right whose parts are right already.
pub(crate) fn rotate(expr: &mut Expr) {
    match expr {
        Expr::IsDistinctFrom(left, right) if is_logical(right) => {
            let (left, mut whole) = (take(left), take(right));
            at_left(&mut whole, is_logical, |leaf| Expr::IsDistinctFrom(Box::new(left), Box::new(leaf)));
            *expr = whole;
        }
        Expr::IsNotDistinctFrom(left, right) if is_logical(right) => {
            let (left, mut whole) = (take(left), take(right));
            at_left(&mut whole, is_logical, |leaf| Expr::IsNotDistinctFrom(Box::new(left), Box::new(leaf)));
            *expr = whole;
        }
        Expr::BinaryOp { left, op: BinaryOperator::And, right } if is_or(right) => {
            let (left, mut whole) = (take(left), take(right));
            at_left(&mut whole, is_or, |leaf| Expr::BinaryOp {
                left: Box::new(left),
                op: BinaryOperator::And,
                right: Box::new(leaf),
            });
            *expr = whole;
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if is_logical(inner) => {
            let mut whole = take(inner);
            at_left(&mut whole, is_logical, |leaf| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(leaf) });
            *expr = whole;
        }
        _ => {}
    }
}

/// Replaces the leftmost part of `expr` that is not `passed` through.
fn at_left(expr: &mut Expr, passed: fn(&Expr) -> bool, replace: impl FnOnce(Expr) -> Expr) {
    match expr {
        Expr::BinaryOp { left, .. } if passed(left) => at_left(left, passed, replace),
        Expr::BinaryOp { left, .. } => **left = replace(take(left)),
        other => *other = replace(std::mem::replace(other, nothing())),
    }
}

fn is_or(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::Or, .. })
}

fn is_logical(expr: &Expr) -> bool {
    is_or(expr) || matches!(expr, Expr::BinaryOp { op: BinaryOperator::And, .. })
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, nothing())
}

fn nothing() -> Expr {
    Expr::Identifier(Ident::new(String::new()))
}

#[cfg(test)]
mod tests {
    //! Expressions, and how PostgreSQL reads them.
    #![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

    use sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    /// An expression with all of its parts in brackets.
    fn bracketed(expr: &Expr) -> String {
        match expr {
            Expr::Nested(inner) => bracketed(inner),
            Expr::BinaryOp { left, op, right } => format!("[{} {op} {}]", bracketed(left), bracketed(right)),
            Expr::UnaryOp { op, expr } => format!("[{op} {}]", bracketed(expr)),
            Expr::IsDistinctFrom(left, right) => format!("[{} <> {}]", bracketed(left), bracketed(right)),
            Expr::IsNotDistinctFrom(left, right) => format!("[{} == {}]", bracketed(left), bracketed(right)),
            other => other.to_string(),
        }
    }

    #[test]
    fn what_stands_behind_is_not_taken_in() {
        let cases = [
            ("a IS DISTINCT FROM b", "[a <> b]"),
            ("a IS DISTINCT FROM b AND c", "[[a <> b] AND c]"),
            ("a IS NOT DISTINCT FROM b OR c", "[[a == b] OR c]"),
            ("a IS DISTINCT FROM b AND c OR d", "[[[a <> b] AND c] OR d]"),
            ("a IS DISTINCT FROM b OR c AND d", "[[a <> b] OR [c AND d]]"),
            ("p AND a IS DISTINCT FROM b AND c", "[p AND [[a <> b] AND c]]"),
            ("p AND a IS DISTINCT FROM b OR c", "[[p AND [a <> b]] OR c]"),
            ("p OR a IS DISTINCT FROM b AND c", "[p OR [[a <> b] AND c]]"),
            ("p AND a IS DISTINCT FROM b AND c OR d", "[[p AND [[a <> b] AND c]] OR d]"),
            ("NOT a IS DISTINCT FROM b AND c", "[[NOT [a <> b]] AND c]"),
            ("a IS DISTINCT FROM b AND c IS NOT DISTINCT FROM d OR e", "[[[a <> b] AND [c == d]] OR e]"),
            ("a IS DISTINCT FROM (b AND c)", "[a <> [b AND c]]"),
            ("p AND (a OR b)", "[p AND [a OR b]]"),
            ("NOT (a AND b)", "[NOT [a AND b]]"),
        ];
        for (text, expected) in cases {
            let query = format!("SELECT 1 WHERE {text}");
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(&query).unwrap().parse_query().unwrap();
            crate::rewrite(query.as_mut()).unwrap();
            let sqlparser::ast::SetExpr::Select(select) = *query.body else { panic!("{text}") };
            assert_eq!(bracketed(&select.selection.unwrap()), expected, "{text}");
        }
    }
}
