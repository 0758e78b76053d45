//! What an operator, a script or a bad disk may do to the log's directory, and what the log says to it.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use eventlog::{Acks, DamagedPart, EmbeddedLog, Error, EventLog, EventLogSettings, Result, TopicSettings, TopicSpec};
use model::{Clock, ManualClock, Metrics, TopicPartition};
use support::*;
use tempfile::tempdir;

async fn try_open(directory: &Path, metrics: &Metrics) -> Result<Arc<EmbeddedLog>> {
    EmbeddedLog::open(directory, small(), Arc::new(ManualClock::at(1_000)), metrics.clone()).await
}

async fn write(directory: &Path, appends: i64, close: bool) {
    // Many files of the write-ahead log, and no checkpoint before the end.
    let settings = EventLogSettings { checkpoint_wal_bytes: 1 << 30, ..small() };
    let log = open(directory, settings).await;
    create(&log, "t", 1).await;
    for i in 0..appends {
        append(&log, &partition("t", 0), &[&format!("v{i}")]).await;
    }
    if close {
        log.close().await.unwrap();
    }
}

/// The file with this end that comes first, last or in between: `part` of the way.
fn file(directory: &Path, end: &str, part: f64) -> PathBuf {
    let mut found = Vec::new();
    let mut rest = vec![directory.to_owned()];
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found.swap_remove(((found.len() - 1) as f64 * part) as usize)
}

#[tokio::test]
async fn a_directory_where_a_file_should_be_is_named_and_nothing_is_lost() {
    let written = tempdir().unwrap();
    write(written.path(), 300, true).await;
    for (end, part) in [("lock", 0.0), ("checkpoint", 0.0), (".wal", 0.0), (".index", 0.5), (".arrivals", 0.5)] {
        let copied = tempdir().unwrap();
        copy(written.path(), copied.path());
        let path = file(copied.path(), end, part);
        let aside = path.with_extension("aside");
        let aside = copied.path().join(aside.file_name().unwrap());
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        let error = try_open(copied.path(), &Metrics::default()).await.err().unwrap();
        assert!(matches!(error, Error::Io { .. }), "{end}: {error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{end}: {error}");
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        let log = open(copied.path(), small()).await;
        assert_eq!(values(&log, &partition("t", 0)).await.len(), 300, "{end}");
    }
}

/// What can be read from the beginning on, and the error at which that ends.
async fn readable(log: &EmbeddedLog, partition: &TopicPartition) -> (i64, Option<Error>) {
    let mut from = 0;
    loop {
        match log.read(partition, from, 700).await {
            Ok(read) if read.batches.is_empty() => return (from, None),
            Ok(read) => from = read.batches.last().unwrap().next_offset(),
            Err(error) => return (from, Some(error)),
        }
    }
}

