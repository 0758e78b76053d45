//! Power cuts at every operation of a workload, failed syncs, and flipped bits.
//!
//! What is checked after each: every acknowledged change is there, nothing is there twice, what a reader saw is still
//! there, an idempotent retry does not double, and the log goes on working.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use model::{Clock, ManualClock, Metrics, Offset, SystemClock, SystemEntropy, TopicName, TopicPartition};

use crate::{
    Acks, CommittedOffset, EmbeddedLog, Error, EventLog, EventLogSettings, Record, RecordBatchBuilder, Result,
    TopicSpec,
    disk::Disk,
    simulated_disk::{Dice, Fault, SimulatedDisk, Survivors},
};

mod failing_writes;
mod flipped_bits;
mod seeds;

const PARTITIONS: i32 = 3;

fn root() -> PathBuf {
    PathBuf::from("/log")
}

fn settings() -> EventLogSettings {
    EventLogSettings {
        wal_file_bytes: 2048,
        checkpoint_wal_bytes: 3000,
        segment_bytes: 1500,
        open_segments_max: 2,
        index_interval_bytes: 200,
        tail_bytes_max: 4096,
        tail_cache_bytes_max: 300,
        retention_check_interval_ms: 1_000_000,
        ..EventLogSettings::shipped()
    }
}

fn open(disk: &SimulatedDisk) -> Result<Arc<EmbeddedLog>> {
    open_counting(disk, &Metrics::default())
}

fn open_counting(disk: &SimulatedDisk, metrics: &Metrics) -> Result<Arc<EmbeddedLog>> {
    open_as(disk, settings(), Arc::new(ManualClock::at(1_000)), metrics)
}

