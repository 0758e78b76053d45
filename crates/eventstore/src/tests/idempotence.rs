//! A command is decided once, and what came of it is told whenever it is sent again.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use eventlog::{EventLog, Record};
use model::ErrorKind;
use serde_json::{Value, json, value::RawValue};

use super::{
    Scene,
    commands::{aggregates, command, told},
    memory_log::Fault,
    stream,
};
use crate::{
    CommandError, CommandId, CommandRequest, Delivery, Error,
    ExpectedVersion::{Any, Exact},
    NewEvent, Rejection, StreamName,
    digest::ContentDigest,
    outcome::{CommandEnd, OUTCOME_BYTES_MAX, Outcome, decode, encode},
};

/// Sends a command to the flight `1`, and tells what came of it.
async fn send(scene: &Scene, request: CommandRequest) -> String {
    told(aggregates(scene).handle("flight", "1", request).await)
}

#[tokio::test]
async fn another_command_under_the_same_id_is_refused() {
    let mut scene = Scene::new().await;
    let schedule = || command("c", "schedule", json!({"gate": 7, "note": [1, {"a": 1, "b": 2}]}));
    assert_eq!(send(&scene, schedule()).await, "[scheduled] version 0 at events/0:1");
    for restarted in [false, true] {
        if restarted {
            scene.store = scene.reopened().await;
        }
        let others = [
            command("c", "schedule", json!({"gate": 8, "note": [1, {"a": 1, "b": 2}]})),
            command("c", "change_gate", json!({"gate": 7, "note": [1, {"a": 1, "b": 2}]})),
            command("c", "no_such_command", Value::Null),
            CommandRequest { expected: Some(Exact(0)), ..schedule() },
            CommandRequest { effective_time_ms: Some(1), ..schedule() },
            CommandRequest { correlation_id: Some("x".to_owned()), ..schedule() },
        ];
        for other in others {
            let what = format!("{other:?}");
            let error = model::Error::from(aggregates(&scene).handle("flight", "1", other).await.unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Conflict, "{what}");
            assert_eq!(
                error.message(),
                "command id c was used for stream flight-1 by a command that said something else"
            );
            assert!(error.hint().is_some());
        }
        // The same in other words is the same.
        let text = "{ \"note\": [1, {\"b\": 2,\n\"a\": 1}], \"gate\": 7 }";
        let data = RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(
            send(&scene, CommandRequest { data, ..schedule() }).await,
            "[scheduled] version 0 at events/0:1 again"
        );
        // Another instance has ids of its own.
        let elsewhere = aggregates(&scene).handle("flight", "2", command("c", "depart", Value::Null)).await.unwrap();
        assert_eq!((elsewhere.version, elsewhere.duplicate), (Some(0), restarted));
    }
}

#[tokio::test]
async fn a_rejection_is_kept_under_its_id_whatever_happens_after() {
    let mut scene = Scene::new().await;
    let rejected = "rejected by rule already_scheduled: the flight has a gate";
    let nothing = "[] version 0 at events/0:1";
    send(&scene, command("1", "schedule", json!({"gate": 7}))).await;
    assert_eq!(send(&scene, command("r", "schedule", json!({"gate": 8}))).await, rejected);
    assert_eq!(send(&scene, command("n", "change_gate", json!({"gate": 7}))).await, nothing);
    // By now both would be decided otherwise.
    send(&scene, command("2", "change_gate", json!({"gate": 9}))).await;
    send(&scene, command("3", "depart", Value::Null)).await;
    for restarted in [false, true] {
        if restarted {
            scene.store = scene.reopened().await;
        }
        assert_eq!(send(&scene, command("r", "schedule", json!({"gate": 8}))).await, rejected);
        assert_eq!(send(&scene, command("n", "change_gate", json!({"gate": 7}))).await, format!("{nothing} again"));
        for id in ["r", "n"] {
            let other = aggregates(&scene).handle("flight", "1", command(id, "depart", Value::Null)).await.unwrap_err();
            assert!(matches!(other, CommandError::Store(Error::CommandIdReused { .. })), "{other}");
        }
    }
    assert_eq!(*scene.reopened().await.opened.index.read(), *scene.store.opened.index.read());
}

