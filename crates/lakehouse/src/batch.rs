//! A batch run: a view's fold over the rows of a lake table below some Positions.
//!
//! What it is not: another way to compute a view. It is the streaming fold itself, fed from files in place of the log,
//! so that both layers of Lambda agree by construction.
//!
//! What must hold: exactly the rows of the pinned table are folded, each once; memory is that of the fold and of a few
//! batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionContext;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use streaming::{Fold, ViewPlan};

use crate::PinnedTable;
use crate::error::LakeError;

/// Folds the rows of `table` and returns the states of all groups, as
/// [`Fold::all_state`](streaming::Fold::all_state) has them.
///
/// # Errors
/// Those of the view's expressions; `Unavailable` or `Internal` when the table cannot be read.
pub async fn run(plan: &ViewPlan, table: &PinnedTable) -> model::Result<RecordBatch> {
    let mut fold = Fold::new(plan)?;
    let view = plan.name();
    let failed = || LakeError::query(format!("read the lake for view {view}"));
    let projection = columns_to_read(plan, &table.schema());
    let session = SessionContext::new();
    let scan = table.scan(&session.state(), Some(&projection), &[], None).await.map_err(failed())?;
    let mut batches = execute_stream(scan, session.task_ctx()).map_err(failed())?;
    while let Some(batch) = batches.next().await {
        let rows = widen(&batch.map_err(failed())?, &projection, &table.schema())?;
        fold.apply(&rows, None)?;
    }
    Ok(fold.all_state()?)
}

// The columns that the plan reads, and those that cannot be missing.
fn columns_to_read(plan: &ViewPlan, schema: &SchemaRef) -> Vec<usize> {
    let needed = plan.source_columns();
    let is_read = |index: &usize| needed.contains(index) || !schema.field(*index).is_nullable();
    (0..schema.fields().len()).filter(is_read).collect()
}

// The fold takes rows of the source's whole schema; it does not look at the columns that are NULL here.
fn widen(rows: &RecordBatch, projection: &[usize], schema: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let column = |index: usize| match projection.iter().position(|read| *read == index) {
        Some(place) => Arc::clone(rows.column(place)),
        None => new_null_array(schema.field(index).data_type(), rows.num_rows()),
    };
    let columns: Vec<ArrayRef> = (0..schema.fields().len()).map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(LakeError::arrow("put rows of the lake in the shape of their source"))
}
