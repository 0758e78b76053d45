//! What consumers are told of records that were damaged where they lie, and what the operator is told.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

#[path = "support/wire.rs"]
mod wire;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use broker::client::{Client, Producer, ProducerSettings};
use broker::{Broker, BrokerSettings, Resources, TopicDeletion};
use eventlog::{Acks, EmbeddedLog, EventLog, EventLogSettings, RecordBatchBuilder, TopicSpec};
use kafka_wire::messages as m;
use kafka_wire::{Api, ErrorCode};
use model::{ErrorKind, Metrics, SystemClock};
use support::{partition, record, topic};
use wire::{Wire, text};

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn with(&self, text: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        lines.filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

async fn open(directory: &Path) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(directory, EventLogSettings::shipped(), Arc::new(SystemClock), Metrics::default());
    log.await.unwrap()
}

/// Ten batches of a record each; the one of this value is damaged.
async fn damaged(directory: &Path, value: &str) {
    let log = open(directory).await;
    log.create_topic(TopicSpec::new(topic("t"), 1)).await.unwrap();
    for number in 0..10 {
        let batch = RecordBatchBuilder::default().push(record("k", &format!("value {number}"))).build();
        log.append(&partition("t", 0), batch, Acks::Durable).await.unwrap();
    }
    log.close().await.unwrap();
    let folder = std::fs::read_dir(directory.join("topics")).unwrap().next().unwrap().unwrap().path();
    let path = folder.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(value.len()).position(|window| window == value.as_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// A broker over the log in a folder.
async fn serve(log: &Arc<EmbeddedLog>) -> Broker {
    let settings = BrokerSettings { port: 0, ..BrokerSettings::shipped() };
    let served: Arc<dyn EventLog> = Arc::<EmbeddedLog>::clone(log);
    let resources = Resources {
        log: served,
        clock: Arc::new(SystemClock),
        metrics: Metrics::default(),
        topic_deletion: TopicDeletion::unrestricted(),
    };
    Broker::start(settings, resources).await.unwrap()
}

/// The code, and how many bytes of records.
async fn fetch(wire: &mut Wire, offset: i64) -> (i16, usize) {
    let asked = m::fetch_request::FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
    let topic =
        m::fetch_request::FetchTopic::default().with_topic(m::TopicName(text("t"))).with_partitions(vec![asked]);
    let request = m::FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
    let found: m::FetchResponse = wire.ask(Api::Fetch, 12, &request).await;
    assert_eq!(found.error_code, 0);
    let found = &found.responses[0].partitions[0];
    (found.error_code, found.records.as_ref().map_or(0, bytes::Bytes::len))
}

#[tokio::test]
async fn a_consumer_is_told_of_damage_and_the_operator_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let directory = tempfile::tempdir().unwrap();
    damaged(directory.path(), "value 4").await;
    let log = open(directory.path()).await;
    let broker = serve(&log).await;
    let mut wire = Wire::connect(&broker.local_addr().to_string()).await;

    let (code, before) = fetch(&mut wire, 0).await;
    assert_eq!((code, before > 0), (0, true), "what lies before is read");
    let corrupt = ErrorCode::CorruptMessage.code();
    for _ in 0..3 {
        assert_eq!(fetch(&mut wire, 4).await, (corrupt, 0), "not the code that clients repeat in silence");
    }
    let (code, behind) = fetch(&mut wire, 5).await;
    assert_eq!((code, behind > 0), (0, true), "who seeks behind it reads on");
    let told = lines.with("ERROR");
    assert_eq!(told.len(), 1, "once: {told:?}");
    for part in ["topic=t", "partition=0", "offset=4", "00000000000000000000.log", "CORRUPT_MESSAGE"] {
        assert!(told[0].contains(part), "{part}: {}", told[0]);
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_producer_is_told_why_a_partition_takes_nothing_and_does_not_try_again() {
    let directory = tempfile::tempdir().unwrap();
    damaged(directory.path(), "value 4").await;
    let folder = std::fs::read_dir(directory.path().join("topics")).unwrap().next().unwrap().unwrap().path();
    let file = folder.join("00000000000000000000.log");
    std::fs::remove_file(&file).unwrap();
    let log = open(directory.path()).await;
    let broker = serve(&log).await;
    let client = Client::connect(&broker.local_addr().to_string()).await.unwrap();
    let producer = Producer::start(&client, ProducerSettings::shipped()).await.unwrap();
    let delivery = producer.send_to(&partition("t", 0), record("k", "more")).await.unwrap();
    let refused = tokio::time::timeout(ProducerSettings::shipped().delivery_timeout / 4, delivery.confirmed()).await;
    let refused = refused.expect("it is not tried again").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let file = file.display().to_string();
    for part in ["t/0", "PolicyViolation", "records of it are missing", &file, "put the file back", "recovery.md"] {
        assert!(refused.message().contains(part), "{part}: {refused}");
    }
    // Another topic is none of its business, and the producer goes on.
    log.create_topic(TopicSpec::new(topic("u"), 1)).await.unwrap();
    let delivery = producer.send_to(&partition("u", 0), record("k", "more")).await.unwrap();
    assert_eq!(delivery.confirmed().await.unwrap().offset, 0);
    broker.stop().await;
}
