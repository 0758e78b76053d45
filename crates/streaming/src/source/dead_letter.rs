//! Records that a source could not decode, and the topic that keeps them.

use bytes::Bytes;
use eventlog::{Acks, Compression, EventLog, Header, Record, RecordBatchBuilder, TopicSettings, TopicSpec};
use model::{Offset, TopicName, TopicPartition};

use crate::error::Result;

const SUFFIX: &str = ".dead-letter";
const BATCH_BYTES: usize = 512 * 1024;
/// A rejected value is stored with its headers, and perhaps no longer compressed: it needs more room than it had.
const MESSAGE_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Why it was rejected.
    pub reason: String,
}

/// Where the bad records of a topic go: one partition, the topic's name with `.dead-letter` after it.
///
/// # Errors
/// [`Invalid`](model::ErrorKind::Invalid) when that name would be too long.
pub fn dead_letter_topic(topic: &TopicName) -> model::Result<TopicName> {
    TopicName::new(&format!("{topic}{SUFFIX}"))
}

/// Writes rejected records of a partition to its dead-letter topic; durable when it returns.
pub(super) async fn write(log: &dyn EventLog, origin: &TopicPartition, rejected: &[RejectedRecord]) -> Result<()> {
    let topic = dead_letter_topic(&origin.topic)?;
    if log.topic(topic.as_str()).is_none() {
        let settings = TopicSettings { message_bytes_max: MESSAGE_BYTES_MAX, ..TopicSettings::default() };
        match log.create_topic(TopicSpec { name: topic.clone(), partitions: 1, settings }).await {
            // Another reader of the same topic may have been first.
            Ok(_) | Err(eventlog::Error::TopicExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let target = TopicPartition::new(topic, 0);
    let mut rest = rejected;
    while !rest.is_empty() {
        let mut builder = RecordBatchBuilder::new(Compression::None);
        let mut taken = 0;
        while taken < rest.len() && (taken == 0 || builder.size_bytes() + size_bytes(&rest[taken]) < BATCH_BYTES) {
            builder.push(dead_letter(origin, &rest[taken]));
            taken += 1;
        }
        match log.append(&target, builder.build(), Acks::Durable).await {
            Err(eventlog::Error::BatchTooLarge { .. }) => {
                let mut without_values = RecordBatchBuilder::new(Compression::None);
                rest[..taken].iter().for_each(|rejected| {
                    without_values.push(without_value(origin, rejected));
                });
                log.append(&target, without_values.build(), Acks::Durable).await?
            }
            appended => appended?,
        };
        rest = &rest[taken..];
    }
    Ok(())
}

fn size_bytes(record: &RejectedRecord) -> usize {
    let bytes = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    bytes(&record.key) + bytes(&record.value) + record.reason.len() + 512
}

/// A record too large to be stored once more: its origin says where to find it.
fn without_value(origin: &TopicPartition, rejected: &RejectedRecord) -> Record {
    let bytes = rejected.value.as_ref().map_or(0, Bytes::len);
    let reason = format!("{} (the value of {bytes} bytes is too large to be kept here)", rejected.reason);
    dead_letter(origin, &RejectedRecord { offset: rejected.offset, key: None, value: None, reason })
}

fn dead_letter(origin: &TopicPartition, rejected: &RejectedRecord) -> Record {
    let header = |name: &'static str, value: String| Header {
        name: Bytes::from_static(name.as_bytes()),
        value: Some(Bytes::from(value)),
    };
    Record {
        offset: 0,
        timestamp_ms: -1,
        key: rejected.key.clone(),
        value: rejected.value.clone(),
        headers: vec![
            header("ff_reason", rejected.reason.clone()),
            header("ff_topic", origin.topic.to_string()),
            header("ff_partition", origin.partition.to_string()),
            header("ff_offset", rejected.offset.to_string()),
        ],
    }
}
