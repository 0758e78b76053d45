//! Dead letters through restarts, readers that begin in the middle, failures and interruptions: each once.

use std::{collections::BTreeMap, sync::Arc};

use eventlog::{Acks, EmbeddedLog, EventLog, EventLogSettings, Record, TopicSettings, TopicSpec};
use futures::FutureExt;
use model::{Metrics, Positions, SystemClock, TopicName, TopicPartition};
use sql::SourceDefinition;

use super::{BATCH_BYTES, DeadLetters};
use crate::{
    ReaderSettings, SourceReader,
    source::{
        RejectedRecord,
        dead_letter::{Checked, Mark, Rejecter, class_of, encode, encode_without_value},
        dead_letter_topic,
        reason::{Reason, ReasonClass},
    },
    testing::{MemoryLog, batch, dead_letters, end_of, header, letters, record, source},
};

const SOURCE: &str = "CREATE SOURCE s (a INT) WITH (partitions = 2)";

fn topic_partition(partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new("s").unwrap(), partition)
}

async fn create(log: &Arc<dyn EventLog>) {
    log.create_topic(TopicSpec::new(TopicName::new("s").unwrap(), 2)).await.unwrap();
}

/// Appends `count` records to each partition, a few a batch; every fifth of partition 0 and third of partition 1 is bad.
async fn append(log: &Arc<dyn EventLog>, count: i64) {
    for (partition, bad) in [(0, 5), (1, 3)] {
        let first = log.bounds(&topic_partition(partition)).unwrap().high_watermark;
        let value = |offset: i64| if offset % bad == 0 { "bad".to_owned() } else { format!("{{\"a\": {offset}}}") };
        let records: Vec<Record> = (first..first + count).map(|offset| record("k", &value(offset))).collect();
        for some in records.chunks(4) {
            log.append(&topic_partition(partition), batch(some.to_vec()), Acks::Durable).await.unwrap();
        }
    }
}

/// A log with topic `s` and 60 records in each partition: 12 and 20 of them are bad.
async fn log_with_bad_records() -> (Arc<MemoryLog>, Arc<dyn EventLog>) {
    let memory = MemoryLog::new();
    let log: Arc<dyn EventLog> = Arc::clone(&memory) as _;
    create(&log).await;
    append(&log, 60).await;
    (memory, log)
}

fn open(
    log: &Arc<dyn EventLog>,
    dead_letters: &Arc<DeadLetters>,
    source: &SourceDefinition,
    from: [i64; 2],
) -> SourceReader {
    let from: Positions = [(topic_partition(0), from[0]), (topic_partition(1), from[1])].into_iter().collect();
    let settings = ReaderSettings { read_bytes_max: 1 };
    let until = Some(end_of(log.as_ref(), "s"));
    SourceReader::open(Arc::clone(log), Arc::clone(dead_letters), source, from, until, settings).unwrap()
}

async fn read_all(mut reader: SourceReader) {
    while reader.next().await.unwrap().is_some() {}
}

/// That partition 0 has `counts[0]` letters, partition 1 `counts[1]`, each about another bad record, from this source.
async fn check(log: &Arc<dyn EventLog>, source: &str, counts: [usize; 2]) {
    let mut letters = letters(log.as_ref(), "s").await;
    letters.retain(|letter| letter["ff_source"] == source);
    let mut offsets = BTreeMap::from([("0", Vec::new()), ("1", Vec::new())]);
    for letter in &letters {
        offsets.get_mut(letter["ff_partition"].as_str()).unwrap().push(letter["ff_offset"].parse::<i64>().unwrap());
    }
    for ((offsets, bad), count) in offsets.values_mut().zip([5, 3]).zip(counts) {
        offsets.sort_unstable();
        let before = offsets.len();
        offsets.dedup();
        assert_eq!((before, offsets.len()), (count, count), "{offsets:?}");
        assert!(offsets.iter().all(|offset| offset % bad == 0), "{offsets:?}");
    }
}

#[tokio::test]
async fn a_bad_record_is_kept_once_by_all_readers_through_restarts() {
    let (_, log) = log_with_bad_records().await;
    let source = source(SOURCE);
    for _ in 0..3 {
        let shared = dead_letters(&log);
        let readers = [[0, 0], [0, 0], [13, 40]].map(|from| open(&log, &shared, &source, from));
        futures::future::join_all(readers.map(read_all)).await;
        check(&log, "s", [12, 20]).await;
    }
    append(&log, 60).await;
    read_all(open(&log, &dead_letters(&log), &source, [57, 58])).await;
    check(&log, "s", [24, 40]).await;
}

