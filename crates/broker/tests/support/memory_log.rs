//! An event log in memory, for tests: no durability, no producer state, offsets patched as the real one does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use eventlog::record::split_batches;
use eventlog::{
    Acks, Appended, Bounds, CommittedOffset, Error, EventLog, ReadResult, Result, StoredBatch, TimedOffset, Topic,
    TopicSpec,
};
use model::{Offset, TopicName, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

struct Partition {
    batches: Vec<(Offset, StoredBatch)>,
    next_offset: Offset,
    high_watermark: watch::Sender<Offset>,
}

#[derive(Default)]
pub struct MemoryLog {
    topics: Mutex<BTreeMap<String, Arc<Topic>>>,
    partitions: Mutex<BTreeMap<TopicPartition, Partition>>,
    groups: Mutex<BTreeMap<String, BTreeMap<TopicPartition, CommittedOffset>>>,
    producer_ids: AtomicI64,
}

impl MemoryLog {
    fn with<T>(&self, partition: &TopicPartition, use_it: impl FnOnce(&mut Partition) -> Result<T>) -> Result<T> {
        let mut partitions = self.partitions.lock();
        use_it(partitions.get_mut(partition).ok_or_else(|| Error::UnknownPartition(partition.to_string()))?)
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<Arc<Topic>> {
        if spec.partitions < 1 {
            return Err(Error::PartitionCount(spec.partitions));
        }
        let mut topics = self.topics.lock();
        if topics.contains_key(spec.name.as_str()) {
            return Err(Error::TopicExists(spec.name));
        }
        let topic =
            Topic { name: spec.name, id: Uuid::new_v4(), partitions: spec.partitions, settings: spec.settings };
        for partition in topic.topic_partitions() {
            let fresh = Partition { batches: Vec::new(), next_offset: 0, high_watermark: watch::channel(0).0 };
            self.partitions.lock().insert(partition, fresh);
        }
        let topic = Arc::new(topic);
        topics.insert(topic.name.to_string(), Arc::clone(&topic));
        Ok(topic)
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<()> {
        self.topics.lock().remove(name.as_str()).ok_or_else(|| Error::UnknownPartition(name.to_string()))?;
        self.partitions.lock().retain(|partition, _| partition.topic != *name);
        Ok(())
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.lock().get(name).cloned()
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.lock().values().cloned().collect()
    }

    async fn append(&self, partition: &TopicPartition, batches: Bytes, _: Acks) -> Result<Appended> {
        let invalid = |reason| Error::InvalidBatch { partition: partition.clone(), reason };
        let split = split_batches(batches).map_err(invalid)?;
        self.with(partition, |stored| {
            let base_offset = stored.next_offset;
            for (header, bytes) in split {
                if !header.crc_is_valid(&bytes) {
                    return Err(Error::InvalidBatch { partition: partition.clone(), reason: "bad crc".to_owned() });
                }
                let mut bytes = BytesMut::from(&bytes[..]);
                bytes[..8].copy_from_slice(&stored.next_offset.to_be_bytes());
                let batch = StoredBatch { bytes: bytes.freeze(), arrival_time_ms: 0 };
                let next = batch.next_offset();
                stored.batches.push((next, batch));
                stored.next_offset = next;
            }
            stored.high_watermark.send_replace(stored.next_offset);
            Ok(Appended {
                base_offset,
                next_offset: stored.next_offset,
                arrival_time_ms: 0,
                log_start_offset: 0,
                duplicate: false,
            })
        })
    }

    async fn read(&self, partition: &TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadResult> {
        self.with(partition, |stored| {
            let first = stored.batches.partition_point(|(next, _)| *next <= from);
            let mut bytes = 0;
            let mut batches: Vec<StoredBatch> = Vec::new();
            for (_, batch) in &stored.batches[first..] {
                bytes += batch.bytes.len();
                if !batches.is_empty() && bytes > bytes_max {
                    break;
                }
                batches.push(batch.clone());
            }
            Ok(ReadResult { batches, bounds: Bounds { log_start_offset: 0, high_watermark: stored.next_offset } })
        })
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Bounds> {
        self.with(partition, |stored| Ok(Bounds { log_start_offset: 0, high_watermark: stored.next_offset }))
    }

    fn watch(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>> {
        self.with(partition, |stored| Ok(stored.high_watermark.subscribe()))
    }

    async fn offset_at_time(&self, partition: &TopicPartition, timestamp_ms: i64) -> Result<Option<TimedOffset>> {
        self.with(partition, |stored| {
            for (_, batch) in &stored.batches {
                for record in batch.records()? {
                    if record.timestamp_ms >= timestamp_ms {
                        return Ok(Some(TimedOffset { offset: record.offset, timestamp_ms: record.timestamp_ms }));
                    }
                }
            }
            Ok(None)
        })
    }

    async fn new_producer_id(&self) -> Result<i64> {
        Ok(self.producer_ids.fetch_add(1, Ordering::SeqCst))
    }

    async fn commit_offsets(&self, group: &str, offsets: Vec<(TopicPartition, CommittedOffset)>) -> Result<()> {
        self.groups.lock().entry(group.to_owned()).or_default().extend(offsets);
        Ok(())
    }

    fn committed_offsets(&self, group: &str) -> BTreeMap<TopicPartition, CommittedOffset> {
        self.groups.lock().get(group).cloned().unwrap_or_default()
    }

    fn groups(&self) -> Vec<String> {
        self.groups.lock().keys().cloned().collect()
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        self.groups.lock().remove(group);
        Ok(())
    }
}
