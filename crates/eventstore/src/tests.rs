//! Tests of the whole store over a log in memory, which can be told to fail.

mod appending;
mod commands;
mod flight;
mod foreign;
mod idempotence;
mod memory_log;
mod random;
mod reading;
mod states;

use std::sync::Arc;

use eventlog::EventLog;
use model::{Entropy, ManualClock, Metrics, SystemEntropy};
use uuid::Uuid;

use crate::{Error, EventStore, EventStoreSettings, ExpectedVersion, NewEvent, StreamName};
use memory_log::MemoryLog;

/// A store over a log in memory.
struct Scene {
    log: Arc<MemoryLog>,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    settings: EventStoreSettings,
    store: Arc<EventStore>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(EventStoreSettings::shipped()).await
    }

    async fn with(settings: EventStoreSettings) -> Self {
        let (log, clock, metrics) =
            (Arc::new(MemoryLog::default()), Arc::new(ManualClock::at(1000)), Metrics::default());
        let store = open(&log, &settings, &clock, &metrics).await;
        Self { log, clock, metrics, settings, store }
    }

    /// Another store over the same log, as after a restart.
    async fn reopened(&self) -> Arc<EventStore> {
        open(&self.log, &self.settings, &self.clock, &self.metrics).await
    }
}

async fn open(
    log: &Arc<MemoryLog>,
    settings: &EventStoreSettings,
    clock: &Arc<ManualClock>,
    metrics: &Metrics,
) -> Arc<EventStore> {
    let log: Arc<dyn EventLog> = Arc::clone(log) as _;
    EventStore::open(log, settings.clone(), Arc::clone(clock) as _, metrics.clone()).await.unwrap()
}

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn new_id() -> Uuid {
    SystemEntropy.uuid()
}

/// An event whose id follows from its number.
fn event(number: u128) -> NewEvent {
    NewEvent::new(Uuid::from_u128(number), "counted", format!("{{\"number\":{number}}}"))
}

fn wrong_version(name: &str, expected: ExpectedVersion, actual: Option<u64>) -> String {
    Error::WrongVersion { stream: stream(name), expected, actual }.to_string()
}

#[test]
fn stream_names_are_checked() {
    for legal in ["a", "flight-DL 7", "é", "a$b", &"x".repeat(512)] {
        assert!(StreamName::new(legal).is_ok(), "{legal}");
    }
    for illegal in ["", "$all", "$", "a\nb", "a\0b", &"x".repeat(513), &"é".repeat(257)] {
        let error: model::Error = StreamName::new(illegal).unwrap_err().into();
        assert_eq!(error.kind(), model::ErrorKind::Invalid, "{illegal}");
        assert!(error.message().len() < 200, "a long name is not repeated in full");
    }
}
