//! Bits that turned over in files, and repairs that are cut short: each is noticed, and costs no more than it touched.

use super::*;

#[test]
fn a_flipped_bit_in_the_write_ahead_log_is_noticed() {
    let appends = 6;
    let disk = log_with(appends, false);
    let path = only_file(&disk, &root().join("wal"), ".wal");
    // How many records each bit costs, and how many frames are noticed to be bad.
    let costs = each((0..1400 * 8).step_by(5), |bit| {
        let disk = disk.after_power_cut(Survivors::Nothing);
        disk.flip(&path, bit);
        let metrics = Metrics::default();
        let log = match open_counting(&disk, &metrics) {
            Ok(log) => log,
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                return (0, 0);
            }
        };
        let noticed = metrics.log_quarantined_frames.get();
        let Some(_) = log.topic("t") else {
            assert!(noticed > 0, "bit {bit}: the topic is gone and nobody says so");
            return (0, noticed);
        };
        let found = run(values(&log, &partition(0)));
        for (offset, value) in &found {
            assert_eq!(*value, format!("v{offset}"), "bit {bit}: a wrong record");
        }
        let missing = appends as u64 - found.len() as u64;
        // The last frame cannot be told from a torn write: nothing after it says that it was synced.
        let is_last = missing == 1 && !found.iter().any(|(offset, _)| *offset == i64::from(appends) - 1);
        assert!(missing == noticed || is_last, "bit {bit}: {missing} are missing");
        // The log goes on, behind the gap, and does not report the same damage again.
        let next = run(log.append(&partition(0), batch("next", appends), Acks::Durable));
        assert!(next.is_ok() || is_last, "bit {bit}: {next:?}");
        run(log.close()).unwrap();
        drop(log);
        let metrics = Metrics::default();
        open_counting(&disk, &metrics).unwrap();
        assert_eq!(metrics.log_quarantined_frames.get(), 0, "bit {bit}");
        (missing, noticed)
    });
    let (lost, noticed) = costs.into_iter().fold((0, 0), |sum, cost| (sum.0 + cost.0, sum.1 + cost.1));
    assert!(lost > 100 && noticed > 100, "the flips must hit something: {lost} lost, {noticed} noticed");
}

#[test]
fn a_flipped_bit_in_what_a_checkpoint_made_is_noticed() {
    let appends = 6;
    let disk = log_with(appends, true);
    let topics = root().join("topics");
    let directory = topics.join(disk.list(&topics).unwrap().first().unwrap());
    let expected: Vec<_> = (0..i64::from(appends)).map(|i| (i, format!("v{i}"))).collect();
    for extension in [".log", ".index", ".timeindex", ".arrivals", "checkpoint"] {
        let path =
            if extension == "checkpoint" { root().join(extension) } else { only_file(&disk, &directory, extension) };
        let size = disk.open(&path).unwrap().size().unwrap();
        let noticed = each(0..usize::try_from(size).unwrap() * 8, |bit| {
            let mut noticed = 0_u32;
            let disk = disk.after_power_cut(Survivors::Nothing);
            disk.flip(&path, bit);
            let log = match open(&disk) {
                Ok(log) => log,
                Err(error) => {
                    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                    return 1;
                }
            };
            if extension == ".timeindex" {
                for target in 0..i64::from(appends) {
                    let found = run(log.offset_at_time(&partition(0), 10 * target)).unwrap();
                    assert_eq!(found.map(|found| found.offset), Some(target), "bit {bit} of {extension}");
                }
            }
            for from in 0..i64::from(appends) {
                match run(log.read(&partition(0), from, 1)) {
                    Ok(read) => {
                        let batch = &read.batches[0];
                        let record = &batch.records().unwrap()[0];
                        let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
                        assert!(value.starts_with(&format!("{}:", expected[usize::try_from(from).unwrap()].1)));
                        assert_eq!((record.offset, batch.arrival_time_ms), (from, 1_000), "bit {bit} of {extension}");
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                        noticed += 1;
                    }
                }
            }
            noticed
        });
        let noticed: u32 = noticed.into_iter().sum();
        let is_derived = [".index", ".timeindex", ".arrivals"].contains(&extension);
        assert_eq!(noticed == 0, is_derived, "{extension}: {noticed} were noticed");
    }
}

#[test]
fn a_power_cut_during_a_repair_costs_no_arrival_time_that_was_left() {
    let disk = SimulatedDisk::new(&root());
    let clock = Arc::new(ManualClock::at(0));
    let timed: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let log = open_as(&disk, settings(), timed, &Metrics::default()).unwrap();
    run(async {
        log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
        for i in 0..6 {
            clock.set(1_000 * i);
            log.append(&partition(0), batch("v", i32::try_from(i).unwrap()), Acks::Durable).await.unwrap();
        }
        log.close().await.unwrap();
    });
    drop(log);
    let topics = root().join("topics");
    let directory = topics.join(disk.list(&topics).unwrap().first().unwrap());
    let path = only_file(&disk, &directory, ".arrivals");
    assert_eq!(disk.open(&path).unwrap().size().unwrap(), 6 * 20);
    disk.flip(&path, 3 * 20 * 8);
    let read = |disk: &SimulatedDisk| {
        let log = open(disk)?;
        run(async {
            let read = log.read(&partition(0), 0, 10_000).await?;
            Ok::<_, Error>(read.batches.iter().map(|batch| batch.arrival_time_ms).collect::<Vec<_>>())
        })
    };
    let mut cut = 0;
    for operation in 0..40 {
        let disk = disk.after_power_cut(Survivors::Nothing);
        disk.plan(operation, Fault::PowerCut);
        cut += u32::from(read(&disk).is_err());
        for survivors in [Survivors::Nothing, Survivors::Everything, Survivors::Random(operation)] {
            // The fourth is an estimate; its record says that it was sent earlier.
            let found = read(&disk.after_power_cut(survivors)).unwrap();
            assert_eq!(found, [0, 1_000, 2_000, 2_000, 4_000, 5_000], "{operation} {survivors:?}");
        }
    }
    assert!((10..40).contains(&cut), "{cut} of 40 operations are part of opening and repairing");
}
