//! What a killed process leaves in a real directory, and what becomes of it.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{fs, path::PathBuf};

use eventlog::{Acks, EventLog, EventLogSettings};
use model::Metrics;
use support::*;
use tempfile::tempdir;

#[tokio::test]
async fn a_kill_after_any_append_loses_nothing() {
    let (directory, copies) = (tempdir().unwrap(), tempdir().unwrap());
    let p = partition("t", 0);
    let log = open(directory.path(), small()).await;
    create(&log, "t", 1).await;
    let mut expected = Vec::new();
    for i in 0..120_i64 {
        let value = format!("value {i}");
        append(&log, &p, &[&value]).await;
        expected.push((i, value));
        let copied = copies.path().join(i.to_string());
        // The flusher may be at work while the directory is copied: so it is when a process is killed.
        copy_until_consistent(directory.path(), &copied);
        let killed = open(&copied, small()).await;
        assert_eq!(values(&killed, &p).await, expected, "killed after {i}");
        assert_eq!(append(&killed, &p, &["next"]).await, i + 1);
    }
}

/// A copy is not taken in one moment as a kill is: it is taken again if a checkpoint came in between.
fn copy_until_consistent(from: &std::path::Path, to: &std::path::Path) {
    loop {
        let checkpoint = || fs::read(from.join("checkpoint")).ok();
        let before = checkpoint();
        let copied = std::panic::catch_unwind(|| copy(from, to));
        if copied.is_ok() && checkpoint() == before {
            return;
        }
        let _ = fs::remove_dir_all(to);
    }
}

fn only_wal(directory: &std::path::Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(directory.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.remove(0)
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
    let (directory, copies) = (tempdir().unwrap(), tempdir().unwrap());
    let p = partition("t", 0);
    // Large enough that nothing is moved out of the write-ahead log.
    let settings = EventLogSettings { wal_file_bytes: 1 << 20, ..EventLogSettings::shipped() };
    let log = open(directory.path(), settings.clone()).await;
    create(&log, "t", 1).await;
    append(&log, &p, &["first"]).await;
    let before = used_bytes(&only_wal(directory.path())).next_multiple_of(8);
    append(&log, &p, &["second"]).await;
    let after = used_bytes(&only_wal(directory.path()));
    drop(log);
    assert!(after > before + 61);
    for (index, end) in (before..after).enumerate() {
        let copied = copies.path().join(index.to_string());
        copy(directory.path(), &copied);
        // Once cut off, once with zeros or noise where the rest should be.
        let wal = only_wal(&copied);
        let mut bytes = fs::read(&wal).unwrap();
        match index % 3 {
            0 => bytes.truncate(end),
            1 => bytes[end..].fill(0),
            _ => bytes[end..after].iter_mut().for_each(|byte| *byte ^= 0xa5),
        }
        fs::write(&wal, bytes).unwrap();
        // What is torn was not committed, so it was not moved to a segment either.
        fs::remove_dir_all(copied.join("topics")).unwrap();
        let metrics = Metrics::default();
        let clock = std::sync::Arc::new(model::ManualClock::at(0));
        let log = eventlog::EmbeddedLog::open(&copied, settings.clone(), clock, metrics.clone()).await.unwrap();
        assert_eq!(values(&log, &p).await, [(0, "first".to_owned())], "torn at {end}");
        assert_eq!(metrics.log_quarantined_frames.get(), 0);
        let next = append(&log, &p, &["third"]).await;
        drop(log);
        let log = open(&copied, settings.clone()).await;
        assert_eq!(values(&log, &p).await.last(), Some(&(next, "third".to_owned())));
    }
}

/// Up to the last byte that is not zero.
fn used_bytes(path: &std::path::Path) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[tokio::test]
async fn damage_is_set_aside_and_what_follows_is_kept() {
    let directory = tempdir().unwrap();
    let (p, q) = (partition("t", 0), partition("t", 1));
    let settings = EventLogSettings { wal_file_bytes: 1 << 20, ..EventLogSettings::shipped() };
    let log = open(directory.path(), settings.clone()).await;
    create(&log, "t", 2).await;
    for i in 0..10 {
        append(&log, &p, &[&format!("p{i}")]).await;
        append(&log, &q, &[&format!("q{i}")]).await;
    }
    drop(log);
    let wal = only_wal(directory.path());
    let mut bytes = fs::read(&wal).unwrap();
    let at = bytes.windows(2).position(|window| window == b"p4").unwrap();
    bytes[at] = b'!';
    fs::write(&wal, bytes).unwrap();
    // The segments have it too.
    fs::remove_dir_all(directory.path().join("topics")).unwrap();
    let metrics = Metrics::default();
    let clock = std::sync::Arc::new(model::ManualClock::at(0));
    let log = eventlog::EmbeddedLog::open(directory.path(), settings.clone(), clock, metrics.clone()).await.unwrap();
    assert_eq!(metrics.log_quarantined_frames.get(), 1);
    let expected: Vec<_> = (0..10).filter(|i| *i != 4).map(|i| (i, format!("p{i}"))).collect();
    assert_eq!(values(&log, &p).await, expected);
    assert_eq!(values(&log, &q).await.len(), 10, "the other partition has lost nothing");
    assert_eq!(log.read(&p, 4, 1).await.unwrap().batches[0].base_offset(), 5, "a read in the gap goes on behind it");
    let kept = fs::read_dir(directory.path().join("quarantine")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read(kept).unwrap().windows(2).any(|window| window == b"!4"));
    log.close().await.unwrap();
    let log = open(directory.path(), settings).await;
    assert_eq!(values(&log, &p).await, expected);
    assert_eq!(append(&log, &p, &["next"]).await, 10);
}

#[tokio::test]
async fn a_missing_write_ahead_log_is_not_taken_for_an_empty_one() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), small()).await;
    create(&log, "t", 1).await;
    log.close().await.unwrap();
    for entry in fs::read_dir(directory.path().join("wal")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let clock = std::sync::Arc::new(model::ManualClock::at(0));
    let error = eventlog::EmbeddedLog::open(directory.path(), small(), clock, Metrics::default()).await.err().unwrap();
    assert!(error.to_string().contains("is missing"), "{error}");
}

#[tokio::test]
async fn producers_are_remembered_across_a_kill_and_a_close() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    for round in 0..6 {
        let log = open(directory.path(), small()).await;
        if round == 0 {
            create(&log, "t", 1).await;
        } else {
            let again = log.append(&p, producer_batch(&["v"], 9, 0, round - 1), Acks::Durable).await.unwrap();
            assert!(again.duplicate);
            assert_eq!(again.base_offset, i64::from(round) - 1);
        }
        let new = log.append(&p, producer_batch(&["v"], 9, 0, round), Acks::Durable).await.unwrap();
        assert_eq!((new.base_offset, new.duplicate), (i64::from(round), false));
        if round % 2 == 1 {
            log.close().await.unwrap();
        }
    }
}
