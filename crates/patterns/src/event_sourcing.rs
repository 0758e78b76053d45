#![doc = include_str!("../../../docs/patterns/event-sourcing.md")]
//!
//! # In code
//! What it is: one function that opens the event store over the log and registers the deciders that ship with the
//! product. Everything else is the event store's own work.

mod flight;

use std::sync::Arc;

use eventlog::EventLog;
use eventstore::{Aggregates, AggregatesSettings, EventStore, EventStoreSettings};
use model::{Clock, Metrics, Result};

pub use flight::{Delay, Flight, FlightCommand, FlightEvent, FlightState, Itinerary, Reason, Status};

/// The name under which flights take commands.
pub const FLIGHT: &str = "flight";

/// Opens the event store in `log` and the aggregates over it.
///
/// # Errors
/// When the store's topic cannot be created or read.
pub async fn open(
    log: Arc<dyn EventLog>,
    settings: EventStoreSettings,
    aggregates: AggregatesSettings,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
) -> Result<(Arc<EventStore>, Arc<Aggregates>)> {
    let store = EventStore::open(log, settings, clock, metrics).await?;
    let aggregates = Aggregates::new(Arc::clone(&store), aggregates)?;
    aggregates.register(FLIGHT, Flight)?;
    Ok((store, Arc::new(aggregates)))
}