#[tokio::test]
async fn a_reader_in_the_middle_does_not_speak_for_what_is_before_it() {
    let (_, log) = log_with_bad_records().await;
    let source = source(SOURCE);
    for restart in [false, true] {
        let shared = dead_letters(&log);
        read_all(open(&log, &shared, &source, [40, 30])).await;
        check(&log, "s", if restart { [12, 20] } else { [4, 10] }).await;
        let later = if restart { dead_letters(&log) } else { shared };
        read_all(open(&log, &later, &source, [0, 0])).await;
        check(&log, "s", [12, 20]).await;
    }
}

#[tokio::test]
async fn another_definition_and_another_topic_of_the_same_name_have_their_own_letters() {
    let (memory, log) = log_with_bad_records().await;
    let shared = dead_letters(&log);
    read_all(open(&log, &shared, &source(SOURCE), [0, 0])).await;
    // Another schema under the same name, and another name.
    let wider = source("CREATE SOURCE s (a INT, b TEXT) WITH (partitions = 2)");
    let other = source("CREATE SOURCE other (a INT) WITH (topic = 's', partitions = 2)");
    for _ in 0..2 {
        read_all(open(&log, &shared, &other, [0, 0])).await;
        check(&log, "other", [12, 20]).await;
        read_all(open(&log, &shared, &wider, [0, 0])).await;
        assert_eq!(letters(log.as_ref(), "s").await.len(), 3 * 32);
    }
    memory.delete_topic(&TopicName::new("s").unwrap()).await.unwrap();
    create(&log).await;
    append(&log, 60).await;
    for letters_of in [&shared, &dead_letters(&log)] {
        read_all(open(&log, letters_of, &source(SOURCE), [0, 0])).await;
        assert_eq!(letters(log.as_ref(), "s").await.len(), 4 * 32);
    }
    // Letters that are gone can be written again.
    memory.delete_topic(&TopicName::new("s.dead-letter").unwrap()).await.unwrap();
    for letters_of in [&shared, &dead_letters(&log)] {
        read_all(open(&log, letters_of, &source(SOURCE), [0, 0])).await;
        check(&log, "s", [12, 20]).await;
    }
}

#[tokio::test]
async fn an_append_that_fails_costs_no_letter_and_doubles_none() {
    let (memory, log) = log_with_bad_records().await;
    let shared = dead_letters(&log);
    let dead = TopicName::new("s.dead-letter").unwrap();
    let mut reader = open(&log, &shared, &source(SOURCE), [0, 0]);
    let mut failures = 0;
    loop {
        // Whether it was stored is not known to whoever appends.
        match failures % 3 {
            0 => memory.lose_answer(dead.clone()),
            1 => memory.refuse(Some(dead.clone())),
            _ => {}
        }
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => failures += 1,
        }
        if failures % 3 == 2 {
            memory.refuse(None);
            failures += 1;
        }
    }
    assert!(failures > 10, "{failures} failures");
    check(&log, "s", [12, 20]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_interrupted_while_a_letter_is_written_does_not_write_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let embedded =
        EmbeddedLog::open(directory.path(), EventLogSettings::shipped(), Arc::new(SystemClock), Metrics::default());
    let embedded = embedded.await.unwrap();
    let log: Arc<dyn EventLog> = Arc::clone(&embedded) as _;
    create(&log).await;
    append(&log, 60).await;
    let shared = dead_letters(&log);
    let mut reader = open(&log, &shared, &source(SOURCE), [0, 0]);
    let mut interrupted = 0;
    loop {
        match reader.next().now_or_never() {
            Some(read) => {
                if read.unwrap().is_none() {
                    break;
                }
            }
            None => {
                interrupted += 1;
                tokio::task::yield_now().await;
            }
        }
        if interrupted % 7 == 6 && reader.next().await.unwrap().is_none() {
            break;
        }
    }
    assert!(interrupted > 20, "{interrupted} interruptions");
    check(&log, "s", [12, 20]).await;
    embedded.close().await.unwrap();
}

