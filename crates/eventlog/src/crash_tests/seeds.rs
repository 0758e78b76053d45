//! That the log takes its ids and salts from nowhere but the source that it was given.

use model::SeededEntropy;
use uuid::Uuid;

use super::*;

/// The id of a topic, and the files of the write-ahead log, of a log that was killed.
fn made(seed: u64) -> (Uuid, Vec<Vec<u8>>) {
    let (disk, clock) = (SimulatedDisk::new(&root()), Arc::new(ManualClock::at(1_000)));
    let (shared, entropy) = (Arc::new(disk.clone()), Arc::new(SeededEntropy::new(seed)));
    // Without checkpoints, files end where they are full, and nowhere else.
    let settings = EventLogSettings { checkpoint_wal_bytes: 1 << 30, ..settings() };
    let log = EmbeddedLog::open_on(shared, &root(), settings, clock, entropy, Metrics::default(), None).unwrap();
    let id = run(async {
        let topic = log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
        for sequence in 0..30 {
            log.append(&partition(0), batch("value", sequence), Acks::Durable).await.unwrap();
        }
        topic.id
    });
    drop(log);
    let wal = root().join("wal");
    let files = disk.list(&wal).unwrap().iter().map(|name| disk.read(&wal.join(name)).unwrap()).collect();
    (id, files)
}

#[test]
fn the_same_seed_makes_the_same_log() {
    let (id, files) = made(7);
    assert!(files.len() > 1, "each file has a salt");
    assert!(made(7) == (id, files), "something comes from elsewhere");
    assert_ne!(made(8).0, id);
}
