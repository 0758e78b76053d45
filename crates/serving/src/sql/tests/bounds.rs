//! Statements that would take all threads, all memory, or all time; and times as PostgreSQL has them.

use std::{sync::Arc, time::Duration};

use arrow::datatypes::DataType;
use futures::StreamExt as _;
use model::{MemoryBudget, Metrics, Principal};

use sql::SqlError;

use super::{check, error, rows};
use crate::{
    fixture::Fixture,
    sql::{Outcome, SqlService, SqlSettings, engine::Lane},
};

#[tokio::test]
async fn what_costs_too_much_is_refused_and_keeps_nobody_waiting() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let doubled = (0..20)
        .fold("SELECT repeat('a', 1000) AS x".to_owned(), |inner, _| format!("SELECT x || x AS x FROM ({inner}) AS t"));
    let long_list = format!("SELECT 1{}", ", 1".repeat(20_000));
    let many_large: Vec<String> = (0..100).map(|n| format!("repeat('a', {})", 16_000_000 - n)).collect();
    let cases = [
        ("SELECT levenshtein(repeat(chr(97),1000000),repeat(chr(98),1000000))".to_owned(), "54000"),
        ("SELECT length(btrim(repeat('a', 10000000), repeat('b', 10000000)))".to_owned(), "54000"),
        ("SELECT repeat('a', 16000000) ~ '(a{1,1000}){1,1000}b'".to_owned(), "54000"),
        ("SELECT levenshtein(x, x) FROM (VALUES (repeat('a', 1000000))) AS t(x)".to_owned(), "54000"),
        ("VALUES (levenshtein(repeat('a', 1000000), repeat('b', 1000000)))".to_owned(), "54000"),
        (format!("SELECT length(x) FROM ({doubled}) AS t"), "54000"),
        ("SELECT length(concat_ws('', repeat('a', 16000000), repeat('b', 16000000)))".to_owned(), "54000"),
        (format!("SELECT length(concat_ws('', {}))", many_large.join(", ")), "54000"),
        ("SELECT array_length(array_concat(range(1500000), range(1500000)))".to_owned(), "54000"),
        ("SELECT array_length(string_to_array(repeat('a,', 4000000), ','))".to_owned(), "54000"),
        (long_list, "54001"),
    ];
    for (text, code) in cases {
        let refused = tokio::time::timeout(Duration::from_secs(30), error(&session, &text)).await;
        let refused = refused.unwrap_or_else(|_| panic!("not refused in time: {}", &text[..text.len().min(80)]));
        assert_eq!(refused.sqlstate, code, "{}: {refused:?}", &text[..text.len().min(80)]);
        check(&session, "SELECT 1", &["1"]).await;
    }
}

/// A join over nothing but rows holds how many there are, and not a batch for some of them each.
#[tokio::test]
async fn rows_of_no_columns_are_held_as_their_count() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    for (joined, expected) in [
        ("hours AS a, (SELECT 1 FROM hours LIMIT 40) AS b", "1600000"),
        ("hours AS a, (SELECT 1 FROM hours WHERE carrier = '') AS b, hours AS c", "0"),
        ("(SELECT 1 FROM hours LIMIT 30) AS a CROSS JOIN hours AS b CROSS JOIN (VALUES (1), (2)) AS c", "2400000"),
        ("(SELECT 1 FROM hours LIMIT 30) AS a LEFT JOIN (SELECT 1 FROM hours WHERE carrier = '') AS b ON true", "30"),
    ] {
        let query = format!("SELECT count(*) FROM {joined}");
        check(&session, &query, &[expected]).await;
        let (plan, _) = rows(&session, &format!("EXPLAIN {query}"), &[]).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains("Counted"), "{plan}");
    }
}

#[tokio::test]
async fn constants_are_what_they_are_however_they_are_computed() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    for (text, expected) in [
        ("SELECT length(repeat('a', 1000000))", "1000000"),
        ("SELECT levenshtein(repeat('a', 5000), repeat('b', 5000))", "5000"),
        ("SELECT length(repeat('ab', 50000) || 'c')", "100001"),
        ("SELECT 'a' || NULL IS NULL", "true"),
        ("SELECT 'a' || 1 || 'b'", "a1b"),
        ("SELECT count(*) FROM hours WHERE carrier ~ '^A' AND carrier !~ 'x' AND carrier ~* 'a'", "10000"),
        ("SELECT length(x) FROM (VALUES (repeat('a', 100000))) AS t(x)", "100000"),
    ] {
        check(&session, text, &[expected]).await;
    }
}

#[tokio::test]
async fn memory_that_is_not_there_is_refused_with_the_numbers_and_the_setting() {
    let fixture = Fixture::new();
    let (views, definitions) = (Arc::clone(&fixture.views), Arc::clone(&fixture.definitions) as _);
    let memory = MemoryBudget::new(64 << 10);
    let sql = SqlService::with_memory(memory.clone(), views, definitions, SqlSettings::shipped(), Metrics::default());
    let session = sql.unwrap().session(Principal::anonymous());
    let text = "SELECT count(*) FROM hours a JOIN hours b ON a.flights = b.flights";
    let refused = error(&session, text).await;
    assert_eq!(refused.sqlstate, "53200", "{refused:?}");
    assert!(refused.hint.as_deref().is_some_and(|hint| hint.contains("`memory.budget_bytes`")), "{refused:?}");
    assert!(refused.message.contains(" of the 65536 bytes of memory.budget_bytes are free"), "{refused:?}");
}

