//! The log as everything above sees it: the trait, its words, and its errors.
//!
//! Two implementations are meant: [`EmbeddedLog`](crate::EmbeddedLog) on local disk, and a Kafka cluster. Nothing
//! above this crate may know which one it has.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use model::{Offset, Resource, TopicName, TopicPartition};
use tokio::sync::watch;
use uuid::Uuid;

use crate::shortage::Lack;

/// `Result` with the log's own [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A durable, partitioned, replayable log.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Creates a topic; durable when it returns.
    async fn create_topic(&self, spec: TopicSpec) -> Result<Arc<Topic>>;

    /// Whether a topic could be created, without creating it.
    fn check_topic(&self, spec: &TopicSpec) -> Result<()> {
        match self.topic(spec.name.as_str()) {
            Some(_) => Err(Error::TopicExists(spec.name.clone())),
            None if spec.partitions < 1 => Err(Error::PartitionCount(spec.partitions)),
            None => Ok(()),
        }
    }

    /// Deletes a topic with its records and the offsets committed for it.
    async fn delete_topic(&self, name: &TopicName) -> Result<()>;

    /// Looks up a topic.
    fn topic(&self, name: &str) -> Option<Arc<Topic>>;

    /// All topics, by name.
    fn topics(&self) -> Vec<Arc<Topic>>;

    /// Says that `owner` (in words) alone writes a topic from now on, until the log is closed. Reads, and appends
    /// through this trait, go on as before: it is the doors that refuse others, by [`Topic::resource`].
    fn claim_topic(&self, name: &TopicName, owner: &'static str) -> Result<()>;

    /// Takes a place for one or more complete record batches (v2, as a producer sent them), which are stored in order and
    /// as a whole. Only base offset and leader epoch are changed. What was enqueued has its place: it is stored before
    /// everything that is enqueued for the partition afterwards, whether it is waited for or not. Waits for room in the
    /// queue.
    async fn enqueue(&self, partition: &TopicPartition, batches: Bytes, acks: Acks) -> Result<Pending>;

    /// Enqueues, and waits until `acks` is satisfied. Of two appends to a partition that are under way at the same time
    /// either may be stored first.
    async fn append(&self, partition: &TopicPartition, batches: Bytes, acks: Acks) -> Result<Appended> {
        self.enqueue(partition, batches, acks).await?.await
    }

    /// Reads whole batches from the one that contains `from`, up to the high watermark: as many as fit in
    /// `bytes_max`, but at least one when there is one. At the high watermark the answer is empty.
    async fn read(&self, partition: &TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadResult>;

    /// The bytes of the batch that contains `offset`, where [`read`](Self::read) finds it damaged; `None` where not even
    /// its borders can be told, or where the log keeps no such bytes. For whoever has to tell what was lost: nothing in it
    /// may be believed.
    async fn read_damaged(&self, _partition: &TopicPartition, _offset: Offset) -> Result<Option<Bytes>> {
        Ok(None)
    }

    /// Where a partition begins and ends.
    fn bounds(&self, partition: &TopicPartition) -> Result<Bounds>;

    /// The high watermark of a partition, as it moves. The sender goes away when the topic is deleted.
    fn watch(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>>;

    /// The first record whose timestamp is at or after `timestamp_ms`; `None` when there is none.
    async fn offset_at_time(&self, partition: &TopicPartition, timestamp_ms: i64) -> Result<Option<TimedOffset>>;

    /// A producer id that was never given out before.
    async fn new_producer_id(&self) -> Result<i64>;

    /// Stores a consumer group's offsets; durable when it returns.
    async fn commit_offsets(&self, group: &str, offsets: Vec<(TopicPartition, CommittedOffset)>) -> Result<()>;

    /// The offsets that a group committed; empty for an unknown group.
    fn committed_offsets(&self, group: &str) -> BTreeMap<TopicPartition, CommittedOffset>;

    /// The groups that have committed offsets.
    fn groups(&self) -> Vec<String>;

    /// Forgets a group's offsets.
    async fn delete_group(&self, group: &str) -> Result<()>;
}

/// A topic to create.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// How many partitions, at least 1.
    pub partitions: i32,
    /// Its settings.
    pub settings: TopicSettings,
}

impl TopicSpec {
    /// A topic with the default settings.
    pub fn new(name: TopicName, partitions: i32) -> Self {
        Self { name, partitions, settings: TopicSettings::default() }
    }
}

/// What may be set for a topic. Kafka's names are in the comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Records older than this may be deleted (`retention.ms`); `None` keeps them for ever.
    pub retention_ms: Option<i64>,
    /// The oldest records beyond this size a partition may be deleted (`retention.bytes`); `None` is no limit.
    pub retention_bytes: Option<i64>,
    /// The largest record batch accepted, in bytes (`max.message.bytes`). At most what the log takes in one append.
    pub message_bytes_max: u32,
    /// Settings of Kafka that change nothing here, by Kafka's names: kept for those who ask for them again.
    pub others: BTreeMap<String, String>,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self { retention_ms: None, retention_bytes: None, message_bytes_max: 1_048_588, others: BTreeMap::new() }
    }
}

