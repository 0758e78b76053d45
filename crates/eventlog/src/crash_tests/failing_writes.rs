//! A disk that is full or cannot be written, or too many open files, from any operation on: in the write-ahead log, in
//! segments, in checkpoints, while the log works, while it is opened and while it is closed.

use std::time::Duration;

use super::*;

/// What is said when `fault` strikes.
fn reason(fault: Fault) -> &'static str {
    match fault {
        Fault::NoSpace => "no storage space",
        Fault::ReadOnly => "read-only filesystem",
        Fault::NoFiles => "Too many open files",
        _ => panic!("{fault:?} is for the other tests"),
    }
}

fn check_error(error: &Error, fault: Fault, operation: u64) {
    let is_expected = match fault {
        Fault::NoSpace => matches!(error, Error::DiskFull { .. }),
        Fault::NoFiles => matches!(error, Error::TooManyOpenFiles { .. }),
        _ => matches!(error, Error::Stopped(_) | Error::Io { .. }),
    };
    assert!(is_expected, "{operation}: {error}");
    assert!(error.to_string().contains(reason(fault)), "{operation}: {error}");
}

/// What the log says once the disk has refused something: the part that met it takes note of it right then.
fn told(log: &EmbeddedLog, operation: u64) -> Error {
    let begin = SystemClock.instant();
    while begin.elapsed() < Duration::from_secs(60) {
        if let Err(error) = log.check_running() {
            return error;
        }
        std::thread::yield_now();
    }
    panic!("{operation}: the disk refused something, and the log says nothing of it")
}

/// Works until the fault. Whatever the disk refused while the log was open is told to whoever asks; when the disk works
/// again everything acknowledged is there. Answers whether the fault came while the log was open.
fn check_a_run(operation: u64, fault: Fault) -> bool {
    let disk = SimulatedDisk::new(&root());
    disk.plan(operation, fault);
    let mut ledger = Ledger::default();
    let refused = match open(&disk) {
        Ok(log) => {
            let failed = run(work_without_close(&log, &mut ledger)).err();
            let refused = disk.refusals() > 0;
            if refused {
                check_error(&told(&log, operation), fault, operation);
            }
            // A close leaves undone what there is no room for, and may say nothing of it.
            let closed = if failed.is_none() { run(log.close()).err() } else { None };
            assert!(refused || failed.is_none(), "{operation}: {failed:?}");
            failed.iter().chain(&closed).for_each(|error| check_error(error, fault, operation));
            refused
        }
        Err(error) => {
            check_error(&error, fault, operation);
            true
        }
    };
    let kept = disk.after_power_cut(Survivors::Nothing);
    run(check(&open(&kept).unwrap(), &ledger));
    let disk = disk.after_kill();
    let metrics = Metrics::default();
    let log = open_counting(&disk, &metrics).unwrap();
    assert_eq!(metrics.log_quarantined_frames.get(), 0, "half a write is not damage ({operation})");
    run(check(&log, &ledger));
    run(retry(&log, &mut ledger));
    run(log.close()).unwrap();
    refused
}

#[test]
fn a_disk_that_takes_nothing_more_loses_nothing() {
    for fault in [Fault::NoSpace, Fault::ReadOnly, Fault::NoFiles] {
        let operations = operations_of_a_run();
        let met = each(0..operations, |operation| check_a_run(operation, fault));
        let refused = met.into_iter().filter(|refused| *refused).count();
        // How much is left to the close depends on how far the flusher is behind; the writer's own part does not.
        assert!(refused > 100, "{fault:?}: {refused} of {operations} runs met it before the close");
    }
}

/// A full disk is told for as long as it is full, not only until somebody looks whether there is room for nothing.
#[test]
fn a_full_disk_is_told_until_there_is_room() {
    let disk = SimulatedDisk::new(&root());
    let clock = Arc::new(ManualClock::at(1_000));
    let timed: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let quick = EventLogSettings { retry_delay_ms_max: 1, retention_check_interval_ms: 1, ..settings() };
    let log = open_as(&disk, quick, timed, &Metrics::default()).unwrap();
    run(async {
        log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
        disk.plan(0, Fault::NoSpace);
        let large = batch(&"x".repeat(1_500), 0);
        let refused = log.append(&partition(0), large.clone(), Acks::Durable).await.unwrap_err();
        assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
        // Nobody asks for anything but the log itself, which looks again each time that the clock goes on.
        for _ in 0..5 {
            let looked = disk.refusals();
            while disk.refusals() == looked {
                clock.advance(10);
                let told = log.check_running().unwrap_err();
                assert!(matches!(told, Error::DiskFull { .. }), "{told}");
                tokio::task::yield_now().await;
            }
        }
        disk.heal();
        while log.check_running().is_err() {
            clock.advance(10);
            tokio::task::yield_now().await;
        }
        log.append(&partition(0), large, Acks::Durable).await.unwrap();
    });
}

