//! Reads of streams and of everything, lists, subscriptions.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::StreamExt;

use super::{Scene, event, new_id, stream};
use crate::{
    Delivery,
    Direction::{self, Backward, Forward},
    Error, EventStoreSettings, ExpectedVersion, NewEvent, RecordedEvent, StreamName, Subscription,
};

/// A store with events 0 to 9: the even ones in the stream `even`, the odd ones in `odd`.
async fn ten_events(settings: EventStoreSettings) -> Scene {
    let scene = Scene::with(settings).await;
    for number in 0..10 {
        let name = stream(if number % 2 == 0 { "even" } else { "odd" });
        scene.store.append(&name, ExpectedVersion::Any, vec![event(number)]).await.unwrap();
    }
    scene
}

fn numbers(events: &[RecordedEvent]) -> Vec<u128> {
    events.iter().map(|event| event.event_id.as_u128()).collect()
}

#[tokio::test]
async fn everything_given_is_given_back() {
    let scene = Scene::new().await;
    let full = NewEvent {
        metadata: Some(Bytes::from_static(b"{\"a\":1}")),
        effective_time_ms: Some(-1),
        correlation_id: Some("talk".to_owned()),
        causation_id: Some("cause".to_owned()),
        ..event(7)
    };
    let name = stream("s é");
    scene.store.append(&name, ExpectedVersion::Any, vec![event(6), full]).await.unwrap();
    let bare = RecordedEvent {
        stream: name.clone(),
        version: 0,
        event_id: event(6).event_id,
        event_type: "counted".to_owned(),
        data: Bytes::from_static(b"{\"number\":6}"),
        metadata: None,
        recorded_time_ms: 1000,
        effective_time_ms: 1000,
        correlation_id: None,
        causation_id: None,
        command_id: None,
        command_digest: None,
        offset: 0,
    };
    let full = RecordedEvent {
        version: 1,
        event_id: event(7).event_id,
        data: Bytes::from_static(b"{\"number\":7}"),
        metadata: Some(Bytes::from_static(b"{\"a\":1}")),
        effective_time_ms: -1,
        correlation_id: Some("talk".to_owned()),
        causation_id: Some("cause".to_owned()),
        offset: 1,
        ..bare.clone()
    };
    let read = scene.store.read_stream(&name, 0, Forward, 10).await.unwrap();
    assert_eq!(read, [bare, full]);
    assert_eq!(read[0].json().unwrap(), serde_json::json!({"number": 6}));
}

#[tokio::test]
async fn streams_are_read_both_ways() {
    let scene = ten_events(EventStoreSettings::shipped()).await;
    let cases: [(&str, u64, Direction, usize, &[u128]); 9] = [
        ("even", 0, Forward, 100, &[0, 2, 4, 6, 8]),
        ("even", 3, Forward, 100, &[6, 8]),
        ("even", 1, Forward, 2, &[2, 4]),
        ("even", 5, Forward, 2, &[]),
        ("even", u64::MAX, Forward, 2, &[]),
        ("odd", u64::MAX, Backward, 100, &[9, 7, 5, 3, 1]),
        ("odd", 2, Backward, 2, &[5, 3]),
        ("odd", 0, Backward, 2, &[1]),
        ("odd", 2, Backward, 0, &[]),
    ];
    for (name, from, direction, count_max, expected) in cases {
        let events = scene.store.read_stream(&stream(name), from, direction, count_max).await.unwrap();
        assert_eq!(numbers(&events), expected, "{name} from {from} {direction:?}");
    }
    let missing = scene.store.read_stream(&stream("none"), 0, Forward, 1).await.unwrap_err();
    assert!(matches!(missing, Error::StreamNotFound(_)), "{missing}");
}

