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

use eventlog::{Acks, EmbeddedLog, Error, EventLog, EventLogSettings, Result, TopicSettings, TopicSpec};
use model::{Clock, ManualClock, Metrics};
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
    for (end, part) in
        [("lock", 0.0), ("checkpoint", 0.0), (".wal", 0.0), (".log", 0.5), (".index", 0.5), (".arrivals", 0.5)]
    {
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

#[tokio::test]
async fn a_segment_that_was_cut_in_a_batch_is_not_opened_and_not_cut_further() {
    let directory = tempdir().unwrap();
    write(directory.path(), 300, true).await;
    let path = file(directory.path(), ".log", 0.5);
    let whole = fs::read(&path).unwrap();
    for size in [0, 30, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..size]).unwrap();
        let error = try_open(directory.path(), &Metrics::default()).await.err().unwrap();
        let expected = format!("the file has {size} bytes, the checkpoint says {}", whole.len());
        assert!(matches!(&error, Error::Corrupt { reason, .. } if *reason == expected), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), whole[..size]);
    }
    fs::write(&path, &whole).unwrap();
    let log = open(directory.path(), small()).await;
    assert_eq!(values(&log, &partition("t", 0)).await.len(), 300);
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
        matches!(&error, Error::Corrupt { reason, .. } if reason.contains("from frame 1 on is missing")),
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
    let metrics = Metrics::default();
    let log = try_open(directory.path(), &metrics).await.unwrap();
    let expected: Vec<_> = (0..300).filter(|i| ![first, last].contains(i)).map(|i| (i, format!("v{i}"))).collect();
    assert_eq!(values(&log, &partition("t", 0)).await, expected);
    assert_eq!(metrics.log_quarantined_frames.get(), 2);
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
