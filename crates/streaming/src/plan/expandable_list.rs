//! [`ExpandableList`]: a list that is about to be taken apart, and fails where its elements would be too much.
//!
//! The rest of a row stands beside each of its elements. A record of a megabyte that is a list of half a million elements would
//! become half a terabyte, so what a row becomes is bounded, as the values that functions make are.
//!
//! What must hold: whether a list fails depends on its row alone, however rows are batched.

use std::{
    any::Any,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, FieldRef, Schema},
};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::ColumnarValue,
    physical_expr::PhysicalExpr,
};
use sql::{SqlError, sqlstate};

use crate::functions::bytes_of;

/// What stands beside the elements of one row, all together.
const EXPANDED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A column of lists.
#[derive(Debug, Eq)]
pub(super) struct ExpandableList {
    list: Arc<dyn PhysicalExpr>,
    /// All columns that are taken apart together: these do not stand beside the elements.
    lists: Vec<usize>,
}

impl ExpandableList {
    pub(super) fn new(list: Arc<dyn PhysicalExpr>, lists: &[usize]) -> Self {
        Self { list, lists: lists.to_vec() }
    }
}

/// Whether an expression is a column of lists as it is, where it does not fail.
pub(super) fn is_expandable_list(expression: &dyn PhysicalExpr) -> bool {
    let any: &dyn Any = expression;
    any.is::<ExpandableList>()
}

impl PhysicalExpr for ExpandableList {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.list.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.list.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.list.return_field(input)
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.list.evaluate(rows)?.into_array(rows.num_rows())?;
        let lists = values.as_list::<i32>();
        let beside: Vec<Vec<u64>> = rows
            .columns()
            .iter()
            .enumerate()
            .filter(|(column, _)| !self.lists.contains(column))
            .map(|(_, column)| bytes_of(column.as_ref()))
            .collect();
        for row in 0..rows.num_rows() {
            let elements = if lists.is_null(row) { 0 } else { u64::try_from(lists.value_length(row)).unwrap_or(0) };
            let bytes = beside.iter().fold(0_u64, |sum, column| sum.saturating_add(column[row]));
            if elements.saturating_mul(bytes) > EXPANDED_BYTES_MAX {
                let message = format!(
                    "a list of {elements} elements beside {bytes} bytes would make more than {EXPANDED_BYTES_MAX} bytes"
                );
                let error = SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message);
                return Err(DataFusionError::External(Box::new(
                    error.with_hint("leave out the long columns that stand beside the elements"),
                )));
            }
        }
        Ok(ColumnarValue::Array(values))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.list]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(match children.into_iter().next() {
            Some(list) => Arc::new(Self { list, lists: self.lists.clone() }),
            None => self,
        })
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.fmt_sql(f)
    }
}

impl PartialEq for ExpandableList {
    fn eq(&self, other: &Self) -> bool {
        self.list.eq(&other.list) && self.lists == other.lists
    }
}

impl Hash for ExpandableList {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.list.hash(state);
        self.lists.hash(state);
    }
}

impl fmt::Display for ExpandableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expandable({})", self.list)
    }
}

#[cfg(test)]
mod tests {
    //! What is too much, by the row alone.

    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, ListArray, RecordBatch, StringArray},
        datatypes::Int64Type,
    };
    use datafusion::physical_expr::{PhysicalExpr, expressions::Column};

    use super::ExpandableList;

    const MEGABYTE: usize = 1024 * 1024;

    #[test]
    fn a_list_fails_where_its_elements_would_repeat_too_much() {
        for (text_bytes, element_count, is_expandable) in [
            (MEGABYTE, 64, true),
            (MEGABYTE, 65, false),
            (MEGABYTE + 1, 64, false),
            (65 * MEGABYTE, 0, true),
            (0, 100_000, true),
        ] {
            let list = |count: usize| Some((0..count as i64).map(Some).collect::<Vec<_>>());
            let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([list(2), list(element_count), None]);
            let texts = StringArray::from(vec![String::new(), "x".repeat(text_bytes), String::new()]);
            let columns: [(&str, ArrayRef); 2] = [("list", Arc::new(lists)), ("text", Arc::new(texts))];
            let rows = RecordBatch::try_from_iter(columns).unwrap();
            let list = ExpandableList::new(Arc::new(Column::new("list", 0)), &[0]);
            for (row, is_expandable) in [true, is_expandable, true].into_iter().enumerate() {
                assert_eq!(list.evaluate(&rows.slice(row, 1)).is_ok(), is_expandable, "{element_count} {text_bytes}");
            }
            assert_eq!(list.evaluate(&rows).is_ok(), is_expandable);
        }
    }
}
