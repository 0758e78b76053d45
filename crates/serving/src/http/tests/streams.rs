//! Streams of events.

use serde_json::json;

use super::Door;

#[tokio::test(flavor = "multi_thread")]
async fn events_are_appended_with_an_expectation_and_read_both_ways() {
    let door = Door::open().await;
    let id = "0b0e5fb6-7a2d-4d0a-9a1b-0123456789ab";
    let first = format!(
        r#"{{"expected": "no_stream", "events": [{{"type": "scheduled", "data": {{"z": 1.10, "a": 1}}, "id": "{id}",
            "effective_time": "2013-01-01T05:15:00Z", "metadata": {{"by": "test"}}}}, {{"type": "departed", "data": null}}]}}"#
    );
    let appended = json!({ "stream": "flight-AA 1", "first_version": 0, "last_version": 1, "duplicate": false,
        "positions": "events/0:2" });
    door.check("POST /v1/streams/flight-AA%201", Some(&first), 200, appended).await;
    let wrong = json!({ "kind": "conflict", "actual_version": 1, "positions": "events/0:2" });
    let more = r#"{"expected": 0, "events": [{"type": "arrived", "data": {}}]}"#;
    door.check("POST /v1/streams/flight-AA%201", Some(more), 409, wrong).await;
    let missing = json!({ "kind": "conflict", "actual_version": null });
    let exists = r#"{"expected": "stream_exists", "events": [{"type": "arrived", "data": {}}]}"#;
    door.check("POST /v1/streams/other", Some(exists), 409, missing).await;
    let next = r#"{"expected": 1, "events": [{"type": "arrived", "data": {}}]}"#;
    door.check("POST /v1/streams/flight-AA%201", Some(next), 200, json!({ "last_version": 2 })).await;

    let scheduled = json!({ "version": 0, "type": "scheduled", "id": id, "offset": 0, "metadata": { "by": "test" },
        "effective_time": "2013-01-01T05:15:00.000Z", "recorded_time": "2013-01-31T18:00:00.000Z" });
    let all = json!({ "stream": "flight-AA 1", "version": 2, "positions": "events/0:3",
        "events": [scheduled, { "version": 1, "type": "departed", "data": null }, { "version": 2 }] });
    let read = door.check("GET /v1/streams/flight-AA%201", None, 200, all).await;
    assert!(read.text().contains(r#""data":{"z": 1.10, "a": 1}"#), "{}", read.text());
    let backward = json!({ "events": [{ "version": 2 }, { "version": 1 }] });
    door.check("GET /v1/streams/flight-AA%201?direction=backward&limit=2", None, 200, backward).await;
    let middle = json!({ "events": [{ "version": 1 }] });
    door.check("GET /v1/streams/flight-AA%201?from=1&limit=1", None, 200, middle).await;
    let page = json!({ "events": [{ "offset": 1 }], "next_offset": 2, "end_offset": 3, "positions": "events/0:2" });
    door.check("GET /v1/streams/$all?from=1&limit=1", None, 200, page).await;
    let listed = json!({ "streams": [{ "stream": "flight-AA 1", "version": 2 }] });
    door.check("GET /v1/streams?prefix=flight", None, 200, listed).await;
    door.check("GET /v1/streams?prefix=gate", None, 200, json!({ "streams": [] })).await;
    door.check("GET /v1/streams/none", None, 404, json!({ "kind": "not_found" })).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_appended_is_said() {
    let door = Door::open().await;
    let cases = [
        r#"{"events": []}"#,
        r#"{"events": [{"type": "departed"}]}"#,
        r#"{"expected": "nothing", "events": [{"type": "departed", "data": 1}]}"#,
        r#"{"expected": -1, "events": [{"type": "departed", "data": 1}]}"#,
        r#"{"events": [{"type": "departed", "data": 1, "effective_time": "yesterday"}]}"#,
        r#"{"events": [{"type": "departed", "data": 1, "id": "7"}]}"#,
    ];
    for body in cases {
        door.check("POST /v1/streams/flight", Some(body), 400, json!({ "kind": "invalid" })).await;
    }
    let event = r#"{"events": [{"type": "departed", "data": 1}]}"#;
    door.check("POST /v1/streams/$flight", Some(event), 400, json!({ "kind": "invalid" })).await;
    door.check("POST /v1/streams/$all", Some(event), 405, json!({ "kind": "invalid" })).await;
    door.check("GET /v1/streams/flight?direction=up", None, 400, json!({ "kind": "invalid" })).await;
    let unreached = "GET /v1/streams/flight?min_position=events/0:1&timeout_ms=20";
    door.check(unreached, None, 504, json!({ "kind": "unavailable" })).await;
    door.close().await;
}
