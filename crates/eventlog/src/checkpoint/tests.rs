//! Checkpoints of earlier formats.

use model::TopicName;

use super::*;
use crate::log::CommittedOffset;

/// Byte for byte what version 1 wrote: one topic of one partition, and no groups.
#[test]
fn a_checkpoint_without_other_settings_is_read() {
    let mut out = Vec::new();
    out.put_slice(b"FF-CKP");
    out.put_u16(1);
    out.put_u64(42);
    out.put_i64(7);
    out.put_u32(1);
    put_text(&mut out, "flights");
    out.put_slice(&[9; 16]);
    out.put_i32(1);
    out.put_i64(1000);
    out.put_i64(-1);
    out.put_u32(500);
    put_partition(&mut out, &PartitionCheckpoint::default());
    out.put_u32(0);
    out.put_u32(crc32c::crc32c(&out));

    let mut read = Checkpoint::from_bytes(&out).unwrap();
    let topic = &mut read.topics[0].topic;
    assert_eq!((read.sequence, topic.name.clone()), (42, TopicName::new("flights").unwrap()));
    let settings = &mut topic.settings;
    assert_eq!((settings.retention_ms, settings.retention_bytes), (Some(1000), None));
    assert_eq!((settings.message_bytes_max, settings.others.len()), (500, 0));

    settings.others.insert("segment.ms".to_owned(), "5".to_owned());
    let again = Checkpoint::from_bytes(&read.to_bytes()).unwrap();
    assert_eq!(again.topics[0].topic.settings, read.topics[0].topic.settings);
}

/// Byte for byte what version 2 wrote: no topics, and one group of one offset.
#[test]
fn offsets_without_a_time_are_read_and_count_from_when_they_are_looked_at() {
    let mut out = Vec::new();
    out.put_slice(b"FF-CKP");
    out.put_u16(2);
    out.put_u64(42);
    out.put_i64(7);
    out.put_u32(0);
    out.put_u32(1);
    put_text(&mut out, "g");
    out.put_u32(1);
    put_text(&mut out, "flights");
    out.put_i32(3);
    let offset = CommittedOffset { offset: 17, leader_epoch: -1, metadata: "note".to_owned() };
    put_committed_offset(&mut out, &offset);
    out.put_u32(crc32c::crc32c(&out));

    let mut read = Checkpoint::from_bytes(&out).unwrap();
    let partition = TopicPartition::new(TopicName::new("flights").unwrap(), 3);
    let commit = TimedCommit { offset, committed_ms: 0 };
    let group = Group { idle_since_ms: None, offsets: [(partition, commit)].into() };
    assert_eq!(read.groups.get("g"), Some(&group));
    read.groups.insert("h".to_owned(), Group { idle_since_ms: Some(9), ..group });
    assert_eq!(Checkpoint::from_bytes(&read.to_bytes()).unwrap().groups, read.groups);
}

#[test]
fn a_checkpoint_of_a_later_format_is_refused() {
    let mut bytes = Checkpoint::default().to_bytes();
    bytes.truncate(bytes.len() - 4);
    bytes[7] += 1;
    bytes.put_u32(crc32c::crc32c(&bytes));
    let error = Checkpoint::from_bytes(&bytes).unwrap_err();
    assert!(error.contains("none that this program knows"), "{error}");
}
