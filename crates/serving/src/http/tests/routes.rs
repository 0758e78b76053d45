//! The list of routes and its description agree, and every path answers in the same manner.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{OPENAPI, routes::routes},
    Door,
    client::ask,
};

#[test]
fn every_route_is_described_and_every_description_has_a_route() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
        .collect();
    // OpenAPI has no sign for a variable that takes the rest of the path.
    let served: BTreeSet<String> =
        routes().iter().map(|route| format!("{} {}", route.method, route.path.replace("{*", "{"))).collect();
    assert_eq!(served, described);
}

#[test]
fn the_description_is_complete_in_itself() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut operations = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(operations.insert(id.to_owned()), "{id} is there twice");
            let empty = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let in_path: BTreeSet<String> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
                .collect();
            let variables: BTreeSet<String> =
                path.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned).collect();
            assert_eq!(in_path, variables, "{method} {path}");
        }
    }
    check_references(&document, &document);
}

fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference} points nowhere");
            }
            members.values().for_each(|member| check_references(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_the_description_are_served() {
    let door = Door::open().await;
    door.check("GET /healthz", None, 200, json!({ "status": "alive" })).await;
    // What is degraded is ready.
    let parts = json!([{ "name": "log", "ready": true, "degraded": true, "note": null }]);
    door.check("GET /readyz", None, 200, json!({ "status": "ready", "parts": parts })).await;
    let document = door.ask("GET /openapi.json", None).await;
    assert_eq!(document.text(), OPENAPI);
    let metrics = door.ask("GET /metrics", None).await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = metrics.text();
    assert!(text.contains("fourfold_http_requests_total{status=\"200\"} 3\n"), "{text}");
    assert!(text.contains("fourfold_http_connections 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_other_methods_with_a_problem_and_head_as_get() {
    let door = Door::open().await;
    let to = door.server.local_addr;
    let paths: BTreeSet<String> =
        routes().iter().map(|route| route.path.replace(['{', '}', '*'], "").replace("/aggregate/", "/gate/")).collect();
    for path in paths {
        let answer = ask(to, "PATCH", &path, &[], b"").await;
        assert_eq!((answer.status, answer.header("content-type")), (405, Some("application/problem+json")), "{path}");
        let allowed = answer.header("allow").unwrap_or_default().to_owned();
        let head = ask(to, "HEAD", &path, &[], b"").await;
        assert!(head.body.is_empty(), "{path}");
        if allowed.contains("GET") {
            let get = ask(to, "GET", &path, &[], b"").await;
            let seen = |name| (head.header(name).map(str::to_owned), get.header(name).map(str::to_owned));
            assert_eq!(head.status, get.status, "{path}");
            for name in ["content-type", "fourfold-positions"] {
                let (of_head, of_get) = seen(name);
                assert_eq!(of_head, of_get, "{path} {name}");
            }
        } else {
            assert_eq!(head.status, 405, "{path}");
        }
    }
    let image = ask(to, "GET", "/v1/views/board", &[("accept", "image/png")], b"").await;
    assert_eq!((image.status, image.header("content-type")), (406, Some("application/problem+json")));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_a_problem_with_a_hint() {
    let door = Door::open().await;
    let hint = "see /openapi.json for what there is";
    door.check("GET /v2/topics", None, 404, json!({ "kind": "not_found", "hint": hint, "status": 404 })).await;
    let answer = door.check("DELETE /v1/topics", None, 405, json!({ "kind": "invalid" })).await;
    assert_eq!(answer.header("allow"), Some("GET,HEAD,POST"));
    let wrong = json!({ "kind": "invalid", "detail": "there is no parameter \"limitt\" here" });
    door.check("GET /v1/streams?limitt=3", None, 400, wrong).await;
    let twice = json!({ "detail": "parameter limit is given more than once" });
    door.check("GET /v1/streams?limit=3&limit=4", None, 400, twice).await;
    door.check("GET /v1/streams?min_position=here", None, 400, json!({ "kind": "invalid" })).await;
    door.check("GET /v1/streams?timeout_ms=60001", None, 400, json!({ "kind": "invalid" })).await;
    door.close().await;
}
