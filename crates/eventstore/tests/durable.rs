//! The store over the log on disk: what was acknowledged is there after a restart, and is the same.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use eventlog::{EmbeddedLog, EventLogSettings};
use eventstore::{
    Aggregates, AggregatesSettings, AsOf, CommandError, CommandId, CommandRequest, Delivery,
    Direction::{Backward, Forward},
    Error, EventStore, EventStoreSettings,
    ExpectedVersion::{self, Any, Exact, NoStream, StreamExists},
    ForeignRecords, NewEvent, RecordedEvent, StreamName,
};
use model::{Metrics, SystemClock};
use serde_json::value::to_raw_value;
use uuid::Uuid;

use self::support::Sum;

const COUNTER: Sum = Sum { most: 10, most_in_words: "ten", rule: "over_ten" };

/// Everything that runs over one directory.
struct Scene {
    log: Arc<EmbeddedLog>,
    store: Arc<EventStore>,
    aggregates: Aggregates,
}

impl Scene {
    async fn open(directory: &Path) -> Self {
        let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
        // Small files, so that a few thousand events fill several.
        let settings = EventLogSettings {
            wal_file_bytes: 1 << 20,
            checkpoint_wal_bytes: 2 << 20,
            segment_bytes: 1 << 20,
            ..EventLogSettings::shipped()
        };
        let log = EmbeddedLog::open(directory, settings, Arc::clone(&clock) as _, metrics.clone()).await.unwrap();
        let settings =
            EventStoreSettings { cache_bytes: 1 << 20, read_bytes: 64 << 10, ..EventStoreSettings::shipped() };
        let store = EventStore::open(Arc::clone(&log) as _, settings, clock, metrics).await.unwrap();
        let aggregates = Aggregates::new(Arc::clone(&store), AggregatesSettings::shipped()).unwrap();
        aggregates.register("counter", COUNTER).unwrap();
        Self { log, store, aggregates }
    }

    /// Stops; in order, or as if the process had died.
    async fn stop(self, in_order: bool) {
        let Self { log, store, aggregates } = self;
        // The writer lets go of the log before this returns.
        store.close().await;
        drop((aggregates, store));
        if in_order {
            log.close().await.unwrap();
        }
        assert_eq!(Arc::strong_count(&log), 1, "nobody else holds the log");
    }

    /// All that the store has to tell.
    async fn everything(&self) -> (Vec<RecordedEvent>, BTreeMap<StreamName, Vec<RecordedEvent>>, String) {
        let mut all = Vec::new();
        let mut next = 0;
        loop {
            let page = self.store.read_all(next, 1000).await.unwrap();
            all.extend(page.events);
            next = page.next_offset;
            if next >= page.end_offset {
                break;
            }
        }
        let mut streams = BTreeMap::new();
        for summary in self.store.streams("", None, usize::MAX) {
            let mut events = Vec::new();
            while (events.len() as u64) <= summary.version {
                let page = self.store.read_stream(&summary.stream, events.len() as u64, Forward, 300).await.unwrap();
                assert!(!page.is_empty());
                events.extend(page);
            }
            streams.insert(summary.stream, events);
        }
        (all, streams, self.store.positions().to_string())
    }
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn event(number: u128, bytes: usize) -> NewEvent {
    let text = "x".repeat(bytes);
    NewEvent::new(Uuid::from_u128(number), "counted", format!("[{number},\"{text}\"]"))
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    for in_order in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let scene = Scene::open(directory.path()).await;
        let add = |id: &str, number: u32| {
            CommandRequest::new(CommandId::new(id).unwrap(), "add", to_raw_value(&number).unwrap())
        };
        let first = scene.store.append(&stream("s"), NoStream, vec![event(1, 10), event(2, 20)]).await.unwrap();
        let done = scene.aggregates.handle("counter", "a", add("c-1", 7)).await.unwrap();
        for number in 0..100 {
            let name = stream(&format!("s-{}", number % 7));
            scene.store.append(&name, Any, vec![event(100 + number, 30_000)]).await.unwrap();
        }
        let rejected = scene.aggregates.handle("counter", "a", add("c-2", 4)).await.unwrap_err();
        assert_eq!(rejected.rule(), Some("over_ten"));
        scene.aggregates.handle("counter", "a", add("c-3", 3)).await.unwrap();
        let before = scene.everything().await;
        scene.stop(in_order).await;

        let scene = Scene::open(directory.path()).await;
        assert_eq!(scene.everything().await, before);
        let again = scene.store.append(&stream("s"), NoStream, vec![event(1, 10), event(2, 20)]).await.unwrap();
        assert!(again.duplicate);
        assert_eq!((again.first_version, again.last_version, again.positions), (0, 1, first.positions));
        let refused = scene.store.append(&stream("s"), Exact(0), vec![event(3, 1)]).await.unwrap_err();
        assert!(matches!(refused, Error::WrongVersion { actual: Some(1), .. }), "{refused}");
        let again = scene.aggregates.handle("counter", "a", add("c-1", 7)).await.unwrap();
        assert!(again.duplicate);
        assert_eq!((again.events, again.version, again.positions), (done.events, done.version, done.positions));
        let rejected = scene.aggregates.handle("counter", "a", add("c-2", 4)).await.unwrap_err();
        assert_eq!(rejected.to_string(), "rejected by rule over_ten: 7 and 4 are more than ten", "as it was then");
        let other = scene.aggregates.handle("counter", "a", add("c-2", 0)).await.unwrap_err();
        assert!(matches!(other, CommandError::Store(Error::CommandIdReused { .. })), "{other}");
        let state = scene.aggregates.state("counter", "a", AsOf::Now).await.unwrap().unwrap();
        assert_eq!(state.state, 10);
        assert_eq!(scene.everything().await, before, "nothing of that changed anything");
        assert_eq!(scene.store.foreign_records().count, 0);
        scene.stop(true).await;
    }
}

