//! The checkpoint: everything the log knows up to one frame of the write-ahead log, in one file.
//!
//! ```text
//! magic 6 bytes | version u16 | body | CRC-32C of all before it u32
//! ```
//!
//! What must hold: the file is replaced in one step (written beside, synced, renamed, directory synced), so there is
//! always a whole one; everything it names was durable before it was written.

use std::path::Path;

use bytes::BufMut;
use model::{Offset, TopicName, TopicPartition};

use crate::{
    disk::Disk,
    fields::{Fields, put_text},
    frame::{
        put_committed_offset, put_idle_since, put_other_settings, put_topic, read_committed_offset, read_idle_since,
        read_other_settings, read_topic,
    },
    groups::{Group, Groups, TimedCommit},
    log::{Error, Result, Topic, io_error, sync_error},
    producer_state::ProducerStates,
    segment::SegmentExtent,
};

const MAGIC: [u8; 6] = *b"FF-CKP";
const VERSION: u16 = 3;
/// Before a topic had other settings.
const VERSION_WITHOUT_OTHERS: u16 = 1;
/// Before offsets had the time of their commit.
const VERSION_WITHOUT_TIMES: u16 = 2;
const FILE_NAME: &str = "checkpoint";
const SEGMENT_BYTES: usize = 80;

/// The state of the log after one frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoint {
    /// The last frame that is included; 0 for none.
    pub(crate) sequence: u64,
    /// Producer ids below this may have been given out.
    pub(crate) next_producer_id: i64,
    pub(crate) topics: Vec<TopicCheckpoint>,
    pub(crate) groups: Groups,
}

#[derive(Clone, Debug)]
pub(crate) struct TopicCheckpoint {
    pub(crate) topic: Topic,
    /// One for each partition.
    pub(crate) partitions: Vec<PartitionCheckpoint>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PartitionCheckpoint {
    pub(crate) log_start_offset: Offset,
    pub(crate) next_offset: Offset,
    pub(crate) last_arrival_ms: i64,
    pub(crate) producers: ProducerStates,
    pub(crate) segments: Vec<SegmentExtent>,
}

impl Checkpoint {
    /// The checkpoint in `directory`; `None` when there is none.
    pub(crate) fn load(disk: &dyn Disk, directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE_NAME);
        let names = disk.list(directory).map_err(io_error("list", directory))?;
        if !names.iter().any(|name| name == FILE_NAME) {
            return Ok(None);
        }
        let bytes = disk.read(&path).map_err(io_error("read", &path))?;
        Self::from_bytes(&bytes).map(Some).map_err(|reason| Error::corrupt(&path, 0, reason))
    }

    /// Replaces the checkpoint in `directory`.
    pub(crate) fn store(&self, disk: &dyn Disk, directory: &Path) -> Result<()> {
        let path = directory.join(FILE_NAME);
        let new = directory.join("checkpoint.new");
        let file = disk.create(&new).map_err(io_error("create", &new))?;
        file.write_all_at(&self.to_bytes(), 0).map_err(io_error("write", &new))?;
        file.sync().map_err(sync_error(&new))?;
        disk.rename(&new, &path).map_err(io_error("rename", &new))?;
        disk.sync_directory(directory).map_err(sync_error(directory))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_u64(self.sequence);
        out.put_i64(self.next_producer_id);
        put_count(&mut out, self.topics.len());
        for topic in &self.topics {
            put_topic(&mut out, &topic.topic);
            put_other_settings(&mut out, &topic.topic.settings.others);
            for partition in &topic.partitions {
                put_partition(&mut out, partition);
            }
        }
        put_count(&mut out, self.groups.len());
        for (name, group) in self.groups.iter() {
            put_text(&mut out, name);
            put_idle_since(&mut out, group.idle_since_ms);
            put_count(&mut out, group.offsets.len());
            for (partition, commit) in &group.offsets {
                put_text(&mut out, partition.topic.as_str());
                out.put_i32(partition.partition);
                out.put_i64(commit.committed_ms);
                put_committed_offset(&mut out, &commit.offset);
            }
        }
        out.put_u32(crc32c::crc32c(&out));
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (body, checksum) = bytes.split_last_chunk().ok_or("it is too short")?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
            return Err("its checksum is wrong".to_owned());
        }
        let mut fields = Fields::new(body);
        if fields.array()? != MAGIC {
            return Err("it is not a checkpoint".to_owned());
        }
        let version = u16::from_be_bytes(fields.array()?);
        if !(VERSION_WITHOUT_OTHERS..=VERSION).contains(&version) {
            return Err(format!("format version {version} is none that this program knows, which are up to {VERSION}"));
        }
        let (sequence, next_producer_id) = (fields.u64()?, fields.i64()?);
        let topics =
            (0..fields.count(1)?).map(|_| read_topic_checkpoint(&mut fields, version)).collect::<Result<_, _>>()?;
        let mut groups = Groups::default();
        for _ in 0..fields.count(8)? {
            let (name, group) = read_group(&mut fields, version)?;
            groups.insert(name, group);
        }
        fields.end()?;
        Ok(Self { sequence, next_producer_id, topics, groups })
    }
}

