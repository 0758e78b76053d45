//! Stores as earlier releases left them on disk, in `tests/stored`, are opened by this one, and are what they were.
//!
//! A fixture that is not there is written by the code as it is, and its test fails, so that somebody looks at it before
//! it is kept. docs/formats/README.md says when there has to be another one.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{fs, path::Path, sync::Arc};

use eventlog::{EmbeddedLog, EventLogSettings};
use eventstore::{
    Aggregates, AggregatesSettings, AsOf, CommandError, CommandId, CommandOutcome, CommandRequest, Context, Decider,
    Error, EventStore, EventStoreSettings, ExpectedVersion::NoStream, NewEvent, RecordedEvent, Rejection, StreamName,
};
use model::{ManualClock, Metrics};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use uuid::Uuid;

/// Events of version 2 in `docs/formats/events.md`: events, and outcomes without events.
const EVENTS_2: &str = "tests/stored/events-2";
const BEGIN_MS: i64 = 1_750_000_000_000;

/// A gate at an airport.
struct Gate;

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum Command {
    Open { flight: String },
    Close,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum Event {
    Opened { flight: String },
    Closed,
}

impl Decider for Gate {
    type Command = Command;
    type Event = Event;
    type State = Option<String>;

    fn initial(&self) -> Option<String> {
        None
    }

    fn decide(&self, state: &Option<String>, command: &Command, _: &Context) -> Result<Vec<Event>, Rejection> {
        match (command, state) {
            (Command::Open { .. }, Some(flight)) => {
                Err(Rejection::new("gate_in_use", format!("the gate is open for {flight}")))
            }
            (Command::Open { flight }, None) => Ok(vec![Event::Opened { flight: flight.clone() }]),
            (Command::Close, None) => Ok(vec![]),
            (Command::Close, Some(_)) => Ok(vec![Event::Closed]),
        }
    }

    fn evolve(&self, _: Option<String>, event: &Event) -> Option<String> {
        match event {
            Event::Opened { flight } => Some(flight.clone()),
            Event::Closed => None,
        }
    }
}

/// Everything that runs over one directory.
struct Scene {
    log: Arc<EmbeddedLog>,
    store: Arc<EventStore>,
    aggregates: Aggregates,
}

impl Scene {
    async fn open(directory: &Path, now_ms: i64) -> Self {
        let (clock, metrics) = (Arc::new(ManualClock::at(now_ms)), Metrics::default());
        let settings = EventLogSettings { wal_file_bytes: 8192, ..EventLogSettings::shipped() };
        let log = EmbeddedLog::open(directory, settings, Arc::clone(&clock) as _, metrics.clone()).await.unwrap();
        assert!(log.damage().is_empty(), "{:?}", log.damage());
        let (shared, settings) = (Arc::clone(&log) as _, EventStoreSettings::shipped());
        let store = EventStore::open(shared, settings, clock, metrics).await.unwrap();
        let aggregates = Aggregates::new(Arc::clone(&store), AggregatesSettings::shipped()).unwrap();
        aggregates.register("gate", Gate).unwrap();
        Self { log, store, aggregates }
    }

    async fn command(&self, id: &str, command: &str, data: serde_json::Value) -> Result<CommandOutcome, CommandError> {
        let data = to_raw_value(&data).unwrap();
        let request = CommandRequest::new(CommandId::new(id).unwrap(), command, data);
        self.aggregates.handle("gate", "B7", request).await
    }

    async fn open_for(&self, id: &str, flight: &str) -> Result<CommandOutcome, CommandError> {
        self.command(id, "open", serde_json::json!({ "flight": flight })).await
    }

    async fn close_gate(&self, id: &str) -> Result<CommandOutcome, CommandError> {
        self.command(id, "close", serde_json::Value::Null).await
    }

    async fn stop(self) {
        self.store.close().await;
        self.log.close().await.unwrap();
    }
}

fn notes() -> (StreamName, Vec<NewEvent>) {
    let first = NewEvent {
        metadata: Some(r#"{"by":"tower"}"#.into()),
        effective_time_ms: Some(-1),
        correlation_id: Some("fog".to_owned()),
        causation_id: Some("weather".to_owned()),
        ..NewEvent::new(Uuid::from_u128(1), "noted", r#"{"text":"fog over ORD"}"#)
    };
    let second = NewEvent::new(Uuid::from_u128(2), "noted", r#"{"text":"cleared ✓"}"#);
    (StreamName::new("notes").unwrap(), vec![first, second])
}

/// What the fixture is made by.
async fn write(directory: &Path) {
    let scene = Scene::open(directory, BEGIN_MS).await;
    let (stream, events) = notes();
    scene.store.append(&stream, NoStream, events).await.unwrap();
    assert!(scene.close_gate("c-0").await.unwrap().events.is_empty());
    scene.open_for("c-1", "DL 42").await.unwrap();
    assert_eq!(scene.open_for("c-2", "UA 1").await.unwrap_err().rule(), Some("gate_in_use"));
    scene.stop().await;
    // A second life, so that the log has a checkpoint and frames behind it.
    let scene = Scene::open(directory, BEGIN_MS + 60_000).await;
    scene.close_gate("c-3").await.unwrap();
    scene.stop().await;
}

fn line(event: &RecordedEvent) -> String {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        format!("{} {}/{} {}", event.offset, event.stream, event.version, event.event_id),
        format!("{} {}", event.event_type, text(&event.data)),
        event.metadata.as_deref().map_or("-".to_owned(), text),
        format!("{} {}", event.recorded_time_ms - BEGIN_MS, event.effective_time_ms),
        format!("{} {}", or_none(&event.correlation_id), or_none(&event.causation_id)),
        event.command_id.as_ref().map_or("-".to_owned(), ToString::to_string),
    ]
    .join(" | ")
}

/// All events: place, id; type and data; metadata; recorded and effective time; correlation and causation; command.
const EXPECTED: [&str; 4] = [
    r#"0 notes/0 00000000-0000-0000-0000-000000000001 | noted {"text":"fog over ORD"} | {"by":"tower"} | 0 -1 | fog weather | -"#,
    r#"1 notes/1 00000000-0000-0000-0000-000000000002 | noted {"text":"cleared ✓"} | - | 0 1750000000000 | - - | -"#,
    r#"2 gate-B7/0 5f11831f-5079-5764-955d-63d5219670c2 | opened {"flight":"DL 42"} | - | 0 1750000000000 | - c-1 | c-1"#,
    r#"3 gate-B7/1 d1b2c3ea-3d62-5303-ba6a-757fde3bc60b | closed {} | - | 60000 1750000060000 | - c-3 | c-3"#,
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_of_version_2_is_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    if !Path::new(EVENTS_2).exists() {
        write(directory.path()).await;
        copy(directory.path(), Path::new(EVENTS_2));
        panic!("{EVENTS_2} was not there, and was written: look at it, and keep it");
    }
    copy(Path::new(EVENTS_2), directory.path());
    for _ in 0..2 {
        let scene = Scene::open(directory.path(), BEGIN_MS + 120_000).await;
        let page = scene.store.read_all(0, 1000).await.unwrap();
        let lines: Vec<String> = page.events.iter().map(line).collect();
        assert_eq!(lines, EXPECTED, "{lines:#?}");
        assert_eq!(scene.store.foreign_records().count, 0);
        let state = scene.aggregates.state("gate", "B7", AsOf::Now).await.unwrap().unwrap();
        assert_eq!((state.state, state.version), (serde_json::Value::Null, 1));

        // What was decided stays decided, whatever came of it.
        let (stream, events) = notes();
        let again = scene.store.append(&stream, NoStream, events).await.unwrap();
        assert!(again.duplicate);
        assert_eq!((again.first_version, again.last_version, again.positions.to_string()), (0, 1, "events/0:2".into()));
        let opened = scene.open_for("c-1", "DL 42").await.unwrap();
        assert_eq!((opened.duplicate, line(&opened.events[0])), (true, EXPECTED[2].to_owned()));
        let closed = scene.close_gate("c-3").await.unwrap();
        assert_eq!((closed.duplicate, line(&closed.events[0])), (true, EXPECTED[3].to_owned()));
        let nothing = scene.close_gate("c-0").await.unwrap();
        assert_eq!((nothing.duplicate, nothing.events.len(), nothing.version), (true, 0, None));
        let rejected = scene.open_for("c-2", "UA 1").await.unwrap_err();
        assert_eq!(rejected.to_string(), "rejected by rule gate_in_use: the gate is open for DL 42");
        for id in ["c-0", "c-1", "c-2", "c-3"] {
            let other = scene.open_for(id, "another").await.unwrap_err();
            assert!(matches!(other, CommandError::Store(Error::CommandIdReused { .. })), "{id}: {other}");
        }
        assert_eq!(
            scene.store.read_all(0, 1000).await.unwrap().events,
            page.events,
            "nothing of that changed anything"
        );
        scene.stop().await;
    }
}
