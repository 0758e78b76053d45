//! The embedded log as its users see it.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use eventlog::{
    Acks, CommittedOffset, Compression, EmbeddedLog, Error, EventLog, EventLogSettings, Record, RecordBatchBuilder,
    TopicSettings, TopicSpec,
};
use model::{Clock, ManualClock, Metrics};
use support::*;
use tempfile::tempdir;

#[tokio::test]
async fn what_was_appended_is_read_back_before_and_after_a_restart() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let log = open(directory.path(), small()).await;
    create(&log, "t", 2).await;
    let mut expected = Vec::new();
    for i in 0..300_i64 {
        let (a, b) = (format!("a{i}"), format!("b{i}"));
        assert_eq!(append(&log, &p, &[&a, &b]).await, 2 * i);
        expected.extend([(2 * i, a), (2 * i + 1, b)]);
    }
    assert_eq!(values(&log, &p).await, expected);
    drop(log);
    let log = open(directory.path(), small()).await;
    assert_eq!(values(&log, &p).await, expected, "recovered");
    assert_eq!(log.bounds(&partition("t", 1)).unwrap().high_watermark, 0);
    log.close().await.unwrap();
    let log = open(directory.path(), small()).await;
    assert_eq!(values(&log, &p).await, expected, "closed and opened");
    assert_eq!(append(&log, &p, &["next"]).await, 600);
}

#[tokio::test]
async fn a_second_log_on_the_directory_is_refused() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), small()).await;
    let again = || {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        EmbeddedLog::open(directory.path(), small(), clock, Metrics::default())
    };
    assert!(matches!(again().await.err(), Some(Error::DirectoryInUse(_))));
    drop(log);
    assert!(again().await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_that_a_topic_exists_finds_it() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), small()).await;
    for round in 0..20 {
        let name = format!("t{round}");
        let create = |_| {
            let (log, spec) = (Arc::clone(&log), TopicSpec::new(topic(&name), 1));
            tokio::spawn(async move {
                let found = |log: &EmbeddedLog| log.topic(&format!("t{round}")).is_some();
                match log.create_topic(spec).await {
                    Ok(_) => (true, found(&log)),
                    Err(Error::TopicExists(_)) => (false, found(&log)),
                    Err(error) => panic!("{error}"),
                }
            })
        };
        let creations: Vec<_> = (0..4).map(create).collect();
        let mut created = 0;
        for creation in creations {
            let (mine, found) = creation.await.unwrap();
            created += i32::from(mine);
            assert!(found, "round {round}");
        }
        assert_eq!(created, 1);
    }
}

#[tokio::test]
async fn topics_are_created_once_and_deleted_with_their_records_and_offsets() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let log = open(directory.path(), small()).await;
    create(&log, "t", 1).await;
    let first_id = log.topic("t").unwrap().id;
    let again = log.create_topic(TopicSpec::new(topic("t"), 1)).await;
    assert!(matches!(again, Err(Error::TopicExists(_))));
    let none = log.create_topic(TopicSpec::new(topic("u"), 0)).await;
    assert!(matches!(none, Err(Error::PartitionCount(0))));
    append(&log, &p, &["old"]).await;
    let committed = CommittedOffset { offset: 1, leader_epoch: -1, metadata: "m".to_owned() };
    log.commit_offsets("g", vec![(p.clone(), committed)]).await.unwrap();
    let mut watch = log.watch(&p).unwrap();
    watch.mark_unchanged();
    log.delete_topic(&topic("t")).await.unwrap();
    assert!(watch.changed().await.is_err(), "whoever watches learns that the topic is gone");
    assert!(matches!(log.read(&p, 0, 1).await, Err(Error::UnknownPartition(_))));
    assert!(matches!(log.append(&p, batch(&["x"]), Acks::Durable).await, Err(Error::UnknownPartition(_))));
    assert!(log.groups().is_empty());
    create(&log, "t", 1).await;
    assert_ne!(log.topic("t").unwrap().id, first_id);
    append(&log, &p, &["new"]).await;
    drop(log);
    let log = open(directory.path(), small()).await;
    assert_eq!(values(&log, &p).await, [(0, "new".to_owned())]);
    assert!(log.groups().is_empty());
    log.close().await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join("topics")).unwrap().count(), 1, "the old files are gone");
}

