//! Statements to answers, codes and places.

mod bounds;
mod collecting;
mod exact_numbers;
mod one_code;

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{Int64Array, RecordBatch, StringArray},
    datatypes::DataType,
    util::pretty::pretty_format_batches,
};
use datafusion::{common::ScalarValue, error::DataFusionError};
use futures::TryStreamExt;
use model::Principal;
use sql::{SqlError, Statement};
use streaming::Change;

use super::{Effect, Outcome, Session, SqlSettings};
use crate::fixture::{Fixture, batch, publish};

/// The rows of a statement's result, their values separated by blanks, and the Positions.
async fn rows(session: &Session, text: &str, parameters: &[ScalarValue]) -> Result<(Vec<String>, String), SqlError> {
    match session.query(text, parameters).await? {
        Outcome::Rows { stream, positions, .. } | Outcome::Copy { stream, positions, .. } => {
            let batches: Vec<RecordBatch> =
                stream.try_collect().await.map_err(|error: DataFusionError| session.error(&error))?;
            Ok((lines(&batches), positions.to_string()))
        }
        Outcome::Written { tag, rows, .. } => Ok((vec![format!("{tag} {rows}")], String::new())),
        Outcome::Done { tag, .. } => Ok((vec![tag], String::new())),
    }
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    table.lines().filter(|line| line.starts_with("| ")).skip(1).map(|line| cells(line).join(" ")).collect()
}

async fn check(session: &Session, text: &str, expected: &[&str]) {
    let (rows, _) = rows(session, text, &[]).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(rows, expected, "{text}");
}

async fn error(session: &Session, text: &str) -> SqlError {
    match rows(session, text, &[]).await {
        Err(error) => error,
        Ok(answer) => panic!("{text} gave {answer:?}"),
    }
}

#[tokio::test]
async fn queries_read_views_and_sources_with_their_positions() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let cases: &[(&str, &[&str], &str)] = &[
        ("SELECT count(*), max(flights) FROM hours", &["40000 39999"], "flights/0:100"),
        ("SELECT total FROM totals ORDER BY total DESC LIMIT 1", &["30"], "flights/0:90"),
        ("SELECT count(*) FROM departures", &["0"], "flights/0:120"),
        // Together they reflect what the slowest does.
        ("SELECT count(*) FROM hours h JOIN totals t ON h.carrier = t.carrier", &["20000"], "flights/0:90"),
        ("SELECT flights FROM hours WHERE carrier = 'UA' AND hour = 5", &["22"], "flights/0:100"),
        ("SELECT 1 + 1", &["2"], ""),
        ("TABLE totals ORDER BY total LIMIT 1", &["AA 10"], "flights/0:90"),
        ("VALUES (1, 'a')", &["1 a"], ""),
        ("SHOW VIEWS", &["views"], ""),
        (
            "SELECT relname FROM pg_class WHERE relname IN ('hours', 'departures') ORDER BY 1",
            &["departures", "hours"],
            "",
        ),
        (
            "SELECT column_name, data_type, udt_name, numeric_precision FROM information_schema.columns \
             WHERE table_name = 'hours' AND table_schema = 'public' ORDER BY ordinal_position",
            &["carrier text text ", "hour integer int4 32", "flights bigint int8 64"],
            "",
        ),
        (
            "SELECT data_type FROM information_schema.columns WHERE column_name = '_arrival_time'",
            &["timestamp with time zone"],
            "",
        ),
        ("SELECT pg_size_pretty(10239::bigint), pg_size_pretty(-20480::bigint)", &["10239 bytes -20 kB"], ""),
    ];
    for (text, expected, at) in cases {
        let answer = rows(&session, text, &[]).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(answer, (expected.iter().map(ToString::to_string).collect(), (*at).to_owned()), "{text}");
    }
    check(&session, "SHOW fourfold.positions", &["flights/0:90"]).await;
}

