//! A log in memory: one topic after the contract of [`EventLog`], that fails, waits and counts as told.

use std::{
    collections::BTreeMap,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{
    Acks, Appended, Bounds, CommittedOffset, Error, EventLog, ReadResult, Record, RecordBatchBuilder, Result,
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

#[derive(Default)]
pub(super) struct MemoryLog {
    topic: Mutex<Option<Arc<Topic>>>,
    batches: Mutex<Vec<StoredBatch>>,
    high_watermark: watch::Sender<Offset>,
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
        self.batches.lock().remove(at);
    }

    /// Appends as somebody else who knows the topic.
    pub(super) fn append_foreign(&self, records: Vec<Record>) {
        let mut builder = RecordBatchBuilder::default();
        for record in records {
            builder.push(record);
        }
        self.write(&builder.build());
    }

    /// Appends a batch as somebody else built it.
    pub(super) fn append_batch(&self, batch: &[u8]) {
        self.write(batch);
    }

    /// Appends a batch that no one can read, as a careless producer might.
    pub(super) fn append_unreadable(&self) {
        let mut builder = RecordBatchBuilder::default();
        builder.push(Record { value: Some(Bytes::from_static(b"hello")), ..Record::default() });
        let mut batch = builder.build().to_vec();
        // The length of the first record, right after the batch's header.
        batch[eventlog::record::HEADER_BYTES] = 0x7f;
        self.write(&batch);
    }

    fn write(&self, batch: &[u8]) -> (Offset, Offset) {
        let base_offset = *self.high_watermark.borrow();
        let count = BatchHeader::parse(batch).unwrap().record_count;
        let mut batch = batch.to_vec();
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        self.batches.lock().push(StoredBatch { bytes: batch.into(), arrival_time_ms: 0 });
        let next_offset = base_offset + Offset::from(count);
        self.high_watermark.send_replace(next_offset);
        (base_offset, next_offset)
    }
}

fn unsupported<T>() -> Result<T> {
    Err(Error::Stopped("the log in memory cannot do this".to_owned()))
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<Arc<Topic>> {
        let TopicSpec { name, partitions, settings } = spec;
        let topic = Arc::new(Topic { name, id: Uuid::from_u128(1), partitions, settings, owner: None });
        *self.topic.lock() = Some(Arc::clone(&topic));
        Ok(topic)
    }

    async fn delete_topic(&self, _: &TopicName) -> Result<()> {
        unsupported()
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topic.lock().as_ref().filter(|topic| topic.name.as_str() == name).map(Arc::clone)
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        self.topic.lock().iter().map(Arc::clone).collect()
    }

    fn claim_topic(&self, name: &TopicName, owner: &'static str) -> Result<()> {
        let mut topic = self.topic.lock();
        let unclaimed = topic.take().ok_or_else(|| Error::UnknownPartition(name.to_string()))?;
        *topic = Some(Arc::new(Topic { owner: Some(owner), ..(*unclaimed).clone() }));
        Ok(())
    }

    async fn append(&self, _: &TopicPartition, batches: Bytes, acks: Acks) -> Result<Appended> {
        assert_eq!(acks, Acks::Durable, "an event is on disk before it is acknowledged");
        self.appends.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.lock().take();
        let _open = self.gate.read().await;
        if let Some(Fault::BeforeWrite) = fault {
            return Err(Error::Stopped("told to fail before the write".to_owned()));
        }
        let (base_offset, next_offset) = self.write(&batches);
        if let Some(Fault::AfterWrite) = fault {
            return Err(Error::Stopped("told to fail after the write".to_owned()));
        }
        Ok(Appended { base_offset, next_offset, arrival_time_ms: 0, log_start_offset: 0, duplicate: false })
    }

    async fn read(&self, partition: &TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadResult> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let mut bytes = 0;
        let mut fits = |batch: &StoredBatch| {
            let first = bytes == 0;
            bytes += batch.bytes.len();
            first || bytes <= bytes_max
        };
        let stored = self.batches.lock();
        let batches =
            stored.iter().filter(|batch| batch.next_offset() > from).take_while(|b| fits(b)).cloned().collect();
        Ok(ReadResult { batches, bounds: self.bounds(partition)? })
    }

    fn bounds(&self, _: &TopicPartition) -> Result<Bounds> {
        Ok(Bounds { log_start_offset: 0, high_watermark: *self.high_watermark.borrow() })
    }

    fn watch(&self, _: &TopicPartition) -> Result<watch::Receiver<Offset>> {
        Ok(self.high_watermark.subscribe())
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
