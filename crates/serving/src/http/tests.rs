//! The door opened on a free port of loopback, over a real log, and asked over a socket.

mod backup;
mod client;
mod commands;
mod encoding;
mod limits;
mod negotiation;
mod routes;
mod sql;
mod statuses;
mod streams;
mod topics;
mod views;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::sql::{Show, SourceDefinition, SqlError, Statement};
use arrow::{
    array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use async_trait::async_trait;
use eventlog::{EmbeddedLog, EventLog, EventLogSettings};
use eventstore::{Aggregates, AggregatesSettings, Context, Decider, EventStore, EventStoreSettings, Rejection};
use model::{Epoch, ManualClock, Metrics, Positions, Principal, TopicName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use streaming::{Change, RowRecord, SourceTable};
use tempfile::TempDir;

use self::client::{Answer, ask};
use super::{Backups, HttpServer, HttpSettings, Part, Readiness, Services, start};
use crate::{
    fixture::{batch, publish},
    sql::{Defined, Definitions, SqlService, SqlSettings, WriteClaim},
    views::{Relation, Snapshot, View, Views},
};

const NOW_MS: i64 = 1_359_655_200_000;

/// An open door, and what lies behind it.
struct Door {
    server: HttpServer,
    log: Arc<EmbeddedLog>,
    view: Arc<View>,
    views: Arc<Views>,
    _directory: TempDir,
}

impl Door {
    async fn open() -> Self {
        Self::open_with(HttpSettings { port: 0, ..HttpSettings::shipped() }).await
    }

    async fn open_with(settings: HttpSettings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::default();
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let log = EmbeddedLog::open(
            directory.path(),
            EventLogSettings::shipped(),
            Arc::clone(&clock) as Arc<dyn model::Clock>,
            metrics.clone(),
        )
        .await
        .unwrap();
        let dynamic: Arc<dyn EventLog> = Arc::clone(&log) as Arc<dyn EventLog>;
        let store = EventStore::open(
            Arc::clone(&dynamic),
            EventStoreSettings::shipped(),
            Arc::clone(&clock) as Arc<dyn model::Clock>,
            metrics.clone(),
        )
        .await
        .unwrap();
        let aggregates = Aggregates::new(Arc::clone(&store), AggregatesSettings::shipped()).unwrap();
        aggregates.register("gate", Gate).unwrap();
        let views = Views::new(metrics.clone());
        let view = Arc::new(board());
        views.publish("board", Arc::clone(&view) as Arc<dyn Relation>);
        let sources = Sources { log: Arc::clone(&dynamic), defined: Mutex::default() };
        let sql =
            SqlService::new(Arc::clone(&views), Arc::new(sources), SqlSettings::shipped(), metrics.clone()).unwrap();
        let reader = Arc::clone(&view);
        let part = move || Part {
            name: "log".to_owned(),
            ready: reader.frontier().failure().is_none(),
            degraded: true,
            note: None,
        };
        let services = Services {
            log: dynamic,
            sql,
            views: Arc::clone(&views),
            event_store: Some(store),
            aggregates: Some(Arc::new(aggregates)),
            clock,
            entropy: Arc::new(model::SystemEntropy),
            metrics,
            readiness: Readiness::new(move || vec![part()]),
            backups: Some(Backups::new(backup::made)),
        };
        let server = start(settings, services).await.unwrap();
        Self { server, log, view, views, _directory: directory }
    }

    /// Sends `GET /path` or `POST /path` with a JSON body.
    async fn ask(&self, request: &str, body: Option<&str>) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let headers: &[(&str, &str)] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        ask(self.server.local_addr, method, path, headers, body.unwrap_or_default().as_bytes()).await
    }

    /// Sends a request and compares status and JSON body; the body may have more members than are expected.
    async fn check(&self, request: &str, body: Option<&str>, status: u16, expected: Value) -> Answer {
        let answer = self.ask(request, body).await;
        assert_eq!(answer.status, status, "{request}: {}", answer.text());
        if status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{request}");
        }
        assert_like(&answer.json(), &expected, request);
        if let Some(positions) = answer.json().get("positions") {
            assert_eq!(answer.header("fourfold-positions"), positions.as_str(), "{request}");
        }
        answer
    }

    async fn close(self) {
        self.server.stop().await;
        self.log.close().await.unwrap();
    }
}

/// What is expected of a member that must not be there.
const ABSENT: &str = "<absent>";

#[track_caller]
fn assert_like(actual: &Value, expected: &Value, at: &str) {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            for (name, value) in expected {
                match actual.get(name) {
                    Some(found) => assert_like(found, value, &format!("{at} {name}")),
                    None => assert_eq!(value, ABSENT, "{at}: no {name} in {actual:?}"),
                }
            }
        }
        (Value::Array(actual), Value::Array(expected)) => {
            assert_eq!(actual.len(), expected.len(), "{at}: {actual:?}");
            for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
                assert_like(actual, expected, &format!("{at}[{index}]"));
            }
        }
        _ => assert_eq!(actual, expected, "{at}"),
    }
}

