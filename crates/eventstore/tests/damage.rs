//! Damaged bytes in the segments of a store: what they take with them, and what goes on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use eventlog::{EmbeddedLog, EventLogSettings};
use eventstore::{
    Aggregates, AggregatesSettings, AsOf, CommandError, CommandId, CommandRequest, Delivery, Direction::Forward, Error,
    EventStore, EventStoreSettings, ExpectedVersion::Any, NewEvent, StreamName,
};
use model::{ErrorKind, Metrics, SystemClock};
use serde_json::value::to_raw_value;
use uuid::Uuid;

use self::support::Sum;

const SUM: Sum = Sum { most: 100, most_in_words: "a hundred", rule: "too_much" };

struct Scene {
    log: Arc<EmbeddedLog>,
    store: Arc<EventStore>,
    aggregates: Aggregates,
}

impl Scene {
    async fn try_open(directory: &Path) -> model::Result<Self> {
        let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
        let settings = EventLogSettings { wal_file_bytes: 1 << 16, ..EventLogSettings::shipped() };
        let log = EmbeddedLog::open(directory, settings, Arc::clone(&clock) as _, metrics.clone()).await?;
        let store = match EventStore::open(Arc::clone(&log) as _, EventStoreSettings::shipped(), clock, metrics).await {
            Ok(store) => store,
            Err(error) => {
                log.close().await?;
                return Err(error);
            }
        };
        let aggregates = Aggregates::new(Arc::clone(&store), AggregatesSettings::shipped()).unwrap();
        aggregates.register("sum", SUM).unwrap();
        Ok(Self { log, store, aggregates })
    }

    async fn open(directory: &Path) -> Self {
        Self::try_open(directory).await.unwrap()
    }

    async fn close(self) {
        self.store.close().await;
        self.log.close().await.unwrap();
    }

    async fn append(&self, name: &str, number: u32) -> Result<u64, Error> {
        let event = NewEvent::new(Uuid::from_u128(u128::from(number)), "added", number.to_string());
        Ok(self.store.append(&stream(name), Any, vec![event]).await?.first_version)
    }

    async fn numbers(&self, name: &str) -> Result<Vec<u32>, Error> {
        let events = self.store.read_stream(&stream(name), 0, Forward, 100).await?;
        Ok(events.iter().map(|event| std::str::from_utf8(&event.data).unwrap().parse().unwrap()).collect())
    }

    async fn command(&self, id: &str, number: u32) -> Result<u64, CommandError> {
        let request = CommandRequest::new(CommandId::new(id).unwrap(), "add", to_raw_value(&number).unwrap());
        Ok(self.aggregates.handle("sum", "a", request).await?.version.unwrap())
    }
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

/// A store with the events of the streams, one batch each, in order; the data of event n is the number 1000 + n.
async fn stored(streams: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::open(directory.path()).await;
    for (number, name) in (1000..).zip(streams) {
        scene.append(name, number).await.unwrap();
    }
    scene.close().await;
    directory
}

/// The only segment of a topic.
fn segment(directory: &Path, topic: &str) -> PathBuf {
    let folders = fs::read_dir(directory.join("topics")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders =
        folders.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{topic}-0.")));
    folders.next().unwrap().join("00000000000000000000.log")
}

/// Flips a bit of the byte `at` behind the beginning of the `nth` place (from 0) where the file has `text`.
fn flip(file: &Path, text: &str, nth: usize, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    let places: Vec<usize> =
        bytes.windows(text.len()).enumerate().filter(|(_, w)| *w == text.as_bytes()).map(|(place, _)| place).collect();
    bytes[places[nth] + at] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[track_caller]
fn is_damaged<T: std::fmt::Debug>(result: Result<T, Error>, offset: i64) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Damaged { first, .. } if first == offset), "{error}");
    let error = model::Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains(&format!("events/0 is damaged at offsets {offset} to ")), "{error}");
    assert!(error.hint().unwrap().contains("from a copy"), "{error}");
}

#[tokio::test]
async fn a_damaged_event_refuses_its_stream_and_nothing_else() {
    // With events of the stream behind the damaged one, and without.
    for (streams, later) in [(&["b", "sum-a", "b", "sum-a", "b"], true), (&["b", "sum-a", "b", "b", "b"], false)] {
        let directory = stored(streams).await;
        flip(&segment(directory.path(), "events"), "1001", 0, 3);
        for _ in 0..2 {
            let scene = Scene::open(directory.path()).await;
            let damage = scene.store.damage();
            assert_eq!((damage.len(), damage[0].offsets.clone()), (1, 1..2));
            assert_eq!(damage[0].streams.as_deref(), Some([stream("sum-a")].as_slice()));
            is_damaged(scene.numbers("sum-a").await, 1);
            is_damaged(scene.append("sum-a", 5).await, 1);
            for refused in
                [scene.command("c", 1).await.map(drop), scene.aggregates.state("sum", "a", AsOf::Now).await.map(drop)]
            {
                let CommandError::Store(error) = refused.unwrap_err() else { panic!("of the store") };
                is_damaged::<()>(Err(error), 1);
            }
            // All events: those before, the damage, and those behind it.
            let before = scene.store.read_all(0, 100).await.unwrap();
            assert_eq!((before.events.len(), before.next_offset), (1, 1));
            is_damaged(scene.store.read_all(1, 100).await, 1);
            let behind = scene.store.read_all(2, 3).await.unwrap();
            assert_eq!(behind.events.len(), 3, "{later}: an event behind the damage is there");
            let mut subscription = scene.store.subscribe_all(0);
            assert!(matches!(subscription.next().await, Some(Ok(Delivery::Event(_)))));
            is_damaged(subscription.next().await.unwrap(), 1);
            assert!(subscription.next().await.is_none());
            // The others go on.
            let known = scene.numbers("b").await.unwrap().len() as u64;
            let number = 2000 + u32::try_from(known).unwrap();
            assert_eq!(scene.append("b", number).await.unwrap(), known);
            assert_eq!(scene.append(&format!("new-{known}"), number).await.unwrap(), 0);
            assert_eq!(scene.store.foreign_records().count, 0);
            scene.close().await;
        }
    }
}

