//! Tests of the capture: from a log on disk to the lake, through stops, failures and a topic that is another one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use datafusion::execution::context::SessionContext;
use eventlog::{Acks, Compression, EmbeddedLog, EventLog, EventLogSettings, Record, RecordBatchBuilder, TopicSpec};
use model::{ErrorKind, Metrics, Positions, SystemClock, TopicName, TopicPartition};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use sql::{SourceDefinition, Statement};
use streaming::DeadLetters;

use super::{Capture, CaptureProgress, CaptureSettings};
use crate::table::tests::faulty_store::{Fault, FaultyStore};
use crate::{LakeLocation, LakeTable};

fn source() -> SourceDefinition {
    let text = "CREATE SOURCE readings (sensor TEXT, value BIGINT)
        WITH (topic = 'readings', partitions = 2, format = 'json')";
    match sql::parse(text).unwrap().remove(0) {
        Statement::CreateSource(source) => source,
        other => panic!("{other:?}"),
    }
}

async fn open_log(directory: &Path) -> Arc<EmbeddedLog> {
    let settings = EventLogSettings { wal_file_bytes: 1 << 20, ..EventLogSettings::shipped() };
    let log = EmbeddedLog::open(directory, settings, Arc::new(SystemClock), Metrics::default()).await.unwrap();
    if log.topic("readings").is_none() {
        log.create_topic(TopicSpec::new(TopicName::new("readings").unwrap(), 2)).await.unwrap();
    }
    log
}

