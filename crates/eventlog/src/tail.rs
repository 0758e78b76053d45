//! A committed batch in memory: durable in the write-ahead log, and not, or not only, in a segment yet.

use bytes::Bytes;

use crate::{log::StoredBatch, record::BatchHeader};

/// A committed batch in memory.
#[derive(Clone, Debug)]
pub(crate) struct TailBatch {
    pub(crate) header: BatchHeader,
    pub(crate) arrival_time_ms: i64,
    pub(crate) bytes: Bytes,
}

impl TailBatch {
    /// The batch as readers get it.
    pub(crate) fn stored(&self) -> StoredBatch {
        StoredBatch { bytes: self.bytes.clone(), arrival_time_ms: self.arrival_time_ms }
    }
}
