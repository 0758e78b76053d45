//! Record batches to rows.

use arrow::array::RecordBatch;
use eventlog::StoredBatch;
use model::Offset;

use super::{RejectedRecord, SourceDefinition};
use crate::error::{Error, Result};

/// What decoding gave.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows, in order of offset, with the source's schema.
    pub rows: RecordBatch,
    /// The records that could not be decoded, in order of offset.
    pub rejected: Vec<RejectedRecord>,
    /// The offset after the last record that was looked at.
    pub next_offset: Offset,
}

/// Decodes the records of one source.
#[derive(Debug)]
pub struct SourceDecoder {}

impl SourceDecoder {
    /// A decoder for `source`.
    ///
    /// # Errors
    /// [`Error::Arrow`] when Arrow cannot decode one of the declared types.
    pub fn new(source: &SourceDefinition) -> Result<Self> {
        let _ = source;
        Ok(Self {})
    }

    /// Decodes the records of `batches` (of `partition`, in order) whose offsets are in `from..to`.
    ///
    /// # Errors
    /// None that a record's content could cause; [`Error::Arrow`] when Arrow fails.
    pub fn decode(&mut self, partition: i32, batches: &[StoredBatch], from: Offset, to: Offset) -> Result<Decoded> {
        let _ = (partition, batches, from, to);
        Err(Error::TaskLost("decoder".into()))
    }
}