#[tokio::test]
async fn a_partition_that_lacks_records_is_set_apart_and_whole_again_when_they_are_put_back() {
    let directory = tempdir().unwrap();
    write(directory.path(), 300, true).await;
    let log = open(directory.path(), small()).await;
    create(&log, "u", 1).await;
    append(&log, &partition("u", 0), &["u0"]).await;
    log.close().await.unwrap();
    let (p, u) = (partition("t", 0), partition("u", 0));
    let logs: Vec<_> = {
        let topic = file(directory.path(), ".index", 0.0).parent().unwrap().to_owned();
        let mut logs: Vec<_> = fs::read_dir(topic).unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.retain(|path| path.extension().is_some_and(|kind| kind == "log"));
        logs.sort();
        logs
    };
    assert!(logs.len() > 2);
    // In the first, one between, and the last: a part is there, nothing is, or no file.
    let whole = |path: &Path| fs::read(path).unwrap();
    for path in [&logs[0], &logs[1], &logs[logs.len() - 1]] {
        for part in [None, Some(0.0), Some(0.5), Some(0.99)] {
            let copied = tempdir().unwrap();
            copy(directory.path(), copied.path());
            let path = copied.path().join(path.strip_prefix(directory.path()).unwrap());
            let bytes = whole(&path);
            let what = format!("{} {part:?}", path.display());
            match part {
                None => fs::remove_file(&path).unwrap(),
                Some(part) => fs::write(&path, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap(),
            }
            // Twice: what is stored on the way must not forget what is missing.
            for round in 0..2 {
                let log = try_open(copied.path(), &Metrics::default()).await.unwrap();
                let damage = log.damage();
                assert_eq!(damage.len(), 1, "{what}: {damage:?}");
                assert_eq!((damage[0].part, damage[0].partition.as_ref()), (DamagedPart::Records, Some(&p)), "{what}");
                assert_eq!(damage[0].file, path.display().to_string(), "{what}");
                let (end, error) = readable(&log, &p).await;
                let Some(Error::Corrupt { records: Some((partition, offset)), .. }) = error else {
                    panic!("{what}: {error:?}")
                };
                assert_eq!((partition, offset), (p.clone(), end), "{what}");
                let refused = log.append(&p, batch(&["more"]), Acks::Durable).await;
                assert!(matches!(refused, Err(Error::Quarantined { .. })), "{what}: {refused:?}");
                assert_eq!(append(&log, &u, &["more"]).await, 1 + round, "{what}: the other partition goes on");
                log.close().await.unwrap();
            }
            let left = fs::read(&path).unwrap_or_default();
            assert!(bytes.starts_with(&left) && left.len() < bytes.len(), "{what}: what was left is as it was");
            fs::write(&path, &bytes).unwrap();
            let log = open(copied.path(), small()).await;
            assert!(log.damage().is_empty(), "{what}");
            assert_eq!(values(&log, &p).await.len(), 300, "{what}");
            assert_eq!(append(&log, &p, &["next"]).await, 300, "{what}");
            assert_eq!(values(&log, &u).await.len(), 3, "{what}");
        }
    }
}

#[tokio::test]
async fn records_after_the_checkpoint_are_kept_for_a_partition_that_is_set_apart() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    write(directory.path(), 50, true).await;
    let log = open(directory.path(), small()).await;
    for i in 50..60 {
        append(&log, &p, &[&format!("v{i}")]).await;
    }
    drop(log);
    let path = file(directory.path(), ".log", 0.0);
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let log = open(directory.path(), small()).await;
    assert_eq!(readable(&log, &p).await.0, 0);
    let behind = log.read(&p, 50, 10_000).await.unwrap();
    assert_eq!(behind.batches.len(), 10, "what the write-ahead log has is there");
    log.close().await.unwrap();
    fs::write(&path, &bytes).unwrap();
    let log = open(directory.path(), small()).await;
    let expected: Vec<_> = (0..60).map(|i| (i, format!("v{i}"))).collect();
    assert_eq!(values(&log, &p).await, expected);
    assert_eq!(append(&log, &p, &["next"]).await, 60);
}

/// Takes away what was moved after the checkpoint, so that the write-ahead log alone has it.
fn remove_segments(directory: &Path) {
    fs::remove_dir_all(directory.join("topics")).unwrap();
}

#[tokio::test]
async fn a_file_of_the_write_ahead_log_that_is_missing_is_reported_and_the_others_count() {
    let directory = tempdir().unwrap();
    write(directory.path(), 300, false).await;
    let p = partition("t", 0);
    for part in [0.3, 0.7] {
        let copied = tempdir().unwrap();
        copy(directory.path(), copied.path());
        fs::remove_file(file(copied.path(), ".wal", part)).unwrap();
        remove_segments(copied.path());
        let metrics = Metrics::default();
        let log = try_open(copied.path(), &metrics).await.unwrap();
        let found = values(&log, &p).await;
        let lost = 300 - found.len() as u64;
        assert!(lost > 5, "{lost}");
        assert_eq!(metrics.log_quarantined_frames.get(), lost);
        assert!(found.iter().all(|(offset, value)| *value == format!("v{offset}")));
        assert_eq!(found.last(), Some(&(299, "v299".to_owned())));
        assert_eq!(append(&log, &p, &["next"]).await, 300);
        log.close().await.unwrap();
        let metrics = Metrics::default();
        let log = try_open(copied.path(), &metrics).await.unwrap();
        assert_eq!(values(&log, &p).await.len(), found.len() + 1);
        assert_eq!(metrics.log_quarantined_frames.get(), 0, "it is reported once");
    }
    fs::remove_file(file(directory.path(), ".wal", 0.0)).unwrap();
    let error = try_open(directory.path(), &Metrics::default()).await.err().unwrap();
    assert!(
        matches!(&error, Error::Corrupt { reason, .. } if reason.contains("the file is missing: the write-ahead log")),
        "{error}"
    );
}

