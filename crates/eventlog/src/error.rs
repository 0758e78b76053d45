//! What can go wrong in the log, in detail, and its one mapping to [`model::Error`].

use std::{io, path::Path};

use model::{Offset, TopicName, TopicPartition};

use crate::lack::Lack;

/// What to do about a full disk while the log is open. One that could not be opened has to be opened again.
pub const DISK_FULL_HINT: &str = "free space on it; the log goes on by itself";

/// `Result` with the log's own [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, in detail; mapped once to [`model::Error`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topic or partition does not exist.
    #[error("topic or partition {0} does not exist")]
    UnknownPartition(String),
    /// The topic exists already.
    #[error("topic {0} exists already")]
    TopicExists(TopicName),
    /// A topic needs between 1 and the limit of partitions.
    #[error("a topic cannot have {0} partitions: it has at least 1, and at most log.topic_partitions_max")]
    PartitionCount(i32),
    /// All topics together would have more partitions than the log takes.
    #[error(
        "there is no room for topic {name} of {asked} partitions: the log has {partitions}, of at most {partitions_max} \
         (log.partitions_max)"
    )]
    TooManyPartitions {
        /// The topic.
        name: TopicName,
        /// How many partitions it would have.
        asked: usize,
        /// How many there are.
        partitions: usize,
        /// The limit.
        partitions_max: usize,
    },
    /// The log cannot keep what a topic's settings promise.
    #[error("topic {name} cannot have these settings: {reason}")]
    TopicSettings {
        /// The topic.
        name: TopicName,
        /// What cannot be kept.
        reason: String,
    },
    /// The offset lies outside the partition.
    #[error("offset {offset} of {partition} is outside {start}..={end}")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        offset: Offset,
        /// The first readable offset.
        start: Offset,
        /// The high watermark.
        end: Offset,
    },
    /// Bytes of a record batch were changed or lost on their way here; sent again, it may be good.
    #[error("a record batch for {partition} arrived damaged: {reason}")]
    DamagedBatch {
        /// The partition.
        partition: TopicPartition,
        /// What is wrong.
        reason: String,
    },
    /// The bytes are not a valid record batch, however often they are sent.
    #[error("invalid record batch for {partition}: {reason}")]
    InvalidBatch {
        /// The partition.
        partition: TopicPartition,
        /// What is wrong.
        reason: String,
    },
    /// The batch is larger than the topic allows.
    #[error("a batch of {bytes} bytes for {partition} is over the limit of {bytes_max}")]
    BatchTooLarge {
        /// The partition.
        partition: TopicPartition,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The records inside a stored batch cannot be read.
    #[error("the batch at offset {base_offset} cannot be read: {reason}")]
    UnreadableBatch {
        /// The offset of its first record.
        base_offset: Offset,
        /// What is wrong.
        reason: String,
    },
    /// An idempotent producer skipped a sequence number.
    #[error("producer {producer_id} sent sequence {sequence} to {partition}, expected {expected}")]
    OutOfOrderSequence {
        /// The partition.
        partition: TopicPartition,
        /// The producer.
        producer_id: i64,
        /// What it sent.
        sequence: i32,
        /// What was expected.
        expected: i32,
    },
    /// A newer incarnation of the producer has taken over.
    #[error("producer {producer_id} with epoch {epoch} was fenced by epoch {current}")]
    ProducerFenced {
        /// The producer.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// The newest epoch seen.
        current: i16,
    },
    /// The log is closed, or stopped after a failed write.
    #[error("the log does not take writes: {0}")]
    Stopped(String),
    /// The disk, or what may be used of it, is full. Nothing was changed; it can be tried again, and the log goes on by
    /// itself when there is room.
    #[error("the disk is full: cannot {doing}")]
    DiskFull {
        /// What could not be done, with the path and the reason.
        doing: String,
    },
    /// The process, or the machine, has too many files open. Nothing was changed; it can be tried again.
    #[error("too many files are open: cannot {doing}")]
    TooManyOpenFiles {
        /// What could not be done, with the path and the reason.
        doing: String,
    },
    /// Another process holds the data directory.
    #[error("the data directory {0} is in use by another process")]
    DirectoryInUse(String),
    /// Stored bytes failed a check. Asking again gives the same answer.
    #[error("{file} is damaged at byte {position}: {reason}{}", in_partition(records.as_ref()))]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
        /// Which records were asked for: those of this partition, from this offset on.
        records: Option<(TopicPartition, Offset)>,
    },
    /// Records of the partition that had been stored are not there; until they are, nothing is appended to it.
    #[error("{partition} takes no writes, because records of it are missing: {reason}")]
    Quarantined {
        /// The partition.
        partition: TopicPartition,
        /// What is missing.
        reason: String,
    },
    /// The file system failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Whether something is lacking for a while, so that nothing was changed and it can be tried again.
    pub(crate) fn is_shortage(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::TooManyOpenFiles { .. })
    }

    /// Something is lacking for what was to be done.
    pub(crate) fn lacking(lack: Lack, doing: String) -> Self {
        match lack {
            Lack::DiskSpace => Self::DiskFull { doing },
            Lack::OpenFiles => Self::TooManyOpenFiles { doing },
        }
    }

    /// The same for another who asked: a shortage stays one, and anything else has stopped the log.
    pub(crate) fn repeated(&self) -> Self {
        match self {
            Self::DiskFull { doing } => Self::DiskFull { doing: doing.clone() },
            Self::TooManyOpenFiles { doing } => Self::TooManyOpenFiles { doing: doing.clone() },
            Self::Stopped(reason) => Self::Stopped(reason.clone()),
            other => Self::Stopped(other.to_string()),
        }
    }

    /// Damage of a file.
    pub(crate) fn corrupt(file: &Path, position: u64, reason: String) -> Self {
        Self::Corrupt { file: file.display().to_string(), position, reason, records: None }
    }

    /// The same, if it is damage, with the records that were asked for.
    pub(crate) fn of_records(self, partition: &TopicPartition, offset: Offset) -> Self {
        match self {
            Self::Corrupt { file, position, reason, .. } => {
                Self::Corrupt { file, position, reason, records: Some((partition.clone(), offset)) }
            }
            other => other,
        }
    }
}