#[tokio::test]
async fn columns_are_named_as_postgresql_does() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let cases: &[(&str, &[&str])] = &[
        ("SELECT count(*), sum(flights) AS n, upper(carrier) FROM hours GROUP BY carrier", &["count", "n", "upper"]),
        ("SELECT 1, hours.flights::text, CASE WHEN true THEN 1 END FROM hours", &["?column?", "flights", "case"]),
        ("SELECT *, 1 FROM totals", &["carrier", "total", "Int64(1)"]),
        // Several columns may have one name.
        ("SELECT max(flights), max(hour) FROM hours", &["max", "max"]),
        ("SELECT total, total FROM totals", &["total", "total"]),
        ("SELECT total, totals.total, total AS total FROM totals ORDER BY total", &["total", "total", "total"]),
        ("SELECT flights, flights FROM hours WHERE carrier = 'AA' AND hour = 1", &["flights", "flights"]),
        ("SELECT count(*), count(*) FROM totals", &["count", "count"]),
        ("SELECT 1, 1", &["?column?", "?column?"]),
        ("SELECT NULL, NULL::TEXT, 1::INT, 1::SMALLINT", &["?column?", "text", "int", "smallint"]),
        ("SELECT carrier AS x, total AS x FROM totals", &["x", "x"]),
        ("SELECT *, total FROM totals", &["carrier", "total", "total"]),
        ("SELECT total, * FROM totals ORDER BY carrier", &["total", "carrier", "total"]),
        ("SELECT 1, 1 UNION ALL SELECT 2, 2", &["?column?", "?column?"]),
        ("SELECT a.total, b.total FROM totals a JOIN totals b USING (carrier)", &["total", "total"]),
        ("SELECT carrier, carrier, count(*) FROM hours GROUP BY 1, 2", &["carrier", "carrier", "count"]),
        ("SELECT flights AS f FROM hours WHERE carrier = 'AA' AND hour = 1", &["f"]),
    ];
    for (text, expected) in cases {
        let Outcome::Rows { schema, stream, .. } = session.query(text, &[]).await.unwrap() else { panic!("{text}") };
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, *expected, "{text}");
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        assert!(
            batches.iter().all(|batch| batch.schema().fields().iter().map(|f| f.name()).eq(expected.iter())),
            "{text}"
        );
    }
}

#[tokio::test]
async fn errors_have_a_code_a_place_and_a_hint() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let cases: &[(&str, &str, Option<usize>, &str)] = &[
        ("SELECT 1 FROM huors", "42P01", Some(15), "perhaps you meant \"hours\""),
        ("SELECT 1 FROM nothing_like_it", "42P01", Some(15), "SHOW VIEWS"),
        ("SELECT flihgts\nFROM hours", "42703", Some(8), "perhaps you meant \"flights\""),
        ("SELECT 1;\nSELECT 'ü', nope FROM hours", "42601", None, "one by one"),
        ("SELECT nosuch(1)", "42883", Some(8), ""),
        ("SELECT * FROM TUMBLE(hours, hour, INTERVAL '1 hour')", "42883", None, "date_bin"),
        ("SELECT * FROM nosuch(hours)", "42883", None, ""),
        ("SELECT carrier COLLATE \"C\" FROM hours", "0A000", None, ""),
        ("SELEC 1", "42601", Some(1), ""),
        ("SELECT carrier, sum(flights) FROM hours GROUP BY hour", "42803", Some(8), ""),
        ("SELECT hours.carrier FROM hours, totals WHERE carrier = 'AA'", "42702", Some(47), ""),
        ("SELECT 1 / 0", "22012", None, ""),
        ("SELECT lpad('a', 2147483647, 'b')", "54000", None, ""),
        ("SELECT max(repeat(carrier, 2000000000)) FROM totals", "54000", None, ""),
        ("SELECT carrier::int FROM totals WHERE carrier = 'AA' OR false", "22P02", None, ""),
        ("INSERT INTO hours VALUES (1)", "42809", None, "write to a table"),
        ("WITH x AS (SELECT 1) DELETE FROM hours", "0A000", None, "INSERT INTO ... SELECT"),
        ("COPY hours FROM STDIN", "0A000", None, "Kafka client"),
        ("CREATE TABLE t (a INT)", "0A000", Some(14), "CREATE SOURCE"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "0A000", None, "CREATE SOURCE"),
        ("COPY (SELECT 1) TO '/etc/passwd'", "0A000", None, "STDOUT"),
        ("SELECT * INTO t FROM hours", "0A000", None, ""),
        ("SELECT * FROM hours FOR UPDATE", "0A000", None, ""),
        ("SET no_such_setting = 1", "42704", None, "SHOW ALL"),
        ("SET statement_timeout = 'soon'", "22023", None, "milliseconds"),
        ("SET fourfold.min_position = 'flights'", "22023", None, "topic/partition:offset"),
        ("SET server_version = '16'", "55P02", None, ""),
        ("FETCH 1 FROM nowhere", "34000", None, "WITH HOLD"),
        ("DECLARE c CURSOR FOR SELECT 1", "25P01", None, "BEGIN"),
        ("SELECT $1x", "42P18", None, ""),
        ("SELECT * FROM hours WHERE hour = $99999999999", "42P18", None, ""),
    ];
    for (text, code, position, hint) in cases {
        let error = match session.query(text, &[]).await {
            Err(error) => error,
            Ok(Outcome::Rows { stream, .. }) => session.error(&stream.try_collect::<Vec<_>>().await.expect_err(text)),
            Ok(other) => panic!("{text} gave {other:?}"),
        };
        assert_eq!(error.sqlstate, *code, "{text}: {error:?}");
        assert_eq!(error.position, *position, "{text}: {error:?}");
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {error:?}");
        let first = error.message.chars().next().unwrap();
        assert!(!first.is_uppercase() || error.message.chars().nth(1).is_some_and(char::is_uppercase), "{error:?}");
    }
}

