//! An idempotent producer whose connections break at any byte: every record is stored once, in order.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::client::{Client, Producer, ProducerSettings};
use eventlog::{EventLog, TopicSettings};
use support::{Served, partition, record, topic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes both ways, and breaks each connection after some thousand bytes of answers or requests.
async fn breaking_proxy(to: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&broken);
    tokio::spawn(async move {
        let mut seed: u64 = 7;
        loop {
            let (inward, _) = listener.accept().await.unwrap();
            let outward = TcpStream::connect(to).await.unwrap();
            let counter = Arc::clone(&counter);
            // Any number will do, as long as it is another each time.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (requests, answers) = (2_000 + (seed >> 33) % 60_000, 400 + (seed >> 13) % 3_000);
            tokio::spawn(async move {
                let (from_client, to_client) = inward.into_split();
                let (from_broker, to_broker) = outward.into_split();
                tokio::select! {
                    () = pass(from_client, to_broker, requests) => {}
                    () = pass(from_broker, to_client, answers) => {}
                }
                counter.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    (address, broken)
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, mut allowance: u64) {
    let mut buffer = vec![0; 4096];
    while allowance > 0 {
        let limit = usize::try_from(allowance).unwrap().min(buffer.len());
        match from.read(&mut buffer[..limit]).await {
            Ok(count) if count > 0 => {
                allowance -= count as u64;
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

#[tokio::test]
async fn every_record_is_stored_once_and_in_order() {
    const RECORDS: usize = 20_000;
    const PARTITIONS: i32 = 3;
    let served = Served::start().await;
    served.client().await.create_topic(&topic("t"), PARTITIONS, &TopicSettings::default()).await.unwrap();
    let (address, broken) = breaking_proxy(served.broker.local_addr()).await;
    let client = Client::connect(&address.to_string()).await.unwrap();
    let settings = ProducerSettings {
        batch_bytes_max: 1_000,
        retry_pause: Duration::from_millis(1),
        ..ProducerSettings::shipped()
    };
    let producer = Producer::start(&client, settings).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        let to = partition("t", i32::try_from(number).unwrap() % PARTITIONS);
        deliveries.push(producer.send_to(&to, record("k", &number.to_string())).await.unwrap());
    }
    let flushed = producer.flush().await;
    let mut delivered = Vec::new();
    for delivery in deliveries {
        delivered.push(delivery.confirmed().await.unwrap());
    }
    flushed.unwrap();
    assert!(broken.load(Ordering::Relaxed) > 5, "the proxy broke only {broken:?} connections");

    let mut stored = Vec::new();
    for index in 0..PARTITIONS {
        let mut follower = served.client().await.follow(partition("t", index), 0);
        let mut values: Vec<usize> = Vec::new();
        let end = served.log.bounds(&partition("t", index)).unwrap().high_watermark;
        while follower.next_offset() < end {
            let records = follower.next(Duration::from_secs(5)).await.unwrap();
            let value =
                |r: eventlog::Record| String::from_utf8(r.value.unwrap().to_vec()).unwrap().parse::<usize>().unwrap();
            values.extend(records.into_iter().map(value));
        }
        let index = usize::try_from(index).unwrap();
        let expected: Vec<usize> = (index..RECORDS).step_by(3).collect();
        assert_eq!(values, expected, "partition {index}");
        stored.push(values);
    }
    for (number, delivered) in delivered.into_iter().enumerate() {
        let at = usize::try_from(delivered.offset).unwrap();
        let index = usize::try_from(delivered.partition.partition).unwrap();
        assert_eq!(stored[index][at], number, "a confirmation names the record's own offset");
    }
}
