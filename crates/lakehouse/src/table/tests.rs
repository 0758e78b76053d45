//! Tests of the lake table: each record once, whatever is repeated, crashes or runs beside it.

mod damaged_log;
pub(crate) mod faulty_store;
mod stored;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use model::{Epoch, ErrorKind, Positions, TopicName};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;

use super::{LakeTable, TableDefinition};
use crate::{LakeLocation, MaintenanceSettings, PinnedTable};
use faulty_store::{Fault, FaultyStore};

const PARTITIONS: i32 = 3;

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("Text", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("happened", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_arrival_time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]))
}

fn definition() -> TableDefinition {
    TableDefinition {
        name: "readings".to_owned(),
        topic: TopicName::new("readings").unwrap(),
        partitions: PARTITIONS,
        columns: columns(),
    }
}

/// The rows of some offsets of a partition: a record's content follows from its place.
fn rows(partition: i32, offsets: Range<i64>) -> RecordBatch {
    let text = |offset: i64| (offset % 5 != 0).then(|| format!("{partition}/{offset}"));
    let amount = |offset: i64| match offset % 7 {
        0 => None,
        1 => Some(f64::NAN),
        2 => Some(-0.0),
        _ => Some(offset as f64 / 3.0),
    };
    // Beyond every calendar: a value that cannot be written as text must not stop a commit.
    let happened = |offset: i64| if offset % 11 == 3 { i64::MAX } else { offset * 1_000_003 };
    let offsets: Vec<i64> = offsets.collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(offsets.iter().map(|o| text(*o)).collect::<StringArray>()),
        Arc::new(offsets.iter().map(|o| amount(*o)).collect::<Float64Array>()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(offsets.iter().map(|o| happened(*o)))),
        Arc::new(Int32Array::from(vec![partition; offsets.len()])),
        Arc::new(Int64Array::from(offsets.clone())),
        Arc::new(TimestampMicrosecondArray::from_iter_values(offsets.iter().map(|o| o * 1_000)).with_timezone("UTC")),
    ];
    RecordBatch::try_new(self::columns(), columns).unwrap()
}

fn at(text: &str) -> Positions {
    text.parse().unwrap()
}

fn epoch(from: &str, to: &str) -> Epoch {
    Epoch::new(at(from), at(to)).unwrap()
}

fn rows_of(epoch: &Epoch) -> Vec<RecordBatch> {
    epoch.to.iter().map(|(p, to)| rows(p.partition, epoch.from.next_offset(p)..to)).collect()
}

fn rows_below(positions: &Positions) -> Vec<RecordBatch> {
    positions.iter().map(|(partition, to)| rows(partition.partition, 0..to)).collect()
}

