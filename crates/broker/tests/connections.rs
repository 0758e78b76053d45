//! What a connection may do, and when it is closed.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use bytes::Buf;
use kafka_wire::messages as m;
use kafka_wire::{Api, ErrorCode};
use support::{Served, partition, topic};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};
use wire::{Wire, text};

const SOON: Duration = Duration::from_secs(5);

async fn is_closed(wire: &mut Wire) -> bool {
    timeout(SOON, wire.receive()).await.expect("the connection stays open").is_none()
}

#[tokio::test]
async fn a_newer_client_is_told_in_version_0_what_is_spoken() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    // ApiVersions in version 99 with a body that only a newer broker could read.
    let request = [0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff, 1, 2, 3];
    wire.stream.write_all(&(request.len() as u32).to_be_bytes()).await.unwrap();
    wire.stream.write_all(&request).await.unwrap();
    let mut answer = wire.receive().await.unwrap();
    assert_eq!(answer.get_i32(), 5);
    let (error, ranges) = kafka_wire::api_versions::decode_response(0, answer).unwrap();
    assert_eq!((error, ranges.len()), (35, Api::ALL.len()));
    // And the connection goes on.
    let request = m::ApiVersionsRequest::default();
    let response: m::ApiVersionsResponse = wire.ask(Api::ApiVersions, 0, &request).await;
    assert_eq!(response.error_code, 0);
}

