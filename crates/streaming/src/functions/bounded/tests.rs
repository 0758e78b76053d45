//! Values that are made, and values that are too large to be made.

use arrow::util::display::array_value_to_string;
use datafusion::{error::DataFusionError, prelude::SessionContext};
use sql::SqlError;

/// The first value of the first row, or the code of the error.
async fn answer(query: &str) -> Result<String, &'static str> {
    let mut context = SessionContext::new();
    super::register(&mut context).unwrap();
    let rows = async { context.sql(query).await?.collect().await }.await;
    match rows {
        Ok(batches) => Ok(array_value_to_string(batches[0].column(0), 0).unwrap()),
        Err(error) => match error.find_root() {
            DataFusionError::External(source) => Err(source.downcast_ref::<SqlError>().unwrap().sqlstate),
            other => panic!("{query}: {other}"),
        },
    }
}

/// Rows of `generate_series`, called `n`.
fn rows(count: u32, query: &str) -> String {
    format!("SELECT {query} FROM (SELECT value AS n FROM generate_series(1, {count})) AS t")
}

#[tokio::test]
async fn what_is_not_too_large_is_what_it_was() {
    let cases = [
        ("SELECT repeat('ab', 3)".to_owned(), "ababab"),
        ("SELECT repeat('ab', -3)".to_owned(), ""),
        ("SELECT repeat(NULL, 3)".to_owned(), ""),
        ("SELECT lpad('a', 3, 'xy')".to_owned(), "xya"),
        ("SELECT rpad('a', 3)".to_owned(), "a  "),
        ("SELECT replace('aXbX', 'X', '--')".to_owned(), "a--b--"),
        ("SELECT regexp_replace('foobar', 'o', 'xx', 'g')".to_owned(), "fxxxxbar"),
        ("SELECT concat('a', NULL, 1)".to_owned(), "a1"),
        ("SELECT concat_ws(',', 'a', 'b')".to_owned(), "a,b"),
        ("SELECT array_to_string(array_repeat('a', 3), '-')".to_owned(), "a-a-a"),
        ("SELECT array_resize(make_array(1), 3, 7)".to_owned(), "[1, 7, 7]"),
        ("SELECT range(2)".to_owned(), "[0, 1]"),
        ("SELECT generate_series(1, 9, 4)".to_owned(), "[1, 5, 9]"),
        ("SELECT array_length(range(DATE '2020-01-01', DATE '2021-01-01', INTERVAL '1 day'))".to_owned(), "366"),
        // What is there counts, not what could be.
        ("SELECT length(replace(repeat('a', 800000), 'x', repeat('b', 100)))".to_owned(), "800000"),
        ("SELECT length(regexp_replace(repeat('a', 800000), '[0-9]{16}', '[card number removed]'))".to_owned(), "800000"),
        ("SELECT length(regexp_replace(repeat('a', 800000), 'X', repeat('b', 100), 'gi'))".to_owned(), "800000"),
        ("SELECT length(lpad('a', 5000000, 'b'))".to_owned(), "5000000"),
        ("SELECT lpad(NULL, 2000000000, 'b')".to_owned(), ""),
        ("SELECT range(3000000, 0)".to_owned(), "[]"),
        ("SELECT range(NULL, TIMESTAMP '2024-01-01', INTERVAL '1 second')".to_owned(), ""),
        ("SELECT array_replace_all(make_array('a', 'b'), 'a', 'c')".to_owned(), "[c, b]"),
        ("SELECT array_length(range(DATE '2020-01-01', DATE '2020-01-09', step)) FROM (SELECT INTERVAL '2 days' AS step)".to_owned(), "4"),
        (rows(5, "sum(length(repeat('a', n)))"), "15"),
        (rows(0, "count(repeat('a', n))"), "0"),
        // Several pieces of one batch.
        (rows(60, "sum(length(repeat('a', 1000000 + n)))"), "60001830"),
    ];
    for (query, expected) in cases {
        assert_eq!(answer(&query).await, Ok(expected.to_owned()), "{query}");
    }
}

#[tokio::test]
async fn what_would_be_too_large_is_refused_before_it_is_made() {
    let queries = [
        "SELECT repeat('a', 9223372036854775807)".to_owned(),
        "SELECT lpad('a', 2147483647, 'b')".to_owned(),
        "SELECT rpad('a', 2147483647, 'b')".to_owned(),
        "SELECT replace(repeat('a', 100000), 'a', repeat('b', 100000))".to_owned(),
        "SELECT replace(repeat('a', 100000), '', repeat('b', 100000))".to_owned(),
        "SELECT regexp_replace(repeat('a', 100000), 'a', repeat('b', 100000), 'g')".to_owned(),
        "SELECT concat(repeat('a', 10000000), repeat('a', 10000000))".to_owned(),
        "SELECT concat_ws(repeat('a', 10000000), 'a', 'b', 'c')".to_owned(),
        "SELECT array_repeat('a', 1000000000)".to_owned(),
        "SELECT array_to_string(array_repeat('a', 100000), repeat('-', 100000))".to_owned(),
        "SELECT array_resize(make_array(1), 1000000000, 7)".to_owned(),
        "SELECT range(1000000000000)".to_owned(),
        "SELECT generate_series(1000000000000, 1, -1)".to_owned(),
        "SELECT range(TIMESTAMP '2000-01-01', TIMESTAMP '2020-01-01', INTERVAL '1 microsecond')".to_owned(),
        // An interval that may not move at all.
        "SELECT range(TIMESTAMP '2026-04-01', TIMESTAMP '2027-01-01', INTERVAL '1 month -30 days')".to_owned(),
        "SELECT generate_series(DATE '2026-04-01', DATE '2026-04-01', INTERVAL '1 day -24 hours')".to_owned(),
        // What is inside counts.
        "SELECT array_to_string(make_array(range(1000000)), repeat('-', 1000000))".to_owned(),
        "SELECT array_repeat(make_array(repeat('a', 10000000)), 130)".to_owned(),
        "SELECT array_repeat(named_struct('a', repeat('a', 10000000)), 130)".to_owned(),
        "SELECT array_repeat(arrow_cast(repeat('a', 10000000), 'LargeBinary'), 130)".to_owned(),
        "SELECT array_resize(make_array(repeat('a', 10)), 1000, repeat('a', 10000000))".to_owned(),
        "SELECT array_replace_all(array_repeat('a', 100000), 'a', repeat('b', 1000000))".to_owned(),
        "SELECT regexp_replace(repeat('a', 1000000), '(a+)', repeat('\\1', 100))".to_owned(),
        rows(10, "repeat('a', n * 100000000)"),
        // Each is small enough, all together are not.
        rows(200, "count(repeat('a', 1000000 + n))"),
    ];
    for query in queries {
        assert_eq!(answer(&query).await, Err("54000"), "{query}");
    }
}
