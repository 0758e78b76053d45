//! A frame: one change to the log's state, as it is written ahead.
//!
//! ```text
//! length u32 | checksum u32 | sequence u64 | durable sequence u64 | kind u8 | payload | zeros up to 8 bytes
//!            '- CRC-32C, begun with the file's salt, of the `length` bytes that follow it
//! ```
//!
//! The *durable sequence* says up to which frame everything was on disk when this one was written. It is what tells
//! a torn tail (nobody was promised the frame) from damage (a later frame proves that the bad one had been synced).
//! The salt makes it impossible to plant a frame inside a record: after damage, a scan for the next good frame must
//! not take a producer's bytes for one.
//!
//! What must hold: a frame is as long as its length says and passes its checksum, or it is not a frame.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
};

use bytes::{BufMut, Bytes, BytesMut};
use model::{Offset, TopicName};
use uuid::Uuid;

use crate::{
    fields::{Fields, put_text},
    groups::GroupChange,
    log::{CommittedOffset, Topic, TopicSettings},
    record::{BatchHeader, place},
};

/// Frames begin at multiples of this, so that a scan can find the next one after damage.
pub(crate) const FRAME_ALIGNMENT: usize = 8;
/// Everything before the payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 25;
/// Length and checksum: what the length does not count.
const FRAME_PREFIX_BYTES: usize = 8;

/// One log, one leader: the epoch never changes.
const LEADER_EPOCH: i32 = 0;

const KIND_APPEND: u8 = 1;
const KIND_CREATE_TOPIC: u8 = 2;
const KIND_DELETE_TOPIC: u8 = 3;
const KIND_COMMIT_OFFSETS: u8 = 4;
const KIND_DELETE_GROUP: u8 = 5;
const KIND_PRODUCER_IDS: u8 = 6;
/// As [`KIND_CREATE_TOPIC`], with other settings behind it.
const KIND_CREATE_TOPIC_WITH_OTHERS: u8 = 7;
/// As [`KIND_COMMIT_OFFSETS`], with the time behind the group.
const KIND_COMMIT_OFFSETS_AT: u8 = 8;
const KIND_GROUP_MEMBERS: u8 = 9;
const KIND_EXPIRE_OFFSETS: u8 = 10;

/// One change to the log's state.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Batches, complete and placed at their offsets, were appended to a partition.
    Append { topic: Uuid, partition: i32, arrival_time_ms: i64, batches: Bytes },
    /// A topic was created.
    CreateTopic(Topic),
    /// A topic was deleted.
    DeleteTopic(Uuid),
    /// A group committed offsets; in formats before the time was stored, nobody knows when.
    CommitOffsets { group: String, committed_ms: Option<i64>, offsets: Vec<(Uuid, i32, CommittedOffset)> },
    /// A group was forgotten.
    DeleteGroup(String),
    /// Something else became of a group.
    Group(GroupChange),
    /// Producer ids below this may have been given out.
    ProducerIds(i64),
}

/// Batches that are about to be appended.
pub(crate) struct NewAppend<'a> {
    pub(crate) topic: Uuid,
    pub(crate) partition: i32,
    pub(crate) arrival_time_ms: i64,
    pub(crate) base_offset: Offset,
    /// As the producer sent them, each with as many offsets as records.
    pub(crate) batches: &'a [(BatchHeader, Bytes)],
}

impl Change {
    fn kind(&self) -> u8 {
        match self {
            Self::Append { .. } => KIND_APPEND,
            Self::CreateTopic(topic) if topic.settings.others.is_empty() => KIND_CREATE_TOPIC,
            Self::CreateTopic(_) => KIND_CREATE_TOPIC_WITH_OTHERS,
            Self::DeleteTopic(_) => KIND_DELETE_TOPIC,
            Self::CommitOffsets { committed_ms: None, .. } => KIND_COMMIT_OFFSETS,
            Self::CommitOffsets { committed_ms: Some(_), .. } => KIND_COMMIT_OFFSETS_AT,
            Self::Group(GroupChange::Members { .. }) => KIND_GROUP_MEMBERS,
            Self::Group(GroupChange::Expire { .. }) => KIND_EXPIRE_OFFSETS,
            Self::DeleteGroup(_) => KIND_DELETE_GROUP,
            Self::ProducerIds(_) => KIND_PRODUCER_IDS,
        }
    }
}

