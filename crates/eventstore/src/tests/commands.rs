//! Commands: decisions, rejections, idempotence, retries.

use std::sync::{Arc, atomic::Ordering};

use model::ErrorKind;
use serde_json::{Value, json, value::to_raw_value};

use super::{Scene, event, flight::Flights, memory_log::Fault, new_id, stream};
use crate::{
    Aggregates, AggregatesSettings, CommandError, CommandId, CommandOutcome, CommandRequest,
    Direction::Forward,
    Error,
    ExpectedVersion::{self, Any, Exact, NoStream, StreamExists},
    NewEvent, RecordedEvent,
};

pub(super) fn aggregates(scene: &Scene) -> Aggregates {
    let aggregates = Aggregates::new(Arc::clone(&scene.store), AggregatesSettings::shipped()).unwrap();
    aggregates.register("flight", Flights).unwrap();
    aggregates
}

#[expect(clippy::needless_pass_by_value, reason = "the content is written where it is sent")]
pub(super) fn command(id: &str, command_type: &str, data: Value) -> CommandRequest {
    let data = to_raw_value(&data).unwrap();
    CommandRequest::new(CommandId::new(id).unwrap(), command_type, data)
}

/// What came of a command, as text.
pub(super) fn told(result: Result<CommandOutcome, CommandError>) -> String {
    match result {
        Ok(CommandOutcome { version, events, positions, duplicate, .. }) => {
            let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
            let version = crate::error::version_text(version);
            format!("[{}] {version} at {positions}{}", types.join(" "), if duplicate { " again" } else { "" })
        }
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn commands_become_events_or_rejections() {
    let scene = Scene::new().await;
    let aggregates = aggregates(&scene);
    let steps = [
        ("1", "schedule", json!({"gate": 7}), "[scheduled] version 0 at events/0:1"),
        ("2", "schedule", json!({"gate": 8}), "rejected by rule already_scheduled: the flight has a gate"),
        ("3", "change_gate", json!({"gate": 7}), "[] version 0 at events/0:1"),
        ("4", "board", json!({"passengers": 2}), "[boarded boarded] version 2 at events/0:3"),
        ("5", "depart", Value::Null, "[departed] version 3 at events/0:4"),
        ("6", "depart", json!({}), "rejected by rule already_departed: the flight is in the air"),
        ("4", "board", json!({"passengers": 2}), "[boarded boarded] version 2 at events/0:3 again"),
        ("2", "schedule", json!({"gate": 8}), "rejected by rule already_scheduled: the flight has a gate"),
        ("3", "change_gate", json!({"gate": 7}), "[] version 0 at events/0:1 again"),
    ];
    for (id, command_type, data, outcome) in steps {
        let result = aggregates.handle("flight", "DL7", command(id, command_type, data)).await;
        assert_eq!(told(result), outcome, "{command_type}");
    }
    let rule = [("rule", "already_departed".to_owned())];
    assert_eq!(scene.metrics.command_rejections.get_or_create(&rule).get(), 1);
    assert_eq!(scene.metrics.event_appends.get(), 4);
}

#[tokio::test]
async fn bad_commands_are_refused_with_their_kind() {
    let scene = Scene::new().await;
    let aggregates = aggregates(&scene);
    let cases = [
        ("flight", "1", "fly", json!({}), ErrorKind::Invalid, "aggregate flight has no command fly"),
        ("flight", "1", "schedule", json!({}), ErrorKind::Invalid, "missing field `gate`"),
        ("flight", "1", "schedule", Value::Null, ErrorKind::Invalid, "the command schedule cannot be understood"),
        ("flight", "1", "schedule", json!({"gate": "x"}), ErrorKind::Invalid, "invalid type: string"),
        ("plane", "1", "schedule", json!({"gate": 1}), ErrorKind::NotFound, "there is no aggregate plane"),
        ("flight", "", "schedule", json!({"gate": 1}), ErrorKind::Invalid, "the id of aggregate flight is empty"),
        ("flight", "a\nb", "schedule", json!({"gate": 1}), ErrorKind::Invalid, "contains a control character"),
    ];
    for (aggregate, id, command_type, data, kind, message) in cases {
        let error = aggregates.handle(aggregate, id, command("c", command_type, data)).await.unwrap_err();
        let error = model::Error::from(error);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(message), "{error} does not say {message}");
    }
    assert_eq!(scene.log.appends.load(Ordering::SeqCst), 0);
    aggregates.handle("flight", "1", command("1", "depart", Value::Null)).await.unwrap();
    let rejected = aggregates.handle("flight", "1", command("2", "depart", Value::Null)).await.unwrap_err();
    assert_eq!(rejected.rule(), Some("already_departed"));
    assert_eq!(model::Error::from(rejected).kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn events_carry_what_the_command_said() {
    let scene = Scene::new().await;
    let request = CommandRequest {
        correlation_id: Some("talk".to_owned()),
        effective_time_ms: Some(500),
        metadata: Some(to_raw_value(&json!({"desk": 4})).unwrap()),
        ..command("c-1", "board", json!({"passengers": 2}))
    };
    let outcome = aggregates(&scene).handle("flight", "DL7", request).await.unwrap();
    let stored = scene.store.read_stream(&stream("flight-DL7"), 0, Forward, 10).await.unwrap();
    assert_eq!(outcome.events, stored, "the answer is what was stored");
    for event in &stored {
        let RecordedEvent { command_id, correlation_id, causation_id, effective_time_ms, metadata, .. } = event;
        assert_eq!(command_id.as_ref().map(CommandId::as_str), Some("c-1"));
        assert_eq!((correlation_id.as_deref(), causation_id.as_deref()), (Some("talk"), Some("c-1")));
        assert_eq!(*effective_time_ms, 500);
        assert_eq!(metadata.as_deref(), Some(b"{\"desk\":4}".as_slice()));
    }
    assert_ne!(stored[0].event_id, stored[1].event_id);
    let other = Scene::new().await;
    let again = aggregates(&other).handle("flight", "DL7", command("c-1", "depart", Value::Null)).await.unwrap();
    assert_eq!(again.events[0].event_id, stored[0].event_id, "the same command gives the same ids");
}

#[tokio::test]
async fn a_command_is_done_once_whatever_happens_between() {
    let mut scene = Scene::new().await;
    let board = |id: &str| command(id, "board", json!({"passengers": 2}));
    let first = told(aggregates(&scene).handle("flight", "1", board("a")).await);
    assert_eq!(first, "[boarded boarded] version 1 at events/0:2");
    scene.store = scene.reopened().await;
    assert_eq!(told(aggregates(&scene).handle("flight", "1", board("a")).await), format!("{first} again"));
    // Another instance has commands of its own.
    let other = told(aggregates(&scene).handle("flight", "2", board("a")).await);
    assert_eq!(other, "[boarded boarded] version 1 at events/0:4");
    // An answer that was lost.
    scene.log.fail_next(Fault::AfterWrite);
    let lost = aggregates(&scene).handle("flight", "1", board("b")).await.unwrap_err();
    assert!(matches!(lost, CommandError::Store(Error::Log(_))), "{lost}");
    assert_eq!(
        told(aggregates(&scene).handle("flight", "1", board("b")).await),
        "[boarded boarded] version 3 at events/0:6 again"
    );
}

#[tokio::test]
async fn the_same_command_sent_at_once_is_done_once() {
    let scene = Arc::new(Scene::new().await);
    // Two doors: so the writer, not the lock, must see that it is the same.
    let doors = [Arc::new(aggregates(&scene)), Arc::new(aggregates(&scene))];
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let door = Arc::clone(&doors[n % 2]);
            tokio::spawn(async move {
                door.handle("flight", "1", command("a", "board", json!({"passengers": 1}))).await.unwrap()
            })
        })
        .collect();
    let mut first_time = 0;
    for task in tasks {
        let outcome = task.await.unwrap();
        assert_eq!(outcome.version, Some(0));
        assert_eq!(outcome.events.len(), 1);
        first_time += usize::from(!outcome.duplicate);
    }
    assert_eq!(first_time, 1);
    assert_eq!(scene.store.version(&stream("flight-1")), Some(0));
    assert!(doors.iter().all(|door| door.stream_locks.count() == 0), "no lock is left behind");
}

#[tokio::test]
async fn concurrent_commands_lose_nothing() {
    let scene = Arc::new(Scene::new().await);
    let doors = [Arc::new(aggregates(&scene)), Arc::new(aggregates(&scene))];
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let door = Arc::clone(&doors[n % 2]);
            let request = command(&format!("c-{n}"), "board", json!({"passengers": 1}));
            tokio::spawn(async move { door.handle("flight", "1", request).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert!(!task.await.unwrap().duplicate);
    }
    // Each was decided on the state that the others had left.
    let state = doors[0].state("flight", "1", crate::AsOf::Now).await.unwrap().unwrap();
    assert_eq!(state.state["passengers"], 40);
}

#[tokio::test]
async fn a_stated_version_is_held() {
    let scene = Scene::new().await;
    let aggregates = aggregates(&scene);
    let expecting = |id: &str, expected: ExpectedVersion| CommandRequest {
        expected: Some(expected),
        ..command(id, "board", json!({"passengers": 1}))
    };
    let steps = [
        ("1", Exact(0), "stream flight-1 is at no stream, the append expected version 0"),
        ("2", StreamExists, "stream flight-1 is at no stream, the append expected an existing stream"),
        ("3", NoStream, "[boarded] version 0 at events/0:1"),
        ("4", NoStream, "stream flight-1 is at version 0, the append expected no stream"),
        ("5", Exact(0), "[boarded] version 1 at events/0:2"),
        ("6", Exact(0), "stream flight-1 is at version 1, the append expected version 0"),
        ("7", StreamExists, "[boarded] version 2 at events/0:3"),
        ("8", Any, "[boarded] version 3 at events/0:4"),
        ("5", Exact(0), "[boarded] version 1 at events/0:2 again"),
    ];
    for (id, expected, outcome) in steps {
        assert_eq!(told(aggregates.handle("flight", "1", expecting(id, expected)).await), outcome, "{expected}");
    }
}

#[tokio::test]
async fn a_command_is_decided_again_when_an_append_comes_between() {
    for (expected, outcome) in [
        (None, "[boarded] version 2 at events/0:3"),
        (Some(StreamExists), "[boarded] version 2 at events/0:3"),
        (Some(Exact(0)), "stream flight-1 is at version 1, the append expected version 0"),
    ] {
        let scene = Arc::new(Scene::new().await);
        let aggregates = Arc::new(aggregates(&scene));
        aggregates.handle("flight", "1", command("1", "schedule", json!({"gate": 1}))).await.unwrap();
        // The append is in flight while the command is decided on the version before it.
        let gate = scene.log.gate.write().await;
        let append = {
            let scene = Arc::clone(&scene);
            let changed = NewEvent::new(new_id(), "boarded", "5");
            tokio::spawn(async move { scene.store.append(&stream("flight-1"), Any, vec![changed]).await.unwrap() })
        };
        while scene.log.appends.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        let handle = {
            let request = CommandRequest { expected, ..command("2", "board", json!({"passengers": 1})) };
            let aggregates = Arc::clone(&aggregates);
            tokio::spawn(async move { aggregates.handle("flight", "1", request).await })
        };
        tokio::task::yield_now().await;
        drop(gate);
        append.await.unwrap();
        let result = handle.await.unwrap();
        if let Ok(outcome) = &result {
            assert_eq!(outcome.events[0].json().unwrap(), json!(6), "decided on the new state");
        }
        assert_eq!(told(result), outcome);
    }
}

#[tokio::test]
async fn a_command_does_not_fold_from_the_first_event() {
    let scene = Scene::new().await;
    let aggregates = aggregates(&scene);
    aggregates.handle("flight", "1", command("1", "board", json!({"passengers": 500}))).await.unwrap();
    let reads = scene.log.reads.load(Ordering::SeqCst);
    for n in 0..10 {
        let request = command(&format!("c-{n}"), "board", json!({"passengers": 1}));
        aggregates.handle("flight", "1", request).await.unwrap();
    }
    assert_eq!(scene.log.reads.load(Ordering::SeqCst), reads, "the cached state is all that is needed");
}

#[tokio::test]
async fn an_event_that_is_not_the_aggregates_is_named() {
    let scene = Scene::new().await;
    let aggregates = aggregates(&scene);
    aggregates.handle("flight", "1", command("1", "schedule", json!({"gate": 1}))).await.unwrap();
    scene.store.append(&stream("flight-1"), Any, vec![event(1)]).await.unwrap();
    let error = aggregates.handle("flight", "1", command("2", "depart", Value::Null)).await.unwrap_err();
    let error = model::Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().starts_with("event 1 (counted) of stream flight-1 is not one of its aggregate"), "{error}");
}

#[tokio::test]
async fn aggregates_have_names_of_their_own() {
    let scene = Scene::new().await;
    let aggregates = aggregates(&scene);
    assert_eq!(aggregates.register("flight", Flights).unwrap_err().kind(), ErrorKind::Conflict);
    for name in ["", "a-b", "a b", "é", &"x".repeat(65)] {
        assert_eq!(aggregates.register(name, Flights).unwrap_err().kind(), ErrorKind::Invalid, "{name}");
    }
    aggregates.register("Plane_2", Flights).unwrap();
    assert_eq!(aggregates.names(), ["Plane_2", "flight"]);
}

#[tokio::test]
async fn a_stream_of_an_aggregate_takes_only_events_that_it_can_fold() {
    let scene = Scene::new().await;
    let aggregates = aggregates(&scene);
    let event = |event_type: &str, data: &str| NewEvent::new(new_id(), event_type, data.to_owned());
    let cases = [
        ("flight-DL7", "scheduled", r#"{"gate":7}"#, None),
        ("flight-DL7", "rescheduled", r#"{"gate":7}"#, Some("rescheduled")),
        ("flight-DL7", "scheduled", r#"{"gate":"seven"}"#, Some("aggregate flight does not understand it")),
        ("flight-DL7", "scheduled", "gate", Some("stream flight-DL7")),
        ("flight", "rescheduled", "{}", None),
        ("flights-DL7", "rescheduled", "{}", None),
        ("flight-", "rescheduled", "{}", Some("rescheduled")),
    ];
    for (name, event_type, data, refused) in cases {
        let before = scene.store.positions();
        // All or none: the first would be all right alone.
        let events = match refused {
            Some(_) => vec![event("scheduled", r#"{"gate":7}"#), event(event_type, data)],
            None => vec![event(event_type, data)],
        };
        let appended = aggregates.append(&stream(name), Any, events).await;
        match refused {
            Some(reason) => {
                let error = model::Error::from(appended.unwrap_err());
                assert!(error.kind() == ErrorKind::Invalid && error.message().contains(reason), "{error}");
                assert_eq!(scene.store.positions(), before);
            }
            None => drop(appended.unwrap()),
        }
    }
    let depart = aggregates.handle("flight", "DL7", command("1", "depart", Value::Null)).await;
    assert_eq!(told(depart), "[departed] version 1 at events/0:4");
}
