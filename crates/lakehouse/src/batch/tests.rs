//! Tests of batch runs: the fold over the lake gives what DataFusion gives over the same rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use model::{Epoch, Positions};
use object_store::memory::InMemory;
use sql::{SourceDefinition, Statement};
use streaming::{Fold, ViewPlan};

use crate::{BatchTable, LakeLocation, LakeTable};

const SOURCE: &str = "CREATE SOURCE flights (carrier TEXT, delay DOUBLE PRECISION, distance BIGINT, note TEXT)
    WITH (topic = 'flights', partitions = 2, format = 'json')";

/// Queries, and whether DataFusion's own answer is exact: its float sums depend on the order of the rows, the fold's
/// do not.
const VIEWS: [(&str, bool); 6] = [
    ("SELECT carrier, count(*) AS flights, sum(distance) AS miles FROM flights GROUP BY carrier", true),
    ("SELECT count(*) AS flights FROM flights", true),
    (
        "SELECT carrier, min(delay) AS least, max(delay) AS most, count(delay) AS known FROM flights \
         WHERE distance > 20 GROUP BY carrier",
        true,
    ),
    ("SELECT carrier, distance % 3 AS class, max(distance) AS most FROM flights GROUP BY carrier, distance % 3", true),
    ("SELECT carrier, sum(delay) AS total, avg(delay) AS mean FROM flights GROUP BY carrier", false),
    // Some rows cannot be evaluated: DataFusion gives up, the fold leaves them out.
    ("SELECT carrier, count(*) AS flights, sum(60 / (distance % 4)) AS q FROM flights GROUP BY carrier", false),
];

fn source() -> SourceDefinition {
    match sql::parse(SOURCE).unwrap().remove(0) {
        Statement::CreateSource(source) => source,
        other => panic!("{other:?}"),
    }
}

fn plan(query: &str) -> ViewPlan {
    match sql::parse(&format!("CREATE MATERIALIZED VIEW v AS {query}")).unwrap().remove(0) {
        Statement::CreateView(view) => ViewPlan::new(&view, &[source()]).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn rows(schema: &SchemaRef, partition: i32, offsets: std::ops::Range<i64>) -> RecordBatch {
    let offsets: Vec<i64> = offsets.collect();
    let count = offsets.len();
    // Of very different sizes, so that a sum depends on its order unless it is exact.
    let delay = |o: i64| (o % 6 != 0).then(|| if o % 2 == 0 { 1e16 / (o + 1) as f64 } else { -0.1 * o as f64 });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(offsets.iter().map(|o| (o % 9 != 4).then(|| format!("c{}", o % 5))).collect::<StringArray>()),
        Arc::new(offsets.iter().map(|o| delay(o + i64::from(partition))).collect::<Float64Array>()),
        Arc::new(offsets.iter().map(|o| Some(o * 7 % 50)).collect::<Int64Array>()),
        Arc::new(StringArray::from(vec![Some("not read by any view"); count])),
        Arc::new(Int32Array::from(vec![partition; count])),
        Arc::new(Int64Array::from(offsets.clone())),
        Arc::new(TimestampMicrosecondArray::from(offsets).with_timezone("UTC")),
        Arc::new(StringArray::from(vec![None::<&str>; count])),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

async fn filled_table() -> Arc<LakeTable> {
    let location = LakeLocation::in_store(Arc::new(InMemory::new()), "memory:///lake/flights");
    let table = LakeTable::open_or_create(&location, &source()).await.unwrap();
    let schema = source().schema();
    for to in [30, 70, 90] {
        let from = table.positions();
        let to: Positions = format!("flights/0:{to},flights/1:{}", to / 2).parse().unwrap();
        let missing = to.iter().map(|(p, to)| rows(&schema, p.partition, from.next_offset(p)..to)).collect();
        table.commit(missing, &Epoch::new(from, to).unwrap()).await.unwrap();
    }
    table
}

async fn query(table: Arc<MemTable>, name: &str, sql: &str) -> String {
    let session = SessionContext::new();
    session.register_table(name, table).unwrap();
    pretty_format_batches(&session.sql(sql).await.unwrap().collect().await.unwrap()).unwrap().to_string()
}

fn in_memory(rows: Vec<RecordBatch>) -> Arc<MemTable> {
    Arc::new(MemTable::try_new(rows[0].schema(), vec![rows]).unwrap())
}

#[tokio::test]
async fn a_batch_run_gives_what_a_query_over_the_same_rows_gives() {
    let table = filled_table().await;
    let views = LakeLocation::in_store(Arc::new(InMemory::new()), "memory:///lake/views");
    for (number, (view, datafusion_is_exact)) in VIEWS.into_iter().enumerate() {
        let plan = plan(view);
        for h in ["flights/0:90,flights/1:45", "flights/0:57,flights/1:3", "flights/1:1"] {
            let h: Positions = h.parse().unwrap();
            let pinned = table.snapshot(Some(&h)).await.unwrap();
            let states = super::run(&plan, &pinned).await.unwrap();

            // By way of the stored version, as the other layer meets it.
            let (name, hash) = (format!("view {number} at {h}"), plan.hash());
            let batches = BatchTable::new(&name, views.child(&name));
            batches.commit(&hash, &h, vec![states]).await.unwrap();
            let version = batches.load().await.unwrap().unwrap();
            assert_eq!((&version.positions, &version.plan_hash), (&h, &hash));
            let mut fold = Fold::new(&plan).unwrap();
            for states in &version.states {
                fold.merge_state(states).unwrap();
            }
            let found = query(in_memory(vec![fold.rows().unwrap()]), "v", &sorted("v", &plan)).await;

            let mut streamed = Fold::new(&plan).unwrap();
            let schema = source().schema();
            let rows: Vec<_> = h.iter().map(|(p, to)| rows(&schema, p.partition, 0..to)).collect();
            let left_out: usize = rows.iter().map(|rows| streamed.apply(rows, None).unwrap().len()).sum();
            assert_eq!(left_out > 0, view.contains(" / "), "{view}");
            let expected = query(in_memory(vec![streamed.rows().unwrap()]), "v", &sorted("v", &plan)).await;
            assert_eq!(found, expected, "{view} up to {h}: the fold over the log");

            if datafusion_is_exact {
                let oracle = format!("WITH v AS ({view}) {}", sorted("v", &plan));
                assert_eq!(found, query(in_memory(rows), "flights", &oracle).await, "{view} up to {h}: DataFusion");
            }
        }
    }
}

fn sorted(table: &str, plan: &ViewPlan) -> String {
    let names: Vec<_> = plan.output_schema().fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
    let names = names.join(", ");
    format!("SELECT {names} FROM {table} ORDER BY {names}")
}