#[tokio::test]
async fn times_are_postgresqls() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    for (text, expected) in [
        ("SELECT to_char(TIMESTAMP '2024-01-05 03:04:05', 'YYYY-MM')", "2024-01"),
        ("SELECT to_char(1485, 'FM9,999')", "1,485"),
        ("SELECT to_char(DATE '2024-01-05', 'FMDay DDth')", "Friday 05th"),
        ("SELECT to_timestamp('2024-01-05 00:00:00', 'YYYY-MM-DD HH24:MI:SS') = TIMESTAMPTZ '2024-01-05'", "true"),
        ("SELECT to_date('05 Jan 2024', 'DD Mon YYYY')", "2024-01-05"),
        ("SELECT (TIMESTAMPTZ '2024-03-10 12:00:00+00' AT TIME ZONE 'America/New_York')::text", "2024-03-10T08:00:00"),
        (
            "SELECT TIMESTAMP '2024-03-10 08:00:00' AT TIME ZONE 'America/New_York' = TIMESTAMPTZ '2024-03-10 12:00:00+00'",
            "true",
        ),
        ("SELECT to_timestamp(1.5) = TIMESTAMPTZ '1970-01-01 00:00:01.5'", "true"),
    ] {
        check(&session, text, &[expected]).await;
    }
    for text in
        ["now()", "current_timestamp", "TIMESTAMPTZ '2024-01-01'", "'2024-01-01'::timestamptz", "to_timestamp(0)"]
    {
        let statement = session.parse(&format!("SELECT {text}")).unwrap().remove(0);
        let prepared = session.prepare(&statement, &[]).await.unwrap();
        let column = prepared.columns().unwrap().field(0).data_type().clone();
        assert!(matches!(column, DataType::Timestamp(_, Some(_))), "{text} is {column}");
    }
    for (text, code) in [
        ("SELECT * FROM hours TABLESAMPLE BERNOULLI (10)", "0A000"),
        ("SELECT to_char(TIMESTAMP '2024-01-05', 'TMMonth')", "0A000"),
        ("SELECT now() AT TIME ZONE 'Middle/Earth'", "22023"),
        ("SELECT to_date('2024-13-05', 'YYYY-MM-DD')", "22008"),
    ] {
        assert_eq!(rows(&session, text, &[]).await.unwrap_err().sqlstate, code, "{text}");
    }
}

#[tokio::test]
async fn what_a_user_did_wrong_is_no_failure_of_the_server() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let cases = [
        ("SELECT chr(-1)", "22023"),
        ("SELECT chr(flights::bigint - 100000000) FROM hours", "22023"),
        ("SELECT ntile(0) OVER () FROM totals", "22023"),
        ("SELECT date_trunc('x', now())", "22023"),
        ("SELECT abs((-9223372036854775808)::bigint)", "22003"),
        ("SELECT factorial(-1)", "22023"),
        ("SELECT factorial(100)", "22003"),
        ("SELECT lcm(9223372036854775807, 9223372036854775806)", "22003"),
        ("SELECT gcd((-9223372036854775808)::bigint, 0)", "22003"),
        ("SELECT make_date(2147483647, 1, 1)", "22008"),
        ("SELECT array_repeat(array_repeat(array_repeat(1, 10000), 10000), 10000)", "54000"),
    ];
    let mut others = Vec::new();
    for (text, code) in cases {
        let refused = error(&session, text).await;
        if refused.sqlstate != code {
            others.push(format!("{text}: {code} and not {refused:?}"));
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

#[tokio::test]
async fn a_large_constant_is_not_written_for_more_rows_than_there_is_memory() {
    let fixture = Fixture::new();
    let (views, definitions) = (Arc::clone(&fixture.views), Arc::clone(&fixture.definitions) as _);
    let memory = MemoryBudget::new(64 << 20);
    let sql = SqlService::with_memory(memory, views, definitions, SqlSettings::shipped(), Metrics::default());
    let session = sql.unwrap().session(Principal::anonymous());
    // All rows at once would be 8 GB.
    let (series, text) = ("generate_series(1, 500) AS s (i)", "repeat('a', 16000000)");
    check(
        &session,
        &format!("SELECT count(*) FROM (SELECT {text} AS x, i FROM {series}) AS t WHERE length(x) > i"),
        &["500"],
    )
    .await;
    let Outcome::Rows { mut stream, .. } = session.query(&format!("SELECT {text} FROM {series}"), &[]).await.unwrap()
    else {
        panic!("no rows");
    };
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first.num_rows(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_short_waits_for_no_statement_that_is_long_to_plan() {
    const LONG: usize = 60;
    let fixture = Fixture::new();
    let (begins, mut begun) = tokio::sync::mpsc::channel(LONG);
    let mut kept = Vec::new();
    for _ in 0..LONG {
        let (service, begins) = (Arc::clone(&fixture.sql), begins.clone());
        let (release, until) = std::sync::mpsc::sync_channel::<()>(1);
        // Keeps its thread, as a plan of hundreds of tables does.
        let planning = async move {
            begins.send(()).await.unwrap();
            let _ = until.recv();
            Ok::<_, SqlError>(())
        };
        let task = tokio::spawn(async move { service.engine.run(Lane::Long, planning).await });
        kept.push((release, task));
    }
    // The first threads are kept now, and so will be those that come after them.
    for _ in 0..2 {
        begun.recv().await.unwrap();
    }
    let session = fixture.sql.session(Principal::anonymous());
    for (text, expected) in [
        ("SELECT flights FROM hours WHERE carrier = 'UA' AND hour = 5", "22"),
        ("SET application_name = 'short'", "SET"),
        ("SHOW application_name", "short"),
        ("SELECT 1", "1"),
        ("SHOW VIEWS", "views"),
    ] {
        let started = tokio::time::Instant::now();
        check(&session, text, &[expected]).await;
        let waited = started.elapsed();
        assert!(waited < Duration::from_millis(200), "{text} waited {waited:?}");
    }
    drop(kept);
}
