//! [`BooleanComparison`]: a text is compared with no boolean, as in PostgreSQL.
//!
//! DataFusion compares both as texts, so that `'t'` would not be true. Here a text that is written in the statement stands for
//! the boolean that it spells, and any other is refused.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, config::ConfigOptions, tree_node::Transformed},
    error::{DataFusionError, Result},
    logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator, expr_rewriter::FunctionRewrite},
};
use sql::{SqlError, sqlstate};

/// The rule. It comes before types are made the same.
#[derive(Debug)]
pub(super) struct BooleanComparison;

impl FunctionRewrite for BooleanComparison {
    fn name(&self) -> &'static str {
        "boolean_comparison"
    }

    fn rewrite(&self, expression: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expression else {
            return Ok(Transformed::no(expression));
        };
        let as_it_was = |left, right| Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
        if !op.supports_propagation() {
            return as_it_was(left, right);
        }
        // What has no type yet is told apart later.
        let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
            return as_it_was(left, right);
        };
        let compared = match (is_text(&left_type), is_text(&right_type)) {
            (true, false) if right_type == DataType::Boolean => (spelt(*left), Some(*right)),
            (false, true) if left_type == DataType::Boolean => (Some(*left), spelt(*right)),
            _ => return as_it_was(left, right),
        };
        match compared {
            (Some(left), Some(right)) => {
                let (left, right) = (Box::new(left), Box::new(right));
                Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })))
            }
            (left, _) => {
                let (left, right) = if left.is_none() { ("text", "boolean") } else { ("boolean", "text") };
                let operator = if op == Operator::NotEq { "<>".to_owned() } else { op.to_string() };
                let message = format!("operator does not exist: {left} {operator} {right}");
                let error = SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint("CAST changes a type");
                Err(DataFusionError::External(Box::new(error)))
            }
        }
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The boolean that a text spells which is written in the statement, or a parameter.
fn spelt(text: Expr) -> Option<Expr> {
    matches!(text, Expr::Literal(..) | Expr::Placeholder(_))
        .then(|| Expr::Cast(Cast::new(Box::new(text), DataType::Boolean)))
}
