//! Offsets that groups committed: how long they are kept, over restarts too, and how many there are.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use eventlog::{CommittedOffset, EmbeddedLog, EventLog, OffsetTotals};
use model::{ManualClock, Metrics};
use support::*;
use tempfile::tempdir;

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

async fn commit(log: &EmbeddedLog, group: &str, index: i32, note: &str) {
    let offset = CommittedOffset { offset: 1, leader_epoch: -1, metadata: note.to_owned() };
    log.commit_offsets(group, vec![(partition("t", index), offset)]).await.unwrap();
}

async fn open_with(directory: &Path, clock: &Arc<ManualClock>) -> Arc<EmbeddedLog> {
    let clock = Arc::<ManualClock>::clone(clock);
    EmbeddedLog::open(directory, small(), clock, Metrics::default()).await.unwrap()
}

fn members(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What is known of groups survives a kill and a checkpoint: time goes on while nothing runs.
#[tokio::test]
async fn offsets_of_groups_without_members_expire_over_restarts() {
    for is_closed in [false, true] {
        let (directory, clock) = (tempdir().unwrap(), Arc::new(ManualClock::at(1_000)));
        let log = open_with(directory.path(), &clock).await;
        create(&log, "t", 2).await;
        for group in ["alone", "left", "stays"] {
            commit(&log, group, 0, "").await;
        }
        assert_eq!(log.expire_offsets(&members(&["left", "stays"]), WEEK_MS).await.unwrap(), 0);
        clock.set(1_000 + WEEK_MS - 1);
        assert_eq!(log.expire_offsets(&members(&["stays"]), WEEK_MS).await.unwrap(), 0);
        if is_closed {
            log.close().await.unwrap();
        }
        drop(log);
        let log = open_with(directory.path(), &clock).await;
        clock.set(1_000 + WEEK_MS);
        assert_eq!(log.expire_offsets(&members(&["stays"]), WEEK_MS).await.unwrap(), 1);
        assert_eq!(log.groups(), ["left", "stays"], "the first counts from its commit");
        drop(log);
        clock.set(1_000 + 2 * WEEK_MS);
        let log = open_with(directory.path(), &clock).await;
        assert_eq!(log.groups(), ["left", "stays"], "what expired does not come back");
        assert_eq!(log.expire_offsets(&members(&[]), -1).await.unwrap(), 0, "for ever");
        assert_eq!(log.expire_offsets(&members(&[]), WEEK_MS).await.unwrap(), 1);
        assert_eq!(log.groups(), ["stays"], "one that had members counts from when it has none");
        clock.set(1_000 + 3 * WEEK_MS);
        assert_eq!(log.expire_offsets(&members(&[]), WEEK_MS).await.unwrap(), 1);
        assert_eq!(log.offset_totals(), OffsetTotals::default());
    }
}

/// Offsets of an earlier format have no time: they are kept for as long from the first look on.
#[tokio::test]
async fn offsets_of_the_first_format_do_not_expire_at_once() {
    let (directory, clock) = (tempdir().unwrap(), Arc::new(ManualClock::at(50 * WEEK_MS)));
    copy(Path::new("tests/stored/log-1"), directory.path());
    let log = open_with(directory.path(), &clock).await;
    assert_eq!(log.expire_offsets(&members(&[]), WEEK_MS).await.unwrap(), 0);
    clock.set(51 * WEEK_MS - 1);
    assert_eq!(log.expire_offsets(&members(&[]), WEEK_MS).await.unwrap(), 0);
    clock.set(51 * WEEK_MS);
    assert_eq!(log.expire_offsets(&members(&[]), WEEK_MS).await.unwrap(), 1);
}

#[tokio::test]
async fn the_totals_are_those_of_what_is_stored() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), small()).await;
    create(&log, "t", 2).await;
    commit(&log, "a", 0, "note").await;
    commit(&log, "a", 0, "longer note").await;
    commit(&log, "a", 1, "").await;
    commit(&log, "b", 1, "1").await;
    let totals = OffsetTotals { offsets: 3, note_bytes: 12 };
    assert_eq!(log.offset_totals(), totals);
    for is_closed in [false, true] {
        if is_closed {
            log.close().await.unwrap();
        }
        let copied = tempdir().unwrap();
        copy(directory.path(), copied.path());
        let again = open(copied.path(), small()).await;
        assert_eq!((again.offset_totals(), again.groups()), (totals, log.groups()));
        again.delete_topic(&topic("t")).await.unwrap();
        assert_eq!(again.offset_totals(), OffsetTotals::default());
    }
}
