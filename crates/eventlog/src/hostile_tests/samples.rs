//! Valid inputs of every decoder: what the changes begin with.

use std::collections::BTreeMap;

use bytes::BytesMut;
use model::{TopicName, TopicPartition};
use uuid::Uuid;

use crate::{
    CommittedOffset, Compression, Header, Record, RecordBatchBuilder, TopicSettings,
    checkpoint::{Checkpoint, PartitionCheckpoint, TopicCheckpoint},
    frame::{Change, Frame, FrameBuffer},
    groups::{GroupChange, Groups},
    log::Topic,
    producer_state::ProducerStates,
    record::BatchHeader,
    segment::SegmentExtent,
    wal::WalHeader,
};

pub(super) const SALT: u32 = 99;

/// A batch of each codec, an idempotent producer's, and two after another.
pub(super) fn batches() -> Vec<Vec<u8>> {
    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let header = Header { name: "h".into(), value: Some("header".into()) };
    let mut found: Vec<Vec<u8>> = Vec::new();
    for compression in ALL {
        let mut builder = RecordBatchBuilder::new(compression);
        builder.push(Record { timestamp_ms: 5, key: Some("key".into()), ..Record::default() });
        builder.push(Record { timestamp_ms: 9, value: Some(vec![7; 200].into()), ..Record::default() });
        builder.push(Record { timestamp_ms: 7, headers: vec![header.clone()], ..Record::default() });
        found.push(builder.build().to_vec());
    }
    let one = RecordBatchBuilder::default().push(Record::default()).producer(7, 0, 3).build();
    found.push([found[0].clone(), one.to_vec()].concat());
    found.push(one.to_vec());
    found
}

fn topic() -> Topic {
    let others = BTreeMap::from([("segment.bytes".to_owned(), "1000".to_owned())]);
    let settings = TopicSettings { retention_ms: Some(5), others, ..TopicSettings::default() };
    Topic { name: TopicName::new("t").unwrap(), id: Uuid::from_u128(3), partitions: 2, settings, owner: None }
}

fn committed() -> CommittedOffset {
    CommittedOffset { offset: 5, leader_epoch: 3, metadata: "note".to_owned() }
}

/// A change of every kind.
pub(super) fn changes() -> Vec<Change> {
    let offsets = vec![(Uuid::from_u128(3), 1, committed()), (Uuid::from_u128(3), 0, committed())];
    let group = || "group".to_owned();
    let plain = Topic { settings: TopicSettings::default(), ..topic() };
    vec![
        Change::Append {
            topic: Uuid::from_u128(3),
            partition: 1,
            arrival_time_ms: 17,
            batches: batches().remove(0).into(),
        },
        Change::CreateTopic(topic()),
        Change::CreateTopic(plain),
        Change::DeleteTopic(Uuid::from_u128(3)),
        Change::CommitOffsets { group: group(), committed_ms: None, offsets: offsets.clone() },
        Change::CommitOffsets { group: group(), committed_ms: Some(17), offsets },
        Change::DeleteGroup(group()),
        Change::Group(GroupChange::Members { group: group(), idle_since_ms: Some(3) }),
        Change::Group(GroupChange::Members { group: group(), idle_since_ms: None }),
        Change::Group(GroupChange::Expire { group: group(), until_ms: 4 }),
        Change::ProducerIds(1000),
    ]
}

/// A frame without the zeros behind it.
pub(super) fn frame(change: &Change) -> Vec<u8> {
    let mut buffer = FrameBuffer::new(SALT, 7, 5);
    buffer.push(change);
    let mut bytes = buffer.finish().0.to_vec();
    bytes.truncate(Frame::size_in(&bytes).unwrap());
    bytes
}

/// A file of the write-ahead log whose frames were synced one by one.
pub(super) fn wal_file() -> Vec<u8> {
    let mut bytes = BytesMut::from(&WalHeader { first_sequence: 1, salt: SALT }.to_bytes()[..]);
    for (sequence, change) in (1..).zip(changes()) {
        let mut buffer = FrameBuffer::new(SALT, sequence, sequence - 1);
        buffer.push(&change);
        bytes.extend_from_slice(&buffer.finish().0);
    }
    bytes.resize(bytes.len() + 64, 0);
    bytes.to_vec()
}

/// An empty one, and one that has everything.
pub(super) fn checkpoints() -> Vec<Vec<u8>> {
    let mut producers = ProducerStates::default();
    let batch = batches().pop().map(bytes::Bytes::from).unwrap();
    let _ = producers.remember(&BatchHeader::parse(&batch).unwrap(), 17, 10);
    let partition = PartitionCheckpoint {
        log_start_offset: 3,
        next_offset: 9,
        last_arrival_ms: 17,
        producers,
        segments: vec![SegmentExtent::empty(3), SegmentExtent::empty(6)],
    };
    let mut groups = Groups::default();
    let name = |index| TopicPartition::new(topic().name, index);
    groups.commit("a", Some(17), [(name(0), committed()), (name(1), committed())].into_iter());
    groups.commit("b", None, [(name(0), committed())].into_iter());
    let full = Checkpoint {
        sequence: 7,
        next_producer_id: 1000,
        topics: vec![TopicCheckpoint { topic: topic(), partitions: vec![partition, PartitionCheckpoint::default()] }],
        groups,
    };
    vec![Checkpoint::default().to_bytes(), full.to_bytes()]
}
