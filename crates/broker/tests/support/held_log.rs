//! A log that keeps the answers to appends to itself until it is told to give them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{Acks, Bounds, CommittedOffset, EventLog, Pending, ReadResult, Result, TimedOffset, Topic, TopicSpec};
use model::{Offset, TopicName, TopicPartition};
use tokio::sync::watch;

pub(crate) struct HeldLog {
    log: Arc<dyn EventLog>,
    /// How many appends are stored, whether that was answered or not.
    pub(crate) stored: AtomicUsize,
    pub(crate) answers: watch::Sender<bool>,
}

impl HeldLog {
    pub(crate) fn over(log: Arc<dyn EventLog>) -> Arc<Self> {
        Arc::new(Self { log, stored: AtomicUsize::new(0), answers: watch::Sender::new(false) })
    }
}

#[async_trait]
impl EventLog for HeldLog {
    async fn enqueue(&self, partition: &TopicPartition, batches: Bytes, acks: Acks) -> Result<Pending> {
        let appended = self.log.append(partition, batches, acks).await;
        self.stored.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.subscribe();
        Ok(Pending::new(async move {
            answers.wait_for(|given| *given).await.unwrap();
            appended
        }))
    }

    async fn create_topic(&self, spec: TopicSpec) -> Result<Arc<Topic>> {
        self.log.create_topic(spec).await
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<()> {
        self.log.delete_topic(name).await
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.log.topic(name)
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        self.log.topics()
    }

    fn claim_topic(&self, name: &TopicName, owner: &'static str) -> Result<()> {
        self.log.claim_topic(name, owner)
    }

    async fn read(&self, partition: &TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadResult> {
        self.log.read(partition, from, bytes_max).await
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Bounds> {
        self.log.bounds(partition)
    }

    fn watch(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>> {
        self.log.watch(partition)
    }

    async fn offset_at_time(&self, partition: &TopicPartition, timestamp_ms: i64) -> Result<Option<TimedOffset>> {
        self.log.offset_at_time(partition, timestamp_ms).await
    }

    async fn new_producer_id(&self) -> Result<i64> {
        self.log.new_producer_id().await
    }

    async fn commit_offsets(&self, group: &str, offsets: Vec<(TopicPartition, CommittedOffset)>) -> Result<()> {
        self.log.commit_offsets(group, offsets).await
    }

    fn committed_offsets(&self, group: &str) -> BTreeMap<TopicPartition, CommittedOffset> {
        self.log.committed_offsets(group)
    }

    fn groups(&self) -> Vec<String> {
        self.log.groups()
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        self.log.delete_group(group).await
    }
}
