//! The statuses that the description promises: each of them is answered, and none else by these requests.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::OPENAPI,
    Door, HttpSettings,
    client::{Answer, ask},
    put, put_names,
};
use crate::views::Relation as _;

/// The door that a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// As it is, with small bodies.
    Usual,
    /// It has no place for a request.
    Full,
    /// Its view has failed, and it is not ready.
    Failed,
}

use At::{Failed, Full, Usual};

const LARGE: &str = "(a body over the limit)";
const IMAGE: &str = "(no body, and only images accepted)";
const NOT_JSON: &str = "(a body that does not say what it is)";

const RECORDS: &str = "/v1/topics/flights/partitions/0/records";
const ROW: &str = "/v1/views/board/AA/2013-01-01T05:00:00";
const FAR: &str = "min_position=flights/0:99&timeout_ms=1";
const SELECT: &str = r#"{"sql": "SELECT carrier FROM board"}"#;
const RECORD: &str = r#"{"value": 1}"#;
const EVENT: &str = r#"{"events": [{"type": "departed", "data": 1}]}"#;
const OPEN: &str = r#"{"type": "open", "data": {"flight": "AA 1"}}"#;

/// The operation and its status as they are described; the door; the path and the body of a request that is answered
/// so. In order: what one leaves behind the next may need.
#[rustfmt::skip]
const CASES: &[(&str, u16, At, &str, &str)] = &[
    ("get /healthz", 200, Usual, "/healthz", ""),
    ("get /readyz", 200, Usual, "/readyz", ""),
    ("get /readyz", 503, Failed, "/readyz", ""),
    ("get /metrics", 200, Usual, "/metrics", ""),
    ("get /openapi.json", 200, Usual, "/openapi.json", ""),
    ("get /v1/topics", 200, Usual, "/v1/topics", ""),
    ("get /v1/topics", 400, Usual, "/v1/topics?limitt=1", ""),
    ("get /v1/topics", 404, Usual, "/v1/topics?min_position=none/0:1", ""),
    ("get /v1/topics", 503, Full, "/v1/topics", ""),
    ("get /v1/topics", 504, Usual, "/v1/topics?min_position=events/0:99&timeout_ms=1", ""),
    ("post /v1/backup", 201, Usual, "/v1/backup", r#"{"directory": "/copies/1"}"#),
    ("post /v1/backup", 400, Usual, "/v1/backup", "{}"),
    ("post /v1/backup", 409, Usual, "/v1/backup", r#"{"directory": "/copies/taken"}"#),
    ("post /v1/backup", 413, Usual, "/v1/backup", LARGE),
    ("post /v1/backup", 415, Usual, "/v1/backup", NOT_JSON),
    ("post /v1/topics", 201, Usual, "/v1/topics", r#"{"name": "flights"}"#),
    ("post /v1/topics", 400, Usual, "/v1/topics", "{}"),
    ("post /v1/topics", 409, Usual, "/v1/topics", r#"{"name": "flights"}"#),
    ("post /v1/topics", 413, Usual, "/v1/topics", LARGE),
    ("post /v1/topics", 415, Usual, "/v1/topics", NOT_JSON),
    ("get /v1/topics/{topic}", 200, Usual, "/v1/topics/flights", ""),
    ("get /v1/topics/{topic}", 400, Usual, "/v1/topics/flights?limitt=1", ""),
    ("get /v1/topics/{topic}", 404, Usual, "/v1/topics/none", ""),
    ("get /v1/topics/{topic}", 503, Full, "/v1/topics/flights", ""),
    ("get /v1/topics/{topic}", 504, Usual, "/v1/topics/flights?min_position=flights/0:99&timeout_ms=1", ""),
    ("get /v1/topics/{topic}/unread", 200, Usual, "/v1/topics/flights/unread", ""),
    ("get /v1/topics/{topic}/unread", 400, Usual, "/v1/topics/flights/unread?from=here", ""),
    ("get /v1/topics/{topic}/unread", 404, Usual, "/v1/topics/none/unread", ""),
    ("get /v1/topics/{topic}/unread", 503, Full, "/v1/topics/flights/unread", ""),
    ("post /v1/topics/{topic}/records", 200, Usual, "/v1/topics/flights/records", RECORD),
    ("post /v1/topics/{topic}/records", 400, Usual, "/v1/topics/flights/records", "{}"),
    ("post /v1/topics/{topic}/records", 404, Usual, "/v1/topics/none/records", RECORD),
    ("post /v1/topics/{topic}/records", 413, Usual, "/v1/topics/flights/records", LARGE),
    ("post /v1/topics/{topic}/records", 415, Usual, "/v1/topics/flights/records", NOT_JSON),
    ("post /v1/topics/{topic}/records", 503, Full, "/v1/topics/flights/records", RECORD),
    ("get /v1/topics/{topic}/partitions/{partition}/records", 200, Usual, RECORDS, ""),
    ("get /v1/topics/{topic}/partitions/{partition}/records", 400, Usual, "/v1/topics/flights/partitions/x/records", ""),
    ("get /v1/topics/{topic}/partitions/{partition}/records", 404, Usual, "/v1/topics/flights/partitions/7/records", ""),
    ("get /v1/topics/{topic}/partitions/{partition}/records", 404, Usual, "/v1/topics/none/partitions/0/records", ""),
    ("get /v1/topics/{topic}/partitions/{partition}/records", 503, Full, RECORDS, ""),
    ("get /v1/topics/{topic}/partitions/{partition}/records", 504, Usual, RECORDS, FAR),
    ("get /v1/views", 200, Usual, "/v1/views", ""),
    ("get /v1/views", 400, Usual, "/v1/views?limitt=1", ""),
    ("get /v1/views/{view}", 200, Usual, "/v1/views/board", ""),
    ("get /v1/views/{view}", 400, Usual, "/v1/views/board?limitt=1", ""),
    ("get /v1/views/{view}", 404, Usual, "/v1/views/none", ""),
    ("get /v1/views/{view}", 406, Usual, "/v1/views/board", IMAGE),
    ("get /v1/views/{view}", 503, Failed, "/v1/views/board", FAR),
    ("get /v1/views/{view}", 504, Usual, "/v1/views/board", FAR),
    ("get /v1/views/{view}/", 200, Usual, "/v1/views/names/", ""),
    ("get /v1/views/{view}/", 400, Usual, "/v1/views/board/", ""),
    ("get /v1/views/{view}/", 404, Usual, "/v1/views/none/", ""),
    ("get /v1/views/{view}/", 503, Failed, "/v1/views/board/", FAR),
    ("get /v1/views/{view}/", 504, Usual, "/v1/views/board/", FAR),
    ("get /v1/views/{view}/{key}", 200, Usual, ROW, ""),
    ("get /v1/views/{view}/{key}", 400, Usual, "/v1/views/board/AA", ""),
    ("get /v1/views/{view}/{key}", 404, Usual, "/v1/views/none/AA", ""),
    ("get /v1/views/{view}/{key}", 404, Usual, "/v1/views/board/DL/2013-01-01T05:00:00", ""),
    ("get /v1/views/{view}/{key}", 503, Failed, ROW, FAR),
    ("get /v1/views/{view}/{key}", 504, Usual, ROW, FAR),
    ("post /v1/sql", 200, Usual, "/v1/sql", SELECT),
    ("post /v1/sql", 400, Usual, "/v1/sql", r#"{"sql": "SELEC"}"#),
    ("post /v1/sql", 404, Usual, "/v1/sql", r#"{"sql": "SELECT * FROM none"}"#),
    ("post /v1/sql", 406, Usual, "/v1/sql", IMAGE),
    ("post /v1/sql", 409, Usual, "/v1/sql", r#"{"sql": "DROP MATERIALIZED VIEW board"}"#),
    ("post /v1/sql", 413, Usual, "/v1/sql", LARGE),
    ("post /v1/sql", 415, Usual, "/v1/sql", NOT_JSON),
    ("post /v1/sql", 503, Full, "/v1/sql", SELECT),
    ("post /v1/sql", 504, Usual, "/v1/sql?min_position=flights/0:99&timeout_ms=1", SELECT),
    ("get /v1/streams", 200, Usual, "/v1/streams", ""),
    ("get /v1/streams", 400, Usual, "/v1/streams?limit=0", ""),
    ("get /v1/streams", 404, Usual, "/v1/streams?min_position=none/0:1", ""),
    ("get /v1/streams", 503, Full, "/v1/streams", ""),
    ("get /v1/streams", 504, Usual, "/v1/streams", FAR),
    ("get /v1/streams/$all", 200, Usual, "/v1/streams/$all", ""),
    ("get /v1/streams/$all", 400, Usual, "/v1/streams/$all?from=-1", ""),
    ("get /v1/streams/$all", 404, Usual, "/v1/streams/$all?min_position=none/0:1", ""),
    ("get /v1/streams/$all", 503, Full, "/v1/streams/$all", ""),
    ("get /v1/streams/$all", 504, Usual, "/v1/streams/$all", FAR),
    ("post /v1/streams/{stream}", 200, Usual, "/v1/streams/flight", EVENT),
    ("post /v1/streams/{stream}", 400, Usual, "/v1/streams/flight", "{}"),
    ("post /v1/streams/{stream}", 409, Usual, "/v1/streams/flight",
        r#"{"expected": "no_stream", "events": [{"type": "departed", "data": 1}]}"#),
    ("post /v1/streams/{stream}", 413, Usual, "/v1/streams/flight", LARGE),
    ("post /v1/streams/{stream}", 415, Usual, "/v1/streams/flight", NOT_JSON),
    ("post /v1/streams/{stream}", 503, Full, "/v1/streams/flight", EVENT),
    ("get /v1/streams/{stream}", 200, Usual, "/v1/streams/flight", ""),
    ("get /v1/streams/{stream}", 400, Usual, "/v1/streams/flight?direction=up", ""),
    ("get /v1/streams/{stream}", 404, Usual, "/v1/streams/none", ""),
    ("get /v1/streams/{stream}", 503, Full, "/v1/streams/flight", ""),
    ("get /v1/streams/{stream}", 504, Usual, "/v1/streams/flight", FAR),
    ("get /v1/commands", 200, Usual, "/v1/commands", ""),
    ("get /v1/commands", 400, Usual, "/v1/commands?limitt=1", ""),
    ("post /v1/commands/{aggregate}/{id}", 200, Usual, "/v1/commands/gate/7", OPEN),
    ("post /v1/commands/{aggregate}/{id}", 400, Usual, "/v1/commands/gate/7", "{}"),
    ("post /v1/commands/{aggregate}/{id}", 404, Usual, "/v1/commands/none/7", OPEN),
    ("post /v1/commands/{aggregate}/{id}", 409, Usual, "/v1/commands/gate/7",
        r#"{"type": "open", "data": {"flight": "AA 1"}, "expected": "no_stream"}"#),
    ("post /v1/commands/{aggregate}/{id}", 413, Usual, "/v1/commands/gate/7", LARGE),
    ("post /v1/commands/{aggregate}/{id}", 415, Usual, "/v1/commands/gate/7", NOT_JSON),
    ("post /v1/commands/{aggregate}/{id}", 422, Usual, "/v1/commands/gate/7", OPEN),
    ("post /v1/commands/{aggregate}/{id}", 503, Full, "/v1/commands/gate/7", OPEN),
    ("get /v1/aggregates/{aggregate}/{id}", 200, Usual, "/v1/aggregates/gate/7", ""),
    ("get /v1/aggregates/{aggregate}/{id}", 400, Usual, "/v1/aggregates/gate/7?version=1&at=5", ""),
    ("get /v1/aggregates/{aggregate}/{id}", 404, Usual, "/v1/aggregates/gate/none", ""),
    ("get /v1/aggregates/{aggregate}/{id}", 404, Usual, "/v1/aggregates/none/7", ""),
    ("get /v1/aggregates/{aggregate}/{id}", 503, Full, "/v1/aggregates/gate/7", ""),
    ("get /v1/aggregates/{aggregate}/{id}", 504, Usual, "/v1/aggregates/gate/7", FAR),
    ("delete /v1/topics/{topic}", 400, Usual, "/v1/topics/flights?force=yes", ""),
    ("delete /v1/topics/{topic}", 404, Usual, "/v1/topics/none", ""),
    ("post /v1/sql", 200, Usual, "/v1/sql", r#"{"sql": "CREATE SOURCE s (a INT) WITH (topic = 'flights')"}"#),
    ("delete /v1/topics/{topic}", 409, Usual, "/v1/topics/flights", ""),
    ("delete /v1/topics/{topic}", 204, Usual, "/v1/topics/flights?force=true", ""),
];

/// Described, and not tried: these need a disk that takes its time.
const LATE: &[(&str, u16)] = &[
    ("post /v1/topics/{topic}/records", 504),
    ("post /v1/streams/{stream}", 504),
    ("post /v1/commands/{aggregate}/{id}", 504),
];

/// A name in the path can be that of nothing, except where the request makes it.
const MADE_BY_THE_REQUEST: &[&str] = &["post /v1/streams/{stream}"];

/// Operation, status and the type of the answer's body where it has one.
fn described() -> Vec<(String, u16, Option<String>)> {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut described = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let reference = response["$ref"].as_str().map(|reference| reference.strip_prefix('#').unwrap());
                let response = reference.map_or(response, |pointer| document.pointer(pointer).unwrap());
                let content = response["content"].as_object().and_then(|content| content.keys().next().cloned());
                described.push((format!("{method} {path}"), status.parse().unwrap(), content));
            }
        }
    }
    described
}

#[test]
fn a_path_that_names_a_thing_can_name_none() {
    let described = described();
    for (operation, ..) in described.iter().filter(|(operation, ..)| operation.contains('{')) {
        let can = described.iter().any(|(other, status, _)| other == operation && *status == 404);
        assert_eq!(can, !MADE_BY_THE_REQUEST.contains(&operation.as_str()), "{operation}");
    }
}

async fn door_at(at: At) -> Door {
    let settings = HttpSettings { port: 0, request_bytes_max: 2000, ..HttpSettings::shipped() };
    let door = Door::open_with(match at {
        Usual | Failed => settings,
        Full => HttpSettings { requests_in_flight_max: 0, ..settings },
    })
    .await;
    put(&door.view, &[("AA", 7, None)], "flights/0:10");
    put_names(&door);
    if at == Failed {
        door.view.frontier().fail("the disk is gone".to_owned());
    }
    door
}

async fn answered(door: &Door, operation: &str, path: &str, body: &str) -> Answer {
    let method = operation.split(' ').next().unwrap().to_uppercase();
    let (path, body) = if body == FAR { (format!("{path}?{FAR}"), "") } else { (path.to_owned(), body) };
    let json = ("content-type", "application/json");
    let large = format!("{{\"name\": \"{}\"}}", "a".repeat(3000));
    let (headers, body) = match body {
        "" => (vec![], ""),
        LARGE => (vec![json], large.as_str()),
        IMAGE => (vec![json, ("accept", "image/png")], if method == "POST" { SELECT } else { "" }),
        NOT_JSON => (vec![], "{}"),
        body => (vec![json], body),
    };
    ask(door.server.local_addr, &method, &path, &headers, body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_answered_and_nothing_else() {
    let described = described();
    let promised: BTreeSet<_> = described.iter().map(|(operation, status, _)| (operation.as_str(), *status)).collect();
    let tried = CASES.iter().map(|(operation, status, ..)| (*operation, *status));
    let tried: BTreeSet<_> = tried.chain(LATE.iter().copied()).collect();
    assert_eq!(promised, tried);
    for at in [Usual, Full, Failed] {
        let door = door_at(at).await;
        for (operation, status, _, path, body) in CASES.iter().filter(|case| case.2 == at) {
            let answer = answered(&door, operation, path, body).await;
            assert_eq!(answer.status, *status, "{operation} {path} {body}: {}", answer.text());
            let (.., content) = described.iter().find(|(o, s, _)| o == operation && s == status).unwrap();
            let content_type = answer.header("content-type").map(|value| value.split(';').next().unwrap());
            assert_eq!(content_type, content.as_deref(), "{operation} {status}");
            if *status >= 400 && *path != "/readyz" {
                assert_eq!(answer.json()["status"], json!(status), "{operation}");
            }
        }
        door.close().await;
    }
}
