//! A batch run: a view's fold over the rows of a lake table below some Positions.
//!
//! What it is not: another way to compute a view. It is the streaming fold itself, fed from files in place of the log,
//! so that both layers of Lambda agree by construction.
//!
//! What must hold: exactly the rows of the pinned table are folded, each once, but for those whose evaluation fails:
//! the fold leaves out the same ones that it leaves out in the stream. Memory is that of the fold and of a few batches.
//!
//! It writes no dead letters: the speed layer has read every record before H from the log, and has written them.

use std::panic::AssertUnwindSafe;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionContext;
use datafusion::physical_plan::execute_stream;
use futures::{FutureExt, StreamExt};
use streaming::{Fold, ViewPlan};

use crate::PinnedTable;
use crate::error::LakeError;

/// Folds the rows of `table` and returns the states of all groups, as
/// [`Fold::all_state`](streaming::Fold::all_state) has them.
///
/// # Errors
/// `Corrupt` when a file of the table is not as it was written; `Unavailable` or `Internal` when the table cannot be read.
pub async fn run(plan: &ViewPlan, table: &PinnedTable) -> model::Result<RecordBatch> {
    // Damage that no checksum tells may be such as the library that reads the files does not expect.
    AssertUnwindSafe(fold(plan, table)).catch_unwind().await.unwrap_or_else(|_| {
        let reason = "reading it ended abnormally".to_owned();
        Err(LakeError::Damaged { table: format!("the lake of source {}", plan.source().name), reason }.into())
    })
}

async fn fold(plan: &ViewPlan, table: &PinnedTable) -> model::Result<RecordBatch> {
    let mut fold = Fold::new(plan)?;
    let view = plan.name();
    let failed = |error| table.failed(format!("read the lake for view {view}"), error);
    let projection = plan.source_columns();
    let session = SessionContext::new();
    let scan = table.scan(&session.state(), Some(&projection), &[], None).await.map_err(failed)?;
    let mut batches = execute_stream(scan, session.task_ctx()).map_err(failed)?;
    let mut left_out_rows = 0;
    while let Some(rows) = batches.next().await {
        left_out_rows += fold.apply(&rows.map_err(failed)?, None)?.len();
    }
    if left_out_rows > 0 {
        tracing::info!(view, left_out_rows, "a batch run left out rows whose evaluation fails, as the stream does");
    }
    Ok(fold.all_state()?)
}

#[cfg(test)]
mod tests;
