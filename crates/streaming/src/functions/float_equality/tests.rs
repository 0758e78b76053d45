//! Both zeros and all NaNs, in all that compares.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch},
        util::display::array_value_to_string,
    },
    prelude::SessionContext,
};

use super::FloatEquality;

/// Two zeros, two NaNs, another number and NULL.
const FLOATS: [Option<f64>; 6] = [Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), Some(1.5), None];

/// Questions over `t (id, f, r)`, where `id` counts from 1, and `one`, which has the first row, and PostgreSQL's answers: the
/// columns of a row between blanks, rows between commas, in order.
const ANSWERS: &[(&str, &str)] = &[
    ("SELECT count(*) FROM t GROUP BY f", "1,1,2,2"),
    ("SELECT count(*) FROM t GROUP BY r, f", "1,1,2,2"),
    ("SELECT f, count(*) FROM t GROUP BY f", "0.0 2,1.5 1,NULL 1,NaN 2"),
    ("SELECT count(*) FROM t GROUP BY ROLLUP (f)", "1,1,2,2,6"),
    ("SELECT count(*) FROM t GROUP BY f + 0 HAVING f + 0 = -0.0", "2"),
    ("SELECT count(DISTINCT f), count(DISTINCT r), count(DISTINCT id) FROM t", "3 3 6"),
    ("SELECT count(DISTINCT f) OVER () FROM t WHERE id < 3", "1,1"),
    ("SELECT DISTINCT f FROM t", "0.0,1.5,NULL,NaN"),
    ("SELECT DISTINCT f, r FROM t", "0.0 0.0,1.5 1.5,NULL NULL,NaN NaN"),
    ("SELECT DISTINCT ON (f) id FROM t ORDER BY f, id", "1,3,5,6"),
    ("SELECT f FROM t UNION SELECT r FROM t", "0.0,1.5,NULL,NaN"),
    ("SELECT f FROM t INTERSECT SELECT -f FROM t", "0.0,NULL,NaN"),
    ("SELECT f FROM t EXCEPT SELECT -f FROM t", "1.5"),
    ("SELECT f, r FROM t EXCEPT SELECT -f, -r FROM t", "1.5 1.5"),
    ("SELECT f FROM one EXCEPT ALL SELECT -f FROM one", ""),
    ("SELECT t.id FROM t JOIN one USING (f)", "1,2"),
    ("SELECT f, t.id, r FROM t JOIN one USING (f, r)", "-0.0 2 -0.0,0.0 1 0.0"),
    ("SELECT DISTINCT t.f, one.f FROM t JOIN one USING (f)", "0.0 0.0"),
    ("SELECT t.id FROM t JOIN one ON t.f = one.r", "1,2"),
    ("SELECT t.id FROM t JOIN one ON t.f <= one.f", "1,2"),
    ("SELECT t.id, one.id FROM t LEFT JOIN one ON t.f = one.f AND t.id > 1", "1 NULL,2 1,3 NULL,4 NULL,5 NULL,6 NULL"),
    ("SELECT a.id, b.id FROM t a JOIN t b ON a.f = b.f WHERE a.id > 2", "3 3,3 4,4 3,4 4,5 5"),
    ("SELECT id FROM t WHERE f = 0", "1,2"),
    ("SELECT id FROM t WHERE f < 0 OR f > 1e300", "3,4"),
    ("SELECT id FROM t WHERE r = '-0'", "1,2"),
    ("SELECT id FROM t WHERE f = 'NaN'", "3,4"),
    ("SELECT id FROM t WHERE f IN (0, 'NaN', 7, 8, 9)", "1,2,3,4"),
    ("SELECT id FROM t WHERE f BETWEEN 0 AND 1", "1,2"),
    ("SELECT id FROM t WHERE f IS DISTINCT FROM -0.0", "3,4,5,6"),
    ("SELECT CASE f WHEN 0 THEN 'zero' WHEN 'NaN' THEN 'none' END FROM t", "NULL,NULL,none,none,zero,zero"),
    ("SELECT id FROM t WHERE f IN (SELECT -f FROM one)", "1,2"),
    ("SELECT id FROM t WHERE f NOT IN (SELECT -f FROM one)", "3,4,5"),
    ("SELECT id FROM t WHERE EXISTS (SELECT 1 FROM one WHERE one.f = t.f)", "1,2"),
    ("SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM one WHERE one.r = t.f)", "3,4,5,6"),
    ("SELECT id, (SELECT count(*) FROM t b WHERE b.f = t.f AND b.id > 0) FROM t", "1 2,2 2,3 2,4 2,5 1,6 0"),
    ("SELECT id, (SELECT max(b.id) FROM t b WHERE t.f = b.r) FROM t", "1 2,2 2,3 4,4 4,5 5,6 NULL"),
    ("SELECT id FROM t WHERE id IN (SELECT max(b.id) FROM t b WHERE b.f = t.f)", "2,4,5"),
    ("SELECT id, rank() OVER (ORDER BY f) FROM t", "1 1,2 1,3 4,4 4,5 3,6 6"),
    ("SELECT id, count(*) OVER (PARTITION BY r) FROM t", "1 2,2 2,3 2,4 2,5 1,6 1"),
    ("SELECT array_agg(id ORDER BY f DESC, id) FROM t WHERE id < 6", "[3, 4, 5, 1, 2]"),
    ("SELECT array_agg(DISTINCT f) FROM t WHERE id < 3", "[0.0]"),
    ("SELECT id FROM (SELECT id, f FROM t ORDER BY f DESC NULLS LAST, id DESC LIMIT 2) AS q", "3,4"),
    ("WITH RECURSIVE n (x) AS (SELECT f FROM one UNION SELECT -x FROM n) SELECT x FROM n", "0.0"),
    // What is no key is shown as it is.
    ("SELECT f FROM t WHERE f = 0", "-0.0,0.0"),
    ("SELECT id, f FROM t WHERE id < 3 ORDER BY f, id", "1 0.0,2 -0.0"),
];