#[tokio::test]
async fn where_it_cannot_be_told_whose_event_it_was_no_stream_that_may_be_it_takes_events() {
    let directory = stored(&["old", "sum-a", "sum-b", "sum-a", "sum-b"]).await;
    // The key of the second event: it stands before its subject. Now key and subject speak of two streams.
    flip(&segment(directory.path(), "events"), "sum-a", 0, 4);
    let scene = Scene::open(directory.path()).await;
    assert_eq!((scene.store.damage()[0].offsets.clone(), scene.store.damage()[0].streams.clone()), (1..2, None));
    // The next event of sum-a shows that one of its own is missing; that of sum-b, that none is.
    is_damaged(scene.numbers("sum-a").await, 1);
    is_damaged(scene.append("sum-a", 5).await, 1);
    assert_eq!(scene.numbers("sum-b").await.unwrap(), [1002, 1004]);
    assert_eq!(scene.append("sum-b", 6).await.unwrap(), 2);
    assert_eq!(scene.numbers("old").await.unwrap(), [1000], "what is there can be read");
    is_damaged(scene.append("old", 7).await, 1);
    is_damaged(scene.append("new", 8).await, 1);
    is_damaged(scene.numbers("new").await, 1);
    assert_eq!(scene.store.read_all(2, 100).await.unwrap().events.len(), 4, "those behind it are all there");
    scene.close().await;
}

#[tokio::test]
async fn a_damaged_border_takes_what_is_behind_it() {
    let directory = stored(&["a", "b", "c"]).await;
    let file = segment(directory.path(), "events");
    let mut bytes = fs::read(&file).unwrap();
    // The length of the first batch.
    bytes[9] ^= 0x40;
    fs::write(&file, bytes).unwrap();
    let scene = Scene::open(directory.path()).await;
    assert_eq!((scene.store.damage()[0].offsets.clone(), scene.store.damage()[0].streams.clone()), (0..3, None));
    is_damaged(scene.append("a", 5).await, 0);
    is_damaged(scene.store.read_all(2, 10).await, 0);
    scene.close().await;
}

#[tokio::test]
async fn a_damaged_outcome_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::open(directory.path()).await;
    scene.command("1", 60).await.unwrap();
    for id in ["damaged", "whole"] {
        assert_eq!(scene.command(id, 50).await.unwrap_err().rule(), Some("too_much"));
    }
    scene.close().await;
    flip(&segment(directory.path(), "events.outcomes"), "too_much", 0, 0);
    let scene = Scene::open(directory.path()).await;
    assert_eq!(scene.command("whole", 50).await.unwrap_err().rule(), Some("too_much"));
    assert_eq!(scene.command("damaged", 40).await.unwrap(), 1, "it is decided again, whatever it says");
    assert_eq!(scene.store.damage(), []);
    scene.close().await;
}

/// Whatever a byte becomes: a store that opens gives the events that were stored or refuses them, and never others.
#[tokio::test]
async fn no_flipped_byte_makes_another_event() {
    let streams = ["a", "b", "a", "c", "b", "a"];
    let directory = stored(&streams).await;
    let file = segment(directory.path(), "events");
    let whole = fs::read(&file).unwrap();
    let mut expected: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (number, name) in (1000..).zip(streams) {
        expected.entry(name).or_default().push(number);
    }
    let mut refused = 0;
    for (at, bit) in (0..whole.len()).step_by(29).zip((0..8).cycle()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        fs::write(&file, bytes).unwrap();
        let scene = Scene::open(directory.path()).await;
        let damage = scene.store.damage();
        // The leader's epoch is no part of the checksum, and of no event.
        assert!(damage.len() <= 1, "byte {at}: {damage:?}");
        let told = damage.first().map_or(Some([].as_slice()), |damage| damage.streams.as_deref());
        for (name, numbers) in &expected {
            match scene.numbers(name).await {
                Ok(found) => assert!(numbers.starts_with(&found), "byte {at}: {found:?}"),
                Err(Error::Damaged { .. }) => refused += 1,
                Err(error) => panic!("byte {at}: {error}"),
            }
            // A stream that takes events has them all.
            if told.is_some_and(|damaged| !damaged.contains(&stream(name))) {
                assert_eq!(&scene.numbers(name).await.unwrap(), numbers, "byte {at}");
            }
        }
        scene.close().await;
        fs::write(&file, &whole).unwrap();
    }
    assert!(refused > 0);
}
