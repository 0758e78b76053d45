//! `Fetch`: record batches to read. Stored batches are appended to the answer as they are.

use bytes::Bytes;

use crate::{Api, Reader, Result, Text, Writer};

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How long to wait for `bytes_min`, in milliseconds.
    pub wait_ms_max: i32,
    /// How many bytes are worth an answer before the time is over.
    pub bytes_min: i32,
    /// How many bytes the answer may hold (a first batch may be larger).
    pub bytes_max: i32,
    /// 0 for a client without fetch sessions.
    pub session_id: i32,
    /// -1 for a client without fetch sessions, 0 for one that wants to open one.
    pub session_epoch: i32,
    /// The topics.
    pub topics: Vec<TopicQuery>,
}

/// What to read of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicQuery {
    /// Its name.
    pub name: Text,
    /// Its partitions.
    pub partitions: Vec<PartitionQuery>,
}

/// What to read of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionQuery {
    /// The partition.
    pub index: i32,
    /// From where.
    pub offset: i64,
    /// How many bytes this partition may add.
    pub bytes_max: i32,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Response {
    /// Zero, or why the whole request was refused.
    pub error: i16,
    /// The topics.
    pub topics: Vec<TopicResult>,
}

/// What was read of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicResult {
    /// Its name.
    pub name: Text,
    /// Its partitions.
    pub partitions: Vec<PartitionResult>,
}

/// What was read of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionResult {
    /// The partition.
    pub index: i32,
    /// Zero, or why it was not read.
    pub error: i16,
    /// The high watermark; -1 on an error.
    pub high_watermark: i64,
    /// Where the partition begins; -1 on an error.
    pub log_start_offset: i64,
    /// Whole batches, in order.
    pub batches: Vec<Bytes>,
}

impl PartitionResult {
    /// The partition was not read.
    pub fn refused(index: i32, error: i16) -> Self {
        Self { index, error, high_watermark: -1, log_start_offset: -1, batches: Vec::new() }
    }
}

impl Request {
    /// Reads a request.
    pub fn decode(version: i16, body: Bytes) -> Result<Self> {
        let mut reader = Reader::new(body, Api::Fetch.is_flexible(version));
        reader.i32("replica id")?;
        let wait_ms_max = reader.i32("max wait")?;
        let bytes_min = reader.i32("min bytes")?;
        let bytes_max = reader.i32("max bytes")?;
        reader.i8("isolation level")?;
        let session_id = if version >= 7 { reader.i32("session id")? } else { 0 };
        let session_epoch = if version >= 7 { reader.i32("session epoch")? } else { -1 };
        let topics = reader.array("topics", 2, |reader| {
            let name = reader.string("name")?;
            let partitions = reader.array("partitions", 16, |reader| PartitionQuery::decode(reader, version))?;
            reader.tags()?;
            Ok(TopicQuery { name, partitions })
        })?;
        if version >= 7 {
            reader.array("forgotten topics", 2, |reader| {
                reader.string("name")?;
                reader.array("partitions", 4, |reader| reader.i32("partition index"))?;
                reader.tags()
            })?;
        }
        if version >= 11 {
            reader.string("rack id")?;
        }
        reader.tags()?;
        reader.finish()?;
        Ok(Self { wait_ms_max, bytes_min, bytes_max, session_id, session_epoch, topics })
    }

    /// Writes a request.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(-1);
        writer.i32(self.wait_ms_max);
        writer.i32(self.bytes_min);
        writer.i32(self.bytes_max);
        writer.i8(0);
        if version >= 7 {
            writer.i32(self.session_id);
            writer.i32(self.session_epoch);
        }
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| partition.encode(writer, version));
            writer.tags();
        });
        if version >= 7 {
            writer.array_length(0);
        }
        if version >= 11 {
            writer.string("");
        }
        writer.tags();
    }
}

impl PartitionQuery {
    fn decode(reader: &mut Reader, version: i16) -> Result<Self> {
        let index = reader.i32("partition index")?;
        if version >= 9 {
            reader.i32("current leader epoch")?;
        }
        let offset = reader.i64("fetch offset")?;
        if version >= 12 {
            reader.i32("last fetched epoch")?;
        }
        if version >= 5 {
            reader.i64("log start offset")?;
        }
        let bytes_max = reader.i32("partition max bytes")?;
        reader.tags()?;
        Ok(Self { index, offset, bytes_max })
    }

    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        if version >= 9 {
            writer.i32(-1);
        }
        writer.i64(self.offset);
        if version >= 12 {
            writer.i32(-1);
        }
        if version >= 5 {
            writer.i64(-1);
        }
        writer.i32(self.bytes_max);
        writer.tags();
    }
}

impl Response {
    /// Writes an answer, without copying larger batches.
    pub fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(0);
        if version >= 7 {
            writer.i16(self.error);
            // Session 0: the client is to send its whole list of partitions every time.
            writer.i32(0);
        }
        writer.array(&self.topics, |writer, topic| {
            writer.string(&topic.name);
            writer.array(&topic.partitions, |writer, partition| partition.encode(writer, version));
            writer.tags();
        });
        writer.tags();
    }

    /// Reads an answer.
    pub fn decode(version: i16, body: Bytes) -> Result<Self> {
        let mut reader = Reader::of_answer(body, Api::Fetch.is_flexible(version));
        reader.i32("throttle time")?;
        let mut error = 0;
        if version >= 7 {
            error = reader.i16("error code")?;
            reader.i32("session id")?;
        }
        let topics = reader.array("responses", 2, |reader| {
            let name = reader.string("name")?;
            let partitions = reader.array("partitions", 24, |reader| PartitionResult::decode(reader, version))?;
            reader.tags()?;
            Ok(TopicResult { name, partitions })
        })?;
        Ok(Self { error, topics })
    }
}

impl PartitionResult {
    fn encode(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        writer.i16(self.error);
        writer.i64(self.high_watermark);
        // The last stable offset: without transactions everything is stable.
        writer.i64(self.high_watermark);
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        writer.null_array();
        if version >= 11 {
            writer.i32(-1);
        }
        writer.bytes(self.batches.iter());
        writer.tags();
    }

    fn decode(reader: &mut Reader, version: i16) -> Result<Self> {
        let index = reader.i32("partition index")?;
        let error = reader.i16("error code")?;
        let high_watermark = reader.i64("high watermark")?;
        reader.i64("last stable offset")?;
        let log_start_offset = if version >= 5 { reader.i64("log start offset")? } else { -1 };
        reader.nullable_array("aborted transactions", 16, |reader| {
            reader.i64("producer id")?;
            reader.i64("first offset")?;
            reader.tags()
        })?;
        if version >= 11 {
            reader.i32("preferred read replica")?;
        }
        let records = reader.nullable_bytes("records")?;
        reader.tags()?;
        let batches = records.filter(|records| !records.is_empty()).into_iter().collect();
        Ok(Self { index, error, high_watermark, log_start_offset, batches })
    }
}
