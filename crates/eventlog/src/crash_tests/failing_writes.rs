//! A disk that is full or cannot be written, from any operation on: in the write-ahead log, in segments, in
//! checkpoints, while the log works and while it is opened.

use super::*;

/// What is said when `fault` strikes.
fn reason(fault: Fault) -> &'static str {
    match fault {
        Fault::NoSpace => "no storage space",
        Fault::ReadOnly => "read-only filesystem",
        _ => panic!("{fault:?} is for the other tests"),
    }
}

fn check_error(error: &Error, fault: Fault, operation: u64) {
    assert!(matches!(error, Error::Stopped(_) | Error::Io { .. }), "{operation}: {error}");
    assert!(error.to_string().contains(reason(fault)), "{operation}: {error}");
}

/// Works until the fault; the client is told why, and when the disk works again everything acknowledged is there.
fn check_a_run(operation: u64, fault: Fault) -> bool {
    let disk = SimulatedDisk::new(&root());
    disk.plan(operation, fault);
    let mut ledger = Ledger::default();
    let failed = match open(&disk) {
        Ok(log) => {
            let failed = run(work(&log, &mut ledger)).err();
            if matches!(failed, Some(Error::Stopped(_))) {
                check_error(&log.check_running().unwrap_err(), fault, operation);
            }
            failed
        }
        Err(error) => Some(error),
    };
    if let Some(error) = &failed {
        check_error(error, fault, operation);
    }
    let kept = disk.after_power_cut(Survivors::Nothing);
    run(check(&open(&kept).unwrap(), &ledger));
    let disk = disk.after_kill();
    let metrics = Metrics::default();
    let log = open_counting(&disk, &metrics).unwrap();
    assert_eq!(metrics.log_quarantined_frames.get(), 0, "half a write is not damage ({operation})");
    run(check(&log, &ledger));
    run(retry(&log, &mut ledger));
    run(log.close()).unwrap();
    failed.is_some()
}

#[test]
fn a_disk_that_takes_nothing_more_stops_the_log_and_loses_nothing() {
    for fault in [Fault::NoSpace, Fault::ReadOnly] {
        let operations = operations_of_a_run();
        let failed = (0..operations).filter(|operation| check_a_run(*operation, fault)).count() as u64;
        // The last operations of a run may only be removals, which need no space.
        assert!(failed > operations * 9 / 10, "{fault:?}: {failed} of {operations} runs were told");
    }
}

#[test]
fn a_log_that_cannot_be_opened_is_not_changed_by_trying() {
    for fault in [Fault::NoSpace, Fault::ReadOnly] {
        let mut dice = Dice::new(Survivors::Random(3));
        let operations = operations_of_a_run();
        for seed in 0..60 {
            let (disk, ledger) = run_with(dice.roll(operations), Fault::PowerCut);
            let disk = disk.after_power_cut(Survivors::Random(seed));
            let operation = dice.roll(20);
            disk.plan(operation, fault);
            if let Err(error) = open(&disk) {
                check_error(&error, fault, operation);
            }
            run(check(&open(&disk.after_kill()).unwrap(), &ledger));
            run(check(&open(&disk.after_power_cut(Survivors::Random(seed))).unwrap(), &ledger));
        }
    }
}
