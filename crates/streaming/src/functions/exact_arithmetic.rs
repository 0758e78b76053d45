//! [`ExactArithmetic`]: numbers as PostgreSQL computes and converts them. What does not fit its type is refused with SQLSTATE
//! 22003, and what becomes a whole number is rounded.
//!
//! DataFusion's integers wrap around, its casts cut off, and a text that is too large for a float is infinite. So `+`, `-`, `*`
//! and casts between these types become functions. That is done before anything is simplified, so that constants are computed
//! by the same functions. [`Decimals`] come earlier, with the [types of numbers](super::with_settled_numbers).
//!
//! What it is not: a coercion of types. It comes after that, and a result has the type that it had.

mod conversion;
mod decimals;
mod integers;
mod written;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema, Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator},
    optimizer::AnalyzerRule,
};
use sql::{SqlError, sqlstate};

use super::{input_schema::schema_of_inputs, rewriting::rewritten};
use conversion::Conversion;
pub(super) use decimals::Decimals;
use integers::{Integers, Operation};
use written::written;

/// The rule.
#[derive(Debug)]
pub struct ExactArithmetic;

impl AnalyzerRule for ExactArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        exact(plan)
    }

    fn name(&self) -> &'static str {
        "exact_arithmetic"
    }
}

/// The plan with its numbers computed exactly; its types are settled.
pub(crate) fn exact(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let schema = schema_of_inputs(&node)?;
        rewritten(node, |part| computed_exactly(part, &schema))
    })?;
    Ok(rewritten.data)
}

fn computed_exactly(part: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match part {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match operation(op) {
            Some(operation) if are_integers(&left, &right, schema)? => {
                Transformed::yes(Integers::call(operation, vec![*left, *right]))
            }
            _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
        },
        Expr::Negative(inner) if inner.get_type(schema)?.is_integer() => {
            Transformed::yes(Integers::call(Operation::Negate, vec![*inner]))
        }
        Expr::Cast(Cast { expr, field }) if Conversion::is_needed(&expr.get_type(schema)?, field.data_type()) => {
            Transformed::yes(Conversion::call(*expr, &field))
        }
        other => Transformed::no(other),
    })
}

fn operation(operator: Operator) -> Option<Operation> {
    match operator {
        Operator::Plus => Some(Operation::Add),
        Operator::Minus => Some(Operation::Subtract),
        Operator::Multiply => Some(Operation::Multiply),
        _ => None,
    }
}

fn are_integers(left: &Expr, right: &Expr, schema: &DFSchema) -> Result<bool> {
    let left = left.get_type(schema)?;
    Ok(left.is_integer() && left == right.get_type(schema)?)
}

/// Whether it is a call of these functions with constants alone. None is left of those that can be computed.
pub(crate) fn is_failing_constant(expression: &Expr) -> bool {
    let Expr::ScalarFunction(call) = expression else { return false };
    written(call.func.inner().as_ref()).is_some()
        && call.args.iter().all(|argument| matches!(argument, Expr::Literal(..)))
}

/// An expression with operators and casts in the place of these functions: what messages and names are made of.
pub(crate) fn as_written(expression: &Expr) -> Expr {
    let shown = expression.clone().transform_up(|part| {
        let Expr::ScalarFunction(call) = &part else { return Ok(Transformed::no(part)) };
        Ok(match written(call.func.inner().as_ref()) {
            Some(function) => Transformed::yes(function.stands_for(&call.args)),
            None => Transformed::no(part),
        })
    });
    shown.map_or_else(|_| expression.clone(), |shown| shown.data)
}

/// PostgreSQL's name of a type of numbers.
fn name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        other => other.to_string(),
    }
}

fn out_of_range(message: String) -> datafusion::error::DataFusionError {
    let error = SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message);
    datafusion::error::DataFusionError::External(Box::new(error))
}

#[cfg(test)]
mod tests;
