//! Expected versions, idempotence, failure, group commit, limits.

use std::sync::{Arc, atomic::Ordering};

use super::{Scene, event, memory_log::Fault, new_id, stream, wrong_version};
use crate::{
    Direction, Error, EventStoreSettings,
    ExpectedVersion::{self, Any, Exact, NoStream, StreamExists},
    NewEvent,
};

/// Appends to the stream `s` by event numbers, and says what came of it.
async fn append(scene: &Scene, expected: ExpectedVersion, numbers: &[u128]) -> String {
    let events = numbers.iter().copied().map(event).collect();
    match scene.store.append(&stream("s"), expected, events).await {
        Ok(done) => {
            let again = if done.duplicate { " again" } else { "" };
            format!("{}..={} at {}{again}", done.first_version, done.last_version, done.positions)
        }
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn expected_versions_are_held() {
    let scene = Scene::new().await;
    let steps = [
        (StreamExists, 1, wrong_version("s", StreamExists, None)),
        (Exact(0), 2, wrong_version("s", Exact(0), None)),
        (NoStream, 3, "0..=0 at events/0:1".to_owned()),
        (NoStream, 4, wrong_version("s", NoStream, Some(0))),
        (Exact(0), 5, "1..=1 at events/0:2".to_owned()),
        (Exact(0), 6, wrong_version("s", Exact(0), Some(1))),
        (Exact(2), 7, wrong_version("s", Exact(2), Some(1))),
        (StreamExists, 8, "2..=2 at events/0:3".to_owned()),
        (Any, 9, "3..=3 at events/0:4".to_owned()),
    ];
    for (expected, number, outcome) in steps {
        assert_eq!(append(&scene, expected, &[number]).await, outcome, "{expected}, event {number}");
    }
    assert_eq!(scene.store.version(&stream("s")), Some(3));
    assert_eq!(scene.metrics.event_appends.get(), 4);
}

#[tokio::test]
async fn the_same_append_again_gives_the_same_answer() {
    let scene = Scene::new().await;
    let first = [(NoStream, vec![1, 2]), (Exact(1), vec![3]), (Any, vec![4, 5]), (StreamExists, vec![6])];
    let mut answers = Vec::new();
    for (expected, numbers) in &first {
        answers.push(append(&scene, *expected, numbers).await);
    }
    for ((expected, numbers), answer) in first.iter().zip(&answers) {
        assert_eq!(append(&scene, *expected, numbers).await, format!("{answer} again"));
    }
    let not_the_same = [
        (Exact(0), vec![1, 2], wrong_version("s", Exact(0), Some(5))),
        (NoStream, vec![3], wrong_version("s", NoStream, Some(5))),
        (
            Exact(5),
            vec![1, 2],
            "event id 00000000-0000-0000-0000-000000000001 is already used by event 0 of stream s".to_owned(),
        ),
        (
            Any,
            vec![2, 1],
            "event id 00000000-0000-0000-0000-000000000002 is already used by event 1 of stream s".to_owned(),
        ),
        (
            Any,
            vec![7, 6],
            "event id 00000000-0000-0000-0000-000000000006 is already used by event 5 of stream s".to_owned(),
        ),
    ];
    for (expected, numbers, answer) in not_the_same {
        assert_eq!(append(&scene, expected, &numbers).await, answer);
    }
    assert_eq!(scene.store.version(&stream("s")), Some(5), "nothing was appended twice");
    // The window is rebuilt.
    let scene = Scene { store: scene.reopened().await, ..scene };
    assert_eq!(append(&scene, Exact(1), &[3]).await, format!("{} again", answers[1]));
}

#[tokio::test]
async fn an_id_that_left_the_window_is_not_remembered() {
    let scene = Scene::with(EventStoreSettings { idempotence_window_events: 2, ..EventStoreSettings::shipped() }).await;
    for number in 1..=3 {
        append(&scene, Any, &[number]).await;
    }
    assert_eq!(append(&scene, Any, &[3]).await, "2..=2 at events/0:3 again");
    assert_eq!(append(&scene, NoStream, &[1]).await, wrong_version("s", NoStream, Some(2)));
    assert_eq!(append(&scene, Any, &[1]).await, "3..=3 at events/0:4");
}

#[tokio::test]
async fn the_same_id_in_another_stream_is_another_event() {
    let scene = Scene::new().await;
    append(&scene, Any, &[1]).await;
    let other = scene.store.append(&stream("other"), Any, vec![event(1)]).await.unwrap();
    assert!(!other.duplicate);
}

#[tokio::test]
async fn a_failed_append_leaves_nothing_behind() {
    let scene = Scene::new().await;
    append(&scene, NoStream, &[1]).await;
    let before = format!("{:?}", scene.store.opened.index.read());
    scene.log.fail_next(Fault::BeforeWrite);
    let error = append(&scene, Exact(0), &[2, 3]).await;
    assert_eq!(error, "the log does not take writes: told to fail before the write");
    assert_eq!(format!("{:?}", scene.store.opened.index.read()), before);
    assert_eq!(append(&scene, Exact(0), &[2, 3]).await, "1..=2 at events/0:3", "the same append is as good as new");
}

#[tokio::test]
async fn everything_decided_on_a_failed_append_fails_with_it() {
    let scene = Arc::new(Scene::new().await);
    append(&scene, NoStream, &[1]).await;
    // Decided together, on top of each other: the last is refused only because of those before.
    let appends = [(Exact(0), 3), (Exact(1), 4), (Exact(0), 5)];
    for outcome in append_behind_a_closed_gate(&scene, Some(Fault::BeforeWrite), appends).await {
        assert_eq!(outcome, "the log does not take writes: told to fail before the write");
    }
    assert_eq!(scene.store.version(&stream("s")), Some(0));
    assert_eq!(append(&scene, Exact(0), &[5]).await, "1..=1 at events/0:3");
}

#[tokio::test]
async fn appends_in_flight_count_for_those_behind() {
    let scene = Arc::new(Scene::new().await);
    append(&scene, NoStream, &[1]).await;
    let outcomes =
        append_behind_a_closed_gate(&scene, None, [(Exact(0), 3), (Exact(1), 4), (Exact(0), 5), (Exact(0), 3)]).await;
    let expected = [
        "1..=1 at events/0:3",
        "2..=2 at events/0:4",
        &wrong_version("s", Exact(0), Some(2)),
        "1..=1 at events/0:3 again",
    ];
    assert_eq!(outcomes, expected);
}

/// Keeps one append to another stream waiting in the log, queues these behind it, and lets all go; the fault hits
/// the commit of the queued ones.
async fn append_behind_a_closed_gate<const N: usize>(
    scene: &Arc<Scene>,
    fault: Option<Fault>,
    appends: [(ExpectedVersion, u128); N],
) -> Vec<String> {
    let commits = scene.log.appends.load(Ordering::SeqCst);
    let gate = scene.log.gate.write().await;
    let spawn = |name: &'static str, expected, number| {
        let scene = Arc::clone(scene);
        tokio::spawn(async move {
            let done = scene.store.append(&stream(name), expected, vec![event(number)]).await;
            done.map_or_else(
                |error| error.to_string(),
                |done| {
                    let again = if done.duplicate { " again" } else { "" };
                    format!("{}..={} at {}{again}", done.first_version, done.last_version, done.positions)
                },
            )
        })
    };
    let in_flight = spawn("other", Any, 1_000);
    while scene.log.appends.load(Ordering::SeqCst) == commits {
        tokio::task::yield_now().await;
    }
    let mut waiting = Vec::new();
    for (expected, number) in appends {
        waiting.push(spawn("s", expected, number));
        // In a runtime of one thread the task runs up to its wait before this goes on.
        tokio::task::yield_now().await;
    }
    if let Some(fault) = fault {
        scene.log.fail_next(fault);
    }
    drop(gate);
    in_flight.await.unwrap();
    let mut outcomes = Vec::new();
    for task in waiting {
        outcomes.push(task.await.unwrap());
    }
    assert_eq!(scene.log.appends.load(Ordering::SeqCst), commits + 2, "what waits together is committed together");
    outcomes
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_found_again() {
    let scene = Scene::new().await;
    scene.log.fail_next(Fault::AfterWrite);
    let error = append(&scene, NoStream, &[1, 2]).await;
    assert_eq!(error, "the log does not take writes: told to fail after the write");
    assert_eq!(append(&scene, NoStream, &[1, 2]).await, "0..=1 at events/0:2 again");
    assert_eq!(append(&scene, Exact(1), &[3]).await, "2..=2 at events/0:3");
}

#[tokio::test]
async fn concurrent_appends_share_commits() {
    let scene = Arc::new(Scene::new().await);
    let tasks: Vec<_> = (0..200_u128)
        .map(|number| {
            let scene = Arc::clone(&scene);
            let name = stream(&format!("s-{number}"));
            tokio::spawn(async move { scene.store.append(&name, NoStream, vec![event(number)]).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert!(!task.await.unwrap().duplicate);
    }
    let commits = scene.log.appends.load(Ordering::SeqCst);
    assert!(commits <= 4, "200 appends took {commits} commits");
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let settings = EventStoreSettings { batch_bytes: 4096, ..EventStoreSettings::shipped() };
    let scene = Arc::new(Scene::with(settings).await);
    let large = NewEvent::new(new_id(), "large", format!("\"{}\"", "x".repeat(3000)));
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (scene, large) = (Arc::clone(&scene), NewEvent { event_id: new_id(), ..large.clone() });
            tokio::spawn(async move { scene.store.append(&stream("s"), Any, vec![large]).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(scene.log.appends.load(Ordering::SeqCst), 10);
    assert_eq!(scene.store.version(&stream("s")), Some(9));
}

#[tokio::test]
async fn bad_events_are_refused_at_the_door() {
    let settings = EventStoreSettings {
        event_bytes_max: 100,
        events_per_append_max: 3,
        append_bytes_max: 4000,
        ..EventStoreSettings::shipped()
    };
    let scene = Scene::with(settings).await;
    let good = || NewEvent::new(new_id(), "good", "{}");
    let bad: Vec<(Vec<NewEvent>, &str)> = vec![
        (vec![], "at least one event"),
        (vec![good(), good(), good(), good()], "4 events, over the limit of 3"),
        (
            vec![good(), NewEvent::new(new_id(), "large", format!("\"{}\"", "x".repeat(99)))],
            "101 bytes, over the limit of 100",
        ),
        (
            vec![NewEvent {
                metadata: Some("\"abc\"".into()),
                ..NewEvent::new(new_id(), "large", format!("\"{}\"", "x".repeat(94)))
            }],
            "101 bytes, over",
        ),
        (vec![NewEvent { correlation_id: Some(String::new()), ..good() }], "the correlation id must be"),
        (vec![NewEvent { causation_id: Some("a\nb".to_owned()), ..good() }], "the causation id must be"),
        (vec![NewEvent::new(new_id(), "", "{}")], "the event type must be"),
        (vec![NewEvent::new(new_id(), "x".repeat(257), "{}")], "the event type must be"),
        (vec![NewEvent::new(new_id(), "text", "hello")], "is not JSON"),
        (vec![NewEvent::new(new_id(), "deep", "[".repeat(90))], "is not JSON"),
        (vec![NewEvent { metadata: Some("{".into()), ..good() }], "the metadata of event"),
        (vec![NewEvent { effective_time_ms: Some(i64::MAX), ..good() }], "outside the years 0 to 9999"),
        (vec![event(1), event(1)], "twice"),
    ];
    for (events, reason) in bad {
        let error: model::Error = scene.store.append(&stream("s"), Any, events).await.unwrap_err().into();
        assert!(error.message().contains(reason), "{error} does not say {reason}");
        assert_eq!(error.kind(), model::ErrorKind::Invalid, "{error}");
    }
    let long = stream(&"x".repeat(500));
    let error = scene.store.append(&long, Any, vec![good(), good(), good()]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { max: 4000, unit: "bytes", .. }), "{error}");
    assert_eq!(scene.log.appends.load(Ordering::SeqCst), 0, "nothing of this reached the log");
}

#[tokio::test]
async fn a_closed_store_refuses_appends_and_still_reads() {
    let scene = Scene::new().await;
    append(&scene, Any, &[1]).await;
    scene.store.close().await;
    assert_eq!(append(&scene, Any, &[2]).await, "the event store is closed");
    scene.store.close().await;
    let events = scene.store.read_stream(&stream("s"), 0, Direction::Forward, 10).await.unwrap();
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn recorded_times_never_decrease() {
    let scene = Scene::new().await;
    for (now_ms, number) in [(5000, 1), (3000, 2), (6000, 3)] {
        scene.clock.set(now_ms);
        append(&scene, Any, &[number]).await;
    }
    scene.clock.set(100);
    let scene = Scene { store: scene.reopened().await, ..scene };
    append(&scene, Any, &[4]).await;
    let events = scene.store.read_stream(&stream("s"), 0, Direction::Forward, 10).await.unwrap();
    let times: Vec<_> = events.iter().map(|event| event.recorded_time_ms).collect();
    assert_eq!(times, [5000, 5000, 6000, 6000]);
}
