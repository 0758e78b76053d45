//! Kafka's record batch (format v2): reading, checking, building.
//!
//! Layout: <https://kafka.apache.org/documentation/#recordbatch>. A stored batch is kept as the producer sent it;
//! this module gives views of it and builds new ones.

use bytes::Bytes;
use model::Offset;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy, raw or in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// A record's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

/// One record, sharing its bytes with the batch it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Builds one batch.
#[derive(Debug, Default)]
pub struct RecordBatchBuilder {
    compression: Compression,
    records: Vec<Record>,
}