#[tokio::test]
async fn pages_are_bounded_and_complete() {
    // An event weighs more than its fixed part, so that a page holds one or two.
    let settings = EventStoreSettings {
        page_bytes_max: size_of::<RecordedEvent>() + 1,
        read_bytes: 1,
        cache_bytes: 0,
        ..EventStoreSettings::shipped()
    };
    let scene = ten_events(settings).await;
    let mut forward = Vec::new();
    loop {
        let page = scene.store.read_stream(&stream("even"), forward.len() as u64, Forward, 100).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        forward.extend(numbers(&page));
    }
    assert_eq!(forward, [0, 2, 4, 6, 8]);
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let page = scene.store.read_all(next, 100).await.unwrap();
        assert!(page.events.len() <= 2);
        all.extend(numbers(&page.events));
        next = page.next_offset;
        if next >= page.end_offset {
            break;
        }
    }
    assert_eq!(all, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn all_events_are_read_from_an_offset() {
    let scene = ten_events(EventStoreSettings::shipped()).await;
    for (from, count_max, expected, next) in [
        (0, 100, 0..10, 10),
        (7, 100, 7..10, 10),
        (2, 3, 2..5, 5),
        (10, 5, 0..0, 10),
        (50, 5, 0..0, 50),
        (-3, 1, 0..1, 1),
    ] {
        let page = scene.store.read_all(from, count_max).await.unwrap();
        assert_eq!(numbers(&page.events), expected.collect::<Vec<_>>(), "from {from}");
        assert_eq!((page.next_offset, page.end_offset), (next, 10), "from {from}");
    }
}

#[tokio::test]
async fn neighbours_are_read_together_and_again_from_the_cache() {
    let scene = ten_events(EventStoreSettings::shipped()).await;
    let before = scene.log.reads.load(Ordering::SeqCst);
    for _ in 0..3 {
        scene.store.read_stream(&stream("even"), 0, Forward, 100).await.unwrap();
        scene.store.read_stream(&stream("odd"), 0, Backward, 100).await.unwrap();
    }
    let reads = scene.log.reads.load(Ordering::SeqCst) - before;
    assert!(reads <= 2, "{reads} reads");
}

#[tokio::test]
async fn streams_are_listed_by_prefix() {
    let scene = Scene::new().await;
    for name in ["a-1", "a-2", "a-2", "a-3", "b-1", "a"] {
        scene
            .store
            .append(&stream(name), ExpectedVersion::Any, vec![NewEvent::new(new_id(), "made", "{}")])
            .await
            .unwrap();
    }
    let after = stream("a-1");
    let cases: [(&str, Option<&StreamName>, usize, &str); 6] = [
        ("", None, 100, "a@0 a-1@0 a-2@1 a-3@0 b-1@0"),
        ("a-", None, 100, "a-1@0 a-2@1 a-3@0"),
        ("a-", Some(&after), 100, "a-2@1 a-3@0"),
        ("a-", Some(&after), 1, "a-2@1"),
        ("b", Some(&after), 100, "b-1@0"),
        ("c", None, 100, ""),
    ];
    for (prefix, after, count_max, expected) in cases {
        let found = scene.store.streams(prefix, after, count_max);
        let text: Vec<_> = found.iter().map(|found| format!("{}@{}", found.stream, found.version)).collect();
        assert_eq!(text.join(" "), expected, "{prefix} after {after:?}");
    }
}

/// What a subscription delivers next: an event's number, or where it has caught up.
async fn next(subscription: &mut Subscription) -> String {
    match subscription.next().await {
        Some(Ok(Delivery::Event(event))) => event.event_id.as_u128().to_string(),
        Some(Ok(Delivery::CaughtUp(positions))) => format!("caught up at {positions}"),
        Some(Err(error)) => error.to_string(),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn a_subscription_catches_up_and_goes_on_live() {
    let settings = EventStoreSettings { subscription_queue_events: 2, ..EventStoreSettings::shipped() };
    let scene = ten_events(settings).await;
    let mut subscription = scene.store.subscribe_all(3);
    for number in 3..10 {
        assert_eq!(next(&mut subscription).await, number.to_string());
    }
    assert_eq!(next(&mut subscription).await, "caught up at events/0:10");
    for number in 10..20 {
        scene.store.append(&stream("s"), ExpectedVersion::Any, vec![event(number)]).await.unwrap();
    }
    for number in 10..20 {
        assert_eq!(next(&mut subscription).await, number.to_string());
    }
    scene.store.close().await;
    assert_eq!(next(&mut subscription).await, "end");
}

#[tokio::test]
async fn a_subscription_waits_for_a_position_to_come() {
    let scene = ten_events(EventStoreSettings::shipped()).await;
    let mut subscription = scene.store.subscribe_all(12);
    assert_eq!(next(&mut subscription).await, "caught up at events/0:12");
    for number in 10..13 {
        scene.store.append(&stream("s"), ExpectedVersion::Any, vec![event(number)]).await.unwrap();
    }
    assert_eq!(next(&mut subscription).await, "12");
}

#[tokio::test]
async fn a_subscription_sees_nothing_before_it_is_durable() {
    let scene = Arc::new(ten_events(EventStoreSettings::shipped()).await);
    let mut subscription = scene.store.subscribe_all(10);
    assert_eq!(next(&mut subscription).await, "caught up at events/0:10");
    let gate = scene.log.gate.write().await;
    let append = {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move { scene.store.append(&stream("s"), ExpectedVersion::Any, vec![event(10)]).await })
    };
    let early = tokio::time::timeout(Duration::from_millis(50), next(&mut subscription)).await;
    assert!(early.is_err(), "{early:?} came before it was durable");
    assert_eq!(scene.store.version(&stream("s")), None);
    drop(gate);
    append.await.unwrap().unwrap();
    assert_eq!(next(&mut subscription).await, "10");
}

#[tokio::test]
async fn a_reader_waits_for_a_position_to_come() {
    let scene = ten_events(EventStoreSettings::shipped()).await;
    let at = |offset| scene.store.positions_at(offset);
    scene.store.wait_for(&at(10)).await.unwrap();
    scene.store.wait_for(&"other/0:99".parse().unwrap()).await.unwrap();
    let waiting = async {
        scene.store.wait_for(&at(12)).await.unwrap();
        assert!(scene.store.positions().covers(&at(12)));
    };
    let appending = async {
        for number in [100, 101] {
            assert!(!scene.store.positions().covers(&at(12)));
            scene.store.append(&stream("a"), ExpectedVersion::Any, vec![event(number)]).await.unwrap();
        }
    };
    tokio::join!(waiting, appending);
    let closing = async {
        tokio::task::yield_now().await;
        scene.store.close().await;
    };
    let beyond = at(13);
    let (waited, ()) = tokio::join!(scene.store.wait_for(&beyond), closing);
    assert!(matches!(waited, Err(Error::Closed)));
    scene.store.wait_for(&at(12)).await.unwrap();
}

#[tokio::test]
async fn a_subscription_is_a_stream() {
    let scene = ten_events(EventStoreSettings::shipped()).await;
    let deliveries: Vec<_> = scene.store.subscribe_all(8).into_stream().take(3).collect().await;
    assert_eq!(deliveries.len(), 3);
    assert!(matches!(deliveries.last(), Some(Ok(Delivery::CaughtUp(_)))));
}
