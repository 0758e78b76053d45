//! What a client may not do: call by another name, send or ask for too much, be too slow.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::Instant,
};

use super::{
    Door, HttpSettings,
    client::{ask, read_answer},
    put, short,
};

fn settings() -> HttpSettings {
    HttpSettings { port: 0, ..HttpSettings::shipped() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_on_loopback_answers_to_its_own_names_only() {
    let door = Door::open_with(HttpSettings { hosts_allowed: vec!["fourfold.test".to_owned()], ..settings() }).await;
    let to = door.server.local_addr;
    let allowed = ["localhost", "LOCALHOST:8080", "127.0.0.1", "[::1]:8080", "fourfold.test:1"];
    let denied =
        ["evil.example", "localhost.evil.example:8080", "", "127.0.0.1.evil.example", "[::2]", "localhost:80:80"];
    for (hosts, status) in [(&allowed[..], 200), (&denied[..], 403)] {
        for host in hosts {
            let answer = ask(to, "GET", "/healthz", &[("host", host)], b"").await;
            assert_eq!(answer.status, status, "{host:?}");
        }
    }
    let twice = ask(to, "GET", "/healthz", &[("host", "localhost"), ("host", "evil.example")], b"").await;
    assert!(twice.status == 403 || twice.status == 400, "{}", twice.status);
    let absolute = ask(to, "GET", "http://evil.example/healthz", &[("host", "localhost")], b"").await;
    assert_eq!(absolute.status, 403);
    let crossing = ask(to, "GET", "/healthz", &[("origin", "http://evil.example")], b"").await;
    assert_eq!(crossing.header("access-control-allow-origin"), None);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_to_be_json_and_within_the_limit() {
    let door = Door::open_with(HttpSettings { request_bytes_max: 1000, ..settings() }).await;
    let to = door.server.local_addr;
    // What a web page of another origin could send without asking first.
    let form = ask(to, "POST", "/v1/topics", &[("content-type", "text/plain")], br#"{"name": "a"}"#).await;
    assert_eq!((form.status, form.json()["kind"].as_str()), (415, Some("invalid")));
    let none = ask(to, "POST", "/v1/topics", &[], br#"{"name": "a"}"#).await;
    assert_eq!(none.status, 415);
    let large = json!({ "name": "a".repeat(1000) }).to_string();
    let answer = door.ask("POST /v1/topics", Some(&large)).await;
    assert_eq!((answer.status, answer.json()["kind"].as_str()), (413, Some("invalid")));
    door.check("GET /v1/topics", None, 200, json!({ "topics": [{ "name": "events" }] })).await;
    door.close().await;
}

/// Asks for an answer that is larger than any buffer, and reads no more of it than shows that it has begun.
async fn begin_large_answer(door: &Door, rows: usize) -> TcpStream {
    begin_answer_of(door, "value", rows, "identity").await
}

/// What hardly becomes smaller by being compressed, so that all room for it is soon full.
async fn begin_large_answer_in(door: &Door, encoding: &str) -> TcpStream {
    begin_answer_of(door, "random()", 1_000_000_000, encoding).await
}

async fn begin_answer_of(door: &Door, column: &str, rows: usize, encoding: &str) -> TcpStream {
    let body = json!({ "sql": format!("SELECT {column} AS n FROM generate_series(1, {rows})") }).to_string();
    let head = "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\naccept: text/csv\r\ncontent-type: application/json";
    let request = format!("{head}\r\naccept-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // Little room, so that it is soon full, even of what has to be compressed first.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(door.server.local_addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 9];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 ");
    stream
}

/// Asks until there is a place for the question.
async fn until_there_is_a_place(door: &Door) {
    let mut attempts = tokio::time::interval(Duration::from_millis(20));
    let freed = async {
        while door.ask("GET /v1/topics", None).await.status != 200 {
            attempts.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), freed).await.expect("a place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_limit_are_refused_but_health_is_answered() {
    let door = Door::open_with(HttpSettings { requests_in_flight_max: 1, ..settings() }).await;
    let taking_its_time = begin_large_answer(&door, 100_000_000).await;
    let refused = door.check("GET /v1/topics", None, 503, json!({ "kind": "unavailable" })).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    door.check("GET /healthz", None, 200, json!({})).await;
    door.check("GET /readyz", None, 200, json!({})).await;
    drop(taking_its_time);
    until_there_is_a_place(&door).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_and_who_sends_slowly_keeps_nobody_from_an_answer() {
    let narrow = HttpSettings { requests_in_flight_max: 1, requests_waiting_max: 1, ..settings() };
    let door = Door::open_with(narrow).await;
    door.ask("POST /v1/topics", Some(r#"{"name": "t"}"#)).await;
    let wait =
        "GET /v1/topics/t/partitions/0/records?min_position=t/0:9&timeout_ms=20000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let send =
        "POST /v1/topics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let mut open = Vec::new();
    for begun in [wait, send] {
        let mut stream = TcpStream::connect(door.server.local_addr).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        open.push(stream);
    }
    let another = "GET /v1/topics/t/partitions/0/records?min_position=t/0:9&timeout_ms=0";
    let mut attempts = tokio::time::interval(Duration::from_millis(10));
    let refused = async {
        // Until the one that waits has its place.
        while door.ask(another, None).await.status != 503 {
            attempts.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.expect("the place to wait is taken");
    door.check("GET /v1/topics/t", None, 200, json!({ "name": "t" })).await;
    door.check("POST /v1/topics", Some(r#"{"name": "u"}"#), 201, json!({ "name": "u" })).await;
    drop(open);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_to_wait_needs_a_place_to_wait() {
    let door = Door::open_with(HttpSettings { requests_waiting_max: 1, ..settings() }).await;
    put(&door.view, &[("AA", 7, None)], "flights/0:10");
    door.ask("POST /v1/topics", Some(r#"{"name": "t"}"#)).await;
    door.check("POST /v1/topics/t/records", Some(r#"{"value": 1}"#), 200, json!({})).await;
    let event = r#"{"events": [{"type": "departed", "data": 1}]}"#;
    door.check("POST /v1/streams/flight", Some(event), 200, json!({ "positions": "events/0:1" })).await;
    let waiting = || async {
        let mut waiting = TcpStream::connect(door.server.local_addr).await.unwrap();
        let wait = "GET /v1/topics?min_position=t/0:9&timeout_ms=60000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        waiting.write_all(wait.as_bytes()).await.unwrap();
        waiting
    };
    let mut waits = waiting().await;
    // What is asked, and the partition in which it demands a position.
    let cases = [
        ("GET /v1/topics", "t/0", ""),
        ("GET /v1/topics/t", "t/0", ""),
        ("GET /v1/topics/t/partitions/0/records", "t/0", ""),
        ("GET /v1/streams", "events/0", ""),
        ("GET /v1/streams/flight", "events/0", ""),
        ("GET /v1/streams/$all", "events/0", ""),
        ("GET /v1/views/board", "flights/0", ""),
        ("GET /v1/views/board/AA/2013-01-01T05:00:00", "flights/0", ""),
        ("POST /v1/sql", "flights/0", r#"{"sql": "SELECT departures FROM board"}"#),
        (
            "POST /v1/sql",
            "flights/0",
            r#"{"sql": "SELECT departures FROM board WHERE carrier = 'AA' AND hour = TIMESTAMP '2013-01-01 05:00:00'"}"#,
        ),
    ];
    let mut attempts = tokio::time::interval(Duration::from_millis(10));
    for (request, partition, body) in cases {
        let body = Some(body).filter(|body| !body.is_empty());
        let in_vain = format!("{request}?min_position={partition}:99&timeout_ms=200");
        let refused = async {
            // Until the one that waits has its place: this one may have been there before it, and kept it out.
            while door.ask(&in_vain, body).await.status != 503 {
                waits = waiting().await;
                attempts.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), refused).await.expect("the place to wait is taken");
        door.check(&format!("{request}?min_position={partition}:1"), body, 200, json!({})).await;
    }
    drop(waits);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_a_limit_all_together() {
    let door = Door::open_with(HttpSettings { bodies_bytes_max: 1000, ..settings() }).await;
    let body = format!(r#"{{"name": "{}"}}"#, "t".repeat(2000));
    door.check("POST /v1/topics", Some(&body), 503, json!({ "kind": "unavailable" })).await;
    door.check("POST /v1/topics", Some(r#"{"name": "t"}"#), 201, json!({ "name": "t" })).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_takes_too_long_is_answered_408_and_gives_its_place_back() {
    let impatient = HttpSettings { body_timeout: short(), requests_in_flight_max: 1, ..settings() };
    let door = Door::open_with(impatient).await;
    let mut stream = TcpStream::connect(door.server.local_addr).await.unwrap();
    let head =
        "POST /v1/topics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert_eq!((answer.status, answer.json()["kind"].as_str()), (408, Some("unavailable")));
    until_there_is_a_place(&door).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_answered_504() {
    let door = Door::open_with(HttpSettings { statement_timeout: short(), ..settings() }).await;
    let body = json!({ "sql": "SELECT count(*) FROM generate_series(1, 1000000000000)" }).to_string();
    let answer = door.ask("POST /v1/sql", Some(&body)).await;
    assert_eq!((answer.status, answer.json()["kind"].as_str()), (504, Some("unavailable")));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed() {
    let door = Door::open_with(HttpSettings { head_timeout: short(), ..settings() }).await;
    for said in ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(door.server.local_addr).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("closed");
        assert!(started.elapsed() >= short(), "{said:?}");
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), said.ends_with("\r\n\r\n"), "{said:?}");
    }
    door.close().await;
}

/// The status of an answer on a connection that stays open.
async fn read_status(stream: &mut TcpStream) -> u16 {
    let mut bytes = [0; 4096];
    let length = stream.read(&mut bytes).await.unwrap();
    let head = std::str::from_utf8(&bytes[..length]).unwrap();
    head.split(' ').nth(1).expect("a status").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_make_room_for_one_that_asks() {
    let door =
        Door::open_with(HttpSettings { connections_max: 3, head_timeout: Duration::from_secs(600), ..settings() })
            .await;
    let mut asked = TcpStream::connect(door.server.local_addr).await.unwrap();
    asked.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(read_status(&mut asked).await, 200);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(door.server.local_addr).await.unwrap());
    }
    let answered = tokio::time::timeout(Duration::from_secs(20), door.ask("GET /healthz", None)).await;
    assert_eq!(answered.expect("room was made").status, 200);
    // Who has asked before keeps the connection.
    asked.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(read_status(&mut asked).await, 200);
    drop((asked, silent));
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_loses_its_connection_and_its_place() {
    let stalling = HttpSettings { write_stall_timeout: short(), requests_in_flight_max: 1, ..settings() };
    let door = Door::open_with(stalling).await;
    for encoding in ["identity", "zstd"] {
        let mut stream = begin_large_answer_in(&door, encoding).await;
        assert_eq!(door.ask("GET /v1/topics", None).await.status, 503, "{encoding}");
        until_there_is_a_place(&door).await;
        // What had been sent is still there; the rest never comes.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{encoding}");
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_time_is_over() {
    let door = Door::open_with(HttpSettings { stream_timeout: short(), ..settings() }).await;
    for encoding in ["identity", "zstd"] {
        let mut stream = begin_large_answer_in(&door, encoding).await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect("it ends");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{encoding}");
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_stops_lets_a_request_finish() {
    let door = Door::open_with(HttpSettings { stop_timeout: Duration::from_secs(60), ..settings() }).await;
    let to = door.server.local_addr;
    let mut working = begin_large_answer(&door, 2_000_000).await;
    let mut idle = TcpStream::connect(to).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    let stopping = tokio::spawn(door.close());
    // An idle connection has nothing to finish.
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    let mut answer = Vec::new();
    working.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"0\r\n\r\n"));
    let last = answer.len() - 40;
    assert!(String::from_utf8_lossy(&answer[last..]).contains("\n2000000\n"));
    stopping.await.unwrap();
    assert!(TcpStream::connect(to).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_stops_ends_what_does_not_finish_in_time() {
    let door = Door::open_with(HttpSettings { stop_timeout: short(), ..settings() }).await;
    let _working = begin_large_answer(&door, 1_000_000_000).await;
    tokio::time::timeout(Duration::from_secs(20), door.close()).await.expect("it stops");
}