/// A point read gives what DataFusion gives. The second text of a pair is not recognised as a point read.
#[tokio::test]
async fn a_point_read_answers_as_the_engine_does() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let conditions = [
        "carrier = 'AA' AND hour = 7",
        "hour = 7 AND carrier = 'AA'",
        "(carrier = 'AA') AND (7 = hour)",
        "carrier = 'AA' AND hour = '7'",
        "carrier = 'AA' AND hour = 7.0",
        "carrier = 'AA' AND hour = 7.5",
        "carrier = 'AA' AND hour = 99999999999",
        "carrier = 'AA' AND hour = -1",
        "carrier = 'aa' AND hour = 7",
        "carrier = 'AA' AND hour = NULL",
        "carrier = 'AA' AND hour = 7 AND hour = 7",
        "carrier = 'AA' AND hour = 7 AND flights = 0",
        "carrier = 'AA' OR hour = 7",
        "carrier = 'AA'",
        "carrier = carrier AND hour = 7",
        "NOT carrier = 'AA' AND hour = 7",
        "carrier = 'AA' AND hour = 3 + 4",
    ];
    for condition in conditions {
        for columns in ["*", "flights", "hour, carrier AS c", "h.flights, flights", "count(*)", "DISTINCT carrier"] {
            for limit in ["", " LIMIT 1", " LIMIT 0"] {
                let order = if limit.is_empty() || columns.contains("count") { "" } else { " ORDER BY 1" };
                let read = format!("SELECT {columns} FROM hours h WHERE {condition}{limit}");
                let plain = format!("SELECT {columns} FROM hours h WHERE ({condition}) AND 1 = 1{order}{limit}");
                let (read_rows, plain_rows) = (rows(&session, &read, &[]).await, rows(&session, &plain, &[]).await);
                match (read_rows, plain_rows) {
                    (Ok((mut read_rows, at)), Ok((mut plain_rows, plain_at))) => {
                        assert_eq!(at, plain_at, "{read}");
                        if !limit.is_empty() && !plain_rows.is_empty() {
                            assert_eq!(read_rows.len(), plain_rows.len(), "{read}");
                            continue;
                        }
                        read_rows.sort();
                        plain_rows.sort();
                        assert_eq!(read_rows, plain_rows, "{read}");
                    }
                    (Err(read_error), Err(plain_error)) => {
                        assert_eq!(read_error.sqlstate, plain_error.sqlstate, "{read}");
                    }
                    (read_rows, plain_rows) => panic!("{read}: {read_rows:?} but {plain_rows:?}"),
                }
            }
        }
    }
    // NULL is a key that no equality finds.
    check(&session, "SELECT total FROM totals WHERE carrier = NULL", &[]).await;
    let none = rows(&session, "SELECT total FROM totals WHERE carrier = $1", &[ScalarValue::Utf8(None)]).await.unwrap();
    assert!(none.0.is_empty());
}