#[test]
fn a_log_that_cannot_be_opened_is_not_changed_by_trying() {
    for fault in [Fault::NoSpace, Fault::ReadOnly, Fault::NoFiles] {
        let operations = operations_of_a_run();
        each(0..60, |seed| {
            let mut dice = Dice::new(Survivors::Random(seed + 3_000));
            let (disk, ledger) = run_with(dice.roll(operations), Fault::PowerCut);
            let disk = disk.after_power_cut(Survivors::Random(seed));
            let operation = dice.roll(20);
            disk.plan(operation, fault);
            if let Err(error) = open(&disk) {
                check_error(&error, fault, operation);
            }
            run(check(&open(&disk.after_kill()).unwrap(), &ledger));
            run(check(&open(&disk.after_power_cut(Survivors::Random(seed))).unwrap(), &ledger));
        });
    }
}

/// Appends until it is taken, as a producer does; the clock goes on meanwhile.
async fn append_patiently(log: &EmbeddedLog, clock: &ManualClock, value: &str, sequence: i32) -> Result<Offset> {
    let mut refused = None;
    let mut attempts = tokio::time::interval(Duration::from_millis(1));
    for _ in 0..2_000 {
        match log.append(&partition(0), batch(value, sequence), Acks::Durable).await {
            Err(error @ (Error::DiskFull { .. } | Error::TooManyOpenFiles { .. })) => refused = Some(error),
            appended => return appended.map(|appended| appended.base_offset),
        }
        clock.advance(10);
        attempts.tick().await;
    }
    panic!("the log does not go on: {refused:?}");
}

/// The log says that it refuses writes and for how long; what it refused is not there, now and after a loss of power.
fn check_refusing(log: &EmbeddedLog, disk: &SimulatedDisk, clock: &ManualClock, expected: &[(Offset, String)]) {
    assert_eq!(log.bounds(&partition(0)).unwrap().high_watermark, expected.len() as i64);
    assert!(log.check_running().unwrap_err().to_string().ends_with("for 0 s now"));
    clock.advance(5_000);
    assert!(log.check_running().unwrap_err().to_string().ends_with("for 5 s now"));
    for survivors in [Survivors::Nothing, Survivors::Everything, Survivors::Random(expected.len() as u64)] {
        let full = disk.after_power_cut(survivors);
        let survived = run_apart(async move { values(&open(&full).unwrap(), &partition(0)).await });
        assert_eq!(survived, expected, "what a loss of power leaves of a full disk ({survivors:?})");
    }
}

/// A log that is short of something from an operation on, and then is not.
fn check_recovery_by_itself(operation: u64, fault: Fault) -> bool {
    let disk = SimulatedDisk::new(&root());
    let clock = Arc::new(ManualClock::at(1_000));
    let timed: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let quick = EventLogSettings { retry_delay_ms_max: 1, ..settings() };
    let log = open_as(&disk, quick, timed, &Metrics::default()).unwrap();
    let mut told = false;
    run(async {
        log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
        let mut values_of_t = Vec::new();
        disk.plan(operation, fault);
        for sequence in 0..30 {
            let value = format!("v{sequence}");
            let appended = log.append(&partition(0), batch(&value, sequence), Acks::Durable).await;
            let offset = match appended {
                Ok(appended) => appended.base_offset,
                Err(error) => {
                    told = true;
                    check_error(&error, fault, operation);
                    check_refusing(&log, &disk, &clock, &values_of_t);
                    disk.heal();
                    append_patiently(&log, &clock, &value, sequence).await.unwrap()
                }
            };
            values_of_t.push((offset, value));
            if sequence % 7 == 3 {
                let _ = log.create_topic(TopicSpec::new(topic("u"), 1)).await;
                let _ = log.delete_topic(&topic("u")).await;
            }
        }
        disk.heal();
        let last = append_patiently(&log, &clock, "last", 30).await.unwrap();
        assert_eq!(last, 30, "{operation}: nothing is missing and nothing is there twice");
        values_of_t.push((last, "last".to_owned()));
        assert_eq!(values(&log, &partition(0)).await, values_of_t);
        log.close().await.unwrap();
        for disk in [disk.after_power_cut(Survivors::Nothing), disk.after_kill()] {
            let (metrics, expected) = (Metrics::default(), values_of_t.clone());
            let log = open_counting(&disk, &metrics).unwrap();
            assert_eq!(metrics.log_quarantined_frames.get(), 0, "{operation}: what was taken back is not damage");
            assert_eq!(values(&log, &partition(0)).await, expected, "{operation}");
        }
    });
    told
}

