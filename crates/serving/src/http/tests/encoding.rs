//! Compressed answers and compressed requests.

use std::io::{Read as _, Write as _};

use axum::http::{Response, header};
use serde_json::json;

use super::{
    super::encoding,
    Door, HttpSettings,
    client::{Answer, ask},
};

fn settings() -> HttpSettings {
    HttpSettings { port: 0, ..HttpSettings::shipped() }
}

async fn query(door: &Door, rows: usize, headers: &[(&str, &str)]) -> Answer {
    let body = json!({ "sql": format!("SELECT value AS n FROM generate_series(1, {rows})") }).to_string();
    let headers = [&[("content-type", "application/json")], headers].concat();
    ask(door.server.local_addr, "POST", "/v1/sql", &headers, body.as_bytes()).await
}

/// As much of the text as there is: an answer may have been broken off.
fn decoded(answer: &Answer) -> String {
    let mut text = Vec::new();
    let mut reader: Box<dyn std::io::Read> = match answer.header("content-encoding") {
        Some("gzip") => Box::new(flate2::read::GzDecoder::new(answer.body.as_slice())),
        Some("zstd") => Box::new(zstd::stream::read::Decoder::new(answer.body.as_slice()).unwrap()),
        _ => Box::new(answer.body.as_slice()),
    };
    let mut piece = [0; 100];
    while let Ok(length @ 1..) = reader.read(&mut piece) {
        text.extend_from_slice(&piece[..length]);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_compressed_as_the_client_accepts() {
    let door = Door::open().await;
    for accept in ["application/json", "application/x-ndjson", "text/csv"] {
        let plain = query(&door, 5000, &[("accept", accept)]).await;
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
        for (accepted, encoding) in [
            ("gzip", Some("gzip")),
            ("zstd", Some("zstd")),
            ("gzip;q=0.5, zstd", Some("zstd")),
            ("*", Some("zstd")),
            ("gzip, zstd;q=0", Some("gzip")),
            ("*;q=0.1, zstd;q=0", Some("gzip")),
            ("br, deflate", None),
            ("gzip;q=0", None),
            ("identity", None),
        ] {
            let answer = query(&door, 5000, &[("accept", accept), ("accept-encoding", accepted)]).await;
            assert_eq!((answer.status, answer.whole), (200, true), "{accept} {accepted}");
            assert_eq!(answer.header("content-encoding"), encoding, "{accept} {accepted}");
            assert_eq!(answer.header("content-type"), plain.header("content-type"));
            assert_eq!(decoded(&answer), plain.text(), "{accept} {accepted}");
            if encoding.is_some() {
                assert!(answer.body.len() < plain.body.len() * 3 / 4, "{accept} {accepted}");
                assert_eq!(answer.header("vary"), Some("accept-encoding"));
            }
        }
    }
    let small = ask(door.server.local_addr, "GET", "/healthz", &[("accept-encoding", "gzip")], b"").await;
    assert_eq!((small.header("content-encoding"), small.json()["status"].as_str()), (None, Some("alive")));
    door.close().await;
}

#[test]
fn an_event_stream_is_never_compressed() {
    for (content_type, expected) in [("text/event-stream", false), ("application/json", true)] {
        let body = axum::body::Body::from("x".repeat(100_000));
        let response = Response::builder().header(header::CONTENT_TYPE, content_type).body(body).unwrap();
        assert_eq!(encoding::is_worth_it(&response), expected, "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_over_the_limit_breaks_off_and_says_why() {
    let door = Door::open_with(HttpSettings { stream_bytes_max: 100_000, ..settings() }).await;
    for encoding in ["gzip", "zstd"] {
        // Compressed, it would be within the limit.
        let answer = query(&door, 30_000, &[("accept", "application/x-ndjson"), ("accept-encoding", encoding)]).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, Some(encoding)));
        assert!(!answer.whole && answer.body.len() < 100_000, "{encoding}: {} bytes", answer.body.len());
        let text = decoded(&answer);
        assert!(text.lines().last().unwrap().starts_with("{\"fourfold_problem\""), "{encoding}: {text}");
    }
    door.close().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_decoded_within_the_limit() {
    let door = Door::open_with(HttpSettings { request_bytes_max: 10_000, ..settings() }).await;
    let padded = |spaces: usize| format!("{{\"sql\": \"SELECT 1 AS n\"{}}}", " ".repeat(spaces)).into_bytes();
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 10);
        bytes
    };
    let halves = |encode: fn(&[u8]) -> Vec<u8>| {
        let whole = padded(10);
        let (first, second) = whole.split_at(10);
        [encode(first), encode(second)].concat()
    };
    let hint = "send it as it is, or with the header content-encoding: gzip or zstd";
    let cases = [
        ("gzip", gzip(&padded(0)), 200, json!({ "rows": [[1]] })),
        ("GZIP", gzip(&padded(0)), 200, json!({ "rows": [[1]] })),
        ("gzip", halves(gzip), 200, json!({ "rows": [[1]] })),
        ("zstd", halves(zstd), 200, json!({ "rows": [[1]] })),
        ("zstd", zstd(&padded(5_000)), 200, json!({ "rows": [[1]] })),
        ("identity", padded(0), 200, json!({ "rows": [[1]] })),
        // Far within the limit as they are sent.
        ("gzip", gzip(&padded(5_000_000)), 413, json!({ "kind": "invalid" })),
        ("zstd", zstd(&padded(5_000_000)), 413, json!({ "kind": "invalid" })),
        ("gzip", padded(0), 400, json!({ "kind": "invalid" })),
        ("gzip", cut(gzip(&padded(0))), 400, json!({ "kind": "invalid" })),
        ("zstd", cut(zstd(&padded(0))), 400, json!({ "kind": "invalid" })),
        ("br", padded(0), 415, json!({ "kind": "invalid", "hint": hint })),
        ("gzip, gzip", gzip(&gzip(&padded(0))), 415, json!({ "hint": hint })),
    ];
    for (encoding, body, status, expected) in cases {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        let answer = ask(door.server.local_addr, "POST", "/v1/sql", &headers, &body).await;
        assert_eq!(answer.status, status, "{encoding}: {}", answer.text());
        if status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
        super::assert_like(&answer.json(), &expected, encoding);
    }
    door.close().await;
}