fn open_as(
    disk: &SimulatedDisk,
    settings: EventLogSettings,
    clock: Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Arc<EmbeddedLog>> {
    let (disk, entropy) = (Arc::new(disk.clone()), Arc::new(SystemEntropy));
    EmbeddedLog::open_on(disk, &root(), settings, clock, entropy, metrics.clone(), None)
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new(topic("t"), index)
}

/// One record; the value is padded so that frames cross sectors.
fn batch(value: &str, sequence: i32) -> Bytes {
    let mut builder = RecordBatchBuilder::default();
    let padded = format!("{value}:{}", "x".repeat(value.len() * 37 % 300));
    builder.push(Record { timestamp_ms: 10 * i64::from(sequence), value: Some(padded.into()), ..Record::default() });
    builder.producer(7, 0, sequence).build()
}

/// What a client knows of a run.
#[derive(Default)]
struct Ledger {
    topic_created: bool,
    /// Acknowledged values by partition and offset.
    acked: BTreeMap<(i32, Offset), String>,
    /// The value that was sent and not acknowledged, by partition, with its sequence.
    in_flight: BTreeMap<i32, (String, i32)>,
    sent: BTreeSet<String>,
    /// The largest high watermark that a reader saw.
    seen: BTreeMap<i32, Offset>,
    committed: Offset,
    commit_in_flight: Offset,
    /// Whether group "h" has an offset, when that is known.
    kept: Option<bool>,
    /// How often topic "u" was created and deleted again; each life has one record of its number.
    lives: (u32, bool),
}

/// The work of a life, from the first append to the close; stops at the first error.
async fn work(log: &EmbeddedLog, ledger: &mut Ledger) -> Result<()> {
    work_without_close(log, ledger).await?;
    log.close().await
}

/// Appends to all partitions, commits offsets, creates and deletes a topic; stops at the first error.
async fn work_without_close(log: &EmbeddedLog, ledger: &mut Ledger) -> Result<()> {
    if log.topic("t").is_none() {
        log.create_topic(TopicSpec::new(topic("t"), PARTITIONS)).await?;
    }
    ledger.topic_created = true;
    for round in 0..14 {
        for index in 0..PARTITIONS {
            let value = format!("{index}-{round}");
            ledger.sent.insert(value.clone());
            ledger.in_flight.insert(index, (value.clone(), round));
        }
        let append =
            async |index| log.append(&partition(index), batch(&format!("{index}-{round}"), round), Acks::Durable).await;
        let (a, b, c) = tokio::join!(append(0), append(1), append(2));
        for (index, appended) in [(0, a), (1, b), (2, c)] {
            if let Ok(appended) = appended {
                let (value, _) = ledger.in_flight.remove(&index).unwrap();
                ledger.acked.insert((index, appended.base_offset), value);
            }
            ledger.seen.insert(index, log.bounds(&partition(index))?.high_watermark);
        }
        log.create_topic(TopicSpec::new(topic("u"), 1)).await?;
        ledger.lives = (round.unsigned_abs(), true);
        let _ =
            log.append(&TopicPartition::new(topic("u"), 0), batch(&format!("life {round}"), 0), Acks::Durable).await?;
        ledger.commit_in_flight = i64::from(round) + 1;
        let committed = CommittedOffset { offset: ledger.commit_in_flight, leader_epoch: -1, metadata: String::new() };
        log.commit_offsets("g", vec![(partition(0), committed)]).await?;
        ledger.committed = ledger.commit_in_flight;
        ledger.kept = None;
        let committed = CommittedOffset { offset: 1, leader_epoch: -1, metadata: "note".to_owned() };
        log.commit_offsets("h", vec![(partition(1), committed)]).await?;
        ledger.kept = Some(true);
        if round % 2 == 0 {
            ledger.kept = None;
            log.expire_offsets(&BTreeSet::from(["g".to_owned()]), 0).await?;
            ledger.kept = Some(false);
        }
        ledger.lives = (round.unsigned_abs(), false);
        log.delete_topic(&topic("u")).await?;
    }
    Ok(())
}

async fn values(log: &EmbeddedLog, partition: &TopicPartition) -> Vec<(Offset, String)> {
    let (mut values, mut from) = (Vec::new(), 0);
    loop {
        let read = log.read(partition, from, 500).await.unwrap();
        let Some(last) = read.batches.last() else { return values };
        from = last.next_offset();
        for record in read.batches.iter().flat_map(|batch| batch.records().unwrap()) {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            values.push((record.offset, value.split_once(':').unwrap().0.to_owned()));
        }
    }
}

async fn check(log: &EmbeddedLog, ledger: &Ledger) {
    // What a checkpoint names was synced: a crash never makes a repair necessary, which would hide what was not.
    let is_repaired = log.shared.catalogue.partitions().iter().any(|(_, partition)| partition.was_repaired());
    assert!(!is_repaired, "an index that a checkpoint names is missing");
    if ledger.topic_created {
        assert!(log.topic("t").is_some(), "the topic is gone");
    }
    if log.topic("t").is_none() {
        return;
    }
    for index in 0..PARTITIONS {
        let found = values(log, &partition(index)).await;
        let offsets: Vec<_> = found.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (0..found.len() as i64).collect::<Vec<_>>(), "offsets of partition {index}");
        assert!(found.len() as i64 >= ledger.seen.get(&index).copied().unwrap_or(0), "what a reader saw is gone");
        let unique: BTreeSet<_> = found.iter().map(|(_, value)| value).collect();
        assert_eq!(unique.len(), found.len(), "something is there twice: {found:?}");
        assert!(unique.iter().all(|value| ledger.sent.contains(*value)), "something is there that nobody sent");
        for ((_, offset), value) in ledger.acked.iter().filter(|((acked, _), _)| *acked == index) {
            let at = usize::try_from(*offset).unwrap();
            assert_eq!(found.get(at).map(|(_, found)| found), Some(value), "acknowledged at {offset} of {index}");
        }
    }
    let committed = log.committed_offsets("g").get(&partition(0)).map_or(0, |committed| committed.offset);
    assert!((ledger.committed..=ledger.commit_in_flight).contains(&committed), "committed {committed}");
    if let Some(kept) = ledger.kept {
        assert_eq!(!log.committed_offsets("h").is_empty(), kept, "an offset that expired");
    }
    let u = TopicPartition::new(topic("u"), 0);
    if let Ok(bounds) = log.bounds(&u) {
        assert!(bounds.high_watermark <= 1, "records of an earlier topic of the same name came back");
    }
}

/// Sends again what was in flight, as a client would; then everything must be there once.
async fn retry(log: &EmbeddedLog, ledger: &mut Ledger) {
    if log.topic("t").is_none() {
        return;
    }
    for (index, (value, sequence)) in std::mem::take(&mut ledger.in_flight) {
        let appended = log.append(&partition(index), batch(&value, sequence), Acks::Durable).await.unwrap();
        ledger.acked.insert((index, appended.base_offset), value);
    }
    check(log, ledger).await;
}