#[tokio::test]
async fn offsets_of_groups_survive() {
    let directory = tempdir().unwrap();
    let p = partition("t", 1);
    let commit = |offset| CommittedOffset { offset, leader_epoch: 3, metadata: "note".to_owned() };
    let log = open(directory.path(), small()).await;
    create(&log, "t", 2).await;
    let unknown = log.commit_offsets("g", vec![(partition("none", 0), commit(1))]).await;
    assert!(matches!(unknown, Err(Error::UnknownPartition(_))));
    log.commit_offsets("g", vec![(p.clone(), commit(1))]).await.unwrap();
    log.commit_offsets("h", vec![(p.clone(), commit(7))]).await.unwrap();
    log.commit_offsets("g", vec![(p.clone(), commit(2))]).await.unwrap();
    log.delete_group("h").await.unwrap();
    drop(log);
    for _ in 0..3 {
        let log = open(directory.path(), small()).await;
        assert_eq!(log.groups(), ["g"]);
        assert_eq!(log.committed_offsets("g").into_iter().collect::<Vec<_>>(), [(p.clone(), commit(2))]);
        assert!(log.committed_offsets("h").is_empty());
        log.close().await.unwrap();
    }
}

#[tokio::test]
async fn acks_and_bounds() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let log = open(directory.path(), EventLogSettings::shipped()).await;
    create(&log, "t", 1).await;
    let written = log.append(&p, batch(&["w"]), Acks::Written).await.unwrap();
    assert_eq!((written.base_offset, written.next_offset, written.duplicate), (0, 1, false));
    log.append(&p, batch(&["q"]), Acks::Queued).await.unwrap();
    assert_eq!(append(&log, &p, &["d"]).await, 2, "in the order in which they were queued");
    let mut watch = log.watch(&p).unwrap();
    assert_eq!(*watch.borrow_and_update(), 3);
    let read = log.read(&p, 1, 1).await.unwrap();
    assert_eq!(read.batches.len(), 1, "at least one batch");
    assert_eq!((read.bounds.log_start_offset, read.bounds.high_watermark), (0, 3));
    assert!(log.read(&p, 3, 100).await.unwrap().batches.is_empty());
    for offset in [-1, 4] {
        let error = log.read(&p, offset, 100).await.unwrap_err();
        assert!(matches!(error, Error::OffsetOutOfRange { start: 0, end: 3, .. }), "{error}");
    }
    log.close().await.unwrap();
    assert!(matches!(log.append(&p, batch(&["x"]), Acks::Durable).await, Err(Error::Stopped(_))));
    assert_eq!(values(&log, &p).await.len(), 3, "a closed log can be read");
}

#[tokio::test]
async fn a_read_inside_a_batch_returns_the_whole_batch() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let log = open(directory.path(), small()).await;
    create(&log, "t", 1).await;
    let values: Vec<String> = (0..10).map(|i| format!("value {i}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    for _ in 0..50 {
        append(&log, &p, &values).await;
    }
    for from in 0..500 {
        let read = log.read(&p, from, 1).await.unwrap();
        assert_eq!((read.batches.len(), read.batches[0].base_offset()), (1, from / 10 * 10));
    }
}

#[tokio::test]
async fn a_batch_that_does_not_fit_in_a_read_is_not_jumped_over() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    // Segments of two batches, and nothing in memory.
    let settings = EventLogSettings { segment_bytes: 2_300, tail_cache_bytes_max: 0, ..small() };
    let log = open(directory.path(), settings.clone()).await;
    create(&log, "t", 1).await;
    let (short, long) = ("s".repeat(100), "l".repeat(2_000));
    for value in [&short, &long].repeat(4) {
        append(&log, &p, &[value]).await;
    }
    log.close().await.unwrap();
    let log = open(directory.path(), settings).await;
    for from in 0..8 {
        for bytes_max in [0, 300, 2_200, 2_500, 5_000, 100_000] {
            let read = log.read(&p, from, bytes_max).await.unwrap();
            let offsets: Vec<_> = read.batches.iter().map(|batch| batch.base_offset()).collect();
            assert_eq!(
                offsets,
                (from..from + offsets.len() as i64).collect::<Vec<_>>(),
                "{bytes_max} bytes from {from}"
            );
            assert!(!offsets.is_empty());
        }
    }
}