#[tokio::test]
async fn who_reads_events_sees_nothing_of_rejections() {
    let scene = Scene::new().await;
    send(&scene, command("1", "schedule", json!({"gate": 7}))).await;
    send(&scene, command("2", "schedule", json!({"gate": 8}))).await;
    send(&scene, command("3", "depart", Value::Null)).await;
    let page = scene.store.read_all(0, 10).await.unwrap();
    assert_eq!((page.events.len(), page.next_offset, page.end_offset), (2, 2, 2), "not even an offset is taken");
    assert_eq!(scene.store.foreign_records().count, 0);
    let mut subscription = scene.store.subscribe_all(0);
    for expected in ["scheduled", "departed"] {
        let Some(Ok(Delivery::Event(event))) = subscription.next().await else { panic!("an event") };
        assert_eq!(event.event_type, expected);
    }
    assert!(matches!(subscription.next().await, Some(Ok(Delivery::CaughtUp(_)))));
    let topic = scene.log.topic("events.outcomes").unwrap();
    assert!(topic.owner.is_some() && topic.settings.retention_bytes.is_some());
}

#[tokio::test]
async fn a_rejection_is_told_only_once_it_is_on_disk() {
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let scene = Scene::new().await;
        send(&scene, command("1", "schedule", json!({"gate": 7}))).await;
        scene.log.fail_next(fault);
        let lost = aggregates(&scene).handle("flight", "1", command("r", "schedule", json!({"gate": 8}))).await;
        assert!(matches!(lost, Err(CommandError::Store(Error::Log(_)))), "{fault:?}");
        // The log is looked at before anything else is decided.
        send(&scene, command("2", "board", json!({"passengers": 1}))).await;
        let again = send(&scene, command("r", "schedule", json!({"gate": 8}))).await;
        assert_eq!(again, "rejected by rule already_scheduled: the flight has a gate");
        let reopened = scene.reopened().await;
        assert_eq!(*reopened.opened.index.read(), *scene.store.opened.index.read(), "{fault:?}");
    }
}

#[tokio::test]
async fn one_id_sent_at_once_through_two_doors_has_one_end() {
    let scene = Arc::new(Scene::new().await);
    let doors = [Arc::new(aggregates(&scene)), Arc::new(aggregates(&scene))];
    send(&scene, command("1", "schedule", json!({"gate": 7}))).await;
    let appends = scene.log.appends.load(Ordering::SeqCst);
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let door = Arc::clone(&doors[n % 2]);
            // Two contents: whichever comes first is the one.
            let data = json!({"gate": 8 + n % 2});
            tokio::spawn(async move { door.handle("flight", "1", command("r", "schedule", data)).await.unwrap_err() })
        })
        .collect();
    let (mut rejected, mut reused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            CommandError::Rejected(_) => rejected += 1,
            CommandError::Store(Error::CommandIdReused { .. }) => reused += 1,
            error => panic!("{error}"),
        }
    }
    assert_eq!((rejected, reused), (10, 10));
    assert_eq!(scene.log.appends.load(Ordering::SeqCst), appends + 1, "kept once");
}

#[tokio::test]
async fn events_of_commands_from_before_digests_were_kept_still_answer() {
    let scene = Scene::new().await;
    let id = CommandId::new("c").unwrap();
    let old = NewEvent::new(id.event_id(&stream("flight-1"), 0), "departed", "{}");
    let (name, source) = (stream("flight-1"), Bytes::from_static(b"/fourfold/events"));
    let request = command("c", "depart", Value::Null);
    let by = crate::draft::Command { digest: ContentDigest::of(&name, &request).unwrap(), id };
    let placement = crate::record::Placement {
        stream: &name,
        version: 0,
        recorded_time_ms: 5,
        command: Some(&by),
        source: &source,
    };
    let mut record = crate::record::encode(&old, &placement);
    record.headers.retain(|header| header.name != "ff_command_digest");
    scene.log.append_foreign(vec![record]);
    let scene = Scene { store: scene.reopened().await, ..scene };
    assert_eq!(send(&scene, request).await, "[departed] version 0 at events/0:1 again");
    // What it said is not known: the id alone tells.
    assert_eq!(send(&scene, command("c", "board", json!(1))).await, "[departed] version 0 at events/0:1 again");
}

#[tokio::test]
async fn what_a_command_says_is_bounded() {
    let scene = Scene::new().await;
    let long = "x".repeat(2 << 20);
    let plain = || command("c", "depart", Value::Null);
    let cases = [
        (command("c", "depart", json!(long)), "over the limit of 1048576"),
        (command("c", &"x".repeat(257), Value::Null), "the command type must be 1 to 256 bytes"),
        (CommandRequest { correlation_id: Some(String::new()), ..plain() }, "the correlation id must be"),
        (CommandRequest { effective_time_ms: Some(i64::MAX), ..plain() }, "the effective time"),
    ];
    for (request, reason) in cases {
        let error = model::Error::from(aggregates(&scene).handle("flight", "1", request).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains(reason), "{error}");
    }
    assert_eq!(scene.log.appends.load(Ordering::SeqCst), 0);
}