fn table(rows: usize) -> RecordBatch {
    let floats = &FLOATS[..rows];
    let reals: Float32Array = floats.iter().map(|float| float.map(|float| float as f32)).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values((1..).take(rows)))),
        ("f", Arc::new(Float64Array::from(floats.to_vec()))),
        ("r", Arc::new(reals)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn session() -> SessionContext {
    let context = SessionContext::new();
    context.register_batch("t", table(FLOATS.len())).unwrap();
    context.register_batch("one", table(1)).unwrap();
    context
}

async fn answer(context: &SessionContext, query: &str) -> String {
    let batches = context.sql(query).await.unwrap().collect().await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let row = |batch: &RecordBatch, row: usize| {
        let value = |column: &ArrayRef| match column.is_null(row) {
            true => "NULL".to_owned(),
            false => array_value_to_string(column, row).unwrap(),
        };
        batch.columns().iter().map(value).collect::<Vec<_>>().join(" ")
    };
    let mut rows: Vec<String> =
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|number| row(batch, number))).collect();
    rows.sort();
    rows.join(",")
}

#[tokio::test]
async fn there_is_one_zero_and_one_nan() {
    let context = session();
    context.add_analyzer_rule(Arc::new(FloatEquality));
    let mut wrong = Vec::new();
    for (query, expected) in ANSWERS {
        let found = answer(&context, query).await;
        if found != *expected {
            wrong.push(format!("{query}\n  {found}\n  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn columns_have_the_names_and_types_that_they_had() {
    let (plain, equal) = (session(), session());
    equal.add_analyzer_rule(Arc::new(FloatEquality));
    for query in [
        "SELECT f, f = 0, count(DISTINCT f), max(r) FROM t GROUP BY f, f = 0 ORDER BY f",
        "SELECT r + 1, count(*) FROM t GROUP BY r + 1",
        "SELECT f, r, count(*) FROM t GROUP BY CUBE (f, r)",
        "SELECT *, rank() OVER (PARTITION BY r ORDER BY f) FROM t",
        "SELECT * FROM t JOIN one USING (f, r)",
        "SELECT DISTINCT f, id, r AS s FROM t",
        "SELECT f FROM t UNION SELECT r FROM one",
        "SELECT id, (SELECT count(*) FROM t b WHERE b.f = t.f) FROM t",
    ] {
        let mut schemas = Vec::new();
        for context in [&plain, &equal] {
            let frame = context.sql(query).await.unwrap();
            let plan = context.state().optimize(frame.logical_plan()).unwrap();
            schemas.push(plan.schema().inner().fields().clone());
        }
        assert_eq!(schemas[0], schemas[1], "{query}");
    }
}