fn read_topic_checkpoint(fields: &mut Fields<'_>, version: u16) -> Result<TopicCheckpoint, String> {
    let mut topic = read_topic(fields)?;
    if version > VERSION_WITHOUT_OTHERS {
        topic.settings.others = read_other_settings(fields)?;
    }
    let partitions = (0..topic.partitions).map(|_| read_partition(fields)).collect::<Result<_, _>>()?;
    Ok(TopicCheckpoint { topic, partitions })
}

fn read_group(fields: &mut Fields<'_>, version: u16) -> Result<(String, Group), String> {
    let has_times = version > VERSION_WITHOUT_TIMES;
    let name = fields.text()?;
    let mut group = Group::default();
    if has_times {
        group.idle_since_ms = read_idle_since(fields)?;
    }
    for _ in 0..fields.count(24)? {
        let topic = TopicName::new(&fields.text()?).map_err(|error| error.to_string())?;
        let partition = TopicPartition::new(topic, fields.i32()?);
        let committed_ms = if has_times { fields.i64()? } else { 0 };
        let offset = read_committed_offset(fields)?;
        group.offsets.insert(partition, TimedCommit { offset, committed_ms });
    }
    Ok((name, group))
}

fn put_partition(out: &mut Vec<u8>, partition: &PartitionCheckpoint) {
    out.put_i64(partition.log_start_offset);
    out.put_i64(partition.next_offset);
    out.put_i64(partition.last_arrival_ms);
    partition.producers.put(out);
    put_count(out, partition.segments.len());
    for segment in &partition.segments {
        out.put_i64(segment.base_offset);
        out.put_i64(segment.next_offset);
        out.put_u64(segment.log_bytes);
        out.put_u64(segment.index_entries);
        out.put_u64(segment.time_index_entries);
        out.put_u64(segment.arrival_entries);
        out.put_i64(segment.max_timestamp_ms);
        out.put_i64(segment.max_timestamp_offset);
        out.put_i64(segment.first_arrival_ms);
        out.put_i64(segment.last_arrival_ms);
    }
}

fn read_partition(fields: &mut Fields<'_>) -> Result<PartitionCheckpoint, String> {
    let (log_start_offset, next_offset, last_arrival_ms) = (fields.i64()?, fields.i64()?, fields.i64()?);
    let producers = ProducerStates::read(fields)?;
    let mut segments = Vec::new();
    for _ in 0..fields.count(SEGMENT_BYTES)? {
        segments.push(SegmentExtent {
            base_offset: fields.i64()?,
            next_offset: fields.i64()?,
            log_bytes: fields.u64()?,
            index_entries: fields.u64()?,
            time_index_entries: fields.u64()?,
            arrival_entries: fields.u64()?,
            max_timestamp_ms: fields.i64()?,
            max_timestamp_offset: fields.i64()?,
            first_arrival_ms: fields.i64()?,
            last_arrival_ms: fields.i64()?,
        });
    }
    Ok(PartitionCheckpoint { log_start_offset, next_offset, last_arrival_ms, producers, segments })
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests;