#[tokio::test]
async fn a_point_read_is_recognised_where_it_should_be() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let cases = [
        ("SELECT * FROM hours WHERE carrier = $1 AND hour = $2", true),
        ("select flights f from public.hours as h where h.hour = $2 and h.carrier = $1 limit 1", true),
        ("SELECT total FROM totals WHERE carrier = 'AA'", true),
        ("SELECT total FROM totals WHERE carrier = 'AA' ORDER BY 1", false),
        ("SELECT total FROM totals WHERE carrier = $2", false),
        ("SELECT total FROM totals WHERE carrier > 'AA'", false),
        ("SELECT total FROM totals WHERE total = 1", false),
        ("SELECT total FROM totals TABLESAMPLE SYSTEM (10) WHERE carrier = 'AA'", false),
        ("SELECT DISTINCT total FROM totals WHERE carrier = 'AA'", false),
        ("SELECT total FROM totals WHERE carrier = 'AA' GROUP BY total", false),
        ("SELECT total FROM totals, hours WHERE carrier = 'AA'", false),
        ("SELECT total + 1 FROM totals WHERE carrier = 'AA'", false),
        ("SELECT total FROM totals WHERE carrier = 'AA' LIMIT $1", false),
    ];
    for (text, expected) in cases {
        let statement = session.parse(text).unwrap().remove(0);
        // What DataFusion refuses is no point read either.
        let prepared = session.prepare(&statement, &[]).await;
        assert_eq!(prepared.is_ok_and(|prepared| prepared.point_read.is_some()), expected, "{text}");
    }
}

#[tokio::test]
async fn parameters_have_types_and_values() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    use DataType::{Int16, Int32, Int64, Utf8};
    type Case<'a> = (&'a str, &'a [Option<DataType>], &'a [DataType], &'a [ScalarValue], &'a [&'a str]);
    let text = |text: &str| ScalarValue::from(text);
    let cases: &[Case<'_>] = &[
        (
            "SELECT flights FROM hours WHERE carrier = $1 AND hour = $2",
            &[],
            &[Utf8, Int32],
            &[text("AA"), 7_i32.into()],
            &["28"],
        ),
        (
            "SELECT flights FROM hours WHERE hour = $2 AND carrier = $1",
            &[None, Some(Int64)],
            &[Utf8, Int64],
            &[text("AA"), 7_i64.into()],
            &["28"],
        ),
        ("SELECT count(*) FROM hours WHERE hour < $1", &[], &[Int32], &[10_i32.into()], &["40"]),
        ("SELECT count(*) FROM hours WHERE hour < $1", &[Some(Int16)], &[Int16], &[10_i16.into()], &["40"]),
        ("SELECT $1 + $2", &[Some(Int16), Some(Int16)], &[Int16, Int16], &[1_i16.into(), 2_i16.into()], &["3"]),
        ("SELECT $1", &[], &[Utf8], &[text("x")], &["x"]),
        (
            "SELECT carrier FROM totals ORDER BY total LIMIT $1 OFFSET $2",
            &[],
            &[Int64, Int64],
            &[1_i64.into(), 1_i64.into()],
            &["DL"],
        ),
        (
            "SELECT carrier FROM totals WHERE total IN ($1, $2) ORDER BY 1",
            &[],
            &[Int64, Int64],
            &[10_i64.into(), 20_i64.into()],
            &["AA", "DL"],
        ),
    ];
    for (sql, given, types, values, expected) in cases {
        let statement = session.parse(sql).unwrap().remove(0);
        let prepared = session.prepare(&statement, given).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(prepared.parameters(), *types, "{sql}");
        for _ in 0..2 {
            let Outcome::Rows { stream, schema, .. } = session.execute(&prepared, values).await.unwrap() else {
                panic!()
            };
            let described: Vec<_> =
                prepared.columns().unwrap().fields().iter().map(|f| f.data_type().clone()).collect();
            assert!(schema.fields().iter().map(|f| f.data_type()).eq(described.iter()), "{sql}: described as it is");
            assert_eq!(lines(&stream.try_collect::<Vec<_>>().await.unwrap()), *expected, "{sql}");
        }
        let error = session.execute(&prepared, &[]).await.unwrap_err();
        assert_eq!(error.sqlstate, "08P01");
    }
}

