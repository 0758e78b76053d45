//! The product's claim as a test: the same input and the same question, put to all four patterns, give one table: the
//! one that plain DataFusion computes over the whole input.
//!
//! The question: how many departures has each carrier, how late are they in sum, and how late at worst?

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray},
    datatypes::Int64Type,
};
use datafusion::prelude::SessionContext;
use eventlog::{Acks, Compression, EmbeddedLog, EventLog, EventLogSettings, Record, RecordBatchBuilder};
use eventstore::{
    Aggregates, AggregatesSettings, AsOf, CommandId, CommandRequest, Context, Decider, EventStore, EventStoreSettings,
    Rejection,
};
use futures::TryStreamExt as _;
use lakehouse::LakeLocation;
use model::{MemoryBudget, Metrics, Positions, Principal, SystemClock, SystemEntropy, TopicPartition};
use object_store::memory::InMemory;
use patterns::{Deployment, LambdaSettings, PatternSettings, Resources};
use serde::{Deserialize, Serialize};
use serving::{
    sql::{Outcome, SqlService, SqlSettings},
    views::Views,
};
use streaming::DeadLetters;

const PARTITIONS: i32 = 3;
const DEPARTURES: i64 = 2_000;

type Answer = Vec<(String, i64, i64, i64)>;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Departure {
    carrier: String,
    delay: i64,
}

fn departures() -> Vec<Departure> {
    let carriers = ["AA", "B6", "DL", "UA", "WN"];
    (0..DEPARTURES)
        .map(|i| Departure { carrier: carriers[(i * 7 % 5) as usize].into(), delay: i * 31 % 211 - 20 })
        .collect()
}

async fn oracle(input: &[Departure]) -> Answer {
    let carriers = StringArray::from_iter_values(input.iter().map(|departure| &departure.carrier));
    let delays = Int64Array::from_iter_values(input.iter().map(|departure| departure.delay));
    let columns = [("carrier", Arc::new(carriers) as _), ("delay", Arc::new(delays) as _)];
    let session = SessionContext::new();
    session.register_batch("departures", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let sql = "SELECT carrier, count(*), sum(delay), max(delay) FROM departures GROUP BY carrier";
    answer(&session.sql(sql).await.unwrap().collect().await.unwrap())
}

fn answer(batches: &[RecordBatch]) -> Answer {
    let mut rows = Answer::new();
    for batch in batches {
        let carriers = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        for row in 0..batch.num_rows() {
            let number = |column: &ArrayRef| {
                let numbers = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64).unwrap();
                numbers.as_primitive::<Int64Type>().value(row)
            };
            rows.push((
                carriers.as_string::<i32>().value(row).to_owned(),
                number(batch.column(1)),
                number(batch.column(2)),
                number(batch.column(3)),
            ));
        }
    }
    rows.sort();
    rows
}

