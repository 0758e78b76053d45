//! Commands and state.

use serde_json::json;

use super::Door;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_decided_once_and_leaves_state() {
    let door = Door::open().await;
    door.check("GET /v1/commands", None, 200, json!({ "aggregates": ["gate"] })).await;
    let open = r#"{"type": "open", "data": {"flight": "AA 1"}, "command_id": "c-1"}"#;
    let handled = json!({ "stream": "gate-7", "version": 0, "command_id": "c-1", "duplicate": false,
        "events": [{ "type": "opened", "data": { "flight": "AA 1" }, "command_id": "c-1" }], "positions": "events/0:1" });
    door.check("POST /v1/commands/gate/7", Some(open), 200, handled).await;
    let again = json!({ "version": 0, "duplicate": true, "positions": "events/0:1" });
    door.check("POST /v1/commands/gate/7", Some(open), 200, again).await;
    let reworded = r#"{"command_id": "c-1", "data": { "flight" : "AA\u00201" }, "type": "open"}"#;
    door.check("POST /v1/commands/gate/7", Some(reworded), 200, json!({ "duplicate": true })).await;
    let other = r#"{"type": "open", "data": {"flight": "AA 2"}, "command_id": "c-1"}"#;
    let reused = json!({ "kind": "conflict", "positions": "events/0:1",
        "detail": "command id c-1 was used for stream gate-7 by a command that said something else" });
    door.check("POST /v1/commands/gate/7", Some(other), 409, reused).await;
    let taken = r#"{"type": "open", "data": {"flight": "UA 2"}, "command_id": "c-2"}"#;
    let rejected = json!({ "kind": "rejected", "rule": "gate_is_taken", "positions": "events/0:1" });
    for _ in 0..2 {
        door.check("POST /v1/commands/gate/7", Some(taken), 422, rejected.clone()).await;
    }
    let stale = r#"{"type": "open", "data": {"flight": "UA 2"}, "expected": "no_stream"}"#;
    door.check("POST /v1/commands/gate/7", Some(stale), 409, json!({ "actual_version": 0 })).await;
    let state = json!({ "aggregate": "gate", "id": "7", "stream": "gate-7", "version": 0, "state": { "flight": "AA 1" },
        "recorded_time": "2013-01-31T18:00:00.000Z", "positions": "events/0:1" });
    door.check("GET /v1/aggregates/gate/7?min_position=events/0:1", None, 200, state.clone()).await;
    door.check("GET /v1/aggregates/gate/7?at=2013-01-31T18:00:00Z", None, 200, state).await;
    let none = json!({ "kind": "not_found", "positions": "events/0:1" });
    door.check("GET /v1/aggregates/gate/7?at=2013-01-31T17:59:59Z", None, 404, none.clone()).await;
    door.check("GET /v1/aggregates/gate/8", None, 404, none).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_command_is_said() {
    let door = Door::open().await;
    let unknown = json!({ "kind": "not_found", "detail": "there is no aggregate door",
        "hint": "the aggregates are gate" });
    door.check("POST /v1/commands/door/7", Some(r#"{"type": "open"}"#), 404, unknown).await;
    let misspelt = json!({ "detail": "aggregate gate has no command opne",
        "hint": "perhaps you meant open; its commands are open" });
    door.check("POST /v1/commands/gate/7", Some(r#"{"type": "opne"}"#), 400, misspelt).await;
    let wrong =
        json!({ "detail": "the command open cannot be understood: invalid type: integer `1`, expected a string" });
    door.check("POST /v1/commands/gate/7", Some(r#"{"type": "open", "data": {"flight": 1}}"#), 400, wrong).await;
    for wrong in [
        r#"{"type": "shut"}"#,
        r#"{"type": "open", "data": {}}"#,
        r#"{"data": {}}"#,
        r#"{"type": "open", "data": {"flight": "AA"}, "command_id": ""}"#,
    ] {
        door.check("POST /v1/commands/gate/7", Some(wrong), 400, json!({ "kind": "invalid" })).await;
    }
    door.check("GET /v1/aggregates/gate/7?version=1&at=5", None, 400, json!({ "kind": "invalid" })).await;
    door.close().await;
}
