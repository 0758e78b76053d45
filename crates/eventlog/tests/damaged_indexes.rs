//! What stands beside the segments is lost or damaged: the log opens, finds everything, and mends it.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use eventlog::{Acks, EmbeddedLog, EventLog};
use model::{ManualClock, Metrics};
use support::*;
use tempfile::tempdir;

const APPENDS: i64 = 400;

/// Timestamps rise by 10; each record arrived 3 later, as far as the clock ticks (every fifth record).
fn timestamp_of(offset: i64) -> i64 {
    1_000 + 10 * offset
}

fn arrival_of(offset: i64) -> i64 {
    timestamp_of(offset / 5 * 5) + 3
}

/// A closed log with several segments.
async fn write(directory: &Path) {
    let clock = Arc::new(ManualClock::at(0));
    let log = EmbeddedLog::open(directory, small(), Arc::<ManualClock>::clone(&clock), Metrics::default());
    let log = log.await.unwrap();
    create(&log, "t", 1).await;
    for i in 0..APPENDS {
        clock.set(arrival_of(i));
        log.append(&partition("t", 0), batch_at(&[&format!("v{i}")], timestamp_of(i)), Acks::Durable).await.unwrap();
    }
    log.close().await.unwrap();
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let topic = fs::read_dir(directory.join("topics")).unwrap().next().unwrap().unwrap().path();
    let files = fs::read_dir(topic).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Reads everything, by offset and by time. Arrival times may differ by `estimate_ms`.
async fn check(directory: &Path, estimate_ms: i64, what: &str) {
    let log = open(directory, small()).await;
    let p = partition("t", 0);
    let mut last_arrival = 0;
    for offset in 0..APPENDS {
        let read = log.read(&p, offset, 1).await.unwrap_or_else(|error| panic!("{what}, offset {offset}: {error}"));
        let batch = &read.batches[0];
        assert_eq!(values_of(batch), [(offset, format!("v{offset}"))], "{what}");
        let off = (batch.arrival_time_ms - arrival_of(offset)).abs();
        assert!(off <= estimate_ms, "{what}, offset {offset}: arrival is off by {off}");
        assert!(batch.arrival_time_ms >= last_arrival, "{what}: arrival times decrease at {offset}");
        last_arrival = batch.arrival_time_ms;
        let found = log.offset_at_time(&p, timestamp_of(offset) - 9).await.unwrap().map(|found| found.offset);
        assert_eq!(found, Some(offset), "{what}");
    }
    assert_eq!(append(&log, &p, &["next"]).await, APPENDS, "{what}");
    log.close().await.unwrap();
}

type Damage = fn(&Path);

#[tokio::test]
async fn a_file_beside_a_segment_that_is_lost_or_damaged_is_made_anew() {
    let written = tempdir().unwrap();
    write(written.path()).await;
    let damages: [(&str, Damage); 5] = [
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("empty", |path| fs::write(path, []).unwrap()),
        ("short", |path| cut(path, |size| size / 2)),
        ("short by a byte", |path| cut(path, |size| size - 1)),
        ("noise", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, bytes.iter().map(|byte| byte ^ 0xa5).collect::<Vec<_>>()).unwrap();
        }),
    ];
    for extension in ["index", "timeindex", "arrivals"] {
        let count = files(written.path(), extension).len();
        assert!(count >= 3, "{count} files of {extension}");
        for (name, damage) in damages {
            // In a segment that is full, and in the last one.
            for file in [1, count - 1] {
                let what = format!("{extension} {file} {name}");
                let copied = tempdir().unwrap();
                copy(written.path(), copied.path());
                let path = files(copied.path(), extension).remove(file);
                let before = fs::read(&path).unwrap();
                assert!(!before.is_empty());
                damage(&path);
                // A clock that ticks every fifth record can be estimated to within four.
                check(copied.path(), if extension == "arrivals" { 50 } else { 0 }, &what).await;
                let mended = fs::read(&path).unwrap();
                assert!(!mended.is_empty(), "{what}");
                let kept = path.with_extension("arrivals.damaged");
                assert_eq!(kept.exists(), extension == "arrivals" && name != "missing", "{what}");
                let log = open(copied.path(), small()).await;
                log.close().await.unwrap();
                assert_eq!(fs::read(&path).unwrap(), mended, "{what}: it was mended once");
            }
        }
    }
}

fn cut(path: &Path, size: impl Fn(u64) -> u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(size(file.metadata().unwrap().len())).unwrap();
}

#[tokio::test]
async fn what_is_damaged_while_the_log_is_open_is_made_anew_too() {
    for extension in ["index", "timeindex", "arrivals"] {
        let directory = tempdir().unwrap();
        write(directory.path()).await;
        let log = open(directory.path(), small()).await;
        for path in files(directory.path(), extension) {
            fs::remove_file(path).unwrap();
        }
        let found = values(&log, &partition("t", 0)).await;
        assert_eq!(found.len(), usize::try_from(APPENDS).unwrap(), "{extension}");
        for offset in 0..APPENDS {
            let at = log.offset_at_time(&partition("t", 0), timestamp_of(offset)).await.unwrap();
            assert_eq!(at.map(|found| found.offset), Some(offset), "{extension}");
        }
        log.close().await.unwrap();
        check(directory.path(), if extension == "arrivals" { 50 } else { 0 }, extension).await;
    }
}

#[tokio::test]
async fn what_stands_before_a_damaged_batch_can_be_read() {
    let directory = tempdir().unwrap();
    write(directory.path()).await;
    let log_file = files(directory.path(), "log").remove(1);
    let mut bytes = fs::read(&log_file).unwrap();
    let first = eventlog::record::BatchHeader::parse(&bytes).unwrap().base_offset;
    let damaged = first + 20;
    let value = format!("v{damaged}");
    let at = bytes.windows(value.len()).position(|window| window == value.as_bytes()).unwrap();
    bytes[at] ^= 0b11;
    fs::write(&log_file, bytes).unwrap();
    let log = open(directory.path(), small()).await;
    let p = partition("t", 0);
    let mut from = 0;
    let error = loop {
        match log.read(&p, from, 1 << 20).await {
            Ok(read) => from = read.batches.last().unwrap().next_offset(),
            Err(error) => break error,
        }
    };
    assert_eq!(from, damaged, "everything before it");
    assert!(error.to_string().contains("is damaged at byte") && error.to_string().contains("checksum"), "{error}");
    assert_eq!(log.read(&p, damaged + 1, 1).await.unwrap().batches[0].base_offset(), damaged + 1, "and behind it");
}
