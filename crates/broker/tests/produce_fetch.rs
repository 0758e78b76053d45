//! Records in and out over loopback, with our client.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use std::time::Duration;

use broker::client::{OffsetQuery, Producer, ProducerSettings};
use eventlog::{Acks, Compression, EventLog, RecordBatchBuilder, TopicSettings};
use model::ErrorKind;
use support::{Served, partition, record, topic};

fn batch(values: &[&str]) -> bytes::Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for value in values {
        builder.push(record("k", value));
    }
    builder.build()
}

const WAIT: Duration = Duration::from_secs(10);
const NO_WAIT: Duration = Duration::ZERO;

#[tokio::test]
async fn what_is_acknowledged_is_read_back() {
    let served = Served::start().await;
    let client = served.client().await;
    client.create_topic(&topic("t"), 2, &TopicSettings::default()).await.unwrap();
    assert_eq!(client.topics().await.unwrap()[0].partitions, 2);
    let to = partition("t", 1);
    assert_eq!(client.produce(&to, batch(&["a", "b"]), Acks::Durable).await.unwrap(), Some(0));
    assert_eq!(client.produce(&to, batch(&["c"]), Acks::Written).await.unwrap(), Some(2));
    assert_eq!(client.produce(&to, batch(&["d"]), Acks::Queued).await.unwrap(), None);
    assert_eq!(client.produce(&to, batch(&["e"]), Acks::Durable).await.unwrap(), Some(4));

    // From the middle of a batch the whole batch comes, and the client drops what was not asked for.
    let fetched = client.fetch(&to, 1, 1 << 20, NO_WAIT).await.unwrap();
    assert_eq!((fetched.high_watermark, fetched.log_start_offset), (5, 0));
    let values: Vec<_> = fetched.records(1).unwrap().into_iter().map(|r| (r.offset, r.value.unwrap())).collect();
    assert_eq!(values, [(1, "b".into()), (2, "c".into()), (3, "d".into()), (4, "e".into())]);

    assert_eq!(client.offset(&to, OffsetQuery::Earliest).await.unwrap(), Some(0));
    assert_eq!(client.offset(&to, OffsetQuery::Latest).await.unwrap(), Some(5));
    assert_eq!(client.offset(&to, OffsetQuery::AtTime(1_000)).await.unwrap(), Some(0));
    assert_eq!(client.offset(&to, OffsetQuery::AtTime(1_001)).await.unwrap(), None);
    client.delete_topic(&topic("t")).await.unwrap();
    assert_eq!(client.topics().await.unwrap(), []);
}

#[tokio::test]
async fn refusals_say_what_kind_they_are() {
    let served = Served::start_with(|settings| settings.auto_create_topics = false).await;
    let client = served.client().await;
    let small = TopicSettings { message_bytes_max: 200, ..TopicSettings::default() };
    client.create_topic(&topic("t"), 1, &small).await.unwrap();
    let kind = |error: model::Error| error.kind();
    let check = |name: &str, result: Result<(), model::Error>, expected| {
        assert_eq!(result.map_err(kind), Err(expected), "{name}");
    };
    let t = partition("t", 0);
    check("twice", client.create_topic(&topic("t"), 1, &small).await, ErrorKind::Conflict);
    check("no partitions", client.create_topic(&topic("u"), 0, &small).await, ErrorKind::Invalid);
    check("no topic", client.delete_topic(&topic("u")).await, ErrorKind::NotFound);
    check("no creation", client.topic(&topic("u"), true).await.map(drop), ErrorKind::NotFound);
    let past = client.fetch(&t, 5, 1000, NO_WAIT).await;
    check("past the end", past.map(drop), ErrorKind::Invalid);
    let elsewhere = client.fetch(&partition("t", 9), 0, 1000, NO_WAIT).await;
    check("no partition", elsewhere.map(drop), ErrorKind::NotFound);
    let large = client.produce(&t, batch(&[&"x".repeat(300)]), Acks::Durable).await;
    check("too large", large.map(drop), ErrorKind::Invalid);
    let mut broken = batch(&["a"]).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let broken = client.produce(&t, broken.into(), Acks::Durable).await;
    // Kafka calls a wrong checksum transient: the next attempt may come through whole.
    check("checksum", broken.map(drop), ErrorKind::Unavailable);
    let nothing = client.produce(&t, bytes::Bytes::new(), Acks::Durable).await;
    check("no records", nothing.map(drop), ErrorKind::Invalid);
    assert_eq!(served.log.bounds(&t).unwrap().high_watermark, 0);
}

