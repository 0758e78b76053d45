//! A view of several operators has, at every moment, the rows that plain DataFusion computes over all that came in: however
//! the sources are interleaved and cut, and however often all is lost that was not written down. Over tables these are the last
//! rows of each key.
//!
//! `PROPTEST_CASES=300` makes it thorough.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array},
    compute::concat_batches,
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    datasource::MemTable,
    prelude::{SessionConfig, SessionContext},
};
use proptest::prelude::*;
use sql::{SourceDefinition, Statement, ViewDefinition};
use streaming::{DataflowPlan, PlannedView};
use support::{
    block_on, cases,
    life::{Life, last_rows},
    rows::{check_rows, comparable},
};

/// What a view is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Sources,
    Tables,
}

/// How many keys a table has at most.
const KEYS: i64 = 7;

/// What the views are over: three sources, or tables, of the same columns.
const SOURCES: [&str; 3] = ["a", "b", "c"];
const COLUMNS: &str = "id BIGINT, k INT, v BIGINT, d DOUBLE PRECISION, t TEXT, f BOOLEAN";

/// Queries that are the same for DataFusion and for a view.
const QUERIES: &[&str] = &[
    // Joins.
    "SELECT a.id, a.v, b.v AS w FROM a JOIN b ON a.k = b.k",
    "SELECT a.id, b.id AS other FROM a JOIN b ON a.k = b.k AND a.v < b.v",
    "SELECT a.id, b.id AS other FROM a JOIN b USING (k, t)",
    "SELECT a.id, b.v FROM a LEFT JOIN b ON a.k = b.k",
    "SELECT a.id, b.v FROM a LEFT JOIN b ON a.k = b.k AND a.v < b.v",
    "SELECT a.v, b.id FROM a RIGHT JOIN b ON a.k = b.k",
    "SELECT a.v, b.id FROM a RIGHT JOIN b ON a.k = b.k AND a.v + b.v > 1",
    "SELECT a.v, b.v AS w FROM a FULL JOIN b ON a.k = b.k",
    "SELECT a.v, b.v AS w FROM a FULL JOIN b ON a.k = b.k AND a.t = b.t AND a.v <> b.v",
    "SELECT a.v, b.v AS w, c.v AS x FROM a JOIN b ON a.k = b.k JOIN c ON b.v = c.v",
    "SELECT a.v, b.v AS w, c.v AS x FROM a LEFT JOIN b ON a.k = b.k LEFT JOIN c ON b.v = c.v AND c.f",
    "SELECT a.id FROM a, b WHERE a.k = b.k AND a.v = b.v",
    "SELECT x.v, y.v AS w FROM a AS x JOIN a AS y ON x.k = y.v",
    "SELECT a.id, b.id AS other FROM a JOIN b ON a.k IS NOT DISTINCT FROM b.k",
    "SELECT a.id, b.id AS other FROM a JOIN b ON a.k + 1 = b.v",
    // Rows by what is elsewhere.
    "SELECT id FROM a WHERE k IN (SELECT k FROM b)",
    "SELECT id FROM a WHERE k NOT IN (SELECT v FROM b WHERE v IS NOT NULL)",
    "SELECT id, k FROM a WHERE k NOT IN (SELECT v FROM b)",
    "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.v > a.v)",
    "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
    "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.v <> a.v)",
    "SELECT id FROM a WHERE f OR EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
    "SELECT id FROM a WHERE f OR NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
    "SELECT id FROM a WHERE v > 2 OR k IN (SELECT k FROM b WHERE b.f)",
    "SELECT a.id FROM a LEFT SEMI JOIN b ON a.k = b.k",
    "SELECT a.id FROM a LEFT ANTI JOIN b ON a.k = b.k AND a.v < b.v",
    "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.v > 2)",
    "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.v > 2)",
    // What identifies a row of either side can be NULL.
    "SELECT x.k, x.n, y.m FROM (SELECT k, count(*) AS n FROM a GROUP BY k) AS x FULL JOIN (SELECT k, max(v) AS m FROM b GROUP BY k) AS y ON x.k = y.k",
    "SELECT x.k, x.n, y.m FROM (SELECT k, count(*) AS n FROM a GROUP BY k) AS x FULL JOIN (SELECT count(*) AS m FROM b) AS y ON x.n = y.m",
    "SELECT x.k, y.t FROM (SELECT DISTINCT k, t FROM a) AS x FULL JOIN (SELECT DISTINCT k, t FROM b) AS y ON x.k = y.k AND x.t <> y.t",
    "SELECT a.id FROM a JOIN b ON a.k = b.k WHERE false",
    // Groups, and groups of groups.
    "SELECT a.k, count(*) AS n, sum(b.v) AS s FROM a JOIN b ON a.k = b.k GROUP BY a.k",
    "SELECT a.k, count(b.id) AS n, max(b.v) AS best, min(b.t) AS first FROM a LEFT JOIN b ON a.k = b.k GROUP BY a.k",
    "SELECT n, count(*) AS groups FROM (SELECT k, count(*) AS n FROM a GROUP BY k) AS counts GROUP BY n",
    "SELECT max(n) AS most, min(n) AS least FROM (SELECT k, count(*) AS n FROM a GROUP BY k) AS counts",
    "SELECT k, count(DISTINCT v) AS n, sum(DISTINCT v) AS s FROM (SELECT k, max(v) AS v, t FROM a GROUP BY k, t) AS m GROUP BY k",
    "SELECT k, bool_and(f) AS every, bool_or(f) AS some FROM (SELECT k, v, bool_or(f) AS f FROM a GROUP BY k, v) AS m GROUP BY k",
    "SELECT k, count(*) FILTER (WHERE n > 1) AS many FROM (SELECT k, v, count(*) AS n FROM a GROUP BY k, v) AS m GROUP BY k",
    "SELECT k, v, count(*) AS n FROM a GROUP BY ROLLUP (k, v)",
    "SELECT k, f, count(*) AS n, max(v) AS best FROM a GROUP BY CUBE (k, f)",
    "SELECT k, t, sum(v) AS s, grouping(k) AS gk, grouping(t) AS gt FROM a GROUP BY GROUPING SETS ((k), (t), (k, t))",
    // Sets.
    "SELECT k, v FROM a UNION ALL SELECT k, v FROM b",
    "SELECT k FROM a UNION SELECT k FROM b",
    "SELECT k, count(*) AS n FROM (SELECT k FROM a UNION ALL SELECT v FROM b) AS u GROUP BY k",
    "SELECT k, t FROM a INTERSECT SELECT k, t FROM b",
    "SELECT k, t FROM a EXCEPT SELECT k, t FROM b",
    "SELECT DISTINCT a.k, b.t FROM a JOIN b ON a.k = b.k",
    "SELECT k, 1 AS which FROM a WHERE v > 1 UNION ALL SELECT k, 2 AS which FROM a WHERE v < 1",
    "SELECT k, NULL AS n FROM a UNION ALL SELECT k, count(*) AS n FROM b GROUP BY k",
    // Scalar subqueries.
    "SELECT id, v FROM a WHERE v > (SELECT avg(v) FROM b)",
    "SELECT id, v FROM a WHERE v = (SELECT max(v) FROM b WHERE b.k = a.k)",
    "SELECT id, (SELECT count(*) FROM b WHERE b.k = a.k) AS n FROM a",
    "SELECT id, v - (SELECT max(v) FROM b) AS off FROM a",
    "SELECT k, sum(v) AS s FROM a GROUP BY k HAVING sum(v) > (SELECT max(v) FROM b)",
    // With names.
    "WITH best AS (SELECT k, max(v) AS v FROM a GROUP BY k) SELECT a.id, best.v FROM a JOIN best ON a.k = best.k AND a.v = best.v",
    "WITH n AS (SELECT k, count(*) AS n FROM a GROUP BY k), m AS (SELECT k, count(*) AS m FROM b GROUP BY k) \
     SELECT n.k, n.n, m.m, n.n - m.m AS off FROM n FULL JOIN m ON n.k = m.k",
    "WITH p AS (SELECT k, sum(v) AS s FROM a GROUP BY k), q AS (SELECT k, sum(-v) AS s FROM a GROUP BY k) \
     SELECT p.k, p.s + q.s AS nothing FROM p JOIN q ON p.k = q.k",
    "SELECT CASE WHEN b.v IS NULL THEN 'none' ELSE b.t END AS what, count(*) AS n FROM a LEFT JOIN b ON a.k = b.k GROUP BY 1",
    "SELECT * FROM (VALUES (0, 'zero'), (1, 'one')) AS names (k, name) JOIN a ON a.k = names.k",
    "SELECT a.d, count(*) AS n FROM a JOIN b ON a.d = b.d GROUP BY a.d",
    // Elements of lists: some equal, some NULL; lists that are empty, and that are NULL.
    "SELECT id, unnest(make_array(v, k, v)) AS x FROM a",
    "SELECT id, unnest(make_array(v, v)) AS x, unnest(generate_series(1, v)) AS y FROM a",
    "SELECT x, count(*) AS n FROM (SELECT unnest(generate_series(1, v)) AS x FROM a) AS u GROUP BY x",
    "SELECT DISTINCT k, unnest(string_to_array(t || ',x,' || t, ',')) AS part FROM a",
    "SELECT u.id, u.x, b.id AS other FROM (SELECT id, unnest(make_array(v, k)) AS x FROM a) AS u JOIN b ON u.x = b.k",
    "SELECT u.id, u.x, b.v FROM (SELECT id, unnest(generate_series(0, v)) AS x FROM a) AS u LEFT JOIN b ON u.x = b.k",
    "SELECT unnest(make_array(n, k)) AS x FROM (SELECT k, count(*) AS n FROM a GROUP BY k) AS counts",
    "SELECT id FROM a WHERE k IN (SELECT unnest(make_array(v, k)) FROM b)",
    "SELECT k FROM a EXCEPT SELECT unnest(make_array(k, k + 1)) FROM b",
];

