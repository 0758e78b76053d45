//! Bad records in a running deployment: no view stops, no record disappears, and each is kept once by each who rejects
//! it, however many read it, through replays, batch runs and restarts.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use eventlog::{Acks, Compression, EmbeddedLog, EventLog, EventLogSettings, Record, RecordBatchBuilder};
use futures::TryStreamExt as _;
use lakehouse::LakeLocation;
use model::{MemoryBudget, Metrics, Positions, Principal, SystemClock, TopicPartition};
use object_store::{ObjectStore, memory::InMemory};
use patterns::{Deployment, LambdaSettings, PatternSettings, Resources};
use serving::{
    sql::{Outcome, SqlService, SqlSettings},
    views::Views,
};
use sql::SqlError;
use streaming::DeadLetters;

const PARTITIONS: i32 = 2;
const RECORDS: i64 = 120;

struct Server {
    log: Arc<EmbeddedLog>,
    deployment: Arc<Deployment>,
    sql: Arc<SqlService>,
}

impl Server {
    /// The server's life number `life`, from 1. Each has a copy of the catalogue: within one process, the one before may
    /// still have its file open.
    async fn start(path: &Path, checkpoints: &Arc<dyn ObjectStore>, life: i64) -> Self {
        let catalogue = |life: i64| path.join(format!("catalogue-{life}.redb"));
        if life > 1 {
            std::fs::copy(catalogue(life - 1), catalogue(life)).unwrap();
        }
        let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
        let settings = EventLogSettings::shipped();
        let log =
            EmbeddedLog::open(&path.join("log"), settings, Arc::clone(&clock) as _, metrics.clone()).await.unwrap();
        let resources = Resources {
            state_memory: MemoryBudget::new(u64::MAX),
            log: Arc::clone(&log) as _,
            dead_letters: DeadLetters::new(Arc::clone(&log) as _, Arc::clone(&clock) as _, metrics.clone()),
            checkpoints: Arc::clone(checkpoints),
            lake: LakeLocation::directory(path.join("lake")),
            clock,
            metrics: metrics.clone(),
            settings: PatternSettings {
                lambda: LambdaSettings { epoch_interval: Duration::from_millis(20) },
                capture: lakehouse::CaptureSettings {
                    commit_interval: Duration::from_millis(50),
                    ..lakehouse::CaptureSettings::shipped()
                },
                ..PatternSettings::shipped()
            },
            threads: tokio::runtime::Handle::current(),
        };
        let views = Views::new(metrics.clone());
        let deployment = Deployment::open(&catalogue(life), resources, Arc::clone(&views)).await.unwrap();
        let sql = SqlService::new(views, Arc::clone(&deployment) as _, SqlSettings::shipped(), metrics).unwrap();
        Self { log, deployment, sql }
    }

    async fn execute(&self, sql: &str, at_least: &Positions) -> Outcome {
        self.try_execute(sql, at_least).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    async fn try_execute(&self, sql: &str, at_least: &Positions) -> Result<Outcome, SqlError> {
        let session = self.sql.session(Principal::anonymous());
        session.demand(at_least, None)?;
        session.query(sql, &[]).await
    }

    async fn ask(&self, sql: &str, at_least: &Positions) -> Vec<String> {
        let Outcome::Rows { stream, .. } = self.execute(sql, at_least).await else { panic!("{sql}: no rows") };
        let mut lines = Vec::new();
        for batch in stream.try_collect::<Vec<_>>().await.unwrap() {
            let options = FormatOptions::default();
            let columns: Vec<_> =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            let line = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" | ");
            lines.extend((0..batch.num_rows()).map(line));
        }
        lines.sort();
        lines
    }

    /// Appends records to each partition, a few a batch: of the offsets, those that [`is_no_json`] are not JSON, and
    /// those that [`is_zero`] have a zero where a view divides.
    async fn append(&self) -> Positions {
        let mut positions = Positions::new();
        for partition in 0..PARTITIONS {
            let place = TopicPartition::new("readings".parse().unwrap(), partition);
            let first = self.log.bounds(&place).unwrap().high_watermark;
            for offsets in (first..first + RECORDS).collect::<Vec<_>>().chunks(9) {
                let mut builder = RecordBatchBuilder::new(Compression::None);
                for offset in offsets {
                    let value = match *offset {
                        offset if is_no_json(offset) => "broken".to_owned(),
                        offset => format!("{{\"k\": \"k{}\", \"n\": {}}}", offset % 4, n(offset)),
                    };
                    builder.push(Record { value: Some(value.into()), ..Record::default() });
                }
                let appended = self.log.append(&place, builder.build(), Acks::Durable).await.unwrap();
                positions.advance(place.clone(), appended.next_offset);
            }
        }
        positions
    }

