//! Views without SQL.

use std::sync::Arc;

use serde_json::json;

use super::{Door, client::ask, put, put_names};
use crate::views::{Building, Relation as _, View};

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_objects_with_positions() {
    let door = Door::open().await;
    put(&door.view, &[("UA", 3, Some(1.5)), ("AA", 7, None)], "flights/0:10");
    let columns = json!([{ "name": "carrier", "type": "text" }, { "name": "hour", "type": "timestamp" },
        { "name": "departures", "type": "bigint" }, { "name": "delay", "type": "double precision" }]);
    let list = json!({ "views": [{ "name": "board", "columns": columns, "key": ["carrier", "hour"],
        "topics": ["flights"], "row_count": 2 }] });
    door.check("GET /v1/views", None, 200, list).await;
    let aa = json!({ "carrier": "AA", "hour": "2013-01-01T05:00:00", "departures": 7, "delay": null });
    let ua = json!({ "carrier": "UA", "hour": "2013-01-01T05:00:00", "departures": 3, "delay": 1.5 });
    let all = json!({ "view": "board", "row_count": 2, "rows": [aa, ua], "positions": "flights/0:10" });
    door.check("GET /v1/views/board", None, 200, all).await;
    door.check("GET /v1/views/board?limit=1", None, 200, json!({ "row_count": 2, "rows": [aa] })).await;
    door.check("GET /v1/views/none", None, 404, json!({ "kind": "not_found" })).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_found_by_the_segments_of_its_key() {
    let door = Door::open().await;
    put(&door.view, &[("A/A", 7, None), ("UA", 3, None)], "flights/0:10");
    let row = json!({ "view": "board", "row": { "carrier": "A/A", "departures": 7 }, "positions": "flights/0:10" });
    door.check("GET /v1/views/board/A%2FA/2013-01-01T05:00:00", None, 200, row.clone()).await;
    door.check("GET /v1/views/board/A%2fA/2013-01-01%2005:00:00", None, 200, row).await;
    let absent = json!({ "kind": "not_found", "positions": "flights/0:10" });
    door.check("GET /v1/views/board/DL/2013-01-01T05:00:00", None, 404, absent).await;
    let hint = "write /v1/views/board/{carrier}/{hour}";
    let parts = json!({ "detail": "the key of view board has 2 parts, not 1", "hint": hint });
    door.check("GET /v1/views/board/UA", None, 400, parts).await;
    let typed = json!({ "detail": "\"five\" is no timestamp, which column hour of the key is" });
    door.check("GET /v1/views/board/UA/five", None, 400, typed).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_the_empty_text() {
    let door = Door::open().await;
    put(&door.view, &[("", 7, None)], "flights/0:10");
    put_names(&door);
    for (path, name, length) in [("", "", 0), ("AA", "AA", 2), ("AA%2F", "AA/", 3), ("%2FAA", "/AA", 3)] {
        let row = json!({ "view": "names", "row": { "name": name, "length": length }, "positions": "flights/0:10" });
        door.check(&format!("GET /v1/views/names/{path}"), None, 200, row).await;
    }
    // As the first of several columns, and as the last.
    let row = json!({ "row": { "carrier": "", "departures": 7 } });
    door.check("GET /v1/views/board//2013-01-01T05:00:00", None, 200, row).await;
    let typed = json!({ "detail": "\"\" is no timestamp, which column hour of the key is" });
    door.check("GET /v1/views/board/AA/", None, 400, typed).await;
    let parts = json!({ "detail": "the key of view board has 2 parts, not 1" });
    door.check("GET /v1/views/board/", None, 400, parts).await;
    door.check("GET /v1/views/none/", None, 404, json!({ "kind": "not_found" })).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_a_view_waits_until_it_has_folded_the_write() {
    let door = Door::open().await;
    put(&door.view, &[("AA", 1, None)], "flights/0:10");
    let path = "GET /v1/views/board/AA/2013-01-01T05:00:00?min_position=flights/0:11";
    door.check(&format!("{path}&timeout_ms=30"), None, 504, json!({ "kind": "unavailable" })).await;
    let (answer, ()) =
        tokio::join!(door.ask(path, None), async { put(&door.view, &[("AA", 2, None)], "flights/0:11") });
    assert_eq!(answer.json()["row"]["departures"], 2);
    assert_eq!(answer.positions(), "flights/0:11");
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demand_that_concerns_no_topic_of_the_view_is_refused() {
    let door = Door::open().await;
    put(&door.view, &[("AA", 1, None)], "flights/0:10");
    let refused = json!({ "kind": "invalid",
        "detail": "view board reads flights and cannot wait for a position in events, gates" });
    for path in ["GET /v1/views/board", "GET /v1/views/board/AA/2013-01-01T05:00:00"] {
        door.check(&format!("{path}?min_position=gates/0:1,events/0:2"), None, 400, refused.clone()).await;
        // What was gathered from several answers.
        door.check(&format!("{path}?min_position=flights/0:10,events/0:2"), None, 200, json!({})).await;
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demand_for_a_partition_that_the_topic_does_not_have_is_refused_at_once() {
    let door = Door::open().await;
    put(&door.view, &[("AA", 1, None)], "flights/0:10");
    door.view.frontier().note_partitions("flights".parse().unwrap(), 2);
    let refused = json!({ "kind": "invalid",
        "detail": "view board reads flights, which has 2 partitions, and cannot wait for a position in flights/2",
        "hint": "partitions are counted from 0: demand positions in flights/0 to flights/1" });
    let demand = "min_position=flights/0:10,flights/2:1&timeout_ms=60000";
    for path in ["GET /v1/views/board", "GET /v1/views/board/AA/2013-01-01T05:00:00"] {
        door.check(&format!("{path}?{demand}"), None, 400, refused.clone()).await;
    }
    let key = "WHERE carrier = 'AA' AND hour = TIMESTAMP '2013-01-01 05:00:00'";
    for condition in ["", key] {
        let body = json!({ "sql": format!("SELECT departures FROM board {condition}") }).to_string();
        let answer = door.check(&format!("POST /v1/sql?{demand}"), Some(&body), 400, refused.clone()).await;
        assert_eq!(answer.json()["sqlstate"], "22023");
    }
    // Not there yet is another matter.
    door.check("GET /v1/views/board?min_position=flights/1:1&timeout_ms=1", None, 504, json!({})).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_has_failed_is_not_said_to_be_late() {
    let door = Door::open().await;
    put(&door.view, &[("AA", 1, None)], "flights/0:10");
    door.view.frontier().fail("the disk is gone".to_owned());
    let failed = json!({ "kind": "unavailable", "hint": "REFRESH MATERIALIZED VIEW builds it anew",
        "detail": "view board has failed and will not reach flights/0:11: the disk is gone" });
    door.check("GET /v1/views/board?min_position=flights/0:11", None, 503, failed.clone()).await;
    let query = r#"{"sql": "SELECT * FROM board", "min_position": "flights/0:11"}"#;
    door.check("POST /v1/sql", Some(query), 503, failed).await;
    // What it had folded is still there.
    door.check("GET /v1/views/board", None, 200, json!({ "row_count": 1 })).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_come_as_texts_where_that_is_asked_for() {
    let door = Door::open().await;
    put(&door.view, &[("AA", i64::MAX, Some(f64::NEG_INFINITY)), ("UA", 3, None)], "flights/0:10");
    let to = door.server.local_addr;
    let aa = json!({ "carrier": "AA", "departures": "9223372036854775807", "delay": "-Infinity" });
    let ua = json!({ "carrier": "UA", "departures": "3", "delay": null });
    let rows = json!({ "rows": [aa, ua], "columns": [{}, {}, { "type": "bigint" }, { "type": "double precision" }] });
    door.check("GET /v1/views/board?numbers=text", None, 200, rows).await;
    let row = "GET /v1/views/board/AA/2013-01-01T05:00:00";
    door.check(&format!("{row}?numbers=text"), None, 200, json!({ "row": aa })).await;
    let number = json!({ "row": { "departures": i64::MAX, "delay": null } });
    door.check(&format!("{row}?numbers=number"), None, 200, number.clone()).await;
    door.check(row, None, 200, number).await;
    let wrong = json!({ "detail": "parameter numbers=\"big\": write number or text" });
    door.check("GET /v1/views/board?numbers=big", None, 400, wrong).await;
    let lines = ask(to, "GET", "/v1/views/board?numbers=text", &[("accept", "application/x-ndjson")], b"").await;
    let expected =
        r#"{"carrier":"AA","hour":"2013-01-01T05:00:00","departures":"9223372036854775807","delay":"-Infinity"}"#;
    assert_eq!(lines.text().lines().next(), Some(expected));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_being_built_says_how_far_it_is_and_shows_no_row() {
    let door = Door::open().await;
    let end = |text: &str| text.parse().unwrap();
    door.view.frontier().build(Building::new(end("flights/0:4"), end("flights/0:14")));
    put(&door.view, &[("AA", 1, None)], "flights/0:9");
    let building = json!({ "share": 0.5, "folded_records": 5, "records": 10, "note": null });
    let refused = json!({ "kind": "unavailable", "building": building });
    let row = "GET /v1/views/board/AA/2013-01-01T05:00:00";
    for path in ["GET /v1/views/board?timeout_ms=0", &format!("{row}?timeout_ms=0")] {
        let answer = door.ask(path, None).await;
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
        door.check(path, None, 503, refused.clone()).await;
    }
    for sql in ["SELECT * FROM board", "SELECT * FROM board WHERE carrier = 'AA' AND hour = '2013-01-01T05:00:00'"] {
        let query = json!({ "sql": sql, "timeout_ms": 0 }).to_string();
        door.check("POST /v1/sql", Some(&query), 503, json!({ "kind": "unavailable", "sqlstate": "55000" })).await;
    }
    let listed = json!({ "name": "board", "state": "building", "building": building, "row_count": null });
    door.check("GET /v1/views", None, 200, json!({ "views": [listed] })).await;
    // It was the last record of those that were there.
    let (answer, ()) = tokio::join!(door.ask(row, None), async { put(&door.view, &[("AA", 2, None)], "flights/0:14") });
    assert_eq!(answer.json()["row"]["departures"], 2);
    let replacement = Arc::new(View::new("board", door.view.schema(), &[0, 1], Vec::new()).unwrap());
    replacement.frontier().build(Building::new(end(""), end("flights/0:14")));
    door.views.announce("board", Some(replacement));
    let listed = json!({ "state": "running", "building": null, "replacement": { "share": 0.0 }, "row_count": 1 });
    door.check("GET /v1/views", None, 200, json!({ "views": [listed] })).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_removed_is_gone_at_once() {
    let door = Door::open().await;
    door.views.remove("board");
    door.check("GET /v1/views", None, 200, json!({ "views": [] })).await;
    door.check("GET /v1/views/board", None, 404, json!({})).await;
    door.close().await;
}
