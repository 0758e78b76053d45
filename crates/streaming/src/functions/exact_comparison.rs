//! [`ExactComparison`]: a number that is written as a text is compared with a NUMERIC by all of its digits.
//!
//! What it is not: a coercion of its own. DataFusion turns the text into the column's type, and that rounds: `'1.101'`
//! would be `1.10` in a column of two places. PostgreSQL takes it for a NUMERIC with the places that it has.
//!
//! What must hold: the rule comes after the coercion of types, and changes nothing but comparisons with a number that the
//! column cannot hold.

use datafusion::{
    arrow::datatypes::DataType,
    common::{Result, ScalarValue, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{Between, BinaryExpr, Cast, Expr, LogicalPlan, expr::InList},
    optimizer::AnalyzerRule,
};

use super::rewriting;
use crate::source::digits_after_point;

/// The digits of the type in which is compared: that of the column and that of the text fit.
const PRECISION: u8 = 76;

/// The rule.
#[derive(Debug)]
pub struct ExactComparison;

impl AnalyzerRule for ExactComparison {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten =
            plan.transform_up_with_subqueries(|node| rewriting::rewritten(node, |part| Ok(compared_exactly(part))))?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "exact_comparison"
    }
}

fn compared_exactly(expression: Expr) -> Transformed<Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            match widest([&*left, &*right]) {
                Some(scale) => Transformed::yes(Expr::BinaryExpr(BinaryExpr {
                    left: Box::new(widened(*left, scale)),
                    op,
                    right: Box::new(widened(*right, scale)),
                })),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Between(Between { expr, negated, low, high }) => match widest([&*low, &*high]) {
            Some(scale) => {
                let [expr, low, high] = [*expr, *low, *high].map(|part| Box::new(widened(part, scale)));
                Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
            }
            None => Transformed::no(Expr::Between(Between { expr, negated, low, high })),
        },
        Expr::InList(InList { expr, list, negated }) => match widest(&list) {
            Some(scale) => {
                let list = list.into_iter().map(|part| widened(part, scale)).collect();
                Transformed::yes(Expr::InList(InList { expr: Box::new(widened(*expr, scale)), list, negated }))
            }
            None => Transformed::no(Expr::InList(InList { expr, list, negated })),
        },
        other => Transformed::no(other),
    }
}

/// The most places that a text among `parts` needs, where one needs more than its type has.
fn widest<'a>(parts: impl IntoIterator<Item = &'a Expr>) -> Option<i8> {
    parts.into_iter().filter_map(places_lost).max()
}

/// The places of a number that is written as a text and cast to fewer.
fn places_lost(part: &Expr) -> Option<i8> {
    let Expr::Cast(Cast { expr, field }) = part else { return None };
    let DataType::Decimal128(_, scale) = field.data_type() else { return None };
    let Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) = &**expr else {
        return None;
    };
    let places = digits_after_point(text)?;
    (places > i32::from(*scale)).then(|| i8::try_from(places).unwrap_or(i8::MAX).min(SCALE_MAX))
}

/// A text that needs more places than any column has is rounded at this one.
const SCALE_MAX: i8 = 38;

fn widened(part: Expr, scale: i8) -> Expr {
    let wide = DataType::Decimal256(PRECISION, scale);
    match part {
        Expr::Cast(Cast { expr, .. }) if matches!(&*expr, Expr::Literal(..)) => Expr::Cast(Cast::new(expr, wide)),
        other => Expr::Cast(Cast::new(Box::new(other), wide)),
    }
}

#[cfg(test)]
mod tests;