fn in_partition(records: Option<&(TopicPartition, Offset)>) -> String {
    records.map(|(partition, offset)| format!(" ({partition} cannot be read at offset {offset})")).unwrap_or_default()
}

/// Turns an I/O error into one that says what was being done to which file.
pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        let doing = format!("{doing} {}", path.display());
        match Lack::of(&source) {
            Some(lack) => Error::lacking(lack, format!("{doing} ({source})")),
            None => Error::Io { doing, source },
        }
    }
}

/// The same for a failed sync. Whatever its reason, it is not a lack of room, after which one may go on: nobody knows
/// what is on disk. Only where nothing could be opened to sync it, it was not tried at all.
pub(crate) fn sync_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| match Lack::of(&source) {
        Some(Lack::OpenFiles) => io_error("sync", path)(source),
        _ => Error::Io { doing: format!("sync {}", path.display()), source },
    }
}

impl From<Error> for model::Error {
    fn from(error: Error) -> Self {
        use model::ErrorKind as Kind;
        let (kind, hint) = match &error {
            Error::UnknownPartition(_) => (Kind::NotFound, Some("create the topic first")),
            Error::TopicExists(_) => (Kind::Conflict, Some("choose another name, or delete the topic first")),
            Error::ProducerFenced { .. } | Error::OutOfOrderSequence { .. } => (Kind::Conflict, None),
            Error::PartitionCount(_) | Error::OffsetOutOfRange { .. } => (Kind::Invalid, None),
            Error::TooManyPartitions { .. } => {
                (Kind::Invalid, Some("delete topics that nobody needs, or raise log.partitions_max"))
            }
            Error::TopicSettings { .. } => (Kind::Invalid, Some("ask for less, or raise log.append_bytes_max")),
            Error::DamagedBatch { .. } | Error::InvalidBatch { .. } => (Kind::Invalid, None),
            Error::BatchTooLarge { .. } => (Kind::Invalid, Some("write fewer records, or rows, at a time")),
            Error::UnreadableBatch { .. } => (Kind::Corrupt, Some("its producer sent what no consumer can read")),
            Error::Stopped(_) => (Kind::Unavailable, Some("see the server's log; restart it to recover")),
            Error::DiskFull { .. } => (Kind::Unavailable, Some(DISK_FULL_HINT)),
            Error::TooManyOpenFiles { .. } => {
                (Kind::Unavailable, Some("allow more open files (ulimit -n), or use fewer connections and partitions"))
            }
            Error::DirectoryInUse(_) => (Kind::Conflict, Some("stop the other process, or choose another directory")),
            Error::Corrupt { .. } => (Kind::Corrupt, Some("keep a copy of the file before anything else")),
            Error::Quarantined { .. } => {
                let hint =
                    "put the file back from a copy and restart, or delete the topic: see docs/formats/recovery.md";
                (Kind::Corrupt, Some(hint))
            }
            Error::Io { .. } => (Kind::Internal, None),
        };
        let mapped = Self::new(kind, error.to_string());
        match hint {
            Some(hint) => mapped.with_hint(hint),
            None => mapped,
        }
    }
}
