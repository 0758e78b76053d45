//! Filters and projections, compiled: the linear part of a plan.
//!
//! They map rows to rows one by one, so weights pass through them, and so do the columns that are carried beside the
//! rows (weights, places in the log) without being part of the query.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{concat, filter, filter_record_batch, prep_null_mask_filter},
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::cast::as_boolean_array,
    error::DataFusionError,
    logical_expr::ColumnarValue,
    physical_expr::{PhysicalExpr, expressions::Column},
};

use super::expandable_list::is_expandable_list;
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

impl Step {
    /// The same, where any value that is computed can turn out to be NULL.
    pub(crate) fn with_nullable_columns(self) -> Self {
        match self {
            Self::Project { expressions, schema } => {
                let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
                Self::Project { expressions, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
            }
            other => other,
        }
    }
}

/// A compiled expression, with its text for messages.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) physical: Arc<dyn PhysicalExpr>,
    pub(crate) text: String,
}

impl Expression {
    /// Whether it is a column as it is.
    pub(crate) fn is_column(&self) -> bool {
        let physical: &dyn Any = self.physical.as_ref();
        physical.is::<Column>() || is_expandable_list(self.physical.as_ref())
    }

    /// Its text; `exactly` with the numbers of the columns that it reads.
    pub(crate) fn describe(&self, exactly: bool) -> String {
        if exactly { format!("{} as {}", self.text, self.physical) } else { self.text.clone() }
    }

    /// Its value for each row.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        self.computed(rows, || self.physical.evaluate(rows))
    }

    /// Its value for each row that is selected; for the others, which may fail, anything.
    pub(crate) fn evaluate_where(&self, rows: &RecordBatch, selected: &BooleanArray) -> Result<ArrayRef> {
        self.computed(rows, || self.physical.evaluate_selection(rows, selected))
    }

    /// What `evaluate` makes. A function that panics has failed like any other: it stops no view.
    fn computed(
        &self,
        rows: &RecordBatch,
        evaluate: impl FnOnce() -> datafusion::error::Result<ColumnarValue>,
    ) -> Result<ArrayRef> {
        // Nothing is left half changed: an expression has no state, and what it was making is gone.
        let evaluated = catch_unwind(AssertUnwindSafe(|| evaluate()?.into_array(rows.num_rows())));
        let evaluated = evaluated.unwrap_or_else(|_| Err(DataFusionError::Execution("a function panicked".to_owned())));
        evaluated.map_err(Error::evaluate(self.text.as_str()))
    }

    /// Its value for each row, NULL for a row for which it fails; `failure` keeps the first reason.
    pub(crate) fn evaluate_or_null(&self, rows: &RecordBatch, failure: &mut Option<String>) -> Result<ArrayRef> {
        let row_count = rows.num_rows();
        match self.evaluate(rows) {
            Err(error @ Error::Evaluate { .. }) if row_count <= 1 => {
                failure.get_or_insert_with(|| error.to_string());
                let data_type = self.physical.data_type(rows.schema_ref());
                let data_type = data_type.map_err(Error::evaluate(self.text.as_str()))?;
                Ok(new_null_array(&data_type, row_count))
            }
            Err(Error::Evaluate { .. }) => {
                let half = row_count / 2;
                let first = self.evaluate_or_null(&rows.slice(0, half), failure)?;
                let second = self.evaluate_or_null(&rows.slice(half, row_count - half), failure)?;
                concat(&[&first, &second]).map_err(Error::arrow("gather values"))
            }
            evaluated => evaluated,
        }
    }

    /// Whether it is true, row by row; NULL counts as false.
    pub(crate) fn is_true(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        self.truth(&self.evaluate(rows)?)
    }

    fn truth(&self, value: &ArrayRef) -> Result<BooleanArray> {
        let value = as_boolean_array(value).map_err(Error::evaluate(self.text.as_str()))?;
        Ok(if value.nulls().is_some() { prep_null_mask_filter(value) } else { value.clone() })
    }
}

/// Rows, and the columns that are carried beside them.
#[derive(Clone, Debug)]
pub(crate) struct CarriedRows {
    pub(crate) rows: RecordBatch,
    pub(crate) carried: Vec<ArrayRef>,
}

impl CarriedRows {
    /// Some neighbouring rows.
    pub(crate) fn slice(&self, first: usize, row_count: usize) -> Self {
        let carried = self.carried.iter().map(|column| column.slice(first, row_count));
        Self { rows: self.rows.slice(first, row_count), carried: carried.collect() }
    }
}

/// Runs the steps in order.
pub(crate) fn run(steps: &[Step], input: CarriedRows) -> Result<CarriedRows> {
    run_with(steps, input, Expression::evaluate)
}

/// Runs the steps in order, with `evaluate` for each of their expressions.
pub(crate) fn run_with(
    steps: &[Step],
    mut input: CarriedRows,
    mut evaluate: impl FnMut(&Expression, &RecordBatch) -> Result<ArrayRef>,
) -> Result<CarriedRows> {
    for step in steps {
        match step {
            Step::Select(columns) => {
                input.rows = input.rows.project(columns).map_err(Error::arrow("select columns"))?;
            }
            Step::Filter(predicate) => {
                let keep = predicate.truth(&evaluate(predicate, &input.rows)?)?;
                if keep.true_count() == keep.len() {
                    continue;
                }
                input.rows = filter_record_batch(&input.rows, &keep).map_err(Error::arrow("filter rows"))?;
                for column in &mut input.carried {
                    *column = filter(column, &keep).map_err(Error::arrow("filter rows"))?;
                }
            }
            Step::Project { expressions, schema } => {
                let columns = expressions.iter().map(|e| evaluate(e, &input.rows)).collect::<Result<Vec<_>>>()?;
                input.rows = batch(schema, columns, input.rows.num_rows())?;
            }
        }
    }
    Ok(input)
}

/// The same columns under a schema that has their types.
pub(crate) fn relabelled(schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch> {
    batch(schema, rows.columns().to_vec(), rows.num_rows())
}

/// A batch that also works without columns.
pub(crate) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, row_count: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(Error::arrow("build a row batch"))
}
