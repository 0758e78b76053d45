//! Rows taken out of batches, also where they have no columns: a key of nothing is a key.

use arrow::{
    array::{RecordBatch, RecordBatchOptions, UInt32Array},
    compute::{interleave_record_batch, take_record_batch},
    error::ArrowError,
};
use std::sync::Arc;

/// Some rows of a batch.
pub(crate) fn take_rows(rows: &RecordBatch, numbers: &UInt32Array) -> Result<RecordBatch, ArrowError> {
    if rows.num_columns() > 0 { take_record_batch(rows, numbers) } else { without_columns(rows, numbers.len()) }
}

/// Rows of several batches of one schema, each as (batch, row).
pub(crate) fn interleave_rows(batches: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
    match batches.first() {
        Some(first) if first.num_columns() == 0 => without_columns(first, rows.len()),
        _ => interleave_record_batch(batches, rows),
    }
}

fn without_columns(like: &RecordBatch, row_count: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    RecordBatch::try_new_with_options(Arc::clone(like.schema_ref()), Vec::new(), &options)
}