/// A frame that passed its checksum.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) sequence: u64,
    pub(crate) durable_sequence: u64,
    /// Its size in the file, with the zeros that align the next one.
    pub(crate) size_bytes: usize,
    kind: u8,
    payload: Bytes,
}

impl Frame {
    /// Whether `bytes` could begin with a frame whose sequence is one of `sequences`: a cheap look.
    pub(crate) fn may_begin(bytes: &[u8], sequences: RangeInclusive<u64>) -> bool {
        let field = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk().copied());
        let (Some(sequence), Some(durable)) = (field(8).map(u64::from_be_bytes), field(16).map(u64::from_be_bytes))
        else {
            return false;
        };
        let kind = bytes.get(24).copied().unwrap_or(0);
        sequences.contains(&sequence) && durable < sequence && (KIND_APPEND..=KIND_EXPIRE_OFFSETS).contains(&kind)
    }

    /// How many bytes a frame takes that begins with `bytes`, without the zeros behind it; `None` when none can.
    pub(crate) fn size_in(bytes: &[u8]) -> Option<usize> {
        let length = usize::try_from(Fields::new(bytes).u32().ok()?).ok()?;
        FRAME_PREFIX_BYTES.checked_add(length).filter(|size| *size >= FRAME_HEADER_BYTES)
    }

    /// The frame at the beginning of `bytes`, if there is one.
    pub(crate) fn read(bytes: &Bytes, salt: u32) -> Option<Self> {
        let end = Self::size_in(bytes)?;
        let mut fields = Fields::new(bytes.get(4..)?);
        let checksum = fields.u32().ok()?;
        if crc32c::crc32c_append(salt, bytes.get(FRAME_PREFIX_BYTES..end)?) != checksum {
            return None;
        }
        Some(Self {
            sequence: fields.u64().ok()?,
            durable_sequence: fields.u64().ok()?,
            size_bytes: end.next_multiple_of(FRAME_ALIGNMENT),
            kind: fields.u8().ok()?,
            payload: bytes.slice(FRAME_HEADER_BYTES..end),
        })
    }

    /// What the frame says.
    pub(crate) fn change(&self) -> Result<Change, String> {
        let mut fields = Fields::new(&self.payload);
        let change = match self.kind {
            KIND_APPEND => {
                let (topic, partition, arrival_time_ms) = (fields.uuid()?, fields.i32()?, fields.i64()?);
                let batches = self.payload.slice_ref(fields.rest());
                return Ok(Change::Append { topic, partition, arrival_time_ms, batches });
            }
            KIND_CREATE_TOPIC => Change::CreateTopic(read_topic(&mut fields)?),
            KIND_CREATE_TOPIC_WITH_OTHERS => {
                let mut topic = read_topic(&mut fields)?;
                topic.settings.others = read_other_settings(&mut fields)?;
                Change::CreateTopic(topic)
            }
            KIND_DELETE_TOPIC => Change::DeleteTopic(fields.uuid()?),
            KIND_COMMIT_OFFSETS => Change::CommitOffsets {
                group: fields.text()?,
                committed_ms: None,
                offsets: read_committed_offsets(&mut fields)?,
            },
            KIND_COMMIT_OFFSETS_AT => Change::CommitOffsets {
                group: fields.text()?,
                committed_ms: Some(fields.i64()?),
                offsets: read_committed_offsets(&mut fields)?,
            },
            KIND_GROUP_MEMBERS => {
                let (group, idle_since_ms) = (fields.text()?, read_idle_since(&mut fields)?);
                Change::Group(GroupChange::Members { group, idle_since_ms })
            }
            KIND_EXPIRE_OFFSETS => {
                let (group, until_ms) = (fields.text()?, fields.i64()?);
                Change::Group(GroupChange::Expire { group, until_ms })
            }
            KIND_DELETE_GROUP => Change::DeleteGroup(fields.text()?),
            KIND_PRODUCER_IDS => Change::ProducerIds(fields.i64()?),
            kind => return Err(format!("there is no frame of kind {kind}")),
        };
        fields.end()?;
        Ok(change)
    }
}