/// A view with a key of two columns.
fn board() -> View {
    View::new("board", board_schema(), &[0, 1], vec![TopicName::new("flights").unwrap()]).unwrap()
}

fn board_schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("carrier", DataType::Utf8, true),
        Field::new("hour", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("departures", DataType::Int64, true),
        Field::new("delay", DataType::Float64, true),
    ]))
}

/// Puts `(carrier, departures, delay)` into the view, at the hour 2013-01-01T05:00, and says how far that is.
fn put(view: &View, rows: &[(&str, i64, Option<f64>)], positions: &str) {
    let rows_of_hour = vec![1_357_016_400_000; rows.len()];
    let batch = RecordBatch::try_new(
        board_schema(),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(TimestampMillisecondArray::from(rows_of_hour)),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2))),
        ],
    )
    .unwrap();
    let positions: Positions = positions.parse().unwrap();
    view.apply(&Change::of_rows(batch), &positions).unwrap();
}

/// Serves the view `names(name, length)` with the key (name), which has a row for the empty text.
fn put_names(door: &Door) {
    let names = StringArray::from(vec!["", "AA", "AA/", "/AA"]);
    let lengths = Int64Array::from(vec![0, 2, 3, 3]);
    let rows = batch(vec![("name", Arc::new(names)), ("length", Arc::new(lengths))]);
    publish(&door.views, "names", &rows, &[0], "flights/0:10");
}

/// Definitions of which only `CREATE SOURCE` does anything: the source is listed from then on.
struct Sources {
    log: Arc<dyn EventLog>,
    defined: Mutex<Vec<SourceDefinition>>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sources").field(&self.sources()).finish()
    }
}

#[async_trait]
impl Definitions for Sources {
    async fn define(&self, _: &Principal, statement: Statement) -> Result<Defined, SqlError> {
        match statement {
            Statement::CreateSource(source) => {
                let notices = vec![format!("source {} reads topic {}", source.name, source.topic)];
                self.defined.lock().unwrap().push(source);
                Ok(Defined { tag: "CREATE SOURCE".to_owned(), notices })
            }
            _ => Err(SqlError::new("42710", "it exists already")),
        }
    }

    async fn explain(&self, _: &Principal, _: Statement) -> Result<Vec<String>, SqlError> {
        Ok(Vec::new())
    }

    async fn show(&self, _: &Principal, _: Show) -> model::Result<RecordBatch> {
        Ok(RecordBatch::new_empty(board_schema()))
    }

    fn sources(&self) -> Vec<SourceDefinition> {
        self.defined.lock().unwrap().clone()
    }

    async fn source_table(&self, name: &str) -> model::Result<Option<Snapshot>> {
        let Some(source) = self.sources().into_iter().find(|source| source.name == name) else { return Ok(None) };
        let partition = source.topic_partition(0);
        let end = Positions::from([(partition.clone(), self.log.bounds(&partition)?.high_watermark)]);
        let range = Epoch::new(Positions::new(), end.clone())?;
        let table = SourceTable::new(Arc::clone(&self.log), source, range);
        Ok(Some(Snapshot::of_table(Arc::new(table), end)))
    }

    async fn claim(&self, _: &Principal, name: &str) -> model::Result<WriteClaim> {
        Err(model::Error::invalid(format!("nothing is written to {name} here")))
    }

    async fn write(&self, _: &WriteClaim, _: Vec<RowRecord>) -> model::Result<Positions> {
        Err(model::Error::internal("nothing is written here"))
    }
}

/// A gate that can be opened once.
struct Gate;

#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum GateCommand {
    Open { flight: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum GateEvent {
    Opened { flight: String },
}

#[derive(Clone, Default, Serialize)]
struct GateState {
    flight: Option<String>,
}

impl Decider for Gate {
    type Command = GateCommand;
    type Event = GateEvent;
    type State = GateState;

    fn initial(&self) -> GateState {
        GateState::default()
    }

    fn decide(&self, state: &GateState, command: &GateCommand, _: &Context) -> Result<Vec<GateEvent>, Rejection> {
        let GateCommand::Open { flight } = command;
        match &state.flight {
            Some(other) => Err(Rejection::new("gate_is_taken", format!("the gate is open for {other}"))),
            None => Ok(vec![GateEvent::Opened { flight: flight.clone() }]),
        }
    }

    fn evolve(&self, _: GateState, event: &GateEvent) -> GateState {
        let GateEvent::Opened { flight } = event;
        GateState { flight: Some(flight.clone()) }
    }
}

fn short() -> Duration {
    Duration::from_millis(200)
}
