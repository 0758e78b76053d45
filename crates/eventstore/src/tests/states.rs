//! States as of any time.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::{
    Scene,
    commands::{aggregates, command},
    flight::{Flight, FlightEvent, Flights},
    new_id, stream,
};
use crate::{Aggregates, AggregatesSettings, AsOf, CommandRequest, Decider, ExpectedVersion::Any, NewEvent};

async fn gate_at(aggregates: &Aggregates, as_of: AsOf) -> Option<(u64, u64)> {
    let state = aggregates.state("flight", "1", as_of).await.unwrap()?;
    Some((state.version, state.state["gate"].as_u64().unwrap()))
}

#[tokio::test]
async fn a_state_is_told_as_of_version_recorded_and_effective_time() {
    let scene = Scene::new().await;
    let writing = aggregates(&scene);
    // The third event corrects the past: it takes effect between the first and the second.
    for (recorded_ms, effective_ms, gate) in [(1000, 900, 1), (2000, 1900, 2), (3000, 1500, 3)] {
        scene.clock.set(recorded_ms);
        let request = CommandRequest {
            effective_time_ms: Some(effective_ms),
            ..command(&format!("c-{gate}"), "change_gate", json!({"gate": gate}))
        };
        writing.handle("flight", "1", request).await.unwrap();
    }
    let cases = [
        (AsOf::Now, Some((2, 3))),
        (AsOf::Version(0), Some((0, 1))),
        (AsOf::Version(1), Some((1, 2))),
        (AsOf::Version(99), Some((2, 3))),
        (AsOf::RecordedTime(999), None),
        (AsOf::RecordedTime(1000), Some((0, 1))),
        (AsOf::RecordedTime(2999), Some((1, 2))),
        (AsOf::RecordedTime(i64::MAX), Some((2, 3))),
        (AsOf::EffectiveTime(899), None),
        (AsOf::EffectiveTime(900), Some((0, 1))),
        (AsOf::EffectiveTime(1499), Some((0, 1))),
        (AsOf::EffectiveTime(1500), Some((2, 3))),
        (AsOf::EffectiveTime(1900), Some((2, 2))),
    ];
    // With the state in the cache, and without.
    for aggregates in [writing, aggregates(&scene)] {
        for (as_of, expected) in cases {
            assert_eq!(gate_at(&aggregates, as_of).await, expected, "{as_of:?}");
        }
    }
}

#[tokio::test]
async fn an_instance_without_events_has_no_state() {
    let scene = Scene::new().await;
    assert_eq!(aggregates(&scene).state("flight", "1", AsOf::Now).await.unwrap(), None);
}

#[tokio::test]
async fn a_long_stream_is_folded_in_pages() {
    let scene = Scene::new().await;
    for first in (0..3000).step_by(500) {
        let events = (first..first + 500).map(|n| NewEvent {
            effective_time_ms: Some(10_000 - n),
            ..NewEvent::new(new_id(), "boarded", n.to_string())
        });
        scene.store.append(&stream("flight-1"), Any, events.collect()).await.unwrap();
    }
    let aggregates = aggregates(&scene);
    // Backwards in time: the first events take effect last.
    for (as_of, version, passengers) in [
        (AsOf::Now, 2999, 2999),
        (AsOf::Version(1700), 1700, 1700),
        (AsOf::EffectiveTime(i64::MAX), 2999, 0),
        (AsOf::EffectiveTime(8000), 2999, 2000),
    ] {
        let state = aggregates.state("flight", "1", as_of).await.unwrap().unwrap();
        assert_eq!((state.version, state.state["passengers"].as_u64()), (version, Some(passengers)), "{as_of:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the cache is used (and whatever leaves it), a state is a plain fold of the events.
    #[test]
    fn a_state_is_the_fold_of_its_events(
        steps in prop::collection::vec((0_usize..3, 0_u32..4, any::<bool>(), 0_u64..8), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare_with_plain_fold(steps));
    }
}

async fn compare_with_plain_fold(steps: Vec<(usize, u32, bool, u64)>) {
    let scene = Scene::new().await;
    let settings = AggregatesSettings { cached_states: 2, ..AggregatesSettings::shipped() };
    let aggregates = Aggregates::new(Arc::clone(&scene.store), settings).unwrap();
    aggregates.register("flight", Flights).unwrap();
    let mut events: [Vec<FlightEvent>; 3] = Default::default();
    for (at, (id, passengers, by_command, version)) in steps.into_iter().enumerate() {
        let before = fold(&events[id]);
        if by_command {
            let request = command(&format!("c-{at}"), "board", json!({"passengers": passengers}));
            aggregates.handle("flight", &id.to_string(), request).await.unwrap();
            events[id].extend((1..=passengers).map(|n| FlightEvent::Boarded(before.passengers + n)));
        } else {
            let changed = NewEvent::new(new_id(), "gate_changed", json!({"gate": passengers}).to_string());
            scene.store.append(&stream(&format!("flight-{id}")), Any, vec![changed]).await.unwrap();
            events[id].push(FlightEvent::GateChanged { gate: passengers });
        }
        let counting = events[id].len().min(usize::try_from(version).unwrap() + 1);
        for (as_of, expected) in
            [(AsOf::Version(version), fold(&events[id][..counting])), (AsOf::Now, fold(&events[id]))]
        {
            let state = aggregates.state("flight", &id.to_string(), as_of).await.unwrap();
            let found = state.map_or_else(Flight::default, |state| serde_json::from_value(state.state).unwrap());
            assert_eq!(found, expected, "{as_of:?}");
        }
    }
}

fn fold(events: &[FlightEvent]) -> Flight {
    events.iter().fold(Flights.initial(), |state, event| Flights.evolve(state, event))
}