/// Frames that are written and synced together.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    bytes: BytesMut,
    salt: u32,
    next_sequence: u64,
    durable_sequence: u64,
}

impl FrameBuffer {
    pub(crate) fn new(salt: u32, next_sequence: u64, durable_sequence: u64) -> Self {
        Self { bytes: BytesMut::new(), salt, next_sequence, durable_sequence }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an append and returns where in the buffer its batches went. They are placed one after the other from
    /// `base_offset` on.
    pub(crate) fn push_append(&mut self, append: &NewAppend<'_>) -> Vec<Range<usize>> {
        let start = self.open_frame(KIND_APPEND);
        self.bytes.reserve(append.batches.iter().map(|(_, batch)| batch.len()).sum::<usize>() + 64);
        self.bytes.put_slice(append.topic.as_bytes());
        self.bytes.put_i32(append.partition);
        self.bytes.put_i64(append.arrival_time_ms);
        let mut next_offset = append.base_offset;
        let mut ranges = Vec::with_capacity(append.batches.len());
        for (header, batch) in append.batches {
            let from = self.bytes.len();
            self.bytes.put_slice(batch);
            place(&mut self.bytes[from..], next_offset, LEADER_EPOCH);
            next_offset += i64::from(header.record_count);
            ranges.push(from..self.bytes.len());
        }
        self.close_frame(start);
        ranges
    }

    /// Adds a change that is not an append: those go through [`push_append`](Self::push_append).
    pub(crate) fn push(&mut self, change: &Change) {
        let start = self.open_frame(change.kind());
        let out = &mut self.bytes;
        match change {
            Change::Append { topic, partition, arrival_time_ms, batches } => {
                out.put_slice(topic.as_bytes());
                out.put_i32(*partition);
                out.put_i64(*arrival_time_ms);
                out.put_slice(batches);
            }
            Change::CreateTopic(topic) => {
                put_topic(out, topic);
                if !topic.settings.others.is_empty() {
                    put_other_settings(out, &topic.settings.others);
                }
            }
            Change::DeleteTopic(id) => out.put_slice(id.as_bytes()),
            Change::CommitOffsets { group, committed_ms, offsets } => {
                put_text(out, group);
                if let Some(committed_ms) = committed_ms {
                    out.put_i64(*committed_ms);
                }
                out.put_u32(u32::try_from(offsets.len()).unwrap_or(u32::MAX));
                for (topic, partition, committed) in offsets {
                    out.put_slice(topic.as_bytes());
                    out.put_i32(*partition);
                    put_committed_offset(out, committed);
                }
            }
            Change::DeleteGroup(group) => put_text(out, group),
            Change::Group(GroupChange::Members { group, idle_since_ms }) => {
                put_text(out, group);
                put_idle_since(out, *idle_since_ms);
            }
            Change::Group(GroupChange::Expire { group, until_ms }) => {
                put_text(out, group);
                out.put_i64(*until_ms);
            }
            Change::ProducerIds(next) => out.put_i64(*next),
        }
        self.close_frame(start);
    }

    fn open_frame(&mut self, kind: u8) -> usize {
        let start = self.bytes.len();
        self.bytes.put_u64(0); // Length and checksum, known at the end.
        self.bytes.put_u64(self.next_sequence);
        self.bytes.put_u64(self.durable_sequence);
        self.bytes.put_u8(kind);
        self.next_sequence += 1;
        start
    }

    fn close_frame(&mut self, start: usize) {
        let end = self.bytes.len();
        let body = start + FRAME_PREFIX_BYTES;
        let checksum = crc32c::crc32c_append(self.salt, &self.bytes[body..]);
        let length = u32::try_from(end - body).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.bytes[start + 4..body].copy_from_slice(&checksum.to_be_bytes());
        self.bytes.resize(end.next_multiple_of(FRAME_ALIGNMENT), 0);
    }

    /// The bytes to write, and the sequence of the frame that would come next.
    pub(crate) fn finish(self) -> (Bytes, u64) {
        (self.bytes.freeze(), self.next_sequence)
    }
}

/// Writes a topic with its settings, but for the others.
pub(crate) fn put_topic(out: &mut impl BufMut, topic: &Topic) {
    put_text(out, topic.name.as_str());
    out.put_slice(topic.id.as_bytes());
    out.put_i32(topic.partitions);
    out.put_i64(topic.settings.retention_ms.unwrap_or(-1));
    out.put_i64(topic.settings.retention_bytes.unwrap_or(-1));
    out.put_u32(topic.settings.message_bytes_max);
}

/// Reads what [`put_topic`] wrote.
pub(crate) fn read_topic(fields: &mut Fields<'_>) -> Result<Topic, String> {
    let name = TopicName::new(&fields.text()?).map_err(|error| error.to_string())?;
    let (id, partitions) = (fields.uuid()?, fields.i32()?);
    let limit = |value: i64| (value >= 0).then_some(value);
    let settings = TopicSettings {
        retention_ms: limit(fields.i64()?),
        retention_bytes: limit(fields.i64()?),
        message_bytes_max: fields.u32()?,
        others: BTreeMap::new(),
    };
    if partitions < 1 {
        return Err(format!("topic {name} has {partitions} partitions"));
    }
    Ok(Topic { name, id, partitions, settings, owner: None })
}

/// Writes the settings of a topic that change nothing here.
pub(crate) fn put_other_settings(out: &mut impl BufMut, others: &BTreeMap<String, String>) {
    out.put_u32(u32::try_from(others.len()).unwrap_or(u32::MAX));
    for (name, value) in others {
        put_text(out, name);
        put_text(out, value);
    }
}

/// Reads what [`put_other_settings`] wrote.
pub(crate) fn read_other_settings(fields: &mut Fields<'_>) -> Result<BTreeMap<String, String>, String> {
    (0..fields.count(8)?).map(|_| Ok((fields.text()?, fields.text()?))).collect()
}

/// Writes what a group committed for a partition.
pub(crate) fn put_committed_offset(out: &mut impl BufMut, committed: &CommittedOffset) {
    out.put_i64(committed.offset);
    out.put_i32(committed.leader_epoch);
    put_text(out, &committed.metadata);
}

/// Reads what [`put_committed_offset`] wrote.
pub(crate) fn read_committed_offset(fields: &mut Fields<'_>) -> Result<CommittedOffset, String> {
    Ok(CommittedOffset { offset: fields.i64()?, leader_epoch: fields.i32()?, metadata: fields.text()? })
}

fn read_committed_offsets(fields: &mut Fields<'_>) -> Result<Vec<(Uuid, i32, CommittedOffset)>, String> {
    let count = fields.count(36)?;
    (0..count).map(|_| Ok((fields.uuid()?, fields.i32()?, read_committed_offset(fields)?))).collect()
}

/// Writes since when a group has no members.
pub(crate) fn put_idle_since(out: &mut impl BufMut, idle_since_ms: Option<i64>) {
    out.put_u8(u8::from(idle_since_ms.is_none()));
    out.put_i64(idle_since_ms.unwrap_or(0));
}

/// Reads what [`put_idle_since`] wrote.
pub(crate) fn read_idle_since(fields: &mut Fields<'_>) -> Result<Option<i64>, String> {
    let (has_members, since_ms) = (fields.u8()? != 0, fields.i64()?);
    Ok((!has_members).then_some(since_ms))
}

#[cfg(test)]
mod tests;