/// Runs a future where another is being run.
fn run_apart<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    std::thread::spawn(|| run(future)).join().unwrap()
}

#[test]
fn a_log_goes_on_by_itself_when_there_is_room_again() {
    for fault in [Fault::NoSpace, Fault::NoFiles] {
        let told = each(20..180, |operation| check_recovery_by_itself(operation, fault));
        let told = told.into_iter().filter(|told| *told).count();
        assert!(told > 100, "{fault:?}: {told} of 160 runs lacked something");
    }
}

#[test]
fn a_log_on_a_full_disk_is_closed_at_once_and_leaves_everything_acknowledged() {
    each(20..120, |operation| {
        let disk = SimulatedDisk::new(&root());
        let log = open(&disk).unwrap();
        let mut acked = Vec::new();
        run(async {
            log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
            disk.plan(operation, Fault::NoSpace);
            for sequence in 0..20 {
                let value = format!("v{sequence}");
                match log.append(&partition(0), batch(&value, sequence), Acks::Durable).await {
                    Ok(appended) => acked.push((appended.base_offset, value)),
                    Err(error) => check_error(&error, Fault::NoSpace, operation),
                }
            }
            log.close().await.unwrap();
        });
        drop(log);
        let log = open(&disk.after_power_cut(Survivors::Nothing)).unwrap();
        assert_eq!(run(values(&log, &partition(0))), acked, "{operation}");
    });
}

#[test]
fn closing_takes_no_longer_than_it_may() {
    const PARTITIONS: i32 = 200;
    let disk = SimulatedDisk::new(&root());
    let clock = Arc::new(ManualClock::at(1_000));
    let timed: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let large = EventLogSettings { wal_file_bytes: 1 << 20, close_ms_max: 5_000, ..EventLogSettings::shipped() };
    let open = |disk: &SimulatedDisk| open_as(disk, large.clone(), Arc::clone(&timed), &Metrics::default()).unwrap();
    let log = open(&disk);
    run(async {
        log.create_topic(TopicSpec::new(topic("t"), PARTITIONS)).await.unwrap();
        for index in 0..PARTITIONS {
            log.append(&partition(index), batch("v", 0), Acks::Durable).await.unwrap();
        }
        // A partition that was written takes four syncs, so this would take 40 s.
        disk.let_syncs_take(&clock, 50);
        let begin = clock.instant();
        log.close().await.unwrap();
        let took = clock.instant() - begin;
        assert!(took < Duration::from_secs(6), "closing took {took:?}");
    });
    drop(log);
    let log = open(&disk.after_power_cut(Survivors::Nothing));
    for index in 0..PARTITIONS {
        assert_eq!(run(values(&log, &partition(index))), [(0, "v".to_owned())]);
    }
}

#[test]
fn deleting_many_topics_takes_few_checkpoints_and_few_files() {
    const TOPICS: usize = 500;
    let disk = SimulatedDisk::new(&root());
    let log = open(&disk).unwrap();
    run(async {
        let names: Vec<_> = (0..TOPICS).map(|i| topic(&format!("t{i}"))).collect();
        for name in &names {
            log.create_topic(TopicSpec::new(name.clone(), 1)).await.unwrap();
            log.append(&TopicPartition::new(name.clone(), 0), batch("v", 0), Acks::Written).await.unwrap();
        }
        let (made, mut most) = (disk.made("wal"), 0);
        for name in &names {
            log.delete_topic(name).await.unwrap();
            most = most.max(disk.list(&root().join("wal")).unwrap().len());
        }
        let frames_bytes = TOPICS * 48;
        let made = disk.made("wal") - made;
        assert!(made <= 3 * frames_bytes / 2048, "{made} files of the write-ahead log for {frames_bytes} bytes");
        assert!(most <= 12, "{most} files of the write-ahead log at a time");
        log.close().await.unwrap();
    });
    assert!(disk.list(&root().join("topics")).unwrap().is_empty(), "the folders of deleted topics are gone");
}

#[test]
fn checkpoints_leave_alone_what_is_not_the_logs() {
    let disk = SimulatedDisk::new(&root());
    let log = open(&disk).unwrap();
    let stray = root().join("topics").join(".DS_Store");
    disk.create(&stray).unwrap();
    run(async {
        for _ in 0..3 {
            log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
            log.append(&partition(0), batch("v", 0), Acks::Durable).await.unwrap();
            log.delete_topic(&topic("t")).await.unwrap();
        }
        log.close().await.unwrap();
    });
    assert!(disk.open(&stray).is_ok());
}
