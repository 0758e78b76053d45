//! An expression whose value is always an array.
//!
//! `CASE` gives a scalar when every row of a batch takes the same constant branch, and some functions look at a scalar
//! even where the other argument is NULL (a pattern that is not a regular expression, say). Whether a row fails would
//! then depend on the rows beside it.

use std::{
    any::Any,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, FieldRef, Schema},
};
use datafusion::{
    common::tree_node::{Transformed, TreeNode},
    error::Result,
    logical_expr::ColumnarValue,
    physical_expr::{PhysicalExpr, expressions::CaseExpr},
};

/// Makes arrays of all values in `expression` that are scalars for some batches only.
pub(super) fn with_arrays(expression: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let wrapped = expression.transform_up(|inner| {
        let any: &dyn Any = inner.as_ref();
        Ok(if any.is::<CaseExpr>() {
            Transformed::yes(Arc::new(ArrayExpression { inner }) as Arc<dyn PhysicalExpr>)
        } else {
            Transformed::no(inner)
        })
    });
    Ok(wrapped?.data)
}

#[derive(Debug, Eq)]
struct ArrayExpression {
    inner: Arc<dyn PhysicalExpr>,
}

impl PhysicalExpr for ArrayExpression {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.inner.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array(self.inner.evaluate(rows)?.into_array(rows.num_rows())?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(match children.into_iter().next() {
            Some(inner) => Arc::new(Self { inner }),
            None => self,
        })
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl PartialEq for ArrayExpression {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Hash for ArrayExpression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for ArrayExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