#[tokio::test]
async fn a_demanded_position_is_waited_for_on_every_path() {
    let fixture = Fixture::new();
    let session = Arc::new(fixture.sql.session(Principal::anonymous()));
    check(&session, "SET fourfold.min_position_timeout_ms = 50", &["SET"]).await;
    check(&session, "SET fourfold.min_position = 'flights/0:101,other/3:7'", &["SET"]).await;
    let reads = ["SELECT count(*) FROM hours", "SELECT flights FROM hours WHERE carrier = 'AA' AND hour = 1"];
    for read in reads {
        let error = error(&session, read).await;
        assert_eq!(error.sqlstate, "55P03");
        for part in ["hours", "flights/0:101", "flights/0:100"] {
            assert!(error.message.contains(part), "{error:?}");
        }
    }
    // What concerns no view of the query is not waited for; a source that ends later has it already.
    check(&session, "SELECT 1", &["1"]).await;
    check(&session, "SELECT count(*) FROM departures", &["0"]).await;
    check(&session, "SELECT count(*) > 0 FROM pg_class", &["true"]).await;

    check(&session, "SET fourfold.min_position_timeout_ms = '10s'", &["SET"]).await;
    for (read, at) in reads.iter().zip([101, 102]) {
        check(&session, &format!("SET fourfold.min_position = 'flights/0:{at}'"), &["SET"]).await;
        let mut waiting = tokio::spawn({
            let (session, read) = (Arc::clone(&session), read.to_string());
            async move { rows(&session, &read, &[]).await }
        });
        let answered = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(answered.is_err(), "{read} waits");
        let nothing = RecordBatch::new_empty(crate::views::Relation::schema(&*fixture.hours));
        fixture.hours.apply(&Change::of_rows(nothing), &format!("flights/0:{at}").parse().unwrap()).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().1, format!("flights/0:{at}"));
    }
    check(&session, "RESET fourfold.min_position", &["RESET"]).await;
    check(&session, "SHOW fourfold.min_position", &[""]).await;
}

#[tokio::test]
async fn a_transaction_that_asks_for_it_reads_one_snapshot() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let change = |flights: i64| {
        let row = batch(vec![
            ("carrier", Arc::new(StringArray::from(vec!["AA"])) as _),
            ("hour", Arc::new(arrow::array::Int32Array::from(vec![1])) as _),
            ("flights", Arc::new(Int64Array::from(vec![flights])) as _),
        ]);
        fixture.hours.apply(&Change::of_rows(row), &"flights/0:101".parse().unwrap()).unwrap();
    };
    let point = "SELECT flights FROM hours WHERE carrier = 'AA' AND hour = 1";
    let planned = "SELECT flights FROM hours WHERE carrier = 'AA' AND hour = 1 AND true";
    for (begin, pinned) in [
        ("BEGIN", false),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", true),
        ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE", true),
    ] {
        change(1);
        let Outcome::Done { effect, .. } = session.query(begin, &[]).await.unwrap() else { panic!() };
        assert_eq!(effect, Effect::TransactionStarted);
        check(&session, planned, &["1"]).await;
        change(2);
        for read in [point, planned] {
            check(&session, read, &[if pinned { "1" } else { "2" }]).await;
        }
        check(&session, "COMMIT", &["COMMIT"]).await;
        check(&session, point, &["2"]).await;
    }
}

