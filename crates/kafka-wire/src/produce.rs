//! `Produce`: record batches to append. The batches are cut out of the request, not copied.

use bytes::Bytes;

use crate::{Api, Reader, Result, Text, Writer};

/// Batches to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The transaction they belong to.
    pub transactional_id: Option<Text>,
    /// 0: no answer wanted; 1: once written; -1: once durable.
    pub acks: i16,
    /// How long the client waits, in milliseconds.
    pub timeout_ms: i32,
    /// The topics.
    pub topics: Vec<TopicBatches>,
}

/// The batches for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicBatches {
    /// The topic's name.
    pub name: Text,
    /// The batches, a partition each.
    pub partitions: Vec<PartitionBatches>,
}

/// The batches for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionBatches {
    /// The partition.
    pub index: i32,
    /// One or more batches, one after another.
    pub records: Option<Bytes>,
}

/// The answer for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicResult {
    /// The topic's name.
    pub name: Text,
    /// The answers, a partition each.
    pub partitions: Vec<PartitionResult>,
}

/// The answer for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionResult {
    /// The partition.
    pub index: i32,
    /// Zero, or why the batches were refused.
    pub error: i16,
    /// The offset of the first record; -1 on an error.
    pub base_offset: i64,
    /// Where the partition begins; -1 on an error.
    pub log_start_offset: i64,
    /// What is wrong, for people.
    pub error_message: Option<String>,
}

impl PartitionResult {
    /// The batches were refused.
    pub fn refused(index: i32, error: i16, message: Option<String>) -> Self {
        Self { index, error, base_offset: -1, log_start_offset: -1, error_message: message }
    }
}

impl Request {
    /// Reads a request, also of the versions 0 to 2, so that they can be refused partition by partition.
    pub fn decode(version: i16, body: Bytes) -> Result<Self> {
        let mut reader = Reader::new(body, Api::Produce.is_flexible(version));
        let transactional_id = if version >= 3 { reader.nullable_string("transactional id")? } else { None };
        let acks = reader.i16("acks")?;
        let timeout_ms = reader.i32("timeout")?;
        let topics = reader.array("topics", 2, |reader| {
            let name = reader.string("name")?;
            let partitions = reader.array("partitions", 5, |reader| {
                let index = reader.i32("partition index")?;
                let records = reader.nullable_bytes("records")?;
                reader.tags()?;
                Ok(PartitionBatches { index, records })
            })?;
            reader.tags()?;
            Ok(TopicBatches { name, partitions })
        })?;
        reader.tags()?;
        reader.finish()?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }

    /// Writes a request of version 3 or later.
    pub fn encode(&self, writer: &mut Writer) {
        writer.nullable_string(self.transactional_id.as_deref());
        writer.i16(self.acks);
        writer.i32(self.timeout_ms);
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| {
                writer.i32(partition.index);
                match &partition.records {
                    None => writer.null_array(),
                    Some(records) => writer.bytes(std::iter::once(records)),
                }
                writer.tags();
            });
            writer.tags();
        });
        writer.tags();
    }
}

/// Writes an answer.
pub fn encode_response(writer: &mut Writer, version: i16, topics: &[TopicResult]) {
    writer.array(topics, |writer, topic| {
        writer.string(&topic.name);
        writer.array(&topic.partitions, |writer, partition| {
            writer.i32(partition.index);
            writer.i16(partition.error);
            writer.i64(partition.base_offset);
            if version >= 2 {
                // Topics keep the producer's timestamps, which is said by -1 here.
                writer.i64(-1);
            }
            if version >= 5 {
                writer.i64(partition.log_start_offset);
            }
            if version >= 8 {
                writer.array_length(0);
                writer.nullable_string(partition.error_message.as_deref());
            }
            writer.tags();
        });
        writer.tags();
    });
    if version >= 1 {
        writer.i32(0);
    }
    writer.tags();
}

/// Reads an answer.
pub fn decode_response(version: i16, body: Bytes) -> Result<Vec<TopicResult>> {
    let mut reader = Reader::of_answer(body, Api::Produce.is_flexible(version));
    reader.array("responses", 2, |reader| {
        let name = reader.string("name")?;
        let partitions = reader.array("partitions", 14, |reader| {
            let index = reader.i32("partition index")?;
            let error = reader.i16("error code")?;
            let base_offset = reader.i64("base offset")?;
            if version >= 2 {
                reader.i64("log append time")?;
            }
            let log_start_offset = if version >= 5 { reader.i64("log start offset")? } else { -1 };
            let mut error_message = None;
            if version >= 8 {
                reader.array("record errors", 5, |reader| {
                    reader.i32("batch index")?;
                    reader.nullable_string("message")?;
                    reader.tags()
                })?;
                error_message = reader.nullable_string("error message")?.map(|text| text.to_string());
            }
            reader.tags()?;
            Ok(PartitionResult { index, error, base_offset, log_start_offset, error_message })
        })?;
        reader.tags()?;
        Ok(TopicResult { name, partitions })
    })
}