fn in_store(store: &Arc<dyn ObjectStore>) -> LakeLocation {
    LakeLocation::in_store(Arc::clone(store), "memory:///lake/readings")
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

async fn open(store: &Arc<dyn ObjectStore>) -> Arc<LakeTable> {
    LakeTable::open_or_create(&in_store(store), definition()).await.unwrap()
}

/// The answer to a query over a table named `t`.
async fn query(table: Arc<dyn datafusion::catalog::TableProvider>, sql: &str) -> String {
    let session = SessionContext::new();
    session.register_table("t", table).unwrap();
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
}

fn oracle(positions: &Positions) -> Arc<MemTable> {
    Arc::new(MemTable::try_new(columns(), vec![rows_below(positions)]).unwrap())
}

const ALL: &str = "SELECT * FROM t ORDER BY _partition, _offset";

/// That a pinned table has exactly the rows below its Positions, by comparison with a table in memory.
async fn check_rows(pinned: &PinnedTable, positions: &Positions) {
    assert_eq!(pinned.positions(), positions);
    let found = query(Arc::new(pinned.clone()), ALL).await;
    assert_eq!(found, query(oracle(positions), ALL).await);
}

async fn check(table: &LakeTable, positions: &Positions) {
    assert_eq!(&table.positions(), positions);
    check_rows(&table.snapshot(None).await.unwrap(), positions).await;
}

#[tokio::test]
async fn an_epoch_is_committed_once_however_often_it_is_handed_over() {
    let store = memory();
    let table = open(&store).await;
    // (from, to, rows added, skipped)
    for (from, to, added, skipped) in [
        ("", "readings/0:5,readings/1:3", 8, false),
        ("", "readings/0:5,readings/1:3", 0, true),
        ("readings/0:2", "readings/0:4", 0, true),
        ("readings/0:2", "readings/0:9", 4, false),
        ("", "readings/0:6,readings/2:2", 2, false),
        ("", "", 0, true),
    ] {
        let epoch = epoch(from, to);
        let outcome = table.commit(rows_of(&epoch), &epoch).await.unwrap();
        assert_eq!((outcome.rows, outcome.skipped), (added, skipped), "{from} to {to}");
        assert_eq!(outcome.positions, table.positions());
        assert_eq!(outcome.version, table.version());
    }
    let all = at("readings/0:9,readings/1:3,readings/2:2");
    check(&table, &all).await;
    check(&*open(&store).await, &all).await;
}

/// A folder has no place in a listing of the log, but it is in the way of a commit.
#[tokio::test]
async fn what_stands_in_the_place_of_a_commit_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let table = LakeTable::open_or_create(&LakeLocation::directory(folder.path()), definition()).await.unwrap();
    let epoch = epoch("", "readings/0:5");
    let next = folder.path().join(format!("_delta_log/{:020}.json", table.version() + 1));
    std::fs::create_dir(&next).unwrap();
    let error = table.commit(rows_of(&epoch), &epoch).await.unwrap_err();
    let message = format!("version {} of the Delta log of readings cannot be written", table.version() + 1);
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains(&message), "{error}");
    std::fs::remove_dir(&next).unwrap();
    table.commit(rows_of(&epoch), &epoch).await.unwrap();
    check(&table, &at("readings/0:5")).await;
}

#[tokio::test]
async fn an_epoch_without_rows_moves_the_positions() {
    let store = memory();
    let table = open(&store).await;
    let outcome = table.commit(vec![], &epoch("", "readings/0:7")).await.unwrap();
    assert_eq!((outcome.rows, outcome.skipped), (0, false));
    assert_eq!(open(&store).await.positions(), at("readings/0:7"));
}

#[tokio::test]
async fn what_is_not_the_next_epoch_is_refused() {
    let table = open(&memory()).await;
    table.commit(vec![rows(0, 0..5)], &epoch("", "readings/0:5")).await.unwrap();
    for (given, from, to, expected) in [
        (vec![], "readings/0:6", "readings/0:9", ErrorKind::Conflict),
        (vec![], "readings/1:1", "readings/1:2", ErrorKind::Conflict),
        (vec![], "", "others/0:2", ErrorKind::Invalid),
        (vec![rows(0, 5..9)], "readings/0:5", "readings/0:8", ErrorKind::Invalid),
        (vec![rows(0, 4..6)], "readings/0:5", "readings/0:8", ErrorKind::Invalid),
        (vec![rows(1, 0..1)], "readings/0:5", "readings/0:8", ErrorKind::Invalid),
        (vec![rows(0, 6..8), rows(0, 5..6)], "readings/0:5", "readings/0:8", ErrorKind::Invalid),
        (vec![rows(0, 5..8), rows(0, 7..8)], "readings/0:5", "readings/0:8", ErrorKind::Invalid),
    ] {
        let refused = table.commit(given, &epoch(from, to)).await.unwrap_err();
        assert_eq!(refused.kind(), expected, "{from} to {to}: {refused}");
    }
    check(&table, &at("readings/0:5")).await;
}

