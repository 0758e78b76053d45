//! How much a commit needs, and that what is under way counts.

use eventlog::{EmbeddedLog, EventLogSettings, TopicSpec};
use model::{ManualClock, Metrics, TopicName};

use super::*;

fn offsets(notes: &[(i32, &str)]) -> Offsets {
    let offset = |(index, note): &(i32, &str)| {
        let partition = TopicPartition::new(TopicName::new("t").unwrap(), *index);
        (partition, CommittedOffset { offset: 1, leader_epoch: -1, metadata: (*note).to_owned() })
    };
    notes.iter().map(offset).collect()
}

#[test]
fn what_is_replaced_needs_no_room() {
    let before: BTreeMap<_, _> = offsets(&[(0, "1234"), (1, "")]).into_iter().collect();
    let check = |notes: &[(i32, &str)], (count, note_bytes)| {
        assert_eq!(growth(&before, &offsets(notes)), OffsetTotals { offsets: count, note_bytes }, "{notes:?}");
    };
    check(&[], (0, 0));
    check(&[(0, "1234"), (1, "")], (0, 0));
    check(&[(0, "12345")], (0, 1));
    check(&[(0, "1"), (1, "123")], (0, 0));
    check(&[(2, "12"), (3, "")], (2, 2));
    check(&[(2, "12"), (2, "1")], (1, 1));
}

#[tokio::test]
async fn what_is_under_way_counts_and_what_has_ended_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(ManualClock::at(0));
    let log = EmbeddedLog::open(directory.path(), EventLogSettings::shipped(), clock, Metrics::default());
    let log = log.await.unwrap();
    log.create_topic(TopicSpec::new(TopicName::new("t").unwrap(), 9)).await.unwrap();
    let settings = GroupSettings { offsets_max: 3, offset_notes_bytes_max: 10, ..GroupSettings::shipped() };
    let room = OffsetRoom::new(&settings);
    let one = room.take(&*log, "g", &offsets(&[(0, "12345"), (1, "")])).unwrap();
    assert!(room.take(&*log, "g", &offsets(&[(2, ""), (3, "")])).is_none(), "four offsets");
    assert!(room.take(&*log, "g", &offsets(&[(2, "123456")])).is_none(), "eleven bytes");
    let two = room.take(&*log, "g", &offsets(&[(2, "12345")])).unwrap();
    drop((one, two));
    room.commit(&*log, "g", offsets(&[(0, "1234567890"), (1, ""), (2, "")])).await.unwrap();
    assert_eq!(room.commit(&*log, "h", offsets(&[(0, "")])).await, Err(ErrorCode::PolicyViolation));
    assert_eq!(room.commit(&*log, "g", offsets(&[(1, "1")])).await, Err(ErrorCode::PolicyViolation));
    // Who has committed goes on, also where the limit is lower now.
    let lower = OffsetRoom::new(&GroupSettings { offsets_max: 1, offset_notes_bytes_max: 1, ..settings });
    for room in [&room, &lower] {
        room.commit(&*log, "g", offsets(&[(0, "1234567890"), (1, ""), (2, "")])).await.unwrap();
    }
    room.commit(&*log, "g", offsets(&[(0, "")])).await.unwrap();
    room.commit(&*log, "g", offsets(&[(1, "1234567890")])).await.unwrap();
    log.delete_group("g").await.unwrap();
    room.commit(&*log, "h", offsets(&[(0, "")])).await.unwrap();
}
