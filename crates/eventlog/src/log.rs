//! The log as everything above sees it: the trait and its words.
//!
//! Two implementations are meant: [`EmbeddedLog`](crate::EmbeddedLog) on local disk, and a Kafka cluster. Nothing
//! above this crate may know which one it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::{AddAssign, SubAssign},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use model::{Offset, Resource, TopicName, TopicPartition};
use tokio::sync::watch;
use uuid::Uuid;

pub use crate::error::{DISK_FULL_HINT, Error, Result};
pub(crate) use crate::error::{io_error, sync_error};

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

    /// How much all groups have committed together. A log that bounds this itself says that it is nothing.
    fn offset_totals(&self) -> OffsetTotals {
        OffsetTotals::default()
    }

    /// Takes note of which groups have members now, and lets go of offsets that nobody has needed for `retention_ms`
    /// (negative: for ever): those of groups that have had no members for so long, and committed before. To be called
    /// from time to time; a group counts as without members from the call that finds it so. Returns how many offsets
    /// went. A log that does this itself does nothing.
    async fn expire_offsets(&self, _with_members: &BTreeSet<String>, _retention_ms: i64) -> Result<usize> {
        Ok(0)
    }
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

/// How much consumer groups have committed together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffsetTotals {
    /// How many offsets: one for each group and partition.
    pub offsets: usize,
    /// The bytes of the notes beside them.
    pub note_bytes: usize,
}

impl AddAssign for OffsetTotals {
    fn add_assign(&mut self, more: Self) {
        self.offsets += more.offsets;
        self.note_bytes += more.note_bytes;
    }
}

impl SubAssign for OffsetTotals {
    fn sub_assign(&mut self, less: Self) {
        self.offsets -= less.offsets;
        self.note_bytes -= less.note_bytes;
    }
}