/// A carrier as an aggregate: its state is the question's answer for it.
struct Carrier;

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum CarrierCommand {
    Record(Departure),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
enum CarrierEvent {
    Departed(Departure),
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct CarrierState {
    departures: i64,
    total: i64,
    worst: Option<i64>,
}

impl Decider for Carrier {
    type Command = CarrierCommand;
    type Event = CarrierEvent;
    type State = CarrierState;

    fn initial(&self) -> CarrierState {
        CarrierState::default()
    }

    fn decide(&self, _: &CarrierState, command: &CarrierCommand, _: &Context) -> Result<Vec<CarrierEvent>, Rejection> {
        let CarrierCommand::Record(departure) = command;
        Ok(vec![CarrierEvent::Departed(departure.clone())])
    }

    fn evolve(&self, state: CarrierState, event: &CarrierEvent) -> CarrierState {
        let CarrierEvent::Departed(departure) = event;
        CarrierState {
            departures: state.departures + 1,
            total: state.total + departure.delay,
            worst: state.worst.max(Some(departure.delay)),
        }
    }
}

/// Everything below the doors, in one temporary directory.
struct Product {
    _directory: tempfile::TempDir,
    log: Arc<EmbeddedLog>,
    deployment: Arc<Deployment>,
    aggregates: Aggregates,
    sql: Arc<SqlService>,
}

impl Product {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
        let settings = EventLogSettings::shipped();
        let log =
            EmbeddedLog::open(&path.join("log"), settings, Arc::clone(&clock) as _, metrics.clone()).await.unwrap();
        let store = EventStore::open(
            Arc::clone(&log) as _,
            EventStoreSettings::shipped(),
            Arc::clone(&clock) as _,
            metrics.clone(),
        );
        let aggregates = Aggregates::new(store.await.unwrap(), AggregatesSettings::shipped()).unwrap();
        aggregates.register("carrier", Carrier).unwrap();
        let resources = Resources {
            state_memory: MemoryBudget::new(u64::MAX),
            log: Arc::clone(&log) as _,
            dead_letters: DeadLetters::new(Arc::clone(&log) as _, Arc::clone(&clock) as _, metrics.clone()),
            checkpoints: Arc::new(InMemory::new()),
            lake: LakeLocation::directory(path.join("lake")),
            clock,
            metrics: metrics.clone(),
            settings: PatternSettings {
                lambda: LambdaSettings { epoch_interval: Duration::from_millis(20) },
                ..PatternSettings::shipped()
            },
            threads: tokio::runtime::Handle::current(),
        };
        let views = Views::new(metrics.clone());
        let deployment = Deployment::open(&path.join("catalogue.redb"), resources, Arc::clone(&views)).await.unwrap();
        let sql = SqlService::new(views, Arc::clone(&deployment) as _, SqlSettings::shipped(), metrics).unwrap();
        Self { _directory: directory, log, deployment, aggregates, sql }
    }

    async fn execute(&self, sql: &str, at_least: &Positions) -> Outcome {
        let session = self.sql.session(Principal::anonymous());
        session.demand(at_least, None).unwrap();
        session.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn ask(&self, view: &str, at_least: &Positions) -> Answer {
        match self.execute(&format!("SELECT carrier, departures, total, worst FROM {view}"), at_least).await {
            Outcome::Rows { stream, .. } => answer(&stream.try_collect::<Vec<_>>().await.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Appends records keyed by carrier, a few a batch, and returns the position after them.
    async fn append(&self, input: &[Departure]) -> Positions {
        let mut positions = Positions::new();
        for batch in input.chunks(17) {
            for partition in 0..PARTITIONS {
                let mine =
                    |departure: &&Departure| i32::from(departure.carrier.as_bytes()[0]) % PARTITIONS == partition;
                let mut builder = RecordBatchBuilder::new(Compression::Lz4);
                let mine: Vec<_> = batch.iter().filter(mine).collect();
                for departure in &mine {
                    let value = serde_json::to_vec(departure).unwrap();
                    let key = Some(departure.carrier.clone().into());
                    builder.push(Record {
                        offset: 0,
                        timestamp_ms: 1,
                        key,
                        value: Some(value.into()),
                        headers: vec![],
                    });
                }
                if !mine.is_empty() {
                    let partition = TopicPartition::new("departures".parse().unwrap(), partition);
                    let appended = self.log.append(&partition, builder.build(), Acks::Durable).await.unwrap();
                    positions.advance(partition, appended.next_offset);
                }
            }
        }
        positions
    }

    async fn stop(self) {
        self.deployment.stop().await.unwrap();
        self.aggregates.store().close().await;
        self.log.close().await.unwrap();
    }
}

const QUESTION: &str = "SELECT carrier, count(*) AS departures, sum(delay) AS total, max(delay) AS worst \
                        FROM departures GROUP BY carrier";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_four_patterns_give_the_same_answer() {
    let input = departures();
    let expected = oracle(&input).await;
    let product = Product::start().await;
    let start = Positions::new();
    let source = format!(
        "CREATE SOURCE departures (carrier TEXT, delay BIGINT) WITH (topic = 'departures', partitions = {PARTITIONS})"
    );
    product.execute(&source, &start).await;
    product.execute(&format!("CREATE MATERIALIZED VIEW kappa AS {QUESTION}"), &start).await;
    let lambda = format!("CREATE MATERIALIZED VIEW lambda WITH (batch = '1 hour') AS {QUESTION}");
    product.execute(&lambda, &start).await;

    // Half of the input ends up in the batch layer, half in the speed layer.
    let (first, second) = input.split_at(input.len() / 2);
    let half = product.append(first).await;
    assert_eq!(product.ask("lambda", &half).await, oracle(first).await, "lambda, stream only");
    product.execute("REFRESH MATERIALIZED VIEW lambda", &half).await;
    assert_eq!(product.ask("lambda", &half).await, oracle(first).await, "lambda, batch only");
    let mut whole = product.append(second).await;
    whole.advance_all(&half);
    assert_eq!(product.ask("lambda", &whole).await, expected, "lambda, batch and stream");
    assert_eq!(product.ask("kappa", &whole).await, expected, "kappa");
    product.execute("REFRESH MATERIALIZED VIEW kappa", &start).await;
    assert_eq!(product.ask("kappa", &whole).await, expected, "kappa, after a replay");

    let written = command_all(&product, &input).await;
    assert_eq!(fold_all(&product, &expected).await, expected, "event sourcing");

    let source = "CREATE SOURCE departed (carrier TEXT, delay BIGINT) WITH (topic = 'events', format = 'event')";
    product.execute(source, &start).await;
    let question = QUESTION.replace("FROM departures", "FROM departed");
    product.execute(&format!("CREATE MATERIALIZED VIEW cqrs AS {question}"), &start).await;
    assert_eq!(product.ask("cqrs", &written).await, expected, "cqrs");
    product.stop().await;
}

async fn command_all(product: &Product, input: &[Departure]) -> Positions {
    let handle = |departure: &Departure| {
        let data = serde_json::value::to_raw_value(departure).unwrap();
        let request = CommandRequest::new(CommandId::random(&SystemEntropy), "record", data);
        let carrier = departure.carrier.clone();
        async move { product.aggregates.handle("carrier", &carrier, request).await.unwrap().positions }
    };
    let mut written = Positions::new();
    for some in input.chunks(50) {
        for positions in futures::future::join_all(some.iter().map(handle)).await {
            written.advance_all(&positions);
        }
    }
    written
}

async fn fold_all(product: &Product, carriers: &Answer) -> Answer {
    let mut folded = Answer::new();
    for (carrier, ..) in carriers {
        let at = product.aggregates.state("carrier", carrier, AsOf::Now).await.unwrap().unwrap();
        let state: CarrierState = serde_json::from_value(at.state).unwrap();
        folded.push((carrier.clone(), state.departures, state.total, state.worst.unwrap_or_default()));
    }
    folded.sort();
    folded
}