#[tokio::test]
async fn several_batches_are_appended_as_a_whole() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let log = open(directory.path(), small()).await;
    create(&log, "t", 1).await;
    let both = Bytes::from([&batch(&["a", "b"])[..], &batch(&["c"])[..]].concat());
    let appended = log.append(&p, both, Acks::Durable).await.unwrap();
    assert_eq!((appended.base_offset, appended.next_offset), (0, 3));
    let expected: Vec<_> = ["a", "b", "c"].iter().enumerate().map(|(i, v)| (i as i64, (*v).to_owned())).collect();
    assert_eq!(values(&log, &p).await, expected);
}

#[tokio::test]
async fn what_is_enqueued_has_its_place_whoever_waits_for_it() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), EventLogSettings { queue_bytes_max: 1000, ..small() }).await;
    create(&log, "t", 1).await;
    let p = partition("t", 0);
    let (mut enqueued, mut last) = (Vec::new(), None);
    for round in 0..200 {
        // Some fill the queue, so that those behind them have to wait for room; nobody waits for most of the answers.
        let value = format!("{round}");
        let padding = "x".repeat(if round % 3 == 0 { 900 } else { 20 });
        let compressed = round % 5 == 0;
        let mut builder = RecordBatchBuilder::new(if compressed { Compression::Zstd } else { Compression::None });
        builder.push(Record { value: Some(value.clone().into()), ..Record::default() });
        builder.push(Record { value: Some(padding.into()), ..Record::default() });
        last = Some(log.enqueue(&p, builder.build(), Acks::Durable).await.unwrap());
        enqueued.push(value);
    }
    assert_eq!(last.unwrap().await.unwrap().next_offset, 400);
    let stored = values(&log, &p).await.into_iter().map(|(_, value)| value).filter(|value| !value.starts_with('x'));
    assert_eq!(stored.collect::<Vec<_>>(), enqueued);
}

#[tokio::test]
async fn what_is_not_a_good_batch_is_refused() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let log = open(directory.path(), small()).await;
    let settings = TopicSettings { message_bytes_max: 1000, ..TopicSettings::default() };
    log.create_topic(TopicSpec { name: topic("t"), partitions: 1, settings }).await.unwrap();
    let good = batch(&["value", "value"]);
    // Changes a batch and mends its checksum.
    let change = |batch: &[u8], at: usize, bytes: &[u8]| {
        let mut changed = batch.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32c::crc32c(&changed[21..]);
        changed[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(changed)
    };
    let changed = |at: usize, bytes: &[u8]| change(&good, at, bytes);
    let counting = |batch: &[u8], count: i32| {
        let counted = change(batch, 57, &count.to_be_bytes());
        change(&counted, 23, &(count - 1).to_be_bytes())
    };
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let idempotent = producer_batch(&["v"], 1, 0, 0);
    for (bad, reason) in [
        (Bytes::new(), "no record batch"),
        (changed(16, &[1]), "v1 is not supported"),
        (changed(57, &0_i32.to_be_bytes()), "0 records cannot"),
        (changed(23, &5_i32.to_be_bytes()), "2 records cannot have a last offset delta of 5"),
        (counting(&good, 1), "there are bytes after the last record"),
        (counting(&good, 3), "record 2: a number does not end"),
        (changed(64, &[2]), "record 0: its offset delta is 1, not 0"),
        (changed(61 + 12 + 3, &[0]), "record 1: its offset delta is 0, not 1"),
        (changed(61 + 12 + 3, &[4]), "record 1: its offset delta is 2, not 1"),
        (changed(65, &[3]), "record 0: its key's length is -2"),
        (changed(61, &[1]), "record 0: its length is -1"),
        (changed(66, &[8]), "record 0: its header count is -51"),
        (changed(27, &i64::MAX.to_be_bytes()), "its base timestamp: a timestamp of 9223372036854775807"),
        (changed(35, &i64::MIN.to_be_bytes()), "its largest timestamp: a timestamp of -9223372036854775808"),
        (changed(21, &(1_i16 << 3).to_be_bytes()), "timestamps are the log's"),
        (changed(21, &1_i16.to_be_bytes()), "the records cannot be decompressed"),
        (changed(21, &2_i16.to_be_bytes()), "snappy"),
        (changed(21, &3_i16.to_be_bytes()), "the records cannot be decompressed"),
        (changed(21, &4_i16.to_be_bytes()), "the records cannot be decompressed"),
        (counting(&good, i32::MAX), "2147483647 records do not fit in"),
        (counting(&changed(21, &4_i16.to_be_bytes()), i32::MAX), "2147483647 records do not fit in 67108864 bytes"),
        (changed(61, &[0x7e]), "record 0: it is shorter than its length"),
        (changed(21, &(1_i16 << 5).to_be_bytes()), "control batch"),
        (changed(21, &(1_i16 << 4).to_be_bytes()), "transactions are not supported"),
        (changed(21, &6_i16.to_be_bytes()), "no compression codec 6"),
        (changed(43, &9_i64.to_be_bytes()), "producer 9 sent epoch -1"),
        (Bytes::from([&idempotent[..], &idempotent[..]].concat()), "must come alone"),
    ] {
        let error = log.append(&p, bad, Acks::Durable).await.unwrap_err();
        assert!(matches!(error, Error::InvalidBatch { .. }) && error.to_string().contains(reason), "{error}");
    }
    for (damaged, reason) in [(good.slice(..70), "cut short"), (Bytes::from(flipped), "the checksum is wrong")] {
        let error = log.append(&p, damaged, Acks::Durable).await.unwrap_err();
        assert!(matches!(error, Error::DamagedBatch { .. }) && error.to_string().contains(reason), "{error}");
    }
    let error = log.append(&p, batch(&["x".repeat(1000).as_str()]), Acks::Durable).await.unwrap_err();
    assert!(matches!(error, Error::BatchTooLarge { bytes_max: 1000, .. }), "{error}");
    assert_eq!(append(&log, &p, &["good"]).await, 0);
}

