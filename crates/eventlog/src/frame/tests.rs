//! Frames as they were written and as they are.

use super::*;

#[test]
fn a_topic_is_read_as_it_was_written() {
    for others in [vec![], vec![("segment.bytes", "1000"), ("flush.ms", "1")]] {
        let others: BTreeMap<_, _> = others.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let kind = if others.is_empty() { KIND_CREATE_TOPIC } else { KIND_CREATE_TOPIC_WITH_OTHERS };
        let settings = TopicSettings { retention_ms: Some(5), others, ..TopicSettings::default() };
        let name = TopicName::new("t").unwrap();
        let topic = Topic { name, id: Uuid::from_u128(3), partitions: 2, settings: settings.clone(), owner: None };
        let mut buffer = FrameBuffer::new(1, 1, 0);
        buffer.push(&Change::CreateTopic(topic));
        let (bytes, _) = buffer.finish();
        assert!(Frame::may_begin(&bytes, 1..=1));
        let frame = Frame::read(&bytes, 1).unwrap();
        assert_eq!(frame.kind, kind, "a topic without them is written as it always was");
        let Change::CreateTopic(read) = frame.change().unwrap() else { panic!("it creates a topic") };
        assert_eq!((read.settings, read.partitions), (settings, 2));
    }
}

fn read(change: &Change) -> Frame {
    let mut buffer = FrameBuffer::new(1, 1, 0);
    buffer.push(change);
    let (bytes, _) = buffer.finish();
    assert!(Frame::may_begin(&bytes, 1..=1));
    Frame::read(&bytes, 1).unwrap()
}

#[test]
fn what_groups_commit_is_read_with_its_time_and_without() {
    let committed = CommittedOffset { offset: 5, leader_epoch: 3, metadata: "note".to_owned() };
    for (time_ms, kind) in [(None, KIND_COMMIT_OFFSETS), (Some(17), KIND_COMMIT_OFFSETS_AT)] {
        let offsets = vec![(Uuid::from_u128(3), 2, committed.clone())];
        let group = "g".to_owned();
        let frame = read(&Change::CommitOffsets { group, committed_ms: time_ms, offsets: offsets.clone() });
        assert_eq!(frame.kind, kind);
        let Change::CommitOffsets { group, committed_ms, offsets: found } = frame.change().unwrap() else {
            panic!("it commits offsets")
        };
        assert_eq!((group.as_str(), committed_ms, found), ("g", time_ms, offsets));
    }
}

#[test]
fn what_becomes_of_a_group_is_read_as_it_was_written() {
    let group = || "g".to_owned();
    for change in [
        GroupChange::Members { group: group(), idle_since_ms: None },
        GroupChange::Members { group: group(), idle_since_ms: Some(-7) },
        GroupChange::Expire { group: group(), until_ms: i64::MAX },
    ] {
        let Change::Group(found) = read(&Change::Group(change.clone())).change().unwrap() else {
            panic!("it changes a group")
        };
        assert_eq!(found, change);
    }
}
