//! Filters and projections, compiled: the linear part of a plan.
//!
//! They map rows to rows one by one, so weights pass through them, and so do the columns that are carried beside the
//! rows (weights, places in the log) without being part of the query.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::{filter, filter_record_batch, prep_null_mask_filter},
    datatypes::SchemaRef,
};
use datafusion::{common::cast::as_boolean_array, physical_expr::PhysicalExpr};

use crate::error::{Error, Result};

/// One operator of the linear part.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Keeps some columns.
    Select(Vec<usize>),
    /// Keeps the rows for which the predicate is true.
    Filter(Expression),
    /// Computes columns.
    Project {
        /// What to compute.
        expressions: Vec<Expression>,
        /// The schema of what comes out.
        schema: SchemaRef,
    },
}

/// A compiled expression, with its text for messages.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) physical: Arc<dyn PhysicalExpr>,
    pub(crate) text: String,
}

impl Expression {
    /// Its value for each row.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        self.physical
            .evaluate(rows)
            .and_then(|value| value.into_array(rows.num_rows()))
            .map_err(Error::evaluate(self.text.as_str()))
    }

    /// Whether it is true, row by row; NULL counts as false.
    pub(crate) fn is_true(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let value = self.evaluate(rows)?;
        let value = as_boolean_array(&value).map_err(Error::evaluate(self.text.as_str()))?;
        Ok(if value.nulls().is_some() { prep_null_mask_filter(value) } else { value.clone() })
    }
}

/// Rows, and the columns that are carried beside them.
#[derive(Clone, Debug)]
pub(crate) struct CarriedRows {
    pub(crate) rows: RecordBatch,
    pub(crate) carried: Vec<ArrayRef>,
}

/// Runs the steps in order.
pub(crate) fn run(steps: &[Step], mut input: CarriedRows) -> Result<CarriedRows> {
    for step in steps {
        match step {
            Step::Select(columns) => {
                input.rows = input.rows.project(columns).map_err(Error::arrow("select columns"))?;
            }
            Step::Filter(predicate) => {
                let keep = predicate.is_true(&input.rows)?;
                if keep.true_count() == keep.len() {
                    continue;
                }
                input.rows = filter_record_batch(&input.rows, &keep).map_err(Error::arrow("filter rows"))?;
                for column in &mut input.carried {
                    *column = filter(column, &keep).map_err(Error::arrow("filter rows"))?;
                }
            }
            Step::Project { expressions, schema } => {
                let columns = expressions.iter().map(|e| e.evaluate(&input.rows)).collect::<Result<Vec<_>>>()?;
                input.rows = batch(schema, columns, input.rows.num_rows())?;
            }
        }
    }
    Ok(input)
}

/// A batch that also works without columns.
pub(crate) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, row_count: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(Error::arrow("build a row batch"))
}