fn outcome(rejection: Option<Rejection>) -> Outcome {
    let name = StreamName::new(&format!("flight-{}", "\"".repeat(505))).unwrap();
    let request = command(&"\\".repeat(256), &"\u{7f}".repeat(256), Value::Null);
    Outcome {
        command_id: request.command_id.clone(),
        command_type: request.command_type.clone(),
        digest: ContentDigest::of(&name, &request).unwrap(),
        stream: name,
        end: CommandEnd { rejection, version: Some(u64::MAX), next_offset: i64::MAX },
    }
}

#[test]
fn outcomes_survive_the_round_trip_and_are_bounded() {
    let longest = Rejection::new("\u{1}".repeat(5000), "\u{1}".repeat(5000)).bounded();
    assert_eq!((longest.rule.len(), longest.reason.len()), (256, 1024));
    assert_eq!(Rejection::new("r", "é".repeat(600)).bounded().reason, format!("{}...", "é".repeat(510)));
    for rejection in [None, Some(Rejection::new("rule", "reason")), Some(longest)] {
        let outcome = outcome(rejection);
        let record = encode(&outcome, 5);
        assert!(record.value.as_ref().unwrap().len() + 1024 < OUTCOME_BYTES_MAX);
        assert_eq!(decode(&record).as_ref(), Ok(&outcome));
    }
}

#[test]
fn a_record_that_is_no_outcome_is_refused_with_a_reason() {
    let good: Value =
        serde_json::from_slice(encode(&outcome(Some(Rejection::new("rule", "reason"))), 5).value.as_ref().unwrap())
            .unwrap();
    let with = |field: &str, value: Value| {
        let mut changed = good.clone();
        changed[field] = value;
        Some(Bytes::from(changed.to_string()))
    };
    let cases = [
        (None, "no value"),
        (Some(Bytes::from_static(b"hello")), "not the JSON"),
        (with("format", json!(2)), "format is unknown"),
        (with("outcome", json!("maybe")), "not the JSON"),
        (with("rule", Value::Null), "needs rule and reason"),
        (with("stream", json!("$all")), "stream name"),
        (with("command_id", json!("")), "command id"),
        (with("command_digest", json!("00")), "digest"),
    ];
    for (value, reason) in cases {
        let error = decode(&Record { value, ..Record::default() }).unwrap_err();
        assert!(error.contains(reason), "{error} does not speak of {reason}");
    }
}

#[tokio::test]
async fn a_new_stream_over_the_limit_is_refused() {
    let settings = crate::EventStoreSettings { streams_max: 2, ..crate::EventStoreSettings::shipped() };
    let scene = Scene::with(settings).await;
    let append =
        async |name: &str, number: u128| scene.store.append(&stream(name), Any, vec![super::event(number)]).await;
    append("a", 1).await.unwrap();
    append("b", 2).await.unwrap();
    let error = model::Error::from(append("c", 3).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "stream c cannot begin: the store has 2 streams, which is the limit");
    append("a", 4).await.unwrap();
}

#[tokio::test]
async fn more_commands_at_once_than_the_limit_are_refused() {
    let scene = Arc::new(Scene::new().await);
    let settings = crate::AggregatesSettings { commands_max: 1, ..crate::AggregatesSettings::shipped() };
    let door = Arc::new(crate::Aggregates::new(Arc::clone(&scene.store), settings).unwrap());
    door.register("flight", super::flight::Flights).unwrap();
    let gate = scene.log.gate.write().await;
    let first = tokio::spawn({
        let door = Arc::clone(&door);
        async move { door.handle("flight", "1", command("1", "depart", Value::Null)).await }
    });
    while scene.log.appends.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let error = model::Error::from(door.handle("flight", "2", command("2", "depart", Value::Null)).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "1 commands are being handled, which is the limit");
    drop(gate);
    first.await.unwrap().unwrap();
    door.handle("flight", "2", command("2", "depart", Value::Null)).await.unwrap();
}

#[tokio::test]
async fn names_that_are_not_there_have_hints() {
    let scene = Scene::new().await;
    let aggregates = aggregates(&scene);
    let cases = [
        ("fligth", "depart", "there is no aggregate fligth", "perhaps you meant flight; the aggregates are flight"),
        ("account", "depart", "there is no aggregate account", "the aggregates are flight"),
        (
            "flight",
            "schedul",
            "aggregate flight has no command schedul",
            "perhaps you meant schedule; its commands are schedule, change_gate, board, depart",
        ),
        ("flight", "x", "aggregate flight has no command x", "its commands are schedule, change_gate, board, depart"),
    ];
    for (aggregate, command_type, message, hint) in cases {
        let error = aggregates.handle(aggregate, "1", command("c", command_type, json!({}))).await.unwrap_err();
        let error = model::Error::from(error);
        assert_eq!((error.message(), error.hint()), (message, Some(hint)));
    }
}