/// What `check` says of each case, in no order. Several are looked at at a time: mostly they wait for their own threads.
fn each<C: Send, T: Send>(cases: impl IntoIterator<Item = C>, check: impl Fn(C) -> T + Sync) -> Vec<T> {
    const AT_A_TIME: usize = 8;
    let mut shares: [Vec<C>; AT_A_TIME] = Default::default();
    // In turn, because neighbours take about as long.
    cases.into_iter().enumerate().for_each(|(number, case)| shares[number % AT_A_TIME].push(case));
    std::thread::scope(|scope| {
        let check = &check;
        let of_share = |share: Vec<C>| scope.spawn(move || share.into_iter().map(check).collect::<Vec<_>>());
        let threads = shares.map(of_share);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A run of the workload in which `fault` happens at `operation`.
fn run_with(operation: u64, fault: Fault) -> (SimulatedDisk, Ledger) {
    let disk = SimulatedDisk::new(&root());
    disk.plan(operation, fault);
    let mut ledger = Ledger::default();
    if let Ok(log) = open(&disk) {
        let _ = run(work(&log, &mut ledger));
    }
    (disk, ledger)
}

fn operations_of_a_run() -> u64 {
    let (disk, ledger) = run_with(u64::MAX, Fault::PowerCut);
    assert_eq!(ledger.acked.len(), 14 * 3, "without a fault everything is acknowledged");
    assert!(disk.syncs() > 100, "there must be something to lose: {} syncs", disk.syncs());
    disk.operations()
}

#[test]
fn the_simulated_disk_tears_writes() {
    let torn = |seed| {
        let disk = SimulatedDisk::new(&root());
        let path = root().join("file");
        let file = disk.create(&path).unwrap();
        file.sync().and_then(|()| disk.sync_directory(&root())).unwrap();
        file.write_all_at(&[7; 1000], 100).unwrap();
        disk.plan(disk.operations(), Fault::PowerCut);
        assert!(file.sync().is_err());
        let disk = disk.after_power_cut(Survivors::Random(seed));
        let bytes = disk.read(&path).unwrap();
        let kept = bytes.iter().filter(|byte| **byte == 7).count();
        (1..1000).contains(&kept)
    };
    assert!((0..20).any(torn) && !(0..20).all(torn));
}

#[test]
fn no_acknowledged_change_is_lost_or_doubled_by_a_power_cut() {
    each(0..operations_of_a_run(), |operation| {
        let (disk, mut ledger) = run_with(operation, Fault::PowerCut);
        for survivors in
            [Survivors::Nothing, Survivors::Everything, Survivors::Random(operation), Survivors::Random(!operation)]
        {
            let disk = disk.after_power_cut(survivors);
            let metrics = Metrics::default();
            let log =
                open_counting(&disk, &metrics).unwrap_or_else(|error| panic!("{operation} {survivors:?}: {error}"));
            assert_eq!(
                metrics.log_quarantined_frames.get(),
                0,
                "a torn write is not damage ({operation} {survivors:?})"
            );
            run(check(&log, &ledger));
        }
        let disk = disk.after_power_cut(Survivors::Random(operation + 1));
        let log = open(&disk).unwrap();
        run(retry(&log, &mut ledger));
        drop(log);
        let (disk, metrics) = (disk.after_power_cut(Survivors::Random(operation + 2)), Metrics::default());
        let log = open_counting(&disk, &metrics).unwrap();
        run(check(&log, &ledger));
        assert_eq!(metrics.log_quarantined_frames.get(), 0, "the torn tail was cut off ({operation})");
        run(log.close()).unwrap();
        drop(log);
        run(check(&open(&disk).unwrap(), &ledger));
    });
}

#[test]
fn a_power_cut_during_recovery_loses_nothing() {
    let operations = operations_of_a_run();
    each(0..150, |seed| {
        let mut dice = Dice::new(Survivors::Random(seed + 1_000));
        let (disk, ledger) = run_with(dice.roll(operations), Fault::PowerCut);
        let disk = disk.after_power_cut(Survivors::Random(seed));
        disk.plan(dice.roll(20), Fault::PowerCut);
        drop(open(&disk));
        let disk = disk.after_power_cut(Survivors::Random(seed + 1));
        run(check(&open(&disk).unwrap(), &ledger));
    });
}

#[test]
fn what_a_recovered_log_shows_survives_the_next_power_cut() {
    let operations = operations_of_a_run();
    each(0..100, |seed| {
        let mut dice = Dice::new(Survivors::Random(seed + 2_000));
        let (disk, mut ledger) = run_with(dice.roll(operations), Fault::PowerCut);
        // The process died, the machine did not: nothing unsynced is lost yet.
        let disk = disk.after_kill();
        let log = open(&disk).unwrap();
        for index in 0..PARTITIONS {
            let seen = log.bounds(&partition(index)).map_or(0, |bounds| bounds.high_watermark);
            ledger.seen.insert(index, seen);
        }
        let disk = disk.after_power_cut(Survivors::Random(seed));
        run(check(&open(&disk).unwrap(), &ledger));
    });
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged() {
    each(0..operations_of_a_run(), |operation| {
        let (disk, ledger) = run_with(operation, Fault::SyncError);
        let disk = disk.after_power_cut(Survivors::Nothing);
        run(check(&open(&disk).unwrap(), &ledger));
    });
}

#[test]
fn a_stopped_log_says_so_and_still_reads() {
    let disk = SimulatedDisk::new(&root());
    let log = open(&disk).unwrap();
    run(async {
        log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
        log.append(&partition(0), batch("good", 0), Acks::Durable).await.unwrap();
        disk.plan(0, Fault::EverySyncError);
        let failed = log.append(&partition(0), batch("bad", 1), Acks::Durable).await.unwrap_err();
        assert!(matches!(&failed, Error::Stopped(reason) if reason.contains("the sync fails")), "{failed}");
        let later = log.append(&partition(0), batch("later", 1), Acks::Durable).await.unwrap_err();
        assert!(matches!(later, Error::Stopped(_)), "{later}");
        assert!(matches!(log.new_producer_id().await, Err(Error::Stopped(_))));
        assert_eq!(values(&log, &partition(0)).await, [(0, "good".to_owned())]);
        assert!(matches!(log.close().await, Err(Error::Stopped(_))));
    });
}

/// A log with some frames in the write-ahead log, stopped without a checkpoint.
fn log_with(appends: i32, close: bool) -> SimulatedDisk {
    let disk = SimulatedDisk::new(&root());
    let log = open(&disk).unwrap();
    run(async {
        log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
        for i in 0..appends {
            log.append(&partition(0), batch(&format!("v{i}"), i), Acks::Durable).await.unwrap();
        }
        if close {
            log.close().await.unwrap();
        }
    });
    drop(log);
    disk.after_power_cut(Survivors::Nothing)
}

fn only_file(disk: &SimulatedDisk, directory: &Path, extension: &str) -> PathBuf {
    let names = disk.list(directory).unwrap();
    let name =
        names.iter().find(|name| name.ends_with(extension)).unwrap_or_else(|| panic!("no {extension} in {names:?}"));
    directory.join(name)
}

#[test]
fn a_long_write_ahead_log_is_replayed_a_window_at_a_time() {
    let disk = SimulatedDisk::new(&root());
    let large = EventLogSettings { wal_file_bytes: 8 << 20, ..EventLogSettings::shipped() };
    let open =
        |disk: &SimulatedDisk| open_as(disk, large.clone(), Arc::new(ManualClock::at(0)), &Metrics::default()).unwrap();
    let log = open(&disk);
    let written: Vec<_> = (0..40).map(|i| format!("{i}:{}", "x".repeat(500_000))).collect();
    run(async {
        log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
        for value in &written {
            let mut builder = RecordBatchBuilder::default();
            builder.push(Record { value: Some(value.clone().into()), ..Record::default() });
            log.append(&partition(0), builder.build(), Acks::Durable).await.unwrap();
        }
    });
    drop(log);
    let disk = disk.after_power_cut(Survivors::Nothing);
    let log = open(&disk);
    assert!(disk.largest_read_bytes() <= 1 << 20, "{} bytes were read at once", disk.largest_read_bytes());
    let found: Vec<_> = run(values(&log, &partition(0)));
    assert_eq!(found, (0..40).map(|i| (i, i.to_string())).collect::<Vec<_>>());
}