#[tokio::test]
async fn a_topic_that_has_an_owner_is_read_and_not_written() {
    let served = Served::start().await;
    let client = served.client().await;
    let owned = partition("owned", 0);
    client.create_topic(&owned.topic, 1, &TopicSettings::default()).await.unwrap();
    served.log.claim_topic(&owned.topic, "the test").unwrap();
    // Its owner writes through the log, not through the door.
    served.log.append(&owned, batch(&["a"]), Acks::Durable).await.unwrap();
    let denied = |name: &str, result: Result<(), model::Error>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{name}: {error}");
        assert!(error.to_string().contains("topic owned is the test's: nobody else writes it"), "{name}: {error}");
    };
    for acks in [Acks::Durable, Acks::Written] {
        denied("produce", client.produce(&owned, batch(&["b"]), acks).await.map(drop));
    }
    denied("delete", client.delete_topic(&owned.topic).await);
    let create = client.create_topic(&owned.topic, 1, &TopicSettings::default()).await;
    assert_eq!(create.unwrap_err().kind(), ErrorKind::Conflict, "that it exists is no secret");
    let fetched = client.fetch(&owned, 0, 1 << 20, NO_WAIT).await.unwrap();
    assert_eq!((fetched.high_watermark, fetched.records(0).unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_fetch_waits_for_what_is_not_there_yet() {
    let served = Served::start().await;
    let client = served.client().await;
    client.create_topic(&topic("t"), 1, &TopicSettings::default()).await.unwrap();
    let mut follower = client.follow(partition("t", 0), 0);
    assert!(follower.next(Duration::from_millis(20)).await.unwrap().is_empty(), "nothing came in time");
    let (records, produced) = tokio::join!(follower.next(WAIT), async {
        tokio::task::yield_now().await;
        client.produce(&partition("t", 0), batch(&["late"]), Acks::Durable).await
    });
    produced.unwrap();
    assert_eq!(records.unwrap()[0].value.as_deref(), Some(&b"late"[..]));
    assert_eq!(follower.next_offset(), 1);
}

#[tokio::test]
async fn a_fetch_gives_at_least_one_batch_and_otherwise_keeps_to_its_limit() {
    let served = Served::start().await;
    let client = served.client().await;
    client.create_topic(&topic("t"), 1, &TopicSettings::default()).await.unwrap();
    let to = partition("t", 0);
    for _ in 0..10 {
        client.produce(&to, batch(&[&"x".repeat(1000)]), Acks::Durable).await.unwrap();
    }
    let count = |bytes_max: usize| {
        let (client, to) = (client.clone(), to.clone());
        async move { client.fetch(&to, 0, bytes_max, NO_WAIT).await.unwrap().batches.len() }
    };
    assert_eq!(count(1).await, 1);
    let three = count(3_500).await;
    assert!((1..=3).contains(&three), "{three} batches of a thousand bytes within 3500");
    assert_eq!(count(1 << 20).await, 10);
}

#[tokio::test]
async fn the_producer_keeps_order_and_confirms_every_record() {
    let served = Served::start().await;
    let client = served.client().await;
    client.create_topic(&topic("t"), 3, &TopicSettings::default()).await.unwrap();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let settings = ProducerSettings { compression, batch_bytes_max: 2_000, ..ProducerSettings::shipped() };
        let producer = Producer::start(&client, settings).await.unwrap();
        let before: i64 = ends(&served).iter().sum();
        let mut deliveries = Vec::new();
        for number in 0..5_000 {
            let record = record(&format!("key {}", number % 17), &number.to_string());
            deliveries.push(producer.send(&topic("t"), record).await.unwrap());
        }
        producer.flush().await.unwrap();
        let mut last = std::collections::BTreeMap::new();
        for delivery in deliveries {
            let delivered = delivery.confirmed().await.unwrap();
            let previous = last.insert(delivered.partition, delivered.offset);
            assert!(previous.is_none_or(|previous| previous + 1 == delivered.offset), "offsets have no holes");
        }
        assert_eq!(ends(&served).iter().sum::<i64>(), before + 5_000);
    }
}

fn ends(served: &Served) -> Vec<i64> {
    (0..3).map(|index| served.log.bounds(&partition("t", index)).unwrap().high_watermark).collect()
}

#[tokio::test]
async fn a_record_that_is_refused_does_not_stop_those_after_it() {
    let served = Served::start().await;
    let client = served.client().await;
    let small = TopicSettings { message_bytes_max: 500, ..TopicSettings::default() };
    client.create_topic(&topic("t"), 1, &small).await.unwrap();
    let settings = ProducerSettings { batch_bytes_max: 1, ..ProducerSettings::shipped() };
    let producer = Producer::start(&client, settings).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..100 {
        let value = if number % 10 == 5 { "x".repeat(1_000) } else { number.to_string() };
        deliveries.push(producer.send(&topic("t"), record("k", &value)).await.unwrap());
    }
    assert_eq!(producer.flush().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let mut stored = 0;
    for (number, delivery) in deliveries.into_iter().enumerate() {
        match delivery.confirmed().await {
            Ok(delivered) => {
                assert_eq!(delivered.offset, stored);
                stored += 1;
            }
            Err(error) => {
                assert_eq!((number % 10, error.kind()), (5, ErrorKind::Invalid), "{error}");
            }
        }
    }
    assert_eq!(stored, 90);
}

#[tokio::test]
async fn a_topic_that_is_asked_for_is_created() {
    let served = Served::start().await;
    let client = served.client().await;
    let producer = Producer::start(&client, ProducerSettings::shipped()).await.unwrap();
    let delivery = producer.send(&topic("fresh"), record("k", "v")).await.unwrap();
    assert_eq!(delivery.confirmed().await.unwrap().offset, 0);
    assert!(!served.log.topic("fresh").unwrap().id.is_nil());
    let requests = served.metrics.broker_requests.get_or_create(&[("api", "Produce".to_owned())]).get();
    assert_eq!(requests, 1);
}
