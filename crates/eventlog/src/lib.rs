//! A durable, partitioned, replayable log.
//!
//! What it is: [`EventLog`], the one trait behind which everything above appends and reads; [`EmbeddedLog`], its
//! implementation on local disk (one write-ahead log shared by all partitions, group commit without a timer,
//! per-partition segments that are byte-compatible with Kafka's); and the record-batch format ([`record`]).
//!
//! What it is not: a server. The Kafka protocol is `broker`'s; streams of domain events are `eventstore`'s.
//!
//! What must hold:
//! - a record acknowledged with [`Acks::Durable`] survives the death of the process and of the machine's power;
//! - no reader sees a record before it is on disk (the high watermark moves after `fdatasync`);
//! - arrival times do not decrease along a partition;
//! - after a failed `fdatasync` nothing is acknowledged any more until the log is opened again.

mod admission;
mod catalogue;
mod checkpoint;
mod checkpoint_turn;
mod commit;
mod damage;
mod directory_lock;
mod disk;
mod embedded;
mod error;
mod fields;
mod flusher;
mod frame;
mod groups;
mod lack;
mod log;
mod open_log;
mod open_segments;
mod partition;
mod partition_directory;
mod producer_state;
pub mod record;
mod recovery;
mod request;
mod segment;
mod settings;
mod shortage;
mod state;
mod tail;
mod wal;
mod wal_scan;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod simulated_disk;

pub use damage::{Damage, DamagedPart};
pub use embedded::EmbeddedLog;

pub use log::{
    Acks, Appended, Bounds, CommittedOffset, DISK_FULL_HINT, Error, EventLog, OffsetTotals, Pending, ReadResult,
    Result, StoredBatch, TimedOffset, Topic, TopicSettings, TopicSpec,
};
pub use record::{Compression, Header, Record, RecordBatchBuilder};
pub use settings::EventLogSettings;