    /// Who rejected which offsets of partition 0, and of partition 1: `source readings`, say.
    async fn letters(&self) -> BTreeMap<String, [Vec<i64>; 2]> {
        let place = TopicPartition::new("readings.dead-letter".parse().unwrap(), 0);
        let end = self.log.bounds(&place).unwrap().high_watermark;
        let (mut next, mut letters) = (0, BTreeMap::<String, [Vec<i64>; 2]>::new());
        while next < end {
            let batches = self.log.read(&place, next, 1 << 20).await.unwrap().batches;
            for record in batches.iter().flat_map(|batch| batch.records().unwrap()) {
                let header = |name: &str| {
                    let header = record.headers.iter().find(|header| header.name == name.as_bytes());
                    header.map(|header| String::from_utf8(header.value.as_ref().unwrap().to_vec()).unwrap())
                };
                let by = header("ff_source").map_or_else(
                    || format!("view {} {}", header("ff_view").unwrap(), header("ff_plan").unwrap()),
                    |source| format!("source {source}"),
                );
                let partition: usize = header("ff_partition").unwrap().parse().unwrap();
                letters.entry(by).or_default()[partition].push(header("ff_offset").unwrap().parse().unwrap());
                let value = record.value.as_deref().unwrap();
                assert!(value == b"broken" || value.ends_with(b"\"n\": 0}"), "{value:?}");
            }
            next = batches.last().unwrap().next_offset();
        }
        letters.values_mut().flatten().for_each(|offsets| offsets.sort_unstable());
        letters
    }

    async fn stop(self) {
        self.deployment.stop().await.unwrap();
        self.log.close().await.unwrap();
    }
}

fn is_no_json(offset: i64) -> bool {
    offset % 10 == 3
}

fn n(offset: i64) -> i64 {
    offset % 6 * i64::from(!(40..60).contains(&offset))
}

fn is_zero(offset: i64) -> bool {
    !is_no_json(offset) && n(offset) == 0
}

/// What a view over both partitions answers that divides 60 by `n`, below an offset.
fn answer(end: i64) -> Vec<String> {
    let mut groups = BTreeMap::<i64, (i64, i64)>::new();
    for offset in (0..end).filter(|offset| !is_no_json(*offset) && !is_zero(*offset)) {
        let (count, sum) = groups.entry(offset % 4).or_default();
        *count += i64::from(PARTITIONS);
        *sum += i64::from(PARTITIONS) * (60 / n(offset));
    }
    groups.into_iter().map(|(k, (count, sum))| format!("k{k} | {count} | {sum}")).collect()
}

const QUESTION: &str = "SELECT k, count(*) AS c, sum(60 / n) AS s FROM readings GROUP BY k";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_view_stops_and_each_bad_record_is_kept_once() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoints: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (mut server, start) = (Server::start(directory.path(), &checkpoints, 1).await, Positions::new());
    let source = format!("CREATE SOURCE readings (k TEXT, n BIGINT) WITH (partitions = {PARTITIONS})");
    server.execute(&source, &start).await;
    server.execute(&format!("CREATE MATERIALIZED VIEW kappa AS {QUESTION}"), &start).await;
    server.execute(&format!("CREATE MATERIALIZED VIEW lambda WITH (batch = '1 hour') AS {QUESTION}"), &start).await;
    server.execute("CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS c FROM readings", &start).await;
    for life in 1..=3 {
        let (at_least, end) = (server.append().await, life * RECORDS);
        for view in ["kappa", "lambda"] {
            let ask = format!("SELECT k, c, s FROM {view}");
            assert_eq!(server.ask(&ask, &at_least).await, answer(end), "{view} after {end}");
            server.execute(&format!("REFRESH MATERIALIZED VIEW {view}"), &at_least).await;
            assert_eq!(server.ask(&ask, &at_least).await, answer(end), "{view} after {end}, refreshed");
        }
        let decoded = (0..end).filter(|offset| !is_no_json(*offset)).count() * 2;
        assert_eq!(server.ask("SELECT c FROM counts", &at_least).await, [decoded.to_string()]);
        // A view that comes late, over the same source, finds the source's letters there.
        let late = format!("CREATE MATERIALIZED VIEW late{life} AS SELECT k, 60 / n AS q FROM readings");
        server.execute(&late, &at_least).await;
        server.ask(&format!("SELECT count(*) FROM late{life}"), &at_least).await;
        assert!(server.deployment.view_states().iter().all(|view| view.state.starts_with("running")));

        let letters = server.letters().await;
        let rejecters: Vec<&str> = letters.keys().map(|by| by.rsplit_once(' ').unwrap().0).collect();
        let mut expected = vec!["source", "view kappa", "view lambda"];
        let views = ["view late1", "view late2", "view late3"];
        expected.extend(&views[..life as usize]);
        assert_eq!(rejecters, expected, "each once");
        for (by, found) in letters {
            let bad = if by.starts_with("source") { is_no_json } else { is_zero };
            let expected: Vec<i64> = (0..end).filter(|offset| bad(*offset)).collect();
            assert_eq!(found, [expected.clone(), expected], "{by} after {end}");
        }
        server.stop().await;
        server = Server::start(directory.path(), &checkpoints, life + 1).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_the_longest_name_has_dead_letters() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoints: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (server, start) = (Server::start(directory.path(), &checkpoints, 1).await, Positions::new());
    let topic = "t".repeat(249);
    server.execute(&format!("CREATE SOURCE s (n BIGINT) WITH (topic = '{topic}')"), &start).await;
    server.execute("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s", &start).await;
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for value in ["broken", "{\"n\": 1}"] {
        builder.push(Record { value: Some(value.into()), ..Record::default() });
    }
    let place = TopicPartition::new(topic.parse().unwrap(), 0);
    server.log.append(&place, builder.build(), Acks::Durable).await.unwrap();
    let end = Positions::from([(place, 2)]);
    assert_eq!(server.ask("SELECT n FROM v", &end).await, ["1"]);
    assert!(server.log.topics().iter().any(|topic| topic.name.as_str().ends_with(".dead-letter")));
    server.stop().await;
}