#[tokio::test]
async fn what_is_not_a_request_closes_the_connection() {
    let served = Served::start_with(|settings| settings.request_bytes_max = 10_000).await;
    let check = |name: &'static str, bytes: &'static [u8]| {
        let address = served.address();
        async move {
            let mut wire = Wire::connect(&address).await;
            wire.stream.write_all(bytes).await.unwrap();
            assert!(is_closed(&mut wire).await, "{name}");
        }
    };
    check("too long", &[0, 0, 0x27, 0x11]).await;
    check("a negative length", &[0xff, 0xff, 0xff, 0xff]).await;
    check("an HTTP request", b"GET / HTTP/1.1\r\n\r\n").await;
    check("an API that is not served", &[0, 0, 0, 10, 0, 7, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).await;
    check("a version that is not served", &[0, 0, 0, 10, 0, 1, 0, 99, 0, 0, 0, 1, 0xff, 0xff]).await;
    check("a body that is cut", &[0, 0, 0, 10, 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff]).await;
    check("no header", &[0, 0, 0, 1, 0]).await;
}

/// librdkafka before 2.11.1 must see version 0 in the list; who sends it is told no.
#[tokio::test]
async fn an_old_produce_request_is_refused_and_not_stored() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    for version in 0..3_u8 {
        // acks 1, timeout 1 s, topic "t", partition 0, four bytes.
        let body = [0, 1, 0, 0, 3, 232, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
        let request = [&[0, 0, 0, version, 0, 0, 0, 9, 0xff, 0xff], &body[..]].concat();
        wire.stream.write_all(&(request.len() as u32).to_be_bytes()).await.unwrap();
        wire.stream.write_all(&request).await.unwrap();
        let mut answer = wire.receive().await.unwrap();
        assert_eq!(answer.get_i32(), 9);
        let topics = kafka_wire::produce::decode_response(version.into(), answer).unwrap();
        assert_eq!(topics[0].partitions[0].error, ErrorCode::UnsupportedVersion.code());
    }
}

#[tokio::test]
async fn answers_leave_in_the_order_of_their_requests() {
    let served = Served::start().await;
    let client = served.client().await;
    client.create_topic(&topic("t"), 1, &eventlog::TopicSettings::default()).await.unwrap();
    let mut wire = Wire::connect(&served.address()).await;
    // A fetch that waits, and behind it requests that could be answered at once.
    let query = m::fetch_request::FetchPartition::default().with_partition_max_bytes(1000);
    let queried = m::fetch_request::FetchTopic::default();
    let queried = queried.with_topic(m::TopicName(text("t"))).with_partitions(vec![query]);
    let fetch = m::FetchRequest::default().with_max_wait_ms(200).with_min_bytes(1).with_max_bytes(1000);
    let started = Instant::now();
    wire.send(Api::Fetch, 4, 1, &fetch.with_topics(vec![queried])).await;
    for id in 2..100 {
        wire.send(Api::ApiVersions, 0, id, &m::ApiVersionsRequest::default()).await;
    }
    for id in 1..100 {
        assert_eq!(wire.receive_id().await, id);
    }
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_client_that_stops_within_a_request_is_left() {
    let served = Served::start_with(|settings| settings.transfer_timeout = Duration::from_millis(50)).await;
    let mut wire = Wire::connect(&served.address()).await;
    wire.stream.write_all(&[0, 0, 1, 0, 0, 18]).await.unwrap();
    assert!(is_closed(&mut wire).await);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_left() {
    let served = Served::start_with(|settings| settings.idle_timeout = Duration::from_millis(50)).await;
    let mut wire = Wire::connect(&served.address()).await;
    assert!(is_closed(&mut wire).await);
}

async fn is_answered(wire: &mut Wire) {
    let _: m::ApiVersionsResponse = wire.ask(Api::ApiVersions, 0, &m::ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_while_all_others_have_something_to_do() {
    let served = Served::start_with(|settings| settings.connections_max = 1).await;
    let client = served.client().await;
    client.create_topic(&topic("t"), 1, &eventlog::TopicSettings::default()).await.unwrap();
    let fetches = || served.metrics.broker_requests.get_or_create(&[("api", "Fetch".to_owned())]).get();
    let partition = partition("t", 0);
    let waiting = client.fetch(&partition, 0, 1000, Duration::from_secs(2));
    let another = async {
        while fetches() == 0 {
            tokio::task::yield_now().await;
        }
        let mut second = Wire::connect(&served.address()).await;
        assert!(is_closed(&mut second).await);
        assert_eq!(served.metrics.broker_connections.get(), 1);
    };
    let (fetched, ()) = tokio::join!(waiting, another);
    fetched.expect("whose request is in work keeps its place");
}

#[tokio::test]
async fn silent_connections_give_way_the_one_first_that_never_asked() {
    let served = Served::start_with(|settings| settings.connections_max = 3).await;
    let address = served.address();
    let connect = || Wire::connect(&address);
    let (mut early, mut late) = (connect().await, connect().await);
    is_answered(&mut early).await;
    is_answered(&mut late).await;
    let mut mute = connect().await;
    while served.metrics.broker_connections.get() < 3 {
        tokio::task::yield_now().await;
    }
    let mut fourth = connect().await;
    is_answered(&mut fourth).await;
    assert!(is_closed(&mut mute).await);
    is_answered(&mut early).await;
    let mut fifth = connect().await;
    is_answered(&mut fifth).await;
    assert!(is_closed(&mut late).await, "it has been silent for longest");
    for wire in [&mut early, &mut fourth, &mut fifth] {
        is_answered(wire).await;
    }
}

#[tokio::test]
async fn a_stop_answers_those_who_wait() {
    let served = Served::start().await;
    let client = served.client().await;
    client.create_topic(&topic("t"), 1, &eventlog::TopicSettings::default()).await.unwrap();
    let waiting = tokio::spawn(async move { client.fetch(&partition("t", 0), 0, 1000, Duration::from_secs(30)).await });
    let requests = || served.metrics.broker_requests.get_or_create(&[("api", "Fetch".to_owned())]).get();
    while requests() == 0 {
        tokio::task::yield_now().await;
    }
    let address = served.address();
    timeout(SOON, served.broker.stop()).await.expect("it stops soon");
    assert!(waiting.await.unwrap().unwrap().batches.is_empty(), "the fetch was answered, without records");
    assert!(tokio::net::TcpStream::connect(&address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn our_client_says_when_it_does_not_talk_to_a_kafka_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        stream
    });
    let error = broker::client::Client::connect(&address).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&format!("what listens at {address} is no Kafka server")), "{said}");
    assert_eq!(error.kind(), model::ErrorKind::Invalid);
    drop(serving.await.unwrap());
}