/// A topic that exists.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its id, never zero and never reused.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// Its settings.
    pub settings: TopicSettings,
    /// Who alone writes it, if somebody claimed it; not stored, since owners claim their topics when they start.
    pub owner: Option<&'static str>,
}

impl Topic {
    /// The topic as something that a principal may or may not use.
    pub fn resource(&self) -> Resource<'_> {
        let topic = self.name.as_str();
        self.owner.map_or(Resource::Topic(topic), |owner| Resource::OwnedTopic { topic, owner })
    }

    /// Its partitions, in order.
    pub fn topic_partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        (0..self.partitions).map(|partition| TopicPartition::new(self.name.clone(), partition))
    }
}

/// When an append returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// As soon as it is queued (Kafka's `acks=0`): the offset in the answer is not meaningful.
    Queued,
    /// When it is in the page cache (`acks=1`).
    Written,
    /// When it is on disk (`acks=all`).
    Durable,
}

/// An append that has its place: a future that is ready when its [`Acks`] is satisfied. It happens even if nobody waits.
#[must_use = "whether it happened is not known before it was waited for"]
pub struct Pending(Pin<Box<dyn Future<Output = Result<Appended>> + Send>>);

impl Pending {
    /// What `answer` will say.
    pub fn new(answer: impl Future<Output = Result<Appended>> + Send + 'static) -> Self {
        Self(Box::pin(answer))
    }

    /// What is known already.
    pub fn ready(appended: Appended) -> Self {
        Self::new(std::future::ready(Ok(appended)))
    }
}

impl Future for Pending {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pending")
    }
}

/// The answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset after the last record.
    pub next_offset: Offset,
    /// When the log received it, in milliseconds since the epoch.
    pub arrival_time_ms: i64,
    /// Where the partition begins.
    pub log_start_offset: Offset,
    /// Whether this was a repetition of an idempotent producer's batch that had been stored before.
    pub duplicate: bool,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that can be read.
    pub log_start_offset: Offset,
    /// The offset after the last record that can be read.
    pub high_watermark: Offset,
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// Whole batches, in order; the first may begin before the offset asked for.
    pub batches: Vec<StoredBatch>,
    /// The partition's bounds at the time of the read.
    pub bounds: Bounds,
}

/// One record batch as it is stored, with the time at which it arrived.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    /// The whole batch: header and (perhaps compressed) records.
    pub bytes: Bytes,
    /// When the log received it, in milliseconds since the epoch; not decreasing along a partition.
    pub arrival_time_ms: i64,
}

/// An offset found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp_ms: i64,
}

/// What a consumer group committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch the consumer saw; -1 when it did not say.
    pub leader_epoch: i32,
    /// The consumer's own note.
    pub metadata: String,
}

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
            Some(lack) => lack.while_doing(&doing, &source),
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
            Error::BatchTooLarge { .. } => (Kind::Invalid, None),
            Error::UnreadableBatch { .. } => (Kind::Corrupt, Some("its producer sent what no consumer can read")),
            Error::Stopped(_) => (Kind::Unavailable, Some("see the server's log; restart it to recover")),
            Error::DiskFull { .. } => (Kind::Unavailable, Some("free space on it; the log goes on by itself")),
            Error::TooManyOpenFiles { .. } => {
                (Kind::Unavailable, Some("allow more open files (ulimit -n), or use fewer connections and partitions"))
            }
            Error::DirectoryInUse(_) => (Kind::Conflict, Some("stop the other process, or choose another directory")),
            Error::Corrupt { .. } => (Kind::Corrupt, Some("keep a copy of the file before anything else")),
            Error::Quarantined { .. } => {
                (Kind::Corrupt, Some("put the file back from a copy and restart, or delete the topic"))
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