#[tokio::test]
async fn letters_are_cut_to_what_the_topic_takes() {
    let (_, log) = log_with_bad_records().await;
    // Someone has made the topic, with little room.
    let settings = TopicSettings { message_bytes_max: 2_000, ..TopicSettings::default() };
    let spec = TopicSpec { name: TopicName::new("s.dead-letter").unwrap(), partitions: 1, settings };
    log.create_topic(spec).await.unwrap();
    let long = "x".repeat(3_000);
    log.append(&topic_partition(0), batch(vec![record("k", &long); 3]), Acks::Durable).await.unwrap();
    let records = vec![record("k", "bad"); BATCH_BYTES / 500];
    log.append(&topic_partition(1), batch(records.clone()), Acks::Durable).await.unwrap();
    let until = Some(end_of(log.as_ref(), "s"));
    let (letters_of, settings) = (dead_letters(&log), ReaderSettings::shipped());
    let source = source(SOURCE);
    let reader = SourceReader::open(Arc::clone(&log), letters_of, &source, Positions::new(), until, settings).unwrap();
    read_all(reader).await;
    let letters = letters(log.as_ref(), "s").await;
    assert_eq!(letters.len(), 12 + 20 + 3 + records.len());
    let cut: Vec<_> = letters.iter().filter(|letter| letter["ff_reason"].contains("3000 bytes is too large")).collect();
    assert_eq!(cut.len(), 3);
    assert!(cut.iter().all(|letter| letter["value"].is_empty()));
}

#[tokio::test]
async fn a_topic_that_takes_no_letters_stops_nobody() {
    let (_, log) = log_with_bad_records().await;
    let settings = TopicSettings { message_bytes_max: 100, ..TopicSettings::default() };
    let spec = TopicSpec { name: TopicName::new("s.dead-letter").unwrap(), partitions: 1, settings };
    log.create_topic(spec).await.unwrap();
    for _ in 0..2 {
        read_all(open(&log, &dead_letters(&log), &source(SOURCE), [0, 0])).await;
    }
    check(&log, "s", [0, 0]).await;
}

#[test]
fn every_topic_has_a_name_for_its_dead_letters() {
    for length in [1, 236, 237, 238, 248, 249] {
        let name = |last: char| TopicName::new(&format!("{}{last}", "t".repeat(length - 1))).unwrap();
        let (a, b) = (dead_letter_topic(&name('a')).unwrap(), dead_letter_topic(&name('b')).unwrap());
        assert!(a != b && a.as_str().ends_with(".dead-letter"), "{a}");
        assert!(a.as_str().starts_with(&"t".repeat((length - 1).min(220))), "{a}");
        assert_eq!(a, dead_letter_topic(&name('a')).unwrap());
        assert_eq!(a.as_str().len(), (length + 12).min(249));
    }
}

#[test]
fn a_letter_says_what_it_was_given_and_nothing_else_is_a_letter() {
    let checked = |by| Checked { by, topic_partition: topic_partition(1), topic_id: uuid::Uuid::from_u128(7) };
    let by_source = checked(Rejecter::Source { name: "s".to_owned(), decoder: "d".to_owned() });
    let by_view = checked(Rejecter::View { name: "v".to_owned(), plan: "p".to_owned() });
    let rejected = RejectedRecord {
        offset: 12,
        key: None,
        value: Some("{}".into()),
        headers: vec![header("ce_type", "x"), header("ff_view", "not ours")],
        reason: Reason::new(ReasonClass::Value, "é".repeat(2_000)),
    };
    let letter = encode(&by_source, 3, &rejected);
    assert_eq!(Mark::of(&letter), Some(Mark { checked: by_source.clone(), offsets: (3, 12) }));
    assert_eq!(letter.headers[..2], rejected.headers);
    assert!(letter.headers.iter().all(|header| header.value.as_ref().unwrap().len() < 2_100));
    // A letter about a letter is the outer one.
    let outer = encode(&by_view, 12, &RejectedRecord { headers: letter.headers.clone(), ..rejected.clone() });
    assert_eq!(Mark::of(&outer), Some(Mark { checked: by_view.clone(), offsets: (12, 12) }));
    let bare = encode_without_value(&by_view, 0, &rejected);
    assert_eq!(Mark::of(&bare), Some(Mark { checked: by_view, offsets: (0, 12) }));
    assert_eq!((bare.value, bare.headers.len()), (None, 9));
    assert_eq!(class_of(&letter), ReasonClass::Value);
    for i in 3..letter.headers.len() {
        let mut missing = letter.clone();
        missing.headers.remove(i);
        assert_eq!(Mark::of(&missing), None);
        let mut empty = letter.clone();
        empty.headers[i].value = None;
        assert_eq!(Mark::of(&empty), None);
    }
    for (first, last) in [("13", "12"), ("-1", "12"), ("a", "12"), ("0", "99999999999999999999")] {
        let mut wrong = letter.clone();
        wrong.headers[7].value = Some(last.into());
        wrong.headers[8].value = Some(first.into());
        assert_eq!(Mark::of(&wrong), None, "{first} to {last}");
    }
    assert_eq!(Mark::of(&record("k", "v")), None);
}
