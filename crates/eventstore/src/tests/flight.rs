//! The aggregate of the tests: a flight.

use serde::{Deserialize, Serialize};

use crate::{Context, Decider, Rejection};

#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub(super) enum FlightCommand {
    Schedule {
        gate: u32,
    },
    ChangeGate {
        gate: u32,
    },
    /// Boards as many, each as an event of its own.
    Board {
        passengers: u32,
    },
    Depart,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub(super) enum FlightEvent {
    Scheduled { gate: u32 },
    GateChanged { gate: u32 },
    Boarded(u32),
    Departed,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Flight {
    pub(super) gate: Option<u32>,
    pub(super) passengers: u32,
    pub(super) departed: bool,
}

pub(super) struct Flights;

impl Decider for Flights {
    type Command = FlightCommand;
    type Event = FlightEvent;
    type State = Flight;

    fn initial(&self) -> Flight {
        Flight::default()
    }

    fn decide(&self, state: &Flight, command: &FlightCommand, _: &Context) -> Result<Vec<FlightEvent>, Rejection> {
        if state.departed {
            return Err(Rejection::new("already_departed", "the flight is in the air"));
        }
        match *command {
            FlightCommand::Schedule { .. } if state.gate.is_some() => {
                Err(Rejection::new("already_scheduled", "the flight has a gate"))
            }
            FlightCommand::Schedule { gate } => Ok(vec![FlightEvent::Scheduled { gate }]),
            FlightCommand::ChangeGate { gate } if state.gate == Some(gate) => Ok(Vec::new()),
            FlightCommand::ChangeGate { gate } => Ok(vec![FlightEvent::GateChanged { gate }]),
            FlightCommand::Board { passengers } => {
                Ok((1..=passengers).map(|n| FlightEvent::Boarded(state.passengers + n)).collect())
            }
            FlightCommand::Depart => Ok(vec![FlightEvent::Departed]),
        }
    }

    fn evolve(&self, mut state: Flight, event: &FlightEvent) -> Flight {
        match *event {
            FlightEvent::Scheduled { gate } | FlightEvent::GateChanged { gate } => state.gate = Some(gate),
            FlightEvent::Boarded(passengers) => state.passengers = passengers,
            FlightEvent::Departed => state.departed = true,
        }
        state
    }
}