#[tokio::test]
async fn bits_that_turned_over_in_the_write_ahead_log_cost_their_frames_alone() {
    let directory = tempdir().unwrap();
    write(directory.path(), 300, false).await;
    let path = file(directory.path(), ".wal", 0.5);
    let mut bytes = fs::read(&path).unwrap();
    let values_here: Vec<i64> =
        (0..300).filter(|i| bytes.windows(6).any(|window| *window == *format!("\x08v{i}\0").as_bytes())).collect();
    let [first, .., last] = values_here[1..values_here.len() - 1] else { panic!("{values_here:?}") };
    for lost in [first, last] {
        let value = format!("v{lost}");
        let at = bytes.windows(value.len()).position(|window| window == value.as_bytes()).unwrap();
        bytes[at] ^= 0b1000_0001;
    }
    fs::write(&path, bytes).unwrap();
    // Where the segments have the records they are kept from there.
    for has_segments in [true, false] {
        let copied = tempdir().unwrap();
        copy(directory.path(), copied.path());
        if !has_segments {
            remove_segments(copied.path());
        }
        let metrics = Metrics::default();
        let log = try_open(copied.path(), &metrics).await.unwrap();
        let is_lost = |i: &i64| !has_segments && [first, last].contains(i);
        let expected: Vec<_> = (0..300).filter(|i| !is_lost(i)).map(|i| (i, format!("v{i}"))).collect();
        assert_eq!(values(&log, &partition("t", 0)).await, expected);
        assert_eq!(metrics.log_quarantined_frames.get(), 2);
        assert!(log.damage().iter().any(|damage| damage.part == DamagedPart::WriteAheadLog));
        let estimated = log.estimated_arrivals(&partition("t", 0)).await.unwrap();
        assert_eq!(estimated, if has_segments { vec![first..first + 1, last..last + 1] } else { Vec::new() });
        assert_eq!(append(&log, &partition("t", 0), &["next"]).await, 300);
        log.close().await.unwrap();
        let log = open(copied.path(), small()).await;
        assert_eq!(values(&log, &partition("t", 0)).await.len(), expected.len() + 1);
        assert_eq!(log.estimated_arrivals(&partition("t", 0)).await.unwrap(), estimated, "the mark is stored");
        assert!(log.damage().is_empty(), "it is reported once");
    }
}

/// Starts itself as another process that holds the log, and kills that.
#[tokio::test]
async fn the_lock_of_a_process_that_was_killed_is_free() {
    const HELD: &str = "EVENTLOG_TEST_HELD_DIRECTORY";
    if let Some(directory) = std::env::var_os(HELD) {
        let log = open(Path::new(&directory), small()).await;
        create(&log, "t", 1).await;
        append(&log, &partition("t", 0), &["of the dead"]).await;
        println!("held");
        std::thread::park_timeout(std::time::Duration::from_secs(60));
        return;
    }
    let directory = tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_lock_of_a_process_that_was_killed_is_free", "--nocapture"])
        .env(HELD, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(std::result::Result::ok).any(|line| line.ends_with("held")));
    let error = try_open(directory.path(), &Metrics::default()).await.err();
    assert!(matches!(error, Some(Error::DirectoryInUse(_))), "{error:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let log = open(directory.path(), small()).await;
    assert_eq!(values(&log, &partition("t", 0)).await, [(0, "of the dead".to_owned())]);
}

#[tokio::test]
async fn a_clock_that_goes_back_a_day_neither_deletes_nor_forgets() {
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    let directory = tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(10 * DAY));
    let open = || {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        EmbeddedLog::open(directory.path(), small(), clock, Metrics::default())
    };
    let p = partition("t", 0);
    let log = open().await.unwrap();
    let settings = TopicSettings { retention_ms: Some(HOUR), ..TopicSettings::default() };
    log.create_topic(TopicSpec { name: topic("t"), partitions: 1, settings }).await.unwrap();
    let send = |log: Arc<EmbeddedLog>, sequence| async move {
        let batch = producer_batch(&["some bytes, so that there are segments"], 1, 0, sequence);
        log.append(&partition("t", 0), batch, Acks::Durable).await.unwrap()
    };
    for sequence in 0..100 {
        send(Arc::clone(&log), sequence).await;
    }
    clock.set(9 * DAY);
    for sequence in 100..200 {
        let appended = send(Arc::clone(&log), sequence).await;
        assert_eq!(appended.arrival_time_ms, 10 * DAY, "arrival times do not decrease");
    }
    log.close().await.unwrap();
    let log = open().await.unwrap();
    assert!(send(Arc::clone(&log), 199).await.duplicate, "the producer is remembered");
    assert_eq!(values(&log, &p).await.len(), 200);
    // Closing makes a checkpoint, which is where retention deletes.
    clock.set(10 * DAY + HOUR / 2);
    log.close().await.unwrap();
    let log = open().await.unwrap();
    assert_eq!(values(&log, &p).await.len(), 200, "kept for an hour after they arrived");
    clock.set(10 * DAY + 2 * HOUR);
    log.close().await.unwrap();
    assert_eq!(open().await.unwrap().bounds(&p).unwrap().log_start_offset, 200, "and not longer");
}