/// A generator that is enough for a test (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn expected(&mut self) -> ExpectedVersion {
        match self.below(8) {
            0 => NoStream,
            1 => StreamExists,
            2..5 => Exact(self.below(40)),
            _ => Any,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_are_all_there_after_a_restart() {
    const TASKS: u64 = 16;
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::open(directory.path()).await;
    let mut subscription = scene.store.subscribe_all(0);
    let mut tasks = Vec::new();
    for task in 1..=TASKS {
        let store = Arc::clone(&scene.store);
        tasks.push(tokio::spawn(async move {
            let mut random = Random(task);
            let mut stored = Vec::new();
            for at in 0..60 {
                let name = stream(&format!("s-{}", random.below(5)));
                let expected = random.expected();
                let base = u128::from(task << 32 | at << 8);
                let numbers: Vec<_> = (base..base + u128::from(1 + random.below(4))).collect();
                let size = usize::try_from(random.below(2000)).unwrap();
                let events = numbers.iter().map(|number| event(*number, size)).collect();
                match store.append(&name, expected, events).await {
                    Ok(done) => {
                        assert!(!done.duplicate);
                        assert!(expected.allows(done.first_version.checked_sub(1)), "{expected}, {done:?}");
                        stored.push((name, done.first_version, numbers));
                    }
                    Err(Error::WrongVersion { actual, .. }) => assert!(!expected.allows(actual), "{expected}"),
                    Err(error) => panic!("{error}"),
                }
            }
            stored
        }));
    }
    let mut model: BTreeMap<(StreamName, u64), u128> = BTreeMap::new();
    for task in tasks {
        for (name, first, numbers) in task.await.unwrap() {
            for (number, version) in numbers.into_iter().zip(first..) {
                assert_eq!(model.insert((name.clone(), version), number), None, "a version given twice");
            }
        }
    }
    assert!(model.len() > 500, "most of it was taken");
    let (all, streams, positions) = scene.everything().await;
    let found: BTreeMap<_, _> =
        streams.values().flatten().map(|e| ((e.stream.clone(), e.version), e.event_id.as_u128())).collect();
    assert_eq!(found, model);
    for (name, events) in &streams {
        let mut backward = scene.store.read_stream(name, u64::MAX, Backward, 4000).await.unwrap();
        backward.reverse();
        assert_eq!(&backward, events);
    }
    for expected in &all {
        let delivered = loop {
            if let Delivery::Event(event) = subscription.next().await.unwrap().unwrap() {
                break event;
            }
        };
        assert_eq!(&delivered, expected);
    }
    drop(subscription);
    scene.stop(false).await;
    let scene = Scene::open(directory.path()).await;
    let after = scene.everything().await;
    assert_eq!(scene.store.foreign_records(), ForeignRecords::default());
    assert_eq!(after.2, positions);
    assert_eq!(after.0.len(), all.len());
    for (found, expected) in after.0.iter().zip(&all) {
        assert_eq!(found, expected);
    }
    assert_eq!(after.1, streams);
}