/// Lists beside the row that they are of, and the same as DataFusion plans it.
const LATERAL: &[[&str; 2]] = &[
    [
        "SELECT a.id, u.x FROM a, UNNEST(make_array(a.v, a.k, a.v)) AS u (x)",
        "SELECT id, unnest(make_array(v, k, v)) AS x FROM a",
    ],
    [
        "SELECT a.id, x FROM a CROSS JOIN UNNEST(generate_series(1, v)) AS x WHERE x > k",
        "SELECT id, x FROM (SELECT id, k, unnest(generate_series(1, v)) AS x FROM a) AS u WHERE x > k",
    ],
    [
        "SELECT a.id, x FROM a LEFT JOIN LATERAL unnest(generate_series(1, v)) AS x ON true",
        "SELECT id, unnest(CASE WHEN v > 0 THEN generate_series(1, v) ELSE make_array(CAST(NULL AS BIGINT)) END) AS x FROM a",
    ],
    [
        "SELECT a.id, x, n FROM a, UNNEST(make_array(v, k, v)) WITH ORDINALITY AS u (x, n)",
        "SELECT id, unnest(make_array(v, k, v)) AS x, unnest(make_array(1, 2, 3)) AS n FROM a",
    ],
    [
        "SELECT a.id, b.id AS other, x FROM a, b, UNNEST(ARRAY[a.v, b.v]) AS x WHERE a.k = b.k",
        "SELECT id, other, unnest(make_array(v, w)) AS x \
         FROM (SELECT a.id, b.id AS other, a.v, b.v AS w FROM a JOIN b ON a.k = b.k) AS p",
    ],
    [
        "SELECT x, y FROM a, UNNEST(generate_series(1, v)) AS x, UNNEST(generate_series(x, v)) AS y",
        "SELECT x, unnest(generate_series(x, v)) AS y FROM (SELECT v, unnest(generate_series(1, v)) AS x FROM a) AS u",
    ],
    [
        "SELECT u.x, count(*) AS n, max(b.t) AS t FROM a, LATERAL \
         (SELECT y + a.k AS x FROM UNNEST(make_array(a.v, a.k)) AS w (y) WHERE y > 1) AS u JOIN b ON u.x = b.v GROUP BY u.x",
        "SELECT u.x, count(*) AS n, max(b.t) AS t FROM \
         (SELECT y + k AS x FROM (SELECT k, unnest(make_array(v, k)) AS y FROM a) AS w WHERE y > 1) AS u \
         JOIN b ON u.x = b.v GROUP BY u.x",
    ],
    ["SELECT a.id, x FROM a, UNNEST(ARRAY[1, NULL, 1]) AS x", "SELECT id, unnest(make_array(1, NULL, 1)) AS x FROM a"],
];

