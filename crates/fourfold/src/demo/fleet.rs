//! The demo's aggregates: some of the real flights, brought to life by commands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use eventstore::{Aggregates, AsOf, CommandError, CommandId, CommandOutcome, CommandRequest};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use model::{Clock as _, SystemClock, SystemEntropy};
use patterns::event_sourcing::FLIGHT;
use serde_json::{Value, json, value::RawValue};

use super::flights::Flight;
use super::latency::Latencies;
use crate::server::Server;

const FLIGHTS: usize = 1_500;
// How many flights are handled at once: their commits share one sync of the disk.
const CONCURRENCY: usize = 64;

/// Flights that have lived their lives.
pub(crate) struct Fleet {
    pub(crate) flights: Vec<Flight>,
    pub(crate) commands: usize,
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Latencies,
}

impl Fleet {
    /// Sends the commands of the first flights, each flight's in order, many flights at once.
    pub(crate) async fn fly(server: &Server, flights: &[Flight]) -> Result<Self> {
        let mut seen = BTreeSet::new();
        let flights: Vec<Flight> =
            flights.iter().filter(|flight| seen.insert(flight.id())).take(FLIGHTS).cloned().collect();
        let started = SystemClock.instant();
        let lives = stream::iter(&flights).map(|flight| live(server.aggregates(), flight));
        let latencies: Vec<Vec<Duration>> = lives.buffer_unordered(CONCURRENCY).try_collect().await?;
        let latencies = latencies.concat();
        let (commands, elapsed) = (latencies.len(), started.elapsed());
        Ok(Self { flights, commands, elapsed, latencies: Latencies::new(latencies) })
    }

    /// The flights' states now, folded from their events, one row a flight.
    pub(crate) async fn states(&self, server: &Server) -> Result<RecordBatch> {
        let mut states = Vec::with_capacity(self.flights.len());
        for flight in &self.flights {
            let at = server.aggregates().state(FLIGHT, &flight.id(), AsOf::Now).await?;
            states.push(at.with_context(|| format!("flight {} has no events", flight.id()))?.state);
        }
        let text = |path: &'static str| -> ArrayRef {
            Arc::new(states.iter().map(|state| state.pointer(path)?.as_str()).collect::<StringArray>())
        };
        let number = |path: &'static str| -> ArrayRef {
            let minutes = |state: &Value| i32::try_from(state.pointer(path)?.as_i64()?).ok();
            Arc::new(states.iter().map(minutes).collect::<Int32Array>())
        };
        Ok(RecordBatch::try_from_iter([
            ("carrier", text("/itinerary/carrier")),
            ("origin", text("/itinerary/origin")),
            ("dest", text("/itinerary/dest")),
            ("status", text("/status")),
            ("dep_delay", number("/departure_delay_minutes")),
            ("arr_delay", number("/arrival_delay_minutes")),
        ])?)
    }
}

/// Sends one command to a flight.
pub(crate) async fn command(
    commands: &Aggregates,
    id: &str,
    command_type: &str,
    data: &Value,
) -> Result<CommandOutcome, CommandError> {
    let data = RawValue::from_string(data.to_string()).expect("a JSON value is JSON");
    commands.handle(FLIGHT, id, CommandRequest::new(CommandId::random(&SystemEntropy), command_type, data)).await
}

async fn live(commands: &Aggregates, flight: &Flight) -> Result<Vec<Duration>> {
    let id = flight.id();
    let mut latencies = Vec::new();
    for (command_type, data) in life(flight) {
        let started = SystemClock.instant();
        let outcome = command(commands, &id, command_type, &data).await;
        outcome.with_context(|| format!("{command_type} {id}"))?;
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}

fn life(flight: &Flight) -> Vec<(&'static str, Value)> {
    let scheduled = flight.scheduled.format("%Y-%m-%dT%H:%M:%S").to_string();
    let itinerary = json!({
        "carrier": flight.carrier, "origin": flight.origin, "dest": flight.dest, "scheduled": scheduled,
    });
    let mut life = vec![("schedule", itinerary)];
    match (flight.dep_delay, flight.arr_delay) {
        (None, _) => life.push(("cancel", json!({ "reason": "never departed" }))),
        (Some(departure), arrival) => {
            life.push(("depart", json!({ "delay_minutes": departure })));
            life.extend(arrival.map(|arrival| ("arrive", json!({ "delay_minutes": arrival }))));
        }
    }
    life
}
