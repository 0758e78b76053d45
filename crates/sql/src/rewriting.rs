//! What PostgreSQL's grammar has and DataFusion understands otherwise, rewritten in the tree or refused.
//!
//! What must hold: nothing that is written is passed over in silence.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, JoinConstraint,
    JoinOperator, ObjectName, Query, SetExpr, SetOperator, SetQuantifier, TableFactor, TableWithJoins, VisitorMut,
};

use crate::{
    SqlError,
    precedence::rotate,
    tree::{Tree, visit_mut},
    unnest,
};

/// Rewrites a statement or query: `time AT TIME ZONE zone` to `timezone(zone, time)`, what `IS DISTINCT FROM` takes in that it
/// should not, and `UNNEST` in `FROM`.
///
/// # Errors
/// [`SqlError`] for what is not built, such as `TABLESAMPLE`.
pub fn rewrite(tree: &mut impl Tree) -> Result<(), SqlError> {
    match visit_mut(tree, Rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Box<SqlError>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::AtTimeZone { timestamp, time_zone } = expr {
            let arguments = [time_zone, timestamp]
                .map(|argument| std::mem::replace(&mut **argument, Expr::Identifier(Ident::new(String::new()))));
            *expr = call("timezone", arguments.into());
        }
        rotate(expr);
        unnest::check_place(expr).map_or(ControlFlow::Continue(()), |error| ControlFlow::Break(Box::new(error)))
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        check_sets(&query.body).map_or(ControlFlow::Continue(()), |error| ControlFlow::Break(Box::new(error)))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor
            && let Some(error) = check_joins(table_with_joins)
        {
            return ControlFlow::Break(Box::new(error));
        }
        let sampled =
            matches!(factor, TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. });
        if sampled {
            let error =
                SqlError::unsupported("TABLESAMPLE").with_hint("choose rows with WHERE, such as by `md5` of a key");
            return ControlFlow::Break(Box::new(error));
        }
        unnest::rewrite_table(factor).map_or_else(|error| ControlFlow::Break(Box::new(error)), ControlFlow::Continue)
    }
}

fn check_sets(body: &SetExpr) -> Option<SqlError> {
    match body {
        SetExpr::Select(select) => select.from.iter().find_map(check_joins),
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            let counts = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
            if counts && matches!(op, SetOperator::Intersect | SetOperator::Except | SetOperator::Minus) {
                // DataFusion plans them as if each row were there once.
                let error = SqlError::unsupported(format!("{op} ALL"));
                return Some(error.with_hint("leave ALL out: each row is there once then"));
            }
            check_sets(left).or_else(|| check_sets(right))
        }
        // A query in parentheses is visited by itself.
        _ => None,
    }
}

/// Refuses what DataFusion answers with NULLs: the column that both sides share is that of the left one there, and in
/// PostgreSQL the one that is not NULL.
fn check_joins(tables: &TableWithJoins) -> Option<SqlError> {
    let shared = |constraint: &JoinConstraint| matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural);
    tables.joins.iter().find_map(|join| match &join.join_operator {
        JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
            if shared(constraint) =>
        {
            Some(
                SqlError::unsupported("RIGHT JOIN or FULL JOIN with USING or NATURAL")
                    .with_hint("write ON a.k = b.k, and COALESCE(a.k, b.k) for the column that both have"),
            )
        }
        _ => None,
    })
}

/// A call of a function.
pub(crate) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
