//! What may be set for an [`EmbeddedLog`](crate::EmbeddedLog).

use serde::Deserialize;

/// Sizes and bounds of an embedded log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventLogSettings {
    /// The size at which a file of the write-ahead log is full, in bytes. It is reserved on disk at once.
    pub wal_file_bytes: u64,
    /// How many bytes are written ahead before a checkpoint makes them superfluous. Bounds the time of a recovery.
    pub checkpoint_wal_bytes: u64,
    /// The size at which a segment is full, in bytes; at most 2 GiB because Kafka's indexes count in 32 bits.
    pub segment_bytes: u32,
    /// The age at which a segment is full, in milliseconds, so that retention by time finds something to delete.
    pub segment_age_ms_max: i64,
    /// How many segments may be open for writing at a time, but never more than half of the files that the process may
    /// open. Beyond it, the one idle for longest is synced and closed, so a low limit costs syncs.
    pub open_segments_max: usize,
    /// How many bytes of a segment lie between two entries of its indexes.
    pub index_interval_bytes: u32,
    /// How many committed bytes may wait in memory to be moved into segments; appends wait when it is reached.
    pub tail_bytes_max: usize,
    /// How many bytes that were moved stay in memory for readers at the end of the log.
    pub tail_cache_bytes_max: usize,
    /// How many requests may wait for the writer; more of them wait at the door.
    pub queue_requests_max: usize,
    /// How many bytes of appends may wait for the writer; more of them wait at the door.
    pub queue_bytes_max: usize,
    /// The most that is written and synced in one commit, in bytes, unless one append alone is larger.
    pub commit_bytes_max: usize,
    /// The largest append, in bytes (all of its batches together).
    pub append_bytes_max: usize,
    /// The most that a compressed batch may unfold to, in bytes. Its records are looked at before it is stored, a part
    /// at a time; whoever reads it has all of them in memory.
    pub unfolded_bytes_max: usize,
    /// The most that one read returns, in bytes, unless one batch alone is larger.
    pub read_bytes_max: usize,
    /// How many partitions a topic may have.
    pub topic_partitions_max: i32,
    /// How many partitions all topics may have together: each takes memory, and time when the log is opened. A log that
    /// has more is opened all the same.
    pub partitions_max: usize,
    /// How many idempotent producers a partition remembers; the one idle for longest is forgotten first.
    pub producers_max: usize,
    /// After how long without a batch a producer is forgotten, in milliseconds.
    pub producer_expiry_ms: i64,
    /// How often retention is looked at, in milliseconds.
    pub retention_check_interval_ms: u64,
    /// How long at most until another attempt where the disk is full or too many files are open, in milliseconds.
    pub retry_delay_ms_max: u64,
    /// How long closing may take to leave a checkpoint behind, in milliseconds; what is not done by then is done when
    /// the log is opened again.
    pub close_ms_max: u64,
}

impl EventLogSettings {
    /// As shipped: the section `log` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("log")
    }
}
