//! Aggregates within bounds beside those of plain DataFusion, and what they reserve.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray},
    datatypes::Int32Type,
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::{
    datasource::MemTable,
    error::DataFusionError,
    execution::FunctionRegistry as _,
    prelude::{SessionConfig, SessionContext},
};
use futures::StreamExt as _;
use model::MemoryBudget;
use sql::SqlError;

use super::{FUNCTIONS, window};

const MIB: u64 = 1024 * 1024;

/// Rows of a group `k`, a number `n` that is NULL at times, a text `x`, a list and a condition.
fn table() -> MemTable {
    let batch = |numbers: std::ops::Range<i64>| {
        let rows: Vec<i64> = numbers.collect();
        let columns: [(&str, ArrayRef); 6] = [
            ("k", Arc::new(rows.iter().map(|n| Some(n % 7)).collect::<Int64Array>())),
            ("n", Arc::new(rows.iter().map(|n| (n % 5 != 0).then_some((n * 37) % 101)).collect::<Int64Array>())),
            ("f", Arc::new(rows.iter().map(|n| Some(*n as f64 / 8.0)).collect::<Float64Array>())),
            (
                "x",
                Arc::new(
                    rows.iter().map(|n| (n % 11 != 0).then(|| "é".repeat(*n as usize % 9))).collect::<StringArray>(),
                ),
            ),
            (
                "l",
                Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                    rows.iter().map(|n| (n % 3 != 0).then(|| vec![Some(*n as i32), None])),
                )),
            ),
            ("c", Arc::new(rows.iter().map(|n| (n % 4 != 0).then_some(n % 3 == 0)).collect::<BooleanArray>())),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let parts = vec![vec![batch(0..100), batch(100..103)], vec![batch(103..250)], vec![batch(250..250)]];
    MemTable::try_new(batch(0..1).schema(), parts).unwrap()
}

fn context(memory: Option<&MemoryBudget>, batch_size: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(3).with_batch_size(batch_size);
    let mut context = SessionContext::new_with_config(config);
    super::super::bound_functions(&mut context).unwrap();
    if let Some(memory) = memory {
        super::register(&mut context, memory).unwrap();
    }
    context.register_table("t", Arc::new(table())).unwrap();
    context
}

/// The columns' names and the rows of an answer, in order.
async fn answer(context: &SessionContext, query: &str) -> Result<Vec<String>, DataFusionError> {
    let frame = context.sql(query).await?;
    let mut lines = Vec::new();
    let options = FormatOptions::default().with_null("NULL");
    for batch in frame.collect().await? {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        let line = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" | ");
        lines.extend((0..batch.num_rows()).map(line));
    }
    lines.sort();
    let frame = context.sql(query).await?;
    lines.insert(0, frame.schema().field_names().join(" | "));
    Ok(lines)
}

/// The code of the error and its message.
async fn refusal(context: &SessionContext, query: &str) -> (&'static str, SqlError) {
    let error = answer(context, query).await.expect_err(query);
    let DataFusionError::External(source) = error.find_root() else { panic!("{query}: {error}") };
    let error = source.downcast_ref::<SqlError>().unwrap_or_else(|| panic!("{query}: {source}"));
    (error.sqlstate, error.clone())
}

