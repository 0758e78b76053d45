//! What the log's tests share.
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(dead_code, reason = "not every test file uses everything")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use eventlog::{
    Acks, Compression, EmbeddedLog, EventLog, EventLogSettings, Record, RecordBatchBuilder, StoredBatch, TopicSpec,
};
use model::{ManualClock, Metrics, Offset, TopicName, TopicPartition};

/// Small sizes, so that little data goes through every rotation.
pub(crate) fn small() -> EventLogSettings {
    EventLogSettings {
        wal_file_bytes: 4096,
        checkpoint_wal_bytes: 16 * 1024,
        segment_bytes: 8 * 1024,
        index_interval_bytes: 256,
        tail_bytes_max: 64 * 1024,
        tail_cache_bytes_max: 1024,
        retention_check_interval_ms: 5,
        ..EventLogSettings::shipped()
    }
}

pub(crate) async fn open(directory: &Path, settings: EventLogSettings) -> Arc<EmbeddedLog> {
    open_at(directory, settings, 1_000).await
}

pub(crate) async fn open_at(directory: &Path, settings: EventLogSettings, now_ms: i64) -> Arc<EmbeddedLog> {
    let clock = Arc::new(ManualClock::at(now_ms));
    EmbeddedLog::open(directory, settings, clock, Metrics::default()).await.unwrap()
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

pub(crate) fn partition(name: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic(name), partition)
}

pub(crate) async fn create(log: &EmbeddedLog, name: &str, partitions: i32) {
    log.create_topic(TopicSpec::new(topic(name), partitions)).await.unwrap();
}

pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_at(values, 0)
}

pub(crate) fn batch_at(values: &[&str], timestamp_ms: i64) -> Bytes {
    builder(values, timestamp_ms).build()
}

pub(crate) fn producer_batch(values: &[&str], id: i64, epoch: i16, sequence: i32) -> Bytes {
    builder(values, 0).producer(id, epoch, sequence).build()
}

fn builder(values: &[&str], timestamp_ms: i64) -> RecordBatchBuilder {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for value in values {
        builder.push(Record { timestamp_ms, value: Some(Bytes::from((*value).to_owned())), ..Record::default() });
    }
    builder
}

/// Appends durably; returns the base offset.
pub(crate) async fn append(log: &EmbeddedLog, partition: &TopicPartition, values: &[&str]) -> Offset {
    log.append(partition, batch(values), Acks::Durable).await.unwrap().base_offset
}

/// Every value of a partition with its offset, read in small steps.
pub(crate) async fn values(log: &EmbeddedLog, partition: &TopicPartition) -> Vec<(Offset, String)> {
    let mut values = Vec::new();
    let mut from = log.bounds(partition).unwrap().log_start_offset;
    loop {
        let read = log.read(partition, from, 700).await.unwrap();
        let Some(last) = read.batches.last() else {
            assert_eq!(from, read.bounds.high_watermark, "a read is empty only at the end");
            return values;
        };
        from = last.next_offset();
        values.extend(read.batches.iter().flat_map(values_of));
    }
}

pub(crate) fn values_of(batch: &StoredBatch) -> Vec<(Offset, String)> {
    let value = |record: Record| (record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    batch.records().unwrap().into_iter().map(value).collect()
}

/// Copies a directory as it is, as a kill at this moment would leave it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
