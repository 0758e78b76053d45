//! A flight as an aggregate: the example that ships with the product.
//!
//! Commands come from the airport's day (schedule, depart, arrive, cancel); events are what then is true for ever; the
//! state is their fold. Rules have names, and a rejected command carries the name.

use eventstore::{Context, Decider, Rejection};
use serde::{Deserialize, Serialize};

/// The decider of flights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flight;

/// What can be asked of a flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case", deny_unknown_fields)]
pub enum FlightCommand {
    /// Put it on the timetable.
    Schedule(Itinerary),
    /// Push back from the gate.
    Depart(Delay),
    /// Reach the destination's gate.
    Arrive(Delay),
    /// Take it off the timetable.
    Cancel(Reason),
}

/// What happened to a flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum FlightEvent {
    /// It was put on the timetable.
    FlightScheduled(Itinerary),
    /// It departed.
    FlightDeparted(Delay),
    /// It arrived.
    FlightArrived(Delay),
    /// It was cancelled.
    FlightCancelled(Reason),
}

/// From where to where, when, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Itinerary {
    /// The carrier's code.
    pub carrier: String,
    /// The airport of departure.
    pub origin: String,
    /// The airport of arrival.
    pub dest: String,
    /// Scheduled departure, local time, as `2013-01-31T17:05:00`.
    pub scheduled: String,
}

/// How late, in minutes; negative when early, absent when nobody noted it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// Minutes.
    #[serde(default)]
    pub delay_minutes: Option<i32>,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The reason, for people.
    pub reason: String,
}

/// What a flight is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlightState {
    /// Where it stands in its life.
    pub status: Status,
    /// What was scheduled; absent before.
    pub itinerary: Option<Itinerary>,
    /// Minutes late at departure.
    pub departure_delay_minutes: Option<i32>,
    /// Minutes late at arrival.
    pub arrival_delay_minutes: Option<i32>,
}

/// Where a flight stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not on the timetable.
    #[default]
    Unknown,
    /// On the timetable.
    Scheduled,
    /// In the air.
    Departed,
    /// At its destination.
    Arrived,
    /// Off the timetable.
    Cancelled,
}

impl Decider for Flight {
    type Command = FlightCommand;
    type Event = FlightEvent;
    type State = FlightState;

    fn initial(&self) -> FlightState {
        FlightState::default()
    }

    fn decide(&self, state: &FlightState, command: &FlightCommand, _: &Context) -> Result<Vec<FlightEvent>, Rejection> {
        use Status::{Arrived, Cancelled, Departed, Scheduled, Unknown};
        let no = |rule: &'static str, reason: &str| Err(Rejection::new(rule, reason));
        match (command, state.status) {
            (FlightCommand::Schedule(itinerary), Unknown) if itinerary.origin == itinerary.dest => {
                no("different_airports", "a flight cannot end where it begins")
            }
            (FlightCommand::Schedule(itinerary), Unknown) => Ok(vec![FlightEvent::FlightScheduled(itinerary.clone())]),
            (FlightCommand::Schedule(_), _) => no("already_scheduled", "the flight is on the timetable already"),
            (_, Unknown) => no("must_be_scheduled", "the flight is not on the timetable"),
            (_, Cancelled) => no("already_cancelled", "the flight was cancelled"),
            (FlightCommand::Depart(delay), Scheduled) => Ok(vec![FlightEvent::FlightDeparted(delay.clone())]),
            (FlightCommand::Depart(_), _) => no("already_departed", "the flight has left the gate"),
            (FlightCommand::Arrive(delay), Departed) => Ok(vec![FlightEvent::FlightArrived(delay.clone())]),
            (FlightCommand::Arrive(_), Scheduled) => no("must_have_departed", "the flight has not left the gate"),
            (FlightCommand::Arrive(_), Arrived) => no("already_arrived", "the flight has arrived"),
            (FlightCommand::Cancel(reason), Scheduled) => Ok(vec![FlightEvent::FlightCancelled(reason.clone())]),
            (FlightCommand::Cancel(_), _) => no("already_departed", "the flight has left the gate"),
        }
    }

    fn evolve(&self, mut state: FlightState, event: &FlightEvent) -> FlightState {
        match event {
            FlightEvent::FlightScheduled(itinerary) => {
                state.status = Status::Scheduled;
                state.itinerary = Some(itinerary.clone());
            }
            FlightEvent::FlightDeparted(delay) => {
                state.status = Status::Departed;
                state.departure_delay_minutes = delay.delay_minutes;
            }
            FlightEvent::FlightArrived(delay) => {
                state.status = Status::Arrived;
                state.arrival_delay_minutes = delay.delay_minutes;
            }
            FlightEvent::FlightCancelled(_) => state.status = Status::Cancelled,
        }
        state
    }
}

#[cfg(test)]
mod tests;