/// What views are, each with what DataFusion is asked.
fn questions() -> impl Iterator<Item = [&'static str; 2]> {
    QUERIES.iter().map(|query| [*query; 2]).chain(LATERAL.iter().copied())
}

#[derive(Clone, Debug)]
struct Row {
    k: Option<i32>,
    v: Option<i64>,
    d: Option<f64>,
    t: Option<&'static str>,
    f: Option<bool>,
    /// Whether it deletes the row of its key, if it is one of a table.
    deletes: bool,
}

fn row() -> impl Strategy<Value = Row> {
    let maybe = |share| prop::bool::weighted(share);
    (
        (0..4_i32, maybe(0.85)),
        (0..4_i64, maybe(0.85)),
        (prop::sample::select(vec![0.0, -0.0, 0.5, f64::NAN]), maybe(0.9)),
        (prop::sample::select(vec!["x", "y", ""]), maybe(0.9)),
        (any::<bool>(), maybe(0.9)),
        maybe(0.25),
    )
        .prop_map(|(k, v, d, t, f, deletes)| Row {
            k: k.1.then_some(k.0),
            v: v.1.then_some(v.0),
            d: d.1.then_some(d.0),
            t: t.1.then_some(t.0),
            f: f.1.then_some(f.0),
            deletes,
        })
}