#[tokio::test]
async fn variables_follow_the_transaction() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let steps: &[(&str, &str)] = &[
        ("SHOW statement_timeout", "0"),
        ("SET statement_timeout TO '2min'", "SET"),
        ("SHOW statement_timeout", "2min"),
        ("BEGIN", "BEGIN"),
        ("SET LOCAL statement_timeout = 50000", "SET"),
        ("SET application_name = 'psql'", "SET"),
        ("SHOW statement_timeout", "50000"),
        ("COMMIT", "COMMIT"),
        ("SHOW statement_timeout", "2min"),
        ("SHOW application_name", "psql"),
        ("BEGIN", "BEGIN"),
        ("SET application_name = 'other'", "SET"),
        ("ROLLBACK", "ROLLBACK"),
        ("SHOW application_name", "psql"),
        ("SET application_name = 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'", "SET"),
        ("SHOW application_name", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET"),
        ("BEGIN", "BEGIN"),
        ("SHOW transaction_isolation", "repeatable read"),
        ("END", "COMMIT"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("SHOW statement_timeout", "0"),
        ("SELECT current_setting('statement_timeout')", "0"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("RESET ALL", "RESET"),
        ("SHOW TIME ZONE", "UTC"),
    ];
    for (text, expected) in steps {
        check(&session, text, &[expected]).await;
    }
    let Outcome::Done { notices, effect, .. } = session.query("SET timezone = 'Asia/Tokyo'", &[]).await.unwrap() else {
        panic!()
    };
    assert!(notices[0].contains("UTC"));
    assert_eq!(effect, Effect::Reported { name: "TimeZone", value: "Asia/Tokyo".to_owned() });
}

#[tokio::test]
async fn a_cursor_hands_out_every_row_once() {
    let fixture = Fixture::with_settings(SqlSettings { cursors_max: 2, ..SqlSettings::shipped() });
    let session = fixture.sql.session(Principal::anonymous());
    check(&session, "BEGIN", &["BEGIN"]).await;
    let ordered = "DECLARE c NO SCROLL CURSOR FOR SELECT hour FROM hours WHERE carrier = 'AA' ORDER BY hour";
    check(&session, ordered, &["DECLARE CURSOR"]).await;
    check(&session, "FETCH c", &["0"]).await;
    check(&session, "FETCH FORWARD 2 FROM c", &["1", "2"]).await;
    let (mut fetched, mut seen) = (vec![String::new()], 3);
    while !fetched.is_empty() {
        fetched = rows(&session, "FETCH 3000 FROM c", &[]).await.unwrap().0;
        assert!(fetched.iter().enumerate().all(|(i, hour)| *hour == (seen + i).to_string()));
        seen += fetched.len();
    }
    assert_eq!(seen, 10_000);
    check(
        &session,
        "DECLARE h CURSOR WITH HOLD FOR SELECT hour FROM hours WHERE hour < 2 AND carrier = 'AA' ORDER BY hour",
        &["DECLARE CURSOR"],
    )
    .await;
    assert_eq!(error(&session, "DECLARE h CURSOR FOR SELECT 1").await.sqlstate, "42P03");
    assert_eq!(error(&session, "DECLARE i CURSOR FOR SELECT 1").await.sqlstate, "53400");
    check(&session, "COMMIT", &["COMMIT"]).await;
    assert_eq!(error(&session, "FETCH c").await.sqlstate, "34000");
    check(&session, "FETCH h", &["0"]).await;
    check(&session, "FETCH ALL FROM h", &["1"]).await;
    check(&session, "FETCH ALL FROM h", &[]).await;
    check(&session, "CLOSE h", &["CLOSE CURSOR"]).await;
}

/// A join that would run for hours.
const ENDLESS: &str =
    "SELECT count(*) FROM hours a JOIN hours b ON a.flights + b.flights > 3 JOIN hours c ON b.flights + c.flights > 3";

#[tokio::test]
async fn a_statement_ends_at_its_timeout_and_when_it_is_cancelled() {
    let fixture = Fixture::new();
    let session = Arc::new(fixture.sql.session(Principal::anonymous()));
    // A cancel without a statement concerns none that comes later.
    session.cancel();
    check(&session, "SELECT 1", &["1"]).await;
    check(&session, "SET statement_timeout = 50", &["SET"]).await;
    let timed_out = tokio::time::timeout(Duration::from_secs(20), error(&session, ENDLESS)).await.unwrap();
    assert_eq!((timed_out.sqlstate, timed_out.message.contains("50 ms")), ("57014", true), "{timed_out:?}");
    check(&session, "SET statement_timeout = 0", &["SET"]).await;
    let mut running = std::pin::pin!(error(&session, ENDLESS));
    // A statement that has not begun is not cancelled, so it is asked again.
    let cancelled = async {
        loop {
            match tokio::time::timeout(Duration::from_millis(20), &mut running).await {
                Ok(ended) => return ended,
                Err(_) => session.cancel(),
            }
        }
    };
    let cancelled = tokio::time::timeout(Duration::from_secs(20), cancelled).await.unwrap();
    assert_eq!((cancelled.sqlstate, cancelled.message.contains("user request")), ("57014", true), "{cancelled:?}");
    // What was given up may compute a little longer; nothing but another query has to wait for it.
    check(&session, "SET statement_timeout = 5000", &["SET"]).await;
    check(&session, "SELECT flights FROM hours WHERE carrier = 'AA' AND hour = 1", &["4"]).await;
    check(&session, "SET statement_timeout = 0", &["SET"]).await;
    check(&session, "SELECT 1", &["1"]).await;
    assert_eq!(fixture.metrics.query_failures.get(), 2);
}

#[tokio::test]
async fn definitions_go_to_whoever_defines() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let text = "CREATE MATERIALIZED VIEW v AS SELECT carrier, count(*) FROM departures GROUP BY carrier";
    let Outcome::Done { tag, notices, .. } = session.query(text, &[]).await.unwrap() else { panic!() };
    assert_eq!((tag.as_str(), notices.as_slice()), ("CREATE MATERIALIZED VIEW", &["it is being built".to_owned()][..]));
    check(&session, &format!("EXPLAIN {text}"), &["create", "fold"]).await;
    let defined = fixture.definitions.defined.lock();
    assert!(matches!(defined.as_slice(), [Statement::CreateView(view)] if view.name == "v"), "{defined:?}");
}

#[tokio::test]
async fn a_view_that_changes_its_columns_ends_what_was_prepared_for_the_old_ones() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    for text in ["SELECT * FROM totals WHERE carrier = 'AA'", "SELECT * FROM totals"] {
        let statement = session.parse(text).unwrap().remove(0);
        let prepared = session.prepare(&statement, &[]).await.unwrap();
        assert!(session.execute(&prepared, &[]).await.is_ok());
        let rows = batch(vec![
            ("carrier", Arc::new(StringArray::from(vec!["AA"])) as _),
            ("total", Arc::new(StringArray::from(vec!["ten"])) as _),
        ]);
        publish(&fixture.views, "totals", &rows, &[0], "flights/0:95");
        let error = session.execute(&prepared, &[]).await.unwrap_err();
        assert_eq!((error.sqlstate, error.message.as_str()), ("0A000", "cached plan must not change result type"));
        fixture.views.rollback("totals").unwrap();
    }
}

