//! Arithmetic that fails where a result does not fit its type.
//!
//! DataFusion's wraps unless it is told otherwise. In a view the record is then a dead letter, and no other number gets
//! into the view's state. Integers are computed by functions of ours ([`ExactArithmetic`](crate::ExactArithmetic)) already; this
//! is for durations and whatever else is left.

use std::{any::Any, sync::Arc};

use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    error::Result,
    physical_expr::{PhysicalExpr, expressions::BinaryExpr},
};

/// Lets the operators of numbers in `expression` fail, and not wrap.
pub(super) fn checked(expression: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let checked = expression.transform_up(|inner| {
        let any: &dyn Any = inner.as_ref();
        Ok(match any.downcast_ref::<BinaryExpr>() {
            Some(operation) if operation.op().is_numerical_operators() => {
                Transformed::yes(Arc::new(operation.clone().with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>)
            }
            _ => Transformed::no(inner),
        })
    });
    Ok(checked?.data)
}