#[tokio::test]
async fn arrival_times_are_stored_and_do_not_decrease() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let clock = Arc::new(ManualClock::at(50));
    let open = || {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        EmbeddedLog::open(directory.path(), small(), clock, Metrics::default())
    };
    let log = open().await.unwrap();
    create(&log, "t", 1).await;
    let mut expected = Vec::new();
    for (i, now) in [50, 60, 40, 40, 61].into_iter().cycle().take(200).enumerate() {
        clock.set(now + if i >= 100 { 100 } else { 0 });
        append(&log, &p, &["v"]).await;
        let last = expected.last().copied().unwrap_or(0);
        expected.push(clock.now_ms().max(last));
    }
    async fn arrivals(log: &EmbeddedLog) -> Vec<i64> {
        let mut arrivals = Vec::new();
        while let Some(found) =
            log.read(&partition("t", 0), arrivals.len() as i64, 300).await.ok().filter(|f| !f.batches.is_empty())
        {
            arrivals.extend(found.batches.iter().map(|batch| batch.arrival_time_ms));
        }
        arrivals
    }
    assert_eq!(arrivals(&log).await, expected);
    drop(log);
    let log = open().await.unwrap();
    assert_eq!(arrivals(&log).await, expected);
    log.close().await.unwrap();
    let log = open().await.unwrap();
    assert_eq!(arrivals(&log).await, expected);
    clock.set(0);
    assert_eq!(log.append(&p, batch(&["v"]), Acks::Durable).await.unwrap().arrival_time_ms, 161);
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let log = open(directory.path(), small()).await;
    create(&log, "t", 1).await;
    assert_eq!(log.offset_at_time(&p, 0).await.unwrap(), None);
    // Mostly rising, with stragglers.
    let times: Vec<i64> = (0..400).map(|i| if i % 7 == 3 { i * 10 - 500 } else { i * 10 }).collect();
    for time in &times {
        log.append(&p, batch_at(&["v"], *time), Acks::Durable).await.unwrap();
    }
    let log = {
        drop(log);
        open(directory.path(), small()).await
    };
    for target in (-600..4_100).step_by(5) {
        let expected = times.iter().position(|time| *time >= target).map(|i| (i as i64, times[i]));
        let found = log.offset_at_time(&p, target).await.unwrap().map(|found| (found.offset, found.timestamp_ms));
        assert_eq!(found, expected, "at {target}");
    }
}

