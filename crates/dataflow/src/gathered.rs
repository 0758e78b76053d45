//! [`Gathered`]: rows from many chunks on their way into one batch.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::{
    error::{Error, Result},
    rows::interleave_rows,
    run::Chunk,
};

/// Rows that go out at a time.
pub(crate) const OUTPUT_ROWS: usize = 8 * 1024;

/// Rows of chunks that are to become columns.
#[derive(Default)]
pub(crate) struct Gathered<'a> {
    chunks: Vec<&'a Arc<Chunk>>,
    rows: Vec<(usize, usize)>,
}

impl<'a> Gathered<'a> {
    /// Adds a row.
    #[inline]
    pub(crate) fn push(&mut self, chunk: &'a Arc<Chunk>, row: usize) {
        let last = self.rows.last().map(|(number, _)| *number);
        let number = match last.filter(|number| Arc::ptr_eq(self.chunks[*number], chunk)) {
            Some(number) => number,
            None => self.chunks.iter().position(|known| Arc::ptr_eq(known, chunk)).unwrap_or_else(|| {
                self.chunks.push(chunk);
                self.chunks.len() - 1
            }),
        };
        self.rows.push((number, row));
    }

    /// The rows; none are left.
    pub(crate) fn take(&mut self) -> Result<RecordBatch> {
        let sources: Vec<&RecordBatch> = self.chunks.iter().map(|chunk| &chunk.rows).collect();
        let rows = interleave_rows(&sources, &self.rows).map_err(Error::arrow("gather joined rows"));
        self.chunks.clear();
        self.rows.clear();
        rows
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
