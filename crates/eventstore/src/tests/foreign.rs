//! What others write into the topic stops nothing.

use bytes::Bytes;
use eventlog::{Compression, EventLog, Header, Record, TopicSettings, TopicSpec};
use model::{ErrorKind, Metrics, TopicName};
use std::sync::Arc;

use super::{Scene, event, memory_log::MemoryLog, stream, wrong_version};
use crate::{
    Direction::Forward,
    EventStore, EventStoreSettings,
    ExpectedVersion::{Any, Exact, NoStream},
    StreamName,
    record::{Placement, decode, encode},
};

/// The record of a proper event, as another store would write it.
fn record_of(name: &str, version: u64, number: u128) -> Record {
    let stream = StreamName::new(name).unwrap();
    let source = Bytes::from_static(b"/elsewhere");
    let placement = Placement { stream: &stream, version, recorded_time_ms: 5, command: None, source: &source };
    encode(&event(number), &placement)
}

fn with_header(record: &Record, name: &'static str, value: Option<&'static str>) -> Record {
    let mut record = record.clone();
    record.headers.retain(|header| header.name != name);
    let name = Bytes::from_static(name.as_bytes());
    record.headers.extend(value.map(|value| Header { name, value: Some(Bytes::from_static(value.as_bytes())) }));
    record
}

#[test]
fn a_record_that_is_no_event_is_refused_with_a_reason() {
    let good = record_of("s", 0, 1);
    assert!(decode(&good).is_ok());
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let cases = [
        (Record::default(), "CloudEvent"),
        (with_header(&good, "ce_specversion", None), "CloudEvent"),
        (with_header(&good, "ce_specversion", Some("0.3")), "CloudEvent"),
        (Record { key: None, ..good.clone() }, "key"),
        (Record { key: text("$all"), ..good.clone() }, "key"),
        (Record { key: Some(Bytes::from_static(&[0xff])), ..good.clone() }, "key"),
        (Record { value: None, ..good.clone() }, "value"),
        (with_header(&good, "ce_id", Some("17")), "ce_id"),
        (with_header(&good, "ce_type", Some("")), "ce_type"),
        (with_header(&good, "ff_version", None), "ff_version"),
        (with_header(&good, "ff_version", Some("-1")), "ff_version"),
        (with_header(&good, "ff_recorded_ms", Some("now")), "ff_recorded_ms"),
        (with_header(&good, "ce_time", Some("yesterday")), "ce_time"),
        (with_header(&good, "ff_command_id", Some("")), "ff_command_id"),
    ];
    for (record, reason) in cases {
        let error = decode(&record).unwrap_err();
        assert!(error.contains(reason), "{error} does not speak of {reason}");
    }
}

#[tokio::test]
async fn foreign_records_are_counted_and_passed_over() {
    let scene = Scene::new().await;
    let plain = Record { value: Some(Bytes::from_static(b"hello")), ..Record::default() };
    scene.store.append(&stream("s"), NoStream, vec![event(1)]).await.unwrap();
    scene.log.append_foreign(vec![plain.clone(), plain.clone()]);
    scene.log.append_unreadable();
    let appended = scene.store.append(&stream("s"), Exact(0), vec![event(2)]).await.unwrap();
    assert_eq!(appended.positions.to_string(), "events/0:5");
    let foreign = scene.store.foreign_records();
    assert_eq!(foreign.count, 3);
    let (offset, reason) = foreign.last.unwrap();
    assert_eq!(offset, 3);
    assert!(reason.contains("batch"), "{reason}");
    let events = scene.store.read_stream(&stream("s"), 0, Forward, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), [0, 4]);
    let page = scene.store.read_all(0, 10).await.unwrap();
    assert_eq!(page.events, events);
    assert_eq!(*scene.reopened().await.opened.index.read(), *scene.store.opened.index.read());
}

#[tokio::test]
async fn a_compressed_batch_of_a_proper_event_is_an_event() {
    let scene = Scene::new().await;
    let mut builder = eventlog::RecordBatchBuilder::new(Compression::Lz4);
    builder.push(record_of("s", 0, 1));
    scene.log.append_batch(&builder.build());
    assert_eq!(scene.store.append(&stream("s"), Exact(0), vec![event(2)]).await.unwrap().first_version, 1);
    assert_eq!(scene.store.foreign_records().count, 0);
}

#[tokio::test]
async fn what_another_writer_appended_counts_for_the_next_append() {
    let scene = Scene::new().await;
    scene.store.append(&stream("s"), NoStream, vec![event(1)]).await.unwrap();
    // One that continues the stream, and one whose version is taken.
    scene.log.append_foreign(vec![record_of("s", 1, 2), record_of("s", 1, 3)]);
    let error = scene.store.append(&stream("s"), Exact(0), vec![event(4)]).await.unwrap_err();
    assert_eq!(error.to_string(), wrong_version("s", Exact(0), Some(1)));
    assert_eq!(scene.store.foreign_records().count, 1);
    let all = scene.store.read_all(0, 10).await.unwrap().events;
    assert_eq!(
        all.iter().map(|event| event.event_id.as_u128()).collect::<Vec<_>>(),
        [1, 2],
        "the refused one is unseen"
    );
}

