//! Queries with sums that do not fit, floats in many orders, and NaN in groups.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int16Array, Int64Array, RecordBatch, StringArray},
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::{
    datasource::MemTable,
    prelude::{SessionConfig, SessionContext},
};

/// The rows of a query over a table `t` in several batches, as lines.
async fn ask(batches: Vec<RecordBatch>, query: &str) -> Vec<String> {
    let mut context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
    super::register(&mut context).unwrap();
    let schema = batches[0].schema();
    let parts = batches.into_iter().map(|batch| vec![batch]).collect();
    context.register_table("t", Arc::new(MemTable::try_new(schema, parts).unwrap())).unwrap();
    let found = context.sql(query).await.unwrap().collect().await.unwrap();
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in &found {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        let line = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" ");
        lines.extend((0..batch.num_rows()).map(line));
    }
    lines.sort();
    lines
}

fn batch(k: &[&str], b: &[i64], f: &[f64]) -> RecordBatch {
    let small: Vec<i16> = b.iter().map(|b| (*b % 100) as i16).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("k", Arc::new(StringArray::from(k.to_vec()))),
        ("b", Arc::new(Int64Array::from(b.to_vec()))),
        ("s", Arc::new(Int16Array::from(small))),
        ("f", Arc::new(Float64Array::from(f.to_vec()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test]
async fn sums_and_averages_of_integers_do_not_wrap() {
    let rows = || vec![batch(&["x", "y"], &[i64::MAX, 7], &[0.0; 2]), batch(&["x", "x"], &[i64::MAX, 5], &[0.0; 2])];
    for (query, expected) in [
        ("SELECT sum(b) FROM t", vec!["18446744073709551626"]),
        ("SELECT k, sum(b) FROM t GROUP BY k", vec!["x 18446744073709551619", "y 7"]),
        ("SELECT sum(DISTINCT b) FROM t", vec!["9223372036854775819"]),
        ("SELECT k, sum(DISTINCT b), count(DISTINCT b) FROM t GROUP BY k", vec!["x 9223372036854775812 2", "y 7 1"]),
        (
            "SELECT arrow_typeof(sum(b)), arrow_typeof(sum(s)), arrow_typeof(avg(b)) FROM t",
            vec!["Decimal128(38, 0) Int64 Float64"],
        ),
        ("SELECT sum(s), avg(s) FROM t", vec!["26 6.5"]),
        ("SELECT avg(b) FROM t WHERE k = 'y'", vec!["7.0"]),
        ("SELECT avg(DISTINCT s) FROM t", vec!["6.0"]),
        ("SELECT sum(b) FROM t WHERE b < 0", vec!["NULL"]),
        ("SELECT sum(b) FILTER (WHERE b < 100) FROM t", vec!["12"]),
        ("SELECT sum(b + 1) FROM t WHERE b < 100", vec!["14"]),
        (
            "SELECT sum(s) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
            vec!["12", "14", "14", "5"],
        ),
        ("SELECT sum(x) FROM (SELECT sum(b) AS x FROM t GROUP BY k)", vec!["18446744073709551626"]),
    ] {
        assert_eq!(ask(rows(), query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn nan_is_the_greatest_in_every_order() {
    let values = [5.0, f64::NAN, 1.0, -f64::NAN, 7.0];
    for shift in 0..values.len() {
        for swap in 0..values.len() {
            let mut order = values;
            order.rotate_left(shift);
            order.swap(0, swap);
            let rows = || order.map(|f| batch(&["x"], &[1], &[f])).to_vec();
            let both = vec![batch(&["x"; 5], &[1; 5], &order)];
            for rows in [rows(), both] {
                let (grouped, all) = ("SELECT min(f), max(f) FROM t GROUP BY k", "SELECT min(f), max(f) FROM t");
                assert_eq!(ask(rows.clone(), grouped).await, ["1.0 NaN"], "{order:?}");
                assert_eq!(ask(rows, all).await, ["1.0 NaN"], "{order:?}");
            }
        }
    }
}

#[tokio::test]
async fn sums_of_floats_do_not_depend_on_their_order() {
    let values = [1e100, 1.0, -1e100, 0.1, 0.2];
    for shift in 0..values.len() {
        let mut order = values;
        order.rotate_left(shift);
        let rows = order.map(|f| batch(&["x"], &[1], &[f])).to_vec();
        for query in ["SELECT sum(f) FROM t", "SELECT sum(f) FROM t GROUP BY k"] {
            assert_eq!(ask(rows.clone(), query).await, ["1.3"], "{order:?}");
        }
    }
}