/// Rows that come in together, of one source.
#[derive(Clone, Debug)]
struct Arrival {
    source: usize,
    rows: Vec<Row>,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let arrival = (0..SOURCES.len(), prop::collection::vec(row(), 1..6));
    prop::collection::vec(arrival.prop_map(|(source, rows)| Arrival { source, rows }), 0..14)
}

fn sources(over: Over) -> Vec<SourceDefinition> {
    let definition = |name: &&str| match over {
        Over::Sources => format!("CREATE SOURCE {name} ({COLUMNS});"),
        Over::Tables => format!("CREATE TABLE {name} ({COLUMNS}, PRIMARY KEY (id));"),
    };
    let text: String = SOURCES.iter().map(definition).collect();
    let statements = sql::parse(&text).unwrap();
    statements
        .into_iter()
        .map(|statement| match statement {
            Statement::CreateSource(source) | Statement::CreateTable(source) => source,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// The plan of a view, behind those of what tables show.
fn plan(query: &str, over: Over) -> Arc<DataflowPlan> {
    let text = format!("CREATE MATERIALIZED VIEW v AS {query}");
    let Some(Statement::CreateView(view)) = sql::parse(&text).unwrap().pop() else { panic!("{text}") };
    let sources = sources(over);
    if over == Over::Tables {
        let mut views: Vec<ViewDefinition> = sources.iter().map(ViewDefinition::of_table).collect();
        views.push(view);
        return Arc::new(DataflowPlan::new(&views, &sources).unwrap_or_else(|error| panic!("{query}: {error:?}")));
    }
    match PlannedView::new(&view, &sources).unwrap_or_else(|error| panic!("{query}: {error:?}")) {
        PlannedView::Dataflow(plan, _) => plan,
        PlannedView::Chain(_) => panic!("{query} is a chain"),
    }
}

/// Rows as records of a source, whose offsets go on from `first`; so do the ids, which of a table are few.
fn batch(schema: &SchemaRef, rows: &[Row], first: i64, over: Over) -> RecordBatch {
    let offsets = || (first..).take(rows.len());
    let id = |offset: i64| if over == Over::Tables { offset * offset % KEYS } else { offset };
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "id" => Arc::new(Int64Array::from_iter_values(offsets().map(id))),
            "_offset" => Arc::new(Int64Array::from_iter_values(offsets())),
            "_deleted" => Arc::new(rows.iter().map(|row| Some(row.deletes)).collect::<BooleanArray>()),
            "k" => Arc::new(rows.iter().map(|row| row.k).collect::<Int32Array>()),
            "v" => Arc::new(rows.iter().map(|row| row.v).collect::<Int64Array>()),
            "d" => Arc::new(rows.iter().map(|row| row.d).collect::<Float64Array>()),
            "t" => Arc::new(rows.iter().map(|row| row.t).collect::<StringArray>()),
            "f" => Arc::new(rows.iter().map(|row| row.f).collect::<BooleanArray>()),
            "_partition" => Arc::new(Int32Array::from(vec![0; rows.len()])),
            "_arrival_time" => {
                let times = Int64Array::from_iter_values(offsets());
                arrow::compute::cast(&times, field.data_type()).unwrap()
            }
            _ if *field.data_type() == DataType::Null || field.is_nullable() => {
                new_null_array(field.data_type(), rows.len())
            }
            other => panic!("column {other}"),
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

/// What DataFusion says over all rows at once.
async fn expected(query: &str, over: Over, tables: &[RecordBatch]) -> RecordBatch {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for (name, rows) in SOURCES.iter().zip(tables) {
        let rows = if over == Over::Tables { last_rows(rows, &[0], COLUMNS.split(',').count()) } else { rows.clone() };
        let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).unwrap();
        context.register_table(*name, Arc::new(table)).unwrap();
    }
    let frame = context.sql(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    // Types are settled only when it is analysed.
    let schema = Arc::clone(frame.clone().into_optimized_plan().unwrap().schema().inner());
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{query}: {error}"));
    concat_batches(&schema, &batches).unwrap()
}

async fn fold([query, question]: [&str; 2], over: Over, arrivals: &[Arrival]) {
    let plan = plan(query, over);
    let definitions = sources(over);
    let schemas: Vec<SchemaRef> = definitions.iter().map(SourceDefinition::schema).collect();
    let mut tables: Vec<RecordBatch> =
        schemas.iter().map(|schema| RecordBatch::new_empty(Arc::clone(schema))).collect();
    let mut life = Life::new(&plan);
    for (number, Arrival { source, rows }) in arrivals.iter().enumerate() {
        let first = i64::try_from(tables[*source].num_rows()).unwrap();
        let rows = batch(&schemas[*source], rows, first, over);
        tables[*source] = concat_batches(&schemas[*source], [&tables[*source], &rows]).unwrap();
        if let Some(read) = plan.sources().iter().position(|read| read.name == SOURCES[*source]) {
            life.apply(read, &rows);
        }
        if number % 3 == 2 {
            life.checkpoint();
        }
        if number % 4 == 3 {
            life.die();
        }
        if number % 6 == 5 {
            compare(question, over, &plan, &life, &tables).await;
        }
    }
    compare(question, over, &plan, &life, &tables).await;
    life.checkpoint();
    life.die();
    compare(question, over, &plan, &life, &tables).await;
}

async fn compare(query: &str, over: Over, plan: &DataflowPlan, life: &Life, tables: &[RecordBatch]) {
    let expected = expected(query, over, tables).await;
    let width = expected.num_columns();
    let found = life.rows(plan.views().len() - 1);
    let found = normal(&found, width);
    check_rows(&comparable(&found, width), &comparable(&normal(&expected, width), width), query);
}

/// Values in the types that a view shows, so that an answer of another width of number is the same.
fn normal(rows: &RecordBatch, width: usize) -> RecordBatch {
    let columns = rows.columns()[..width].iter().map(|column| {
        let data_type = match column.data_type() {
            DataType::Decimal128(_, _) | DataType::Int32 | DataType::UInt64 => DataType::Int64,
            other => other.clone(),
        };
        let column = arrow::compute::cast(column, &data_type).unwrap();
        // Which of two equal zeros stands for a group is nobody's promise.
        streaming::normal_key(&column)
    });
    let columns: Vec<ArrayRef> = columns.collect();
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().enumerate().map(|(number, column)| (format!("c{number}"), column, true)),
    )
    .unwrap()
}

proptest! {
    #![proptest_config(cases(3))]

    #[test]
    fn a_view_of_operators_gives_the_answer_of_datafusion(arrivals in arrivals()) {
        block_on(async {
            for query in questions() {
                fold(query, Over::Sources, &arrivals).await;
            }
        });
    }

    #[test]
    fn a_view_over_tables_gives_the_answer_over_the_last_rows(arrivals in arrivals()) {
        block_on(async {
            for query in questions() {
                fold(query, Over::Tables, &arrivals).await;
            }
        });
    }
}