#[tokio::test]
async fn an_append_that_lost_its_versions_to_another_writer_is_refused() {
    let scene = Arc::new(Scene::new().await);
    let gate = scene.log.gate.write().await;
    let append = {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move { scene.store.append(&stream("s"), NoStream, vec![event(1)]).await })
    };
    while scene.log.appends.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    scene.log.append_foreign(vec![record_of("s", 0, 9)]);
    drop(gate);
    let error = append.await.unwrap().unwrap_err();
    assert_eq!(model::Error::from(error).kind(), ErrorKind::Conflict);
    let events = scene.store.read_stream(&stream("s"), 0, Forward, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.event_id.as_u128()).collect::<Vec<_>>(), [9]);
    assert_eq!(*scene.reopened().await.opened.index.read(), *scene.store.opened.index.read());
}

#[tokio::test]
async fn lost_events_are_not_passed_over() {
    for lost in [0, 1] {
        let scene = Scene::new().await;
        for number in 1..=3 {
            scene.store.append(&stream("s"), Any, vec![event(number)]).await.unwrap();
        }
        scene.store.append(&stream("other"), Any, vec![event(4)]).await.unwrap();
        scene.log.lose_batch(lost);
        let store = scene.reopened().await;
        let offset = i64::try_from(lost).unwrap();
        assert_eq!(store.damage()[0].offsets, offset..offset + 1);
        // The next event of the stream shows that one of its own is missing.
        let what = format!("events/0 is damaged at offsets {lost} to {lost} (offsets {lost} to {lost} are missing)");
        let refused = [
            store.read_all(offset, 10).await.map(drop),
            store.read_stream(&stream("s"), 0, Forward, 10).await.map(drop),
            store.append(&stream("s"), Any, vec![event(5)]).await.map(drop),
        ];
        for refused in refused {
            let error = model::Error::from(refused.unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.message().ends_with(&what), "{error}");
        }
        assert_eq!(store.append(&stream("other"), Exact(0), vec![event(6)]).await.unwrap().first_version, 1);
        assert_eq!(store.foreign_records().count, 0);
    }
}

/// However the bytes of a batch are damaged, decoding gives the events, others, or a reason: it does not panic.
#[test]
fn damaged_bytes_are_no_event_and_no_panic() {
    let mut builder = eventlog::RecordBatchBuilder::default();
    for (version, number) in (0..).zip(1..4) {
        builder.push(record_of("stream", version, number));
    }
    let whole = builder.build().to_vec();
    let cut = |bytes: Vec<u8>| {
        let batch = eventlog::StoredBatch { bytes: bytes.into(), arrival_time_ms: 0 };
        for record in batch.records().into_iter().flatten() {
            let _ = decode(&record);
            let _ = crate::outcome::decode(&record);
        }
        let _ = crate::damage::streams_in(batch.bytes, &(0..3));
    };
    for at in 0..whole.len() {
        for changed in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = changed;
            cut(bytes);
        }
        if at >= eventlog::record::HEADER_BYTES {
            cut(whole[..at].to_vec());
        }
    }
}

#[tokio::test]
async fn a_topic_that_cannot_hold_a_store_is_refused() {
    let retention = TopicSettings { retention_ms: Some(1000), ..TopicSettings::default() };
    let cases = [(2, TopicSettings::default(), "2 partitions"), (1, retention, "retention")];
    for (partitions, settings, reason) in cases {
        let log = Arc::new(MemoryLog::default());
        log.create_topic(TopicSpec { name: TopicName::new("events").unwrap(), partitions, settings }).await.unwrap();
        let clock = Arc::new(model::ManualClock::default());
        let opened = EventStore::open(log, EventStoreSettings::shipped(), clock, Metrics::default()).await;
        let error = opened.err().unwrap();
        assert!(error.message().contains(reason), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_topic_with_smaller_batches_makes_smaller_appends() {
    let log = Arc::new(MemoryLog::default());
    let settings = TopicSettings { message_bytes_max: 4096, ..TopicSettings::default() };
    log.create_topic(TopicSpec { name: TopicName::new("events").unwrap(), partitions: 1, settings }).await.unwrap();
    let clock = Arc::new(model::ManualClock::default());
    let store = EventStore::open(log, EventStoreSettings::shipped(), clock, Metrics::default()).await.unwrap();
    assert!(store.append(&stream("s"), Any, vec![event(1), event(2)]).await.is_ok());
    let error = store.append(&stream("s"), Any, vec![event(3), event(4), event(5)]).await.unwrap_err();
    assert!(error.to_string().contains("over the limit of 3072"), "{error}");
}
