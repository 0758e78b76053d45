//! SQL.

use serde_json::json;

use super::{Door, HttpSettings, client::ask, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_answers_columns_rows_and_positions() {
    let door = Door::open().await;
    put(&door.view, &[("AA", 7, None), ("UA", 3, Some(0.5))], "flights/0:10");
    let cases = [
        (json!({ "sql": "SELECT carrier, departures FROM board ORDER BY departures" }), json!([["UA", 3], ["AA", 7]])),
        (
            json!({ "sql": "SELECT departures, departures + 1 FROM board WHERE carrier = $1", "params": ["AA"] }),
            json!([[7, 8]]),
        ),
        (json!({ "sql": "SELECT carrier FROM board WHERE departures > $1", "params": [5] }), json!([["AA"]])),
        (
            json!({ "sql": "SELECT sum(departures) AS n FROM board WHERE delay > $1", "params": [null] }),
            json!([[null]]),
        ),
        (
            json!({ "sql": "SELECT carrier FROM board WHERE carrier = $1 AND hour = $2",
            "params": ["UA", "2013-01-01 05:00:00"] }),
            json!([["UA"]]),
        ),
        (json!({ "sql": "SELECT carrier FROM board WHERE departures > 100" }), json!([])),
        (
            json!({ "sql": "SELECT carrier FROM board WHERE departures = ANY($1)", "params": [[3, 4, null]] }),
            json!([["UA"]]),
        ),
        (
            json!({ "sql": "SELECT carrier FROM board WHERE carrier = ANY($1)", "params": [["AA", "DL"]] }),
            json!([["AA"]]),
        ),
        (json!({ "sql": "SELECT carrier FROM board WHERE departures = ANY($1)", "params": [[]] }), json!([])),
        (json!({ "sql": "SELECT carrier FROM board WHERE departures = ANY($1)", "params": [null] }), json!([])),
        (
            json!({ "sql": "SELECT departures FROM board WHERE hour = ANY($1) AND departures < 5",
            "params": [["2013-01-01 05:00:00"]] }),
            json!([[3]]),
        ),
        (
            json!({ "sql": "SELECT $1::numeric(10,2)[] FROM board LIMIT 1", "params": [["1.5", 2]] }),
            json!([[[1.50, 2.00]]]),
        ),
    ];
    for (body, rows) in cases {
        let expected = json!({ "rows": rows, "positions": "flights/0:10" });
        door.check("POST /v1/sql", Some(&body.to_string()), 200, expected).await;
    }
    let typed = json!({ "columns": [{ "name": "n", "type": "bigint" }] });
    door.check("POST /v1/sql", Some(r#"{"sql": "SELECT count(*) AS n FROM board"}"#), 200, typed).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_one_name_come_as_lists_and_not_as_objects() {
    let door = Door::open().await;
    put(&door.view, &[("AA", 7, None)], "flights/0:10");
    let query = r#"{"sql": "SELECT departures, departures, count(*) FROM board GROUP BY departures"}"#;
    let columns = json!([{ "name": "departures" }, { "name": "departures" }, { "name": "count" }]);
    door.check("POST /v1/sql", Some(query), 200, json!({ "columns": columns, "rows": [[7, 7, 1]] })).await;
    let accept = |accepted: &'static str| {
        let headers = [("content-type", "application/json"), ("accept", accepted)];
        let address = door.server.local_addr;
        async move { ask(address, "POST", "/v1/sql", &headers, query.as_bytes()).await }
    };
    assert_eq!(accept("text/csv").await.text(), "departures,departures,count\n7,7,1\n");
    let refused = accept("application/x-ndjson").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("several columns are called \\\"departures\\\""), "{}", refused.text());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_waits_for_the_position_that_it_demands() {
    let door = Door::open().await;
    put(&door.view, &[("AA", 1, None)], "flights/0:10");
    let late = r#"{"sql": "SELECT departures FROM board", "min_position": "flights/0:11", "timeout_ms": 30}"#;
    door.check("POST /v1/sql", Some(late), 504, json!({ "kind": "unavailable", "sqlstate": "55P03" })).await;
    let body = Some(r#"{"sql": "SELECT departures FROM board"}"#);
    let asking = door.ask("POST /v1/sql?min_position=flights/0:11", body);
    let (answer, ()) = tokio::join!(asking, async { put(&door.view, &[("AA", 2, None)], "flights/0:11") });
    assert_eq!(answer.json()["rows"], json!([[2]]));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_answer_a_tag_and_what_only_changes_a_session_is_refused() {
    let door = Door::open().await;
    let source = r#"{"sql": "CREATE SOURCE flights (carrier TEXT) WITH (topic = 'flights', format = 'json')"}"#;
    let done = json!({ "tag": "CREATE SOURCE", "notices": ["source flights reads topic flights"] });
    door.check("POST /v1/sql", Some(source), 200, done).await;
    let view = r#"{"sql": "DROP MATERIALIZED VIEW board"}"#;
    door.check("POST /v1/sql", Some(view), 409, json!({ "kind": "conflict", "sqlstate": "42710" })).await;
    for statement in [
        "SET statement_timeout = '1s'",
        "SET fourfold.min_position = 'flights/0:1'",
        "show  fourfold.positions ;",
        "BEGIN",
        "COPY (SELECT 1) TO STDOUT",
    ] {
        let body = json!({ "sql": statement }).to_string();
        door.check("POST /v1/sql", Some(&body), 501, json!({ "kind": "unsupported" })).await;
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_no_parameter_is_said() {
    let door = Door::open().await;
    let many = vec![1; 65_537];
    let any = "SELECT carrier FROM board WHERE departures = ANY($1)";
    let cases = [
        (any, json!([1, "x"]), "\"x\" is no bigint, which the parameter is"),
        (any, json!([[1]]), "a list as a parameter has one dimension: its items are values and no lists"),
        (any, json!([{}]), "a parameter of type bigint is a list or an object, not one value"),
        (any, json!(1), "1 is no bigint[], which the parameter is"),
        (any, json!(many), "a list of 65537 items is over the limit of 65536 for a parameter"),
        (
            "SELECT carrier FROM board WHERE departures = $1",
            json!([1]),
            "a parameter of type bigint is a list or an object, not one value",
        ),
    ];
    for (sql, parameter, detail) in cases {
        let body = json!({ "sql": sql, "params": [parameter] }).to_string();
        door.check("POST /v1/sql", Some(&body), 400, json!({ "kind": "invalid", "detail": detail, "parameter": 1 }))
            .await;
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_come_as_texts_in_whatever_holds_them() {
    let door = Door::open().await;
    let cases = [
        ("1::bigint", json!("1")),
        ("1::int", json!(1)),
        ("'12345678901234567890.123'::numeric(38,3)", json!("12345678901234567890.123")),
        ("'NaN'::double precision", json!("NaN")),
        ("'Infinity'::double precision", json!("Infinity")),
        ("'-Infinity'::real", json!("-Infinity")),
        ("1e300::double precision", json!("1e300")),
        ("0.1::real", json!("0.1")),
        ("NULL::bigint", json!(null)),
        ("make_array(9007199254740993, NULL)", json!(["9007199254740993", null])),
        ("make_array(make_array(1::bigint))", json!([["1"]])),
        ("map(['k'], [3::bigint])", json!({ "k": "3" })),
        ("make_array(named_struct('a', 2::bigint, 'b', true))", json!([{ "a": "2", "b": true }])),
    ];
    for (value, expected) in cases {
        let sql = format!("SELECT {value} AS v");
        let in_body = json!({ "sql": sql, "numbers": "text" }).to_string();
        // Where a row is a list, a struct is one too.
        let listed = if value.contains("named_struct") { json!([["2", true]]) } else { expected.clone() };
        door.check("POST /v1/sql", Some(&in_body), 200, json!({ "rows": [[listed]] })).await;
        let body = json!({ "sql": sql }).to_string();
        let headers = [("content-type", "application/json"), ("accept", "application/x-ndjson")];
        let lines = ask(door.server.local_addr, "POST", "/v1/sql?numbers=text", &headers, body.as_bytes()).await;
        assert_eq!(lines.json(), json!({ "v": expected }), "{value}");
    }
    let nothing = r#"{"sql": "SELECT count(*) FROM board", "numbers": "text"}"#;
    door.check("POST /v1/sql", Some(nothing), 200, json!({ "rows": [["0"]] })).await;
    let wrong = r#"{"sql": "SELECT 1", "numbers": "big"}"#;
    door.check("POST /v1/sql", Some(wrong), 400, json!({ "kind": "invalid" })).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_refuses_is_the_callers_error() {
    let door = Door::open().await;
    for wrong in ["chr(-1)", "ntile(0) OVER ()", "get_field(1, 'a')", "date_trunc('x', now())"] {
        let body = json!({ "sql": format!("SELECT {wrong}") }).to_string();
        let answer = door.ask("POST /v1/sql", Some(&body)).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_executed_is_said_with_code_and_place() {
    let door = Door::open().await;
    let cases = [
        (json!({ "sql": "SELEC 1" }), 400, json!({ "kind": "invalid", "sqlstate": "42601", "position": 1 })),
        (json!({ "sql": "SELECT * FROM nowhere" }), 404, json!({ "kind": "not_found", "sqlstate": "42P01" })),
        (json!({ "sql": "SELECT carier FROM board" }), 400, json!({ "sqlstate": "42703" })),
        (json!({ "sql": "SELECT 1; SELECT 2" }), 400, json!({ "detail": "a request takes exactly one statement" })),
        (json!({ "sql": "" }), 400, json!({ "detail": "a request takes exactly one statement" })),
        (
            json!({ "sql": "SELECT $1::BIGINT", "params": [] }),
            400,
            json!({ "detail": "the statement has 1 parameters, and params has 0" }),
        ),
        (
            json!({ "sql": "SELECT carrier FROM board WHERE departures = $1", "params": ["many"] }),
            400,
            json!({ "detail": "\"many\" is no bigint, which the parameter is", "parameter": 1 }),
        ),
        (json!({ "sql": "SELECT 1 / (departures - departures) FROM board" }), 400, json!({ "sqlstate": "22012" })),
        (json!({ "query": "SELECT 1" }), 400, json!({ "kind": "invalid" })),
    ];
    put(&door.view, &[("AA", 7, None)], "flights/0:10");
    for (body, status, problem) in cases {
        door.check("POST /v1/sql", Some(&body.to_string()), status, problem).await;
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_csv_leaves_out_is_in_a_header_or_the_connection_is_broken_off() {
    let door = Door::open_with(HttpSettings { port: 0, answer_bytes_max: 2_000, ..HttpSettings::shipped() }).await;
    let to = door.server.local_addr;
    door.ask("POST /v1/topics", Some(r#"{"name": "gates"}"#)).await;
    let source = r#"{"sql": "CREATE SOURCE gates (gate TEXT, seats INT)"}"#;
    door.check("POST /v1/sql", Some(source), 200, json!({ "tag": "CREATE SOURCE" })).await;
    let records = |seats: &serde_json::Value, count: usize| {
        let record = json!({ "value": { "gate": "A1", "seats": seats } });
        json!({ "records": vec![record; count] }).to_string()
    };
    let append = "POST /v1/topics/gates/records";
    let headers = [("content-type", "application/json"), ("accept", "text/csv")];
    let ask_csv = async |condition: &str| {
        let body = json!({ "sql": format!("SELECT gate, seats FROM gates {condition}") }).to_string();
        ask(to, "POST", "/v1/sql", &headers, body.as_bytes()).await
    };
    door.ask(append, Some(&records(&json!(7), 2))).await;
    let all = ask_csv("").await;
    assert_eq!((all.text().as_str(), all.whole), ("gate,seats\nA1,7\nA1,7\n", true));
    assert_eq!(all.header("fourfold-rejected"), Some(r#"{"gates":0}"#));
    door.ask(append, Some(&records(&json!("many"), 3))).await;
    let some = ask_csv("").await;
    assert_eq!((some.text().as_str(), some.whole), ("gate,seats\nA1,7\nA1,7\n", true));
    assert_eq!(some.header("fourfold-rejected"), Some(r#"{"gates":3}"#));
    assert_eq!(ask_csv("WHERE seats = 8").await.text(), "gate,seats\n");

    // More than is held until the end is known. It does not end as if it were whole; what leaves out nothing does.
    door.ask(append, Some(&records(&json!(8), 1_000))).await;
    let long = ask_csv("").await;
    assert_eq!((long.status, long.header("fourfold-rejected"), long.whole), (200, None, false));
    assert_eq!(long.text().lines().count(), 1_003);
    let query = r#"{"sql": "SELECT n FROM generate_series(1, 1000) AS t(n)"}"#;
    let long = ask(to, "POST", "/v1/sql", &headers, query.as_bytes()).await;
    assert_eq!((long.status, long.header("fourfold-rejected"), long.whole), (200, None, true));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_csv_and_ndjson() {
    let door = Door::open().await;
    put(&door.view, &[("A,A", 7, None), ("UA", 3, Some(0.5))], "flights/0:10");
    let to = door.server.local_addr;
    let query = |sql: &str| json!({ "sql": sql }).to_string();
    let headers = |accept| [("content-type", "application/json"), ("accept", accept)];
    let body = query("SELECT carrier, departures, delay FROM board ORDER BY carrier");
    let csv = ask(to, "POST", "/v1/sql", &headers("text/csv"), body.as_bytes()).await;
    assert_eq!((csv.text().as_str(), csv.whole), ("carrier,departures,delay\n\"A,A\",7,\nUA,3,0.5\n", true));
    assert_eq!(csv.positions(), "flights/0:10");
    let lines = ask(to, "POST", "/v1/sql", &headers("application/x-ndjson"), body.as_bytes()).await;
    let expected =
        "{\"carrier\":\"A,A\",\"departures\":7,\"delay\":null}\n{\"carrier\":\"UA\",\"departures\":3,\"delay\":0.5}\n";
    assert_eq!((lines.text().as_str(), lines.whole), (expected, true));
    let nothing = query("SELECT carrier FROM board WHERE departures > 100");
    let csv = ask(to, "POST", "/v1/sql", &headers("text/csv"), nothing.as_bytes()).await;
    assert_eq!((csv.status, csv.text().as_str()), (200, "carrier\n"));
    let view = ask(to, "GET", "/v1/views/board?limit=1", &[("accept", "text/csv")], b"").await;
    assert_eq!(view.text(), "carrier,hour,departures,delay\n\"A,A\",2013-01-01T05:00:00,7,\n");
    let nested = query("SELECT array_agg(departures) AS all FROM board");
    let csv = ask(to, "POST", "/v1/sql", &headers("text/csv"), nested.as_bytes()).await;
    assert_eq!(csv.status, 501, "{}", csv.text());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_has_no_text_is_refused_and_not_written_as_an_error() {
    let door = Door::open().await;
    let time = |number: i64, to: &str| json!({ "sql": format!("SELECT {to} AS t") .replace('#', &number.to_string()) });
    let timestamp = "arrow_cast(#, 'Timestamp(Microsecond, None)')";
    let cases = [
        (timestamp.to_owned(), 0, Some(json!("1970-01-01T00:00:00"))),
        (timestamp.to_owned(), 253_402_300_800_000_000, Some(json!("+10000-01-01T00:00:00"))),
        (timestamp.to_owned(), i64::MAX, None),
        (timestamp.to_owned(), i64::MIN + 1, None),
        (format!("make_array({timestamp})"), i64::MAX, None),
        (format!("named_struct('a', {timestamp})"), i64::MAX, None),
        ("arrow_cast(arrow_cast(#, 'Int32'), 'Date32')".to_owned(), 0, Some(json!("1970-01-01"))),
        ("arrow_cast(arrow_cast(#, 'Int32'), 'Date32')".to_owned(), i64::from(i32::MAX), None),
        ("arrow_cast(#, 'Time64(Microsecond)')".to_owned(), 1_000_000, Some(json!("00:00:01"))),
        ("arrow_cast(#, 'Time64(Microsecond)')".to_owned(), 86_400_000_000, None),
        ("arrow_cast(#, 'Time64(Microsecond)')".to_owned(), -1, None),
        (format!("map(['a'], [{timestamp}])"), i64::MAX, None),
    ];
    for (sql, number, expected) in cases {
        let body = time(number, &sql).to_string();
        let (status, answer) = match expected {
            Some(expected) => (200, json!({ "rows": [[expected]] })),
            None => (501, json!({ "kind": "unsupported" })),
        };
        door.check("POST /v1/sql", Some(&body), status, answer).await;
    }
    let body = time(i64::MAX, timestamp).to_string();
    let headers = [("content-type", "application/json"), ("accept", "application/x-ndjson")];
    let lines = ask(door.server.local_addr, "POST", "/v1/sql", &headers, body.as_bytes()).await;
    assert!(!lines.whole && lines.text().starts_with("{\"fourfold_problem\""), "{}", lines.text());
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_the_limit_is_refused_or_broken_off_but_never_cut() {
    let settings = HttpSettings { port: 0, answer_rows_max: 10, stream_bytes_max: 100_000, ..HttpSettings::shipped() };
    let door = Door::open_with(settings).await;
    let to = door.server.local_addr;
    let query =
        |rows: usize| json!({ "sql": format!("SELECT value AS n FROM generate_series(1, {rows})") }).to_string();
    door.check("POST /v1/sql", Some(&query(10)), 200, json!({})).await;
    let hint = "ask for fewer rows, or accept application/x-ndjson or text/csv, which are streamed";
    door.check("POST /v1/sql", Some(&query(11)), 400, json!({ "kind": "invalid", "hint": hint })).await;
    for accept in ["application/x-ndjson", "text/csv"] {
        let headers = [("content-type", "application/json"), ("accept", accept)];
        let small = ask(to, "POST", "/v1/sql", &headers, query(1000).as_bytes()).await;
        assert_eq!((small.status, small.whole), (200, true), "{accept}");
        let large = ask(to, "POST", "/v1/sql", &headers, query(100_000).as_bytes()).await;
        assert_eq!((large.status, large.whole), (200, false), "{accept}");
        let text = large.text();
        let last = text.lines().last().unwrap();
        assert_eq!(last.contains("fourfold_problem"), accept == "application/x-ndjson", "{last}");
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_over_the_limit_of_bytes_is_refused() {
    let settings = HttpSettings { port: 0, answer_bytes_max: 1000, ..HttpSettings::shipped() };
    let door = Door::open_with(settings).await;
    for (bytes, status) in [(900, 200), (1000, 400)] {
        let body = json!({ "sql": format!("SELECT repeat('x', {bytes}) AS x") }).to_string();
        assert_eq!(door.ask("POST /v1/sql", Some(&body)).await.status, status);
    }
    door.close().await;
}
