//! Many partitions under a low limit of open files. The limit is the process's, so this is the only test here.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;

use eventlog::{Acks, EventLog, EventLogSettings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::*;
use tempfile::{TempDir, tempdir, tempdir_in};

const PARTITIONS: i32 = 3_000;
const FILES: u64 = 128;

/// In memory where possible: each partition has files to sync.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempdir_in(memory).unwrap() } else { tempdir().unwrap() }
}

#[tokio::test]
async fn more_partitions_are_written_than_files_may_be_open() {
    let directory = directory();
    let limit = Rlimit { current: Some(FILES), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    // Nothing stays in memory, and no checkpoint comes in between to close the files.
    let settings = EventLogSettings { tail_cache_bytes_max: 0, ..EventLogSettings::shipped() };
    let log = open(directory.path(), settings.clone()).await;
    create(&log, "t", PARTITIONS).await;
    for round in 0..3 {
        let append = |index| {
            let log = std::sync::Arc::clone(&log);
            async move {
                let value = format!("{round} of {index}");
                log.append(&partition("t", index), batch(&[&value]), Acks::Durable).await.unwrap();
            }
        };
        let appends: Vec<_> = (0..PARTITIONS).map(|index| tokio::spawn(append(index))).collect();
        for append in appends {
            append.await.unwrap();
        }
    }
    drop(log);
    // Once recovered from the write-ahead log alone, once from a checkpoint.
    for _ in 0..2 {
        let log = open(directory.path(), settings.clone()).await;
        for index in 0..PARTITIONS {
            let expected: Vec<_> = (0..3).map(|round| (round, format!("{round} of {index}"))).collect();
            assert_eq!(values(&log, &partition("t", index)).await, expected);
        }
        log.close().await.unwrap();
    }
}