#[tokio::test]
async fn settings_that_change_nothing_are_kept_through_the_write_ahead_log_and_checkpoints() {
    let directory = tempdir().unwrap();
    let others = [("segment.bytes", "1000000"), ("min.insync.replicas", "2")];
    let others = others.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    let settings = TopicSettings { retention_ms: Some(7), others, ..TopicSettings::default() };
    let mut log = open(directory.path(), EventLogSettings::shipped()).await;
    log.create_topic(TopicSpec { name: topic("t"), partitions: 3, settings: settings.clone() }).await.unwrap();
    log.create_topic(TopicSpec::new(topic("plain"), 1)).await.unwrap();
    // Without a checkpoint, then from one, then from what that left.
    for closes in [false, true, true] {
        assert_eq!(log.topic("t").unwrap().settings, settings);
        if closes {
            log.close().await.unwrap();
        }
        drop(log);
        log = open(directory.path(), EventLogSettings::shipped()).await;
    }
    assert_eq!(log.topic("t").unwrap().settings, settings);
    assert_eq!(log.topic("plain").unwrap().settings, TopicSettings::default());
}

#[tokio::test]
async fn a_topic_is_not_promised_larger_batches_than_the_log_takes() {
    let directory = tempdir().unwrap();
    let log =
        open(directory.path(), EventLogSettings { append_bytes_max: 2_000_000, ..EventLogSettings::shipped() }).await;
    let spec = |name: &str, message_bytes_max| TopicSpec {
        settings: TopicSettings { message_bytes_max, ..TopicSettings::default() },
        ..TopicSpec::new(topic(name), 1)
    };
    for refused in [log.check_topic(&spec("t", 2_000_001)), log.create_topic(spec("t", 2_000_001)).await.map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::TopicSettings { .. }), "{error}");
        assert!(error.to_string().contains("2000001 bytes (max.message.bytes) are more than the log takes at once"));
    }
    log.check_topic(&spec("t", 2_000_000)).unwrap();
    assert!(log.topic("t").is_none(), "checking creates nothing");
    log.create_topic(spec("t", 2_000_000)).await.unwrap();
    assert!(matches!(log.check_topic(&spec("t", 2_000_001)).unwrap_err(), Error::TopicExists(_)), "that comes first");
}

#[tokio::test]
async fn old_records_are_deleted_by_size_and_by_time() {
    let by_size = TopicSettings { retention_bytes: Some(20_000), ..TopicSettings::default() };
    let by_time = TopicSettings { retention_ms: Some(100), ..TopicSettings::default() };
    for settings in [by_size, by_time] {
        let directory = tempdir().unwrap();
        let p = partition("t", 0);
        let clock = Arc::new(ManualClock::at(1_000));
        let log = EmbeddedLog::open(directory.path(), small(), Arc::<ManualClock>::clone(&clock), Metrics::default())
            .await
            .unwrap();
        log.create_topic(TopicSpec { name: topic("t"), partitions: 1, settings }).await.unwrap();
        for i in 0..500 {
            clock.set(1_000 + i);
            append(&log, &p, &["a value that takes some bytes, so that there is something to delete"]).await;
        }
        let mut start = 0;
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..1_000 {
            start = log.bounds(&p).unwrap().log_start_offset;
            if start > 100 {
                break;
            }
            looks.tick().await;
        }
        assert!(start > 100, "the log begins at {start}");
        assert!(matches!(log.read(&p, 0, 1).await, Err(Error::OffsetOutOfRange { .. })));
        log.close().await.unwrap();
        let start = log.bounds(&p).unwrap().log_start_offset;
        let log = open(directory.path(), small()).await;
        assert_eq!(log.bounds(&p).unwrap().log_start_offset, start);
        assert_eq!(values(&log, &p).await.first().map(|(offset, _)| *offset), Some(start).filter(|start| *start < 500));
        assert_eq!(append(&log, &p, &["next"]).await, 500);
    }
}

#[tokio::test]
async fn producer_ids_are_never_given_out_twice() {
    let directory = tempdir().unwrap();
    let mut last = -1;
    for close in [false, true, false, true] {
        let log = open(directory.path(), small()).await;
        for _ in 0..1_500 {
            let id = log.new_producer_id().await.unwrap();
            assert!(id > last);
            last = id;
        }
        if close {
            log.close().await.unwrap();
        }
    }
}
