//! A log in memory: topics of one partition after the contract of [`EventLog`], that fails, waits and counts as told.

use std::{
    collections::BTreeMap,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{
    Acks, Appended, Bounds, CommittedOffset, Error, EventLog, Pending, ReadResult, Record, RecordBatchBuilder, Result,
    StoredBatch, TimedOffset, Topic, TopicSpec, record::BatchHeader,
};
use model::{Offset, TopicName, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::{RwLock, watch};
use uuid::Uuid;

/// How the next append fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Nothing is written.
    BeforeWrite,
    /// The batch is written, but the answer is lost.
    AfterWrite,
}

/// One topic.
struct Stored {
    topic: Arc<Topic>,
    batches: Vec<StoredBatch>,
    high_watermark: watch::Sender<Offset>,
}

/// The topic that others write to.
const EVENTS: &str = "events";

#[derive(Default)]
pub(super) struct MemoryLog {
    topics: Mutex<BTreeMap<String, Stored>>,
    fault: Mutex<Option<Fault>>,
    /// Held for writing, it keeps appends waiting.
    pub(super) gate: RwLock<()>,
    pub(super) appends: AtomicUsize,
    pub(super) reads: AtomicUsize,
}

impl MemoryLog {
    pub(super) fn fail_next(&self, fault: Fault) {
        *self.fault.lock() = Some(fault);
    }

    /// Loses a batch, as damage to a disk would.
    pub(super) fn lose_batch(&self, at: usize) {
        self.topics.lock().get_mut(EVENTS).unwrap().batches.remove(at);
    }

    /// Appends as somebody else who knows the topic.
    pub(super) fn append_foreign(&self, records: Vec<Record>) {
        let mut builder = RecordBatchBuilder::default();
        for record in records {
            builder.push(record);
        }
        self.write(EVENTS, &builder.build());
    }

    /// Appends a batch as somebody else built it.
    pub(super) fn append_batch(&self, batch: &[u8]) {
        self.write(EVENTS, batch);
    }

    /// Appends a batch that no one can read, as a careless producer might.
    pub(super) fn append_unreadable(&self) {
        let mut builder = RecordBatchBuilder::default();
        builder.push(Record { value: Some(Bytes::from_static(b"hello")), ..Record::default() });
        let mut batch = builder.build().to_vec();
        // The length of the first record, right after the batch's header.
        batch[eventlog::record::HEADER_BYTES] = 0x7f;
        self.write(EVENTS, &batch);
    }

    fn write(&self, topic: &str, batch: &[u8]) -> (Offset, Offset) {
        let mut topics = self.topics.lock();
        let stored = topics.get_mut(topic).unwrap();
        let base_offset = *stored.high_watermark.borrow();
        let count = BatchHeader::parse(batch).unwrap().record_count;
        let mut batch = batch.to_vec();
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        stored.batches.push(StoredBatch { bytes: batch.into(), arrival_time_ms: 0 });
        let next_offset = base_offset + Offset::from(count);
        stored.high_watermark.send_replace(next_offset);
        (base_offset, next_offset)
    }

    fn stored<T>(&self, topic: &str, read: impl FnOnce(&Stored) -> T) -> Result<T> {
        self.topics.lock().get(topic).map(read).ok_or_else(|| Error::UnknownPartition(topic.to_owned()))
    }
}

fn unsupported<T>() -> Result<T> {
    Err(Error::Stopped("the log in memory cannot do this".to_owned()))
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<Arc<Topic>> {
        let TopicSpec { name, partitions, settings } = spec;
        let mut topics = self.topics.lock();
        let id = Uuid::from_u128(topics.len() as u128 + 1);
        let topic = Arc::new(Topic { name, id, partitions, settings, owner: None });
        let stored = Stored { topic: Arc::clone(&topic), batches: Vec::new(), high_watermark: watch::Sender::new(0) };
        topics.insert(topic.name.to_string(), stored);
        Ok(topic)
    }

    async fn delete_topic(&self, _: &TopicName) -> Result<()> {
        unsupported()
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.stored(name, |stored| Arc::clone(&stored.topic)).ok()
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.lock().values().map(|stored| Arc::clone(&stored.topic)).collect()
    }

    fn claim_topic(&self, name: &TopicName, owner: &'static str) -> Result<()> {
        let mut topics = self.topics.lock();
        let stored = topics.get_mut(name.as_str()).ok_or_else(|| Error::UnknownPartition(name.to_string()))?;
        stored.topic = Arc::new(Topic { owner: Some(owner), ..(*stored.topic).clone() });
        Ok(())
    }

    async fn enqueue(&self, partition: &TopicPartition, batches: Bytes, acks: Acks) -> Result<Pending> {
        assert_eq!(acks, Acks::Durable, "an event is on disk before it is acknowledged");
        self.appends.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.lock().take();
        let _open = self.gate.read().await;
        if let Some(Fault::BeforeWrite) = fault {
            return Err(Error::Stopped("told to fail before the write".to_owned()));
        }
        let (base_offset, next_offset) = self.write(partition.topic.as_str(), &batches);
        if let Some(Fault::AfterWrite) = fault {
            return Err(Error::Stopped("told to fail after the write".to_owned()));
        }
        let (arrival_time_ms, log_start_offset, duplicate) = (0, 0, false);
        Ok(Pending::ready(Appended { base_offset, next_offset, arrival_time_ms, log_start_offset, duplicate }))
    }

    async fn read(&self, partition: &TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadResult> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let mut bytes = 0;
        let mut fits = |batch: &StoredBatch| {
            let first = bytes == 0;
            bytes += batch.bytes.len();
            first || bytes <= bytes_max
        };
        let bounds = self.bounds(partition)?;
        let batches = self.stored(partition.topic.as_str(), |stored| {
            let batches = stored.batches.iter().filter(|batch| batch.next_offset() > from);
            batches.take_while(|batch| fits(batch)).cloned().collect()
        })?;
        Ok(ReadResult { batches, bounds })
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Bounds> {
        let high_watermark = self.stored(partition.topic.as_str(), |stored| *stored.high_watermark.borrow())?;
        Ok(Bounds { log_start_offset: 0, high_watermark })
    }

    fn watch(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>> {
        self.stored(partition.topic.as_str(), |stored| stored.high_watermark.subscribe())
    }

    async fn offset_at_time(&self, _: &TopicPartition, _: i64) -> Result<Option<TimedOffset>> {
        unsupported()
    }

    async fn new_producer_id(&self) -> Result<i64> {
        unsupported()
    }

    async fn commit_offsets(&self, _: &str, _: Vec<(TopicPartition, CommittedOffset)>) -> Result<()> {
        unsupported()
    }

    fn committed_offsets(&self, _: &str) -> BTreeMap<TopicPartition, CommittedOffset> {
        BTreeMap::new()
    }

    fn groups(&self) -> Vec<String> {
        Vec::new()
    }

    async fn delete_group(&self, _: &str) -> Result<()> {
        unsupported()
    }
}
