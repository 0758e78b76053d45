//! Kafka's record batch (format v2): reading, checking, building; and the partition that a record's key belongs to.
//!
//! Layout: <https://kafka.apache.org/documentation/#recordbatch>. A stored batch is kept as the producer sent it;
//! this module gives views of it and builds new ones.
//!
//! What it is not: the log's opinion of a batch. Which batches a partition takes is decided where they are appended.
//!
//! What must hold: no bytes, however damaged, make this module panic or allocate more than a small multiple of what
//! they justify; [`DECOMPRESSED_BYTES_MAX`] bounds what a batch may unfold to.

mod builder;
mod check;
mod compression;
mod header;
mod partitioner;
mod reader;

use bytes::Bytes;
use model::Offset;

pub use builder::{RecordBatchBuilder, batches_of};
pub(crate) use check::check_records;
pub use compression::{Compression, DECOMPRESSED_BYTES_MAX};
pub use header::{BatchDefect, BatchHeader, HEADER_BYTES, split_batches};
pub(crate) use header::{add_to_sequence, place};
pub use partitioner::partition_of_key;

use crate::log::{Error, Result, StoredBatch};

#[cfg(test)]
mod tests;

/// A record's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

/// One record, sharing its bytes with the batch it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its offset; ignored when a batch is built.
    pub offset: Offset,
    /// The producer's time (or, for a topic with log-append time, the log's), in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
}

impl StoredBatch {
    /// The header of the batch.
    ///
    /// # Errors
    /// [`Error::UnreadableBatch`] when the bytes are not a record batch; a batch that came from a log always is one.
    pub fn header(&self) -> Result<BatchHeader> {
        BatchHeader::parse(&self.bytes).map_err(|reason| self.unreadable(reason))
    }

    /// The offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.bytes.first_chunk().map_or(0, |bytes| Offset::from_be_bytes(*bytes))
    }

    /// The offset after the last record: where to read on.
    pub fn next_offset(&self) -> Offset {
        self.header().map_or_else(|_| self.base_offset(), |header| header.next_offset())
    }

    /// How many records the batch holds.
    pub fn record_count(&self) -> i32 {
        self.header().map_or(0, |header| header.record_count)
    }

    /// The records, with absolute offsets. Keys, values and headers share one buffer: the batch itself, or what it
    /// was decompressed to.
    ///
    /// # Errors
    /// [`Error::UnreadableBatch`] when the records cannot be decompressed, are larger than
    /// [`DECOMPRESSED_BYTES_MAX`], or do not follow the format: the log refuses such batches, but may hold some that it
    /// took before it looked into them.
    pub fn records(&self) -> Result<Vec<Record>> {
        let header = self.header()?;
        reader::read_records(&header, &self.bytes).map_err(|reason| self.unreadable(reason))
    }

    fn unreadable(&self, reason: String) -> Error {
        Error::UnreadableBatch { base_offset: self.base_offset(), reason }
    }
}
