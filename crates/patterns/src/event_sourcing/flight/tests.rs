//! Given events, when a command, then events or a named rejection.

use eventstore::{CommandId, Context, Decider as _, StreamName};
use model::Principal;

use super::{Delay, Flight, FlightCommand, FlightEvent, Itinerary, Reason};

fn itinerary(dest: &str) -> Itinerary {
    Itinerary { carrier: "UA".into(), origin: "EWR".into(), dest: dest.into(), scheduled: "2013-01-01T05:15:00".into() }
}

fn scheduled() -> FlightEvent {
    FlightEvent::FlightScheduled(itinerary("IAH"))
}

fn late(minutes: i32) -> Delay {
    Delay { delay_minutes: Some(minutes) }
}

fn context() -> Context {
    Context {
        stream: StreamName::new("flight-UA1545").unwrap(),
        version: None,
        now_ms: 0,
        effective_time_ms: 0,
        command_id: CommandId::new("c1").unwrap(),
        principal: Principal::anonymous(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a case reads as one line")]
fn check(given: &[FlightEvent], when: FlightCommand, then: Result<FlightEvent, &str>) {
    let state = given.iter().fold(Flight.initial(), |state, event| Flight.evolve(state, event));
    let decided = Flight.decide(&state, &when, &context());
    match (decided, then) {
        (Ok(events), Ok(expected)) => assert_eq!(events, [expected]),
        (Err(rejection), Err(rule)) => assert_eq!(rejection.rule, rule),
        (decided, then) => panic!("{when:?} gave {decided:?}, expected {then:?}"),
    }
}

#[test]
fn a_flight_lives_its_life_in_order() {
    use FlightCommand::{Arrive, Cancel, Depart, Schedule};
    use FlightEvent::{FlightArrived, FlightCancelled, FlightDeparted};
    let cancel = || Cancel(Reason { reason: "snow".into() });
    let cancelled = || FlightCancelled(Reason { reason: "snow".into() });
    let departed = || FlightDeparted(late(2));

    check(&[], Schedule(itinerary("IAH")), Ok(scheduled()));
    check(&[], Schedule(itinerary("EWR")), Err("different_airports"));
    check(&[], Depart(late(2)), Err("must_be_scheduled"));
    check(&[scheduled()], Schedule(itinerary("IAH")), Err("already_scheduled"));
    check(&[scheduled()], Depart(late(2)), Ok(departed()));
    check(&[scheduled()], Arrive(late(11)), Err("must_have_departed"));
    check(&[scheduled()], cancel(), Ok(cancelled()));
    check(&[scheduled(), departed()], Depart(late(3)), Err("already_departed"));
    check(&[scheduled(), departed()], cancel(), Err("already_departed"));
    check(&[scheduled(), departed()], Arrive(late(11)), Ok(FlightArrived(late(11))));
    check(&[scheduled(), departed(), FlightArrived(late(11))], Arrive(late(1)), Err("already_arrived"));
    check(&[scheduled(), cancelled()], Depart(late(1)), Err("already_cancelled"));
}