#[tokio::test]
async fn a_snapshot_stays_what_it_was() {
    let table = open(&memory()).await;
    for to in 1..=6 {
        let epoch = epoch("", &format!("readings/0:{},readings/1:{}", to * 4, to));
        table.commit(rows_of(&epoch), &epoch).await.unwrap();
    }
    let all = table.snapshot(None).await.unwrap();
    let some = at("readings/0:7,readings/1:3");
    let part = table.snapshot(Some(&some)).await.unwrap();
    let none = table.snapshot(Some(&Positions::new())).await.unwrap();
    let epoch = epoch("", "readings/0:30,readings/2:5");
    table.commit(rows_of(&epoch), &epoch).await.unwrap();
    let done = table.maintain(&MaintenanceSettings::shipped()).await.unwrap();
    assert_eq!((done.files_merged, done.files_written), (7, 1));

    check_rows(&all, &at("readings/0:24,readings/1:6")).await;
    check_rows(&part, &some).await;
    check_rows(&none, &Positions::new()).await;
    check_rows(&table.snapshot(Some(&some)).await.unwrap(), &some).await;
    check(&table, &at("readings/0:30,readings/1:6,readings/2:5")).await;
    let ahead = table.snapshot(Some(&at("readings/0:31"))).await.unwrap_err();
    assert_eq!(ahead.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn queries_answer_as_over_the_same_rows_in_memory() {
    let table = open(&memory()).await;
    for to in [10, 25, 40] {
        let epoch = epoch("", &format!("readings/0:{to},readings/1:{},readings/2:{}", to / 2, to - 3));
        table.commit(rows_of(&epoch), &epoch).await.unwrap();
    }
    let below = at("readings/0:33,readings/1:20,readings/2:7");
    let pinned = table.snapshot(Some(&below)).await.unwrap();
    for sql in [
        "SELECT count(*) FROM t",
        "SELECT _offset FROM t WHERE _partition = 1 ORDER BY 1",
        // NaN is above every number, and no file's bounds say that it is there.
        "SELECT count(*), sum(_offset) FROM t WHERE amount > 1e300",
        "SELECT count(*) FROM t WHERE amount IS NULL OR amount <= 0",
        "SELECT max(amount), min(amount), count(amount) FROM t WHERE _partition = 0",
        "SELECT _offset FROM t WHERE _partition = 2 ORDER BY amount DESC NULLS LAST, _offset LIMIT 3",
        "SELECT \"Text\", _partition FROM t WHERE \"Text\" >= '1/' ORDER BY 1, 2",
        "SELECT count(*) FROM t WHERE happened > TIMESTAMP '1970-01-01T00:00:09'",
        "SELECT max(_arrival_time), min(happened) FROM t WHERE _offset BETWEEN 5 AND 30 AND _partition <> 0",
        "SELECT a._offset FROM t a JOIN t b ON a._offset = b._offset AND a._partition = 1 AND b._partition = 2 ORDER BY 1",
        "SELECT count(*) FROM (SELECT * FROM t LIMIT 12)",
        "SELECT count(*) FROM (SELECT * FROM t WHERE _partition = 2 LIMIT 5)",
    ] {
        let found = query(Arc::new(pinned.clone()), sql).await;
        assert_eq!(found, query(oracle(&below), sql).await, "{sql}");
    }
}

#[tokio::test]
async fn a_table_of_another_source_is_not_opened() {
    let store = memory();
    open(&store).await;
    let mut other = definition();
    let mut fields = columns().fields().to_vec();
    fields[0] = Arc::new(Field::new("Text", DataType::Int64, true));
    other.columns = Arc::new(Schema::new(fields));
    let refused = LakeTable::open_or_create(&in_store(&store), other).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    let mut placeless = definition();
    placeless.columns = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    assert!(LakeTable::open_or_create(&in_store(&memory()), placeless).await.is_err());
}

#[tokio::test]
async fn a_table_stays_with_its_topic() {
    let store = memory();
    let (first, second) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
    let table = open(&store).await;
    table.bind(first).await.unwrap();
    table.commit(vec![rows(0, 0..5)], &epoch("", "readings/0:5")).await.unwrap();
    let again = open(&store).await;
    again.bind(first).await.unwrap();
    assert_eq!(again.version(), table.version());
    assert_eq!(again.bind(second).await.unwrap_err().kind(), ErrorKind::Conflict);
    check(&again, &at("readings/0:5")).await;
}

/// A capture in small: from wherever the table stands, in steps, to the end.
async fn capture(store: &Arc<dyn ObjectStore>, end: &Positions, step: i64) -> model::Result<()> {
    let table = LakeTable::open_or_create(&in_store(store), definition()).await?;
    while !table.positions().covers(end) {
        let from = table.positions();
        let to = end.iter().map(|(p, to)| (p.clone(), to.min(from.next_offset(p) + step))).collect();
        let epoch = Epoch::new(from, to)?;
        table.commit(rows_of(&epoch), &epoch).await?;
    }
    table.maintain(&MaintenanceSettings::shipped()).await?;
    Ok(())
}

#[tokio::test]
async fn a_crash_at_any_put_loses_nothing_and_repeats_nothing() {
    let end = at("readings/0:10,readings/1:4");
    for fault in [Fault::NotDone, Fault::DoneButLost] {
        let mut crashes = 0;
        for put in 0.. {
            let disk = memory();
            let failing: Arc<dyn ObjectStore> = Arc::new(FaultyStore::new(Arc::clone(&disk), put, fault));
            let crashed = capture(&failing, &end, 3).await.is_err();
            let table = open(&disk).await;
            let before = table.positions();
            check(&table, &before).await;
            capture(&disk, &end, 3).await.unwrap();
            check(&*open(&disk).await, &end).await;
            if !crashed {
                break;
            }
            crashes += 1;
        }
        // At least the table, four commits with their files, and maintenance.
        assert!(crashes >= 9, "{crashes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_do_not_know_of_each_other_share_the_work() {
    let store = memory();
    open(&store).await;
    let end = at("readings/0:40,readings/1:23,readings/2:31");
    let writers = [3, 4, 7].map(|step| {
        let (store, end) = (Arc::clone(&store), end.clone());
        tokio::spawn(async move { capture(&store, &end, step).await })
    });
    for writer in writers {
        // Two that maintain at once may get in each other's way; the rows do not care.
        let _ = writer.await.unwrap();
    }
    check(&*open(&store).await, &end).await;
}

#[tokio::test]
async fn a_long_log_is_opened_from_its_checkpoint() {
    let store = memory();
    let table = open(&store).await;
    for to in 1..=60 {
        let epoch = epoch("", &format!("readings/{}:{to}", to % 2));
        table.commit(rows_of(&epoch), &epoch).await.unwrap();
    }
    let checkpoint = object_store::path::Path::from("lake/readings/_delta_log/_last_checkpoint");
    assert!(object_store::ObjectStoreExt::get(&store, &checkpoint).await.is_ok());
    check(&*open(&store).await, &at("readings/0:60,readings/1:59")).await;
}

#[derive(Clone, Debug)]
enum Step {
    Commit(BTreeMap<i32, (i64, i64)>),
    Reopen,
    Maintain,
}

fn step() -> impl Strategy<Value = Step> {
    let range = (0_i64..12, 0_i64..6).prop_map(|(from, count)| (from, from + count));
    let commit = proptest::collection::btree_map(0..PARTITIONS, range, 1..=3).prop_map(Step::Commit);
    prop_oneof![8 => commit, 1 => Just(Step::Reopen), 1 => Just(Step::Maintain)]
}

async fn run_against_model(steps: Vec<Step>) {
    let store = memory();
    let mut table = open(&store).await;
    let mut model = Positions::new();
    for step in steps {
        match step {
            Step::Reopen => table = open(&store).await,
            Step::Maintain => {
                table.maintain(&MaintenanceSettings::shipped()).await.unwrap();
            }
            Step::Commit(ranges) => {
                let place = |partition: &i32| model::TopicPartition::new(definition().topic, *partition);
                let from = ranges.iter().map(|(p, (from, _))| (place(p), *from)).collect();
                let to = ranges.iter().map(|(p, (_, to))| (place(p), *to)).collect();
                let epoch = Epoch::new(from, to).unwrap();
                let gap = epoch.from.iter().any(|(p, from)| from > model.next_offset(p));
                let committed = table.commit(rows_of(&epoch), &epoch).await;
                assert_eq!(committed.is_err(), gap, "{epoch:?} after {model}");
                if !gap {
                    model.advance_all(&epoch.to);
                }
            }
        }
        assert_eq!(table.positions(), model);
    }
    check(&table, &model).await;
    let half: Positions = model.iter().map(|(p, to)| (p.clone(), to / 2)).collect();
    check_rows(&table.snapshot(Some(&half)).await.unwrap(), &half).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_run_of_epochs_gives_what_the_model_gives(steps in proptest::collection::vec(step(), 1..10)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run_against_model(steps));
    }
}

#[test]
fn the_places_of_rows_are_what_the_tests_think() {
    let batch = rows(1, 3..5);
    assert_eq!(batch.column_by_name("_partition").unwrap().as_primitive::<Int32Type>().values(), &[1, 1]);
    assert_eq!(batch.column_by_name("_offset").unwrap().as_primitive::<Int64Type>().values(), &[3, 4]);
}