/// Everything that was reserved is given back, once the tasks of the query have seen that it ended.
async fn given_back(memory: &MemoryBudget, query: &str) {
    for _ in 0..1000 {
        if memory.reserved_bytes() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{query} keeps {} bytes", memory.reserved_bytes());
}

/// Each aggregate in all the ways it can be called.
fn calls() -> Vec<String> {
    let mut calls = Vec::new();
    for (function, argument) in [
        ("array_agg", "x"),
        ("array_agg", "n"),
        ("array_agg", "l"),
        ("first_value", "x"),
        ("last_value", "x"),
        ("any_value", "k"),
    ] {
        calls.push(format!("{function}({argument} ORDER BY f)"));
        calls.push(format!("{function}({argument} ORDER BY f DESC) FILTER (WHERE c)"));
        calls.push(format!("{function}({argument} ORDER BY c NULLS FIRST, f)"));
    }
    for call in [
        "array_sort(array_agg(x))",
        "array_sort(array_agg(x) FILTER (WHERE c))",
        "array_length(array_agg(l))",
        "array_agg(DISTINCT n ORDER BY n)",
        "array_agg(DISTINCT n ORDER BY n DESC) FILTER (WHERE c)",
        "array_sort(array_agg(DISTINCT x))",
        "array_agg(n ORDER BY f) FILTER (WHERE n > 1000)",
        "length(string_agg(x, ', '))",
        "length(string_agg(x, NULL) FILTER (WHERE c))",
        "string_agg(x, '-' ORDER BY f)",
        "string_agg(DISTINCT x, '-' ORDER BY x DESC)",
        "string_agg(x, '-' ORDER BY f) FILTER (WHERE n > 1000)",
        "median(n)",
        "median(f) FILTER (WHERE c)",
        "median(DISTINCT n)",
        "percentile_cont(0.3) WITHIN GROUP (ORDER BY f)",
        "percentile_cont(0.3) WITHIN GROUP (ORDER BY f DESC) FILTER (WHERE c)",
        "percentile_cont(0.0) WITHIN GROUP (ORDER BY n)",
        "percentile_cont(f, 0.7)",
        "approx_median(n)",
        "approx_distinct(x)",
        "approx_distinct(n) FILTER (WHERE c)",
        "approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY f)",
        "approx_percentile_cont_with_weight(1, 0.5) WITHIN GROUP (ORDER BY f)",
        "nth_value(x, 3 ORDER BY f)",
        "nth_value(n, -2 ORDER BY f)",
        "nth_value(x, 2 ORDER BY f) FILTER (WHERE c)",
    ] {
        calls.push(call.to_owned());
    }
    calls
}

#[tokio::test]
async fn answers_are_those_of_plain_datafusion() {
    let memory = MemoryBudget::new(64 * MIB);
    let mut queries = Vec::new();
    for call in calls() {
        for rest in ["", "GROUP BY k", "WHERE n < 0", "WHERE n < 0 GROUP BY k", "GROUP BY f"] {
            queries.push(format!("SELECT {call} FROM t {rest}"));
        }
        queries.push(format!("SELECT k, {call}, count(*), max(n) FROM t GROUP BY k ORDER BY k"));
        queries.push(format!(
            "SELECT k, (SELECT {call} FROM t AS s WHERE s.k = o.k + 3) FROM (SELECT DISTINCT k FROM t) AS o"
        ));
    }
    for call in [
        "array_agg(x)",
        "string_agg(x, '+')",
        "median(n)",
        "first_value(x)",
        "last_value(n)",
        "nth_value(x, 2)",
        "first_value(x) IGNORE NULLS",
        "lag(x)",
        "lag(x, 2, 'none')",
        "lag(n) IGNORE NULLS",
        "lead(l)",
        "lead(f, 3, 0.0)",
    ] {
        for frame in [
            "PARTITION BY k ORDER BY f",
            "ORDER BY f ROWS BETWEEN 3 PRECEDING AND CURRENT ROW",
            "PARTITION BY k ORDER BY f ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
            "PARTITION BY k ORDER BY f ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            "PARTITION BY k ORDER BY f ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        ] {
            queries.push(format!("SELECT f, {call} OVER ({frame}) FROM t"));
        }
    }
    queries.push("SELECT DISTINCT ON (k) k, x FROM t ORDER BY k, f DESC".to_owned());
    let mut answered = 0;
    for batch_size in [8192, 16] {
        let (plain, bounded) = (context(None, batch_size), context(Some(&memory), batch_size));
        for query in &queries {
            match (answer(&plain, query).await, answer(&bounded, query).await) {
                (Ok(expected), found) => {
                    assert_eq!(found.unwrap_or_else(|error| panic!("{query}: {error}")), expected, "{query}");
                    answered += 1;
                }
                (Err(expected), found) => {
                    let found = found.expect_err(query).to_string();
                    assert_eq!(found.lines().next(), expected.to_string().lines().next(), "{query}");
                }
            }
        }
    }
    // What plain DataFusion refuses shows nothing.
    assert!(answered > queries.len(), "{answered} of {}", 2 * queries.len());
    assert_eq!(memory.reserved_bytes(), 0);
}

#[tokio::test]
async fn a_value_that_would_be_too_large_is_refused_and_a_smaller_one_is_not() {
    let memory = MemoryBudget::new(512 * MIB);
    let context = context(Some(&memory), 8192);
    let rows = |count: u32| format!("FROM generate_series(1, {count}) AS s (i)");
    for (call, count, group) in [
        ("array_agg(repeat('a', 100000))", 200, ""),
        ("array_agg(repeat('a', 100000))", 600, "GROUP BY i % 3"),
        ("array_agg(repeat('a', 100000) ORDER BY i)", 200, ""),
        ("array_agg(repeat('a', 100000) ORDER BY i)", 600, "GROUP BY i % 3"),
        ("array_agg(DISTINCT repeat('a', 100000 + i))", 200, ""),
        ("array_agg(DISTINCT repeat('a', 100000 + i))", 600, "GROUP BY i % 3"),
        ("array_agg(i)", 1_200_000, ""),
        ("string_agg(repeat('a', 100000), '')", 200, ""),
        ("string_agg(repeat('a', 100000), '')", 600, "GROUP BY i % 3"),
        ("string_agg('', repeat('a', 100000))", 200, ""),
        ("string_agg(repeat('a', 100000), '' ORDER BY i)", 200, ""),
        ("string_agg(DISTINCT repeat('a', 100000 + i), '')", 600, "GROUP BY i % 3"),
        ("array_agg(array_repeat('a', 100000))", 100, ""),
    ] {
        let query = format!("SELECT {call} {} {group}", rows(count));
        let (code, error) = refusal(&context, &query).await;
        assert_eq!(code, "54000", "{query}: {error:?}");
        assert!(error.message.ends_with("_agg would make a value of more than 16777216 bytes"), "{error:?}");
        assert!(error.hint.is_some(), "{error:?}");
        given_back(&memory, &query).await;
        // An eighth of it is well within.
        let query = format!("SELECT {call} {} {group}", rows(count / 8));
        answer(&context, &query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        given_back(&memory, &query).await;
    }
}

#[tokio::test]
async fn what_is_collected_is_refused_when_there_is_no_memory_for_it() {
    // Groups of a megabyte or less; all of them are more than there is.
    let memory = MemoryBudget::new(8 * MIB);
    let context = context(Some(&memory), 8192);
    for (call, group) in [
        ("array_agg(repeat('a', 10000))", "GROUP BY i % 50"),
        ("array_agg(repeat('a', 10000) ORDER BY i)", "GROUP BY i % 50"),
        ("array_agg(DISTINCT repeat('a', 10000 + i))", "GROUP BY i % 50"),
        ("string_agg(repeat('a', 10000), '-')", "GROUP BY i % 50"),
        ("string_agg(repeat('a', 10000), '-' ORDER BY i)", "GROUP BY i % 50"),
        ("string_agg(DISTINCT repeat('a', 10000 + i), '-')", "GROUP BY i % 50"),
        ("first_value(repeat('a', 10000))", "GROUP BY i"),
        ("last_value(repeat('a', 10000) ORDER BY i)", "GROUP BY i"),
        ("nth_value(repeat('a', 10000), -100000 ORDER BY i)", "GROUP BY i % 50"),
    ] {
        let query = format!("SELECT length({call}::text) FROM generate_series(1, 3000) AS s (i) {group}");
        let (code, error) = refusal(&context, &query).await;
        assert_eq!(code, "53200", "{query}: {error:?}");
        assert!(error.message.contains("of memory.budget_bytes are free"), "{error:?}");
        assert!(error.hint.is_some_and(|hint| hint.contains("`memory.budget_bytes`")), "{query}");
        given_back(&memory, &query).await;
    }
    for call in [
        "median(i)",
        "median(DISTINCT i)",
        "percentile_cont(i::double, 0.5)",
        "percentile_cont(DISTINCT i::double, 0.5)",
    ] {
        for group in ["", "GROUP BY i % 3"] {
            let query = format!("SELECT {call} FROM generate_series(1, 3000000) AS s (i) {group}");
            let (code, error) = refusal(&context, &query).await;
            assert_eq!(code, "53200", "{query}: {error:?}");
            given_back(&memory, &query).await;
        }
    }
}

#[tokio::test]
async fn what_is_handed_out_stays_reserved_while_it_is_held() {
    let memory = MemoryBudget::new(256 * MIB);
    let context = context(Some(&memory), 8192);
    for call in
        ["array_agg(repeat('a', 10000))", "string_agg(repeat('a', 10000), '-')", "first_value(repeat('a', 100000))"]
    {
        let query = format!("SELECT {call} FROM generate_series(1, 1000) AS s (i) GROUP BY i % 100");
        let frame = context.sql(&query).await.unwrap();
        let batches: Vec<_> = frame.execute_stream().await.unwrap().collect().await;
        // Ten megabytes.
        assert!(memory.reserved_bytes() >= 9 * MIB, "{query}: {}", memory.reserved_bytes());
        assert!(memory.reserved_bytes() <= 30 * MIB, "{query}: {}", memory.reserved_bytes());
        drop(batches);
        given_back(&memory, &query).await;
    }
}

#[tokio::test]
async fn values_that_a_window_repeats_are_reserved() {
    let memory = MemoryBudget::new(8 * MIB);
    let context = context(Some(&memory), 8192);
    for call in ["first_value(x)", "lag(x, 1, repeat('b', 10000))", "lead(x)", "string_agg(x, '')", "array_agg(x)"] {
        let query = format!(
            "SELECT max(length(y::text)) FROM (SELECT {call} OVER (ORDER BY i) AS y FROM (SELECT i, repeat('a', 10000) AS x \
             FROM generate_series(1, 1000) AS s (i)) AS r) AS q"
        );
        let (code, error) = refusal(&context, &query).await;
        assert_eq!(code, "53200", "{query}: {error:?}");
        given_back(&memory, &query).await;
        let few = query.replace("1000)", "20)");
        answer(&context, &few).await.unwrap_or_else(|error| panic!("{few}: {error}"));
        given_back(&memory, &few).await;
    }
}

#[test]
fn every_name_is_one_that_datafusion_knows() {
    let context = SessionContext::new();
    for name in FUNCTIONS {
        assert!(context.udaf(name).is_ok(), "{name}");
    }
    for name in window::FUNCTIONS {
        assert!(context.udwf(name).is_ok(), "{name}");
    }
}