#[tokio::test]
async fn a_statement_is_answered_or_refused_however_long_and_deep_it_is() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    let chain = |count: i32, operator: &str| {
        let terms: Vec<String> = (0..count).map(|hour| format!("hour = {hour}")).collect();
        format!("SELECT count(*) FROM hours WHERE carrier = 'AA' AND ({})", terms.join(operator))
    };
    check(&session, &chain(999, " OR "), &["999"]).await;
    assert_eq!(error(&session, &chain(20_000, " OR ")).await.sqlstate, "54001");
    for depth in [40, 10_000] {
        let nested = format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
        match rows(&session, &nested, &[]).await {
            Ok((rows, _)) => assert_eq!((rows.as_slice(), depth), (&["1".to_owned()][..], 40)),
            Err(error) => assert_eq!((error.sqlstate, depth), ("54001", 10_000), "{error:?}"),
        }
    }
    assert_eq!(error(&session, &format!("{}SELECT 1", "EXPLAIN ".repeat(40_000))).await.sqlstate, "42601");
    let long = format!("SELECT '{}'", "x".repeat(2 * 1024 * 1024));
    assert_eq!(error(&session, &long).await.sqlstate, "54000");
    let values: Vec<String> = (0..5_000).map(|hour| hour.to_string()).collect();
    let list = format!("SELECT count(*) FROM hours WHERE carrier = 'AA' AND hour IN ({})", values.join(","));
    check(&session, &list, &["5000"]).await;
}

#[tokio::test]
async fn a_position_that_no_view_of_the_query_can_reach_is_refused() {
    let fixture = Fixture::new();
    let session = fixture.sql.session(Principal::anonymous());
    check(&session, "SET fourfold.min_position = 'gates/0:1,events/0:3'", &["SET"]).await;
    for (text, reader) in [
        ("SELECT flights FROM hours WHERE carrier = 'UA' AND hour = 5", "view hours"),
        ("SELECT count(*) FROM hours", "view hours"),
        ("SELECT count(*) FROM hours h JOIN totals t USING (carrier)", "the query over views hours, totals"),
        ("SELECT count(*) FROM hours h JOIN departures d USING (carrier)", "view hours"),
    ] {
        let refused = error(&session, text).await;
        assert_eq!(refused.sqlstate, "22023", "{text}: {refused:?}");
        let expected = format!("{reader} reads flights and cannot wait for a position in events, gates");
        assert_eq!(refused.message, expected, "{text}");
    }
    // A source is read to the end of the log whatever is demanded, and there is nothing to wait for in a constant.
    check(&session, "SELECT count(*) FROM departures", &["0"]).await;
    check(&session, "SELECT 1", &["1"]).await;
    // A position that was gathered from several answers names other topics too.
    check(&session, "SET fourfold.min_position = 'gates/0:1,flights/0:3'", &["SET"]).await;
    check(&session, "SELECT flights FROM hours WHERE carrier = 'UA' AND hour = 5", &["22"]).await;
    check(&session, "SELECT count(*) FROM totals", &["3"]).await;
}
