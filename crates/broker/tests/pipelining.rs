//! Produce requests of one connection overlap, and are stored and answered in their order, without idempotence.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

#[path = "support/held_log.rs"]
mod held_log;
#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Buf;
use eventlog::{Compression, EventLog, EventLogSettings, RecordBatchBuilder, TopicSettings};
use held_log::HeldLog;
use kafka_wire::{Api, RequestHeader, cold, messages as m};
use support::{Served, partition, record, topic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wire::{Wire, text};

const VERSION: i16 = 9;
const SOON: Duration = Duration::from_secs(20);

/// A produce request with one record a partition, whose value is the request's number.
fn request(number: usize, partitions: i32) -> Vec<u8> {
    let data = |index| {
        let mut batch = RecordBatchBuilder::new(Compression::None);
        // Sizes differ, so that requests wait for different amounts of room.
        let key = "k".repeat(number * 7 % 300);
        batch.push(record(&key, &number.to_string()));
        m::produce_request::PartitionProduceData::default().with_index(index).with_records(Some(batch.build()))
    };
    let name = m::TopicName(text("t"));
    let to = m::produce_request::TopicProduceData::default().with_name(name);
    let to = to.with_partition_data((0..partitions).map(data).collect());
    let request = m::ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![to]);
    let correlation_id = i32::try_from(number).unwrap();
    let header = RequestHeader { api: Api::Produce, version: VERSION, correlation_id, client_id: None };
    header.encode(|writer| cold::encode(writer, Api::Produce, VERSION, &request)).unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn a_request_is_stored_while_the_one_before_it_waits_for_its_answer() {
    const REQUESTS: usize = 40;
    let mut held = None;
    let served = Served::start_over(EventLogSettings::shipped(), |log| {
        let log = HeldLog::over(log);
        held = Some(Arc::clone(&log));
        log
    })
    .await;
    let held = held.unwrap();
    served.client().await.create_topic(&topic("t"), 1, &TopicSettings::default()).await.unwrap();
    let mut wire = Wire::connect(&served.address()).await;
    for number in 0..REQUESTS {
        wire.stream.write_all(&request(number, 1)).await.unwrap();
    }
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    let all_stored = async {
        while held.stored.load(Ordering::SeqCst) < REQUESTS {
            looks.tick().await;
        }
    };
    let stored = timeout(SOON, all_stored).await;
    let count = held.stored.load(Ordering::SeqCst);
    assert!(stored.is_ok(), "{count} requests are stored, of {REQUESTS} that were sent without waiting for an answer");
    held.answers.send_replace(true);
    for number in 0..REQUESTS {
        assert_eq!(wire.receive_id().await, i32::try_from(number).unwrap());
    }
}

async fn requests_are_stored_in_their_order(log_settings: EventLogSettings, request_count: usize) {
    const PARTITIONS: i32 = 3;
    let served = Served::start_over(log_settings, |log| log).await;
    served.client().await.create_topic(&topic("t"), PARTITIONS, &TopicSettings::default()).await.unwrap();
    let (mut answers, mut requests) = Wire::connect(&served.address()).await.stream.into_split();
    let sending = async {
        // Many at a time, as a client that never waits does.
        for chunk in (0..request_count).collect::<Vec<_>>().chunks(100) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|number| request(*number, PARTITIONS)).collect();
            requests.write_all(&bytes).await.unwrap();
        }
    };
    let receiving = async {
        for number in 0..request_count {
            let mut answer = vec![0; usize::try_from(answers.read_u32().await.unwrap()).unwrap()];
            answers.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer.as_slice().get_i32(), i32::try_from(number).unwrap(), "an answer out of order");
            let (_, body) = RequestHeader::response_body(Api::Produce, VERSION, answer.into()).unwrap();
            for stored in &kafka_wire::produce::decode_response(VERSION, body).unwrap()[0].partitions {
                assert_eq!((stored.error, stored.base_offset), (0, i64::try_from(number).unwrap()));
            }
        }
    };
    timeout(SOON, async { tokio::join!(sending, receiving) }).await.expect("all are answered");
    for index in 0..PARTITIONS {
        let mut next = 0;
        while next < i64::try_from(request_count).unwrap() {
            for batch in served.log.read(&partition("t", index), next, 1 << 20).await.unwrap().batches {
                let records = batch.records().unwrap();
                assert_eq!(records[0].value.as_deref().unwrap(), next.to_string().as_bytes(), "partition {index}");
                next = batch.next_offset();
            }
        }
    }
}

#[tokio::test]
async fn order_is_kept_on_one_thread() {
    requests_are_stored_in_their_order(EventLogSettings::shipped(), 5_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_is_kept_on_several_threads() {
    requests_are_stored_in_their_order(EventLogSettings::shipped(), 5_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_is_kept_when_the_log_has_little_room() {
    let narrow = EventLogSettings { queue_requests_max: 3, queue_bytes_max: 700, ..EventLogSettings::shipped() };
    // Few wait at a time, and so each few wait for the disk.
    requests_are_stored_in_their_order(narrow, 500).await;
}