/// Appends records with the values `values` to a partition; every tenth is not JSON.
async fn append(log: &EmbeddedLog, partition: i32, values: std::ops::Range<i64>) {
    let partition = TopicPartition::new(TopicName::new("readings").unwrap(), partition);
    for value in values {
        let text = if value % 10 == 7 { "not JSON".to_owned() } else { format!(r#"{{"sensor":"s","value":{value}}}"#) };
        let mut batch = RecordBatchBuilder::new(Compression::None);
        batch.push(Record { value: Some(Bytes::from(text)), ..Record::default() });
        log.append(&partition, batch.build(), Acks::Durable).await.unwrap();
    }
}

fn settings() -> CaptureSettings {
    CaptureSettings {
        commit_rows_max: 25,
        commit_interval: Duration::from_millis(20),
        retry_delay: Duration::from_millis(5),
        retry_delay_max: Duration::from_millis(20),
        maintenance_interval_commits: 3,
        ..CaptureSettings::shipped()
    }
}

async fn open_table(store: &Arc<dyn ObjectStore>) -> Arc<LakeTable> {
    let location = LakeLocation::in_store(Arc::clone(store), "memory:///lake/readings");
    LakeTable::open_or_create(&location, &source()).await.unwrap()
}

fn spawn(log: &Arc<EmbeddedLog>, table: &Arc<LakeTable>, metrics: &Metrics) -> Capture {
    let log: Arc<dyn EventLog> = Arc::clone(log) as _;
    let dead_letters = DeadLetters::new(Arc::clone(&log), Arc::new(SystemClock), metrics.clone());
    Capture::spawn(
        log,
        dead_letters,
        source(),
        Arc::clone(table),
        settings(),
        metrics.clone(),
        &tokio::runtime::Handle::current(),
    )
    .unwrap()
}

async fn reached(capture: &Capture, done: impl FnMut(&CaptureProgress) -> bool) -> CaptureProgress {
    let mut progress = capture.progress();
    let seen = capture.progress();
    let waited = tokio::time::timeout(Duration::from_secs(60), progress.wait_for(done)).await;
    let reached = waited.unwrap_or_else(|_| panic!("the capture stays at {:?}", *seen.borrow()));
    reached.unwrap().clone()
}

fn at(text: &str) -> Positions {
    text.parse().unwrap()
}

/// That the table has the values below `counts[partition]` once each, but for those that are not JSON.
async fn check(store: &Arc<dyn ObjectStore>, counts: [i64; 2]) {
    let table = open_table(store).await;
    let session = SessionContext::new();
    session.register_table("t", Arc::new(table.snapshot(None).await.unwrap())).unwrap();
    for (partition, count) in counts.into_iter().enumerate() {
        let sql = format!("SELECT value FROM t WHERE _partition = {partition} ORDER BY value, _offset");
        let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
        let found: Vec<i64> =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(found, (0..count).filter(|value| value % 10 != 7).collect::<Vec<_>>(), "partition {partition}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_reaches_the_lake_once_through_stops_and_starts() {
    let directory = tempfile::tempdir().unwrap();
    let log = open_log(directory.path()).await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let metrics = Metrics::default();
    append(&log, 0, 0..60).await;
    let table = open_table(&store).await;

    let capture = spawn(&log, &table, &metrics);
    reached(&capture, |progress| progress.positions.covers(&at("readings/0:30"))).await;
    append(&log, 1, 0..9).await;
    let stopped = capture.stop().await.unwrap();
    assert_eq!(stopped, open_table(&store).await.positions());

    append(&log, 0, 60..80).await;
    let capture = spawn(&log, &open_table(&store).await, &metrics);
    let end = at("readings/0:80,readings/1:9");
    let progress = reached(&capture, |progress| progress.positions.covers(&end)).await;
    assert_eq!(progress.failure, None);
    // Later records come without being asked for.
    append(&log, 1, 9..12).await;
    reached(&capture, |progress| progress.positions.covers(&at("readings/1:12"))).await;
    assert_eq!(capture.stop().await.unwrap(), at("readings/0:80,readings/1:12"));

    check(&store, [80, 12]).await;
    let label = [("table", "readings".to_owned())];
    assert_eq!(metrics.lake_committed_records.get_or_create(&label).get(), 72 + 11);
    // One for each time that it was waited for, at least.
    assert!(metrics.lake_commits.get_or_create(&label).get() >= 3);
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_storage_delays_the_capture_and_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let log = open_log(directory.path()).await;
    append(&log, 0, 0..40).await;
    // The table takes one put and its topic another; the rest are commits.
    for (puts, fault) in [(1, Fault::NotDone), (2, Fault::NotDone), (3, Fault::NotDone), (3, Fault::DoneButLost)] {
        let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&disk), puts, fault));
        let store: Arc<dyn ObjectStore> = Arc::clone(&faulty) as _;
        let capture = spawn(&log, &open_table(&store).await, &Metrics::default());
        let progress = reached(&capture, |progress| progress.failure.is_some()).await;
        assert!(progress.failure.unwrap().contains("the process died here"));
        faulty.mend();
        let progress = reached(&capture, |progress| progress.positions.covers(&at("readings/0:40"))).await;
        assert_eq!(progress.failure, None);
        capture.stop().await.unwrap();
        check(&disk, [40, 0]).await;
    }
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_created_again_is_not_mixed_with_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let log = open_log(directory.path()).await;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    append(&log, 0, 0..10).await;
    let table = open_table(&store).await;
    let capture = spawn(&log, &table, &Metrics::default());
    reached(&capture, |progress| progress.positions.covers(&at("readings/0:10"))).await;
    capture.stop().await.unwrap();

    // Under a capture that runs, and before one that starts.
    let running = spawn(&log, &table, &Metrics::default());
    reached(&running, |progress| progress.positions.covers(&at("readings/0:10"))).await;
    log.delete_topic(&source().topic).await.unwrap();
    log.create_topic(TopicSpec::new(source().topic, 2)).await.unwrap();
    append(&log, 0, 0..20).await;
    let started = spawn(&log, &open_table(&store).await, &Metrics::default());
    for capture in [running, started] {
        let other = |progress: &CaptureProgress| progress.failure.as_ref().is_some_and(|text| text.contains("with id"));
        reached(&capture, other).await;
        assert_eq!(capture.stop().await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    check(&store, [10, 0]).await;
    log.close().await.unwrap();
}
