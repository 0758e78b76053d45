//! Streams of events with expected versions, and the deciders over them.
//!
//! What it is: an [`EventStore`] over one partition of a log, with one total order of all events, optimistic
//! concurrency a stream, idempotent appends, reads and subscriptions; and [`Aggregates`], which turn commands into
//! events by a [`Decider`] and tell an aggregate's state as of any version or time.
//!
//! What it is not: a place for read models. Those are views over the topic, and the log is the event bus: on the
//! wire every event is a CloudEvent that any Kafka consumer can read (`docs/formats/events.md`).
//!
//! ```text
//!   commands ──▶ Aggregates ── decide ──▶ append ──┐                      (state = fold of the stream's events,
//!                    ▲            └─ or keep why ──┤                       cached by stream and version)
//!                    │               nothing came  │
//!                    └───────── fold ◀── reads     ▼
//!                                          ▲    queue ──▶ Writer: draft over the index ──▶ a batch ──▶ EventLog
//!   appends ───────────────────────────────┼──────▶│             ▲                                       (fsync)
//!                                          │                     └────────── apply when durable ◀────────────┘
//!   reads, subscriptions ──▶ Reader ◀── Index (stream ─▶ offsets; recent event and command ids)
//! ```
//!
//! There are two group commits in series, the store's and the log's. They do different things: the store's writer decides
//! about all that waits on one state of the index, one decision after the other, and makes one batch of it; the log
//! syncs that batch together with those of all other topics. One writer for both would have the log know streams, or
//! the store wait for a sync a batch with nobody sharing it. The price is that an append which arrives just after a
//! commit began waits for two syncs.
//!
//! What must hold:
//! - an append is answered, and visible to anyone, only once it is on disk;
//! - an append is whole within one record batch: all of its events are there, or none;
//! - a stream's versions are dense from 0; recorded times never decrease;
//! - a command is decided once: the same one sent again is answered as it was, another one under its id is refused;
//! - the index is derived: rebuilt from the log, it is the one that was live;
//! - a record in the topic that is no event of the store stops nothing: it is counted and passed over;
//! - a damaged event refuses its stream, and whoever reads up to it, and nothing else.
//!
//! ```
//! use std::sync::Arc;
//!
//! use eventlog::{EmbeddedLog, EventLogSettings};
//! use eventstore::{
//!     Aggregates, AggregatesSettings, AsOf, CommandId, CommandRequest, Context, Decider, EventStore, EventStoreSettings,
//!     ExpectedVersion, NewEvent, Rejection, StreamName,
//! };
//! use model::{Entropy as _, Metrics, SystemClock, SystemEntropy};
//! use serde::{Deserialize, Serialize};
//! use serde_json::value::to_raw_value;
//!
//! /// A gate at an airport: it opens and closes.
//! struct Gate;
//!
//! #[derive(Deserialize)]
//! #[serde(tag = "type", content = "data", rename_all = "snake_case")]
//! enum Command {
//!     Open { flight: String },
//!     Close,
//! }
//!
//! #[derive(Deserialize, Serialize)]
//! #[serde(tag = "type", content = "data", rename_all = "snake_case")]
//! enum Event {
//!     Opened { flight: String },
//!     Closed,
//! }
//!
//! impl Decider for Gate {
//!     type Command = Command;
//!     type Event = Event;
//!     type State = Option<String>;
//!
//!     fn initial(&self) -> Option<String> {
//!         None
//!     }
//!
//!     fn decide(&self, state: &Option<String>, command: &Command, _: &Context) -> Result<Vec<Event>, Rejection> {
//!         match (command, state) {
//!             (Command::Open { .. }, Some(flight)) => {
//!                 Err(Rejection::new("gate_in_use", format!("the gate is open for {flight}")))
//!             }
//!             (Command::Open { flight }, None) => Ok(vec![Event::Opened { flight: flight.clone() }]),
//!             (Command::Close, None) => Ok(vec![]),
//!             (Command::Close, Some(_)) => Ok(vec![Event::Closed]),
//!         }
//!     }
//!
//!     fn evolve(&self, _: Option<String>, event: &Event) -> Option<String> {
//!         match event {
//!             Event::Opened { flight } => Some(flight.clone()),
//!             Event::Closed => None,
//!         }
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let (clock, metrics) = (Arc::new(SystemClock), Metrics::default());
//! let log = EmbeddedLog::open(directory.path(), EventLogSettings::shipped(), clock.clone(), metrics.clone()).await?;
//! let store = EventStore::open(log, EventStoreSettings::shipped(), clock, metrics).await?;
//!
//! // Events, as they are:
//! let notes = StreamName::new("notes")?;
//! let noted = NewEvent::new(SystemEntropy.uuid(), "noted", r#"{"text": "fog over ORD"}"#);
//! let appended = store.append(&notes, ExpectedVersion::NoStream, vec![noted]).await?;
//! assert_eq!(appended.positions.to_string(), "events/0:1");
//!
//! // Events that a decider decides:
//! let aggregates = Aggregates::new(store, AggregatesSettings::shipped())?;
//! aggregates.register("gate", Gate)?;
//! let open = |id: &str, flight: &str| {
//!     let data = to_raw_value(&serde_json::json!({ "flight": flight }))?;
//!     Ok::<_, Box<dyn std::error::Error>>(CommandRequest::new(CommandId::new(id)?, "open", data))
//! };
//! let outcome = aggregates.handle("gate", "B7", open("1", "DL 42")?).await?;
//! assert_eq!(outcome.events[0].event_type, "opened");
//! let rejected = aggregates.handle("gate", "B7", open("2", "UA 1")?).await.unwrap_err();
//! assert_eq!(rejected.to_string(), "rejected by rule gate_in_use: the gate is open for DL 42");
//! let again = aggregates.handle("gate", "B7", open("1", "DL 42")?).await?;
//! assert!(again.duplicate && again.events == outcome.events);
//! let state = aggregates.state("gate", "B7", AsOf::Now).await?.ok_or("no state")?;
//! assert_eq!(state.state, "DL 42");
//! # Ok(())
//! # }
//! ```

mod aggregates;
mod all_page;
mod behaviour;
mod cache;
mod canonical;
mod command;
mod damage;
mod decider;
mod digest;
mod draft;
mod error;
mod event;
mod fold;
mod index;
mod opened;
mod outcome;
mod reader;
mod record;
mod settings;
mod store;
mod stream;
mod stream_locks;
mod subscription;
mod tagged;
mod writer;

pub use aggregates::{Aggregates, AggregatesSettings, StateAt};
pub use all_page::AllPage;
pub use command::{CommandError, CommandOutcome, CommandRequest};
pub use damage::Damage;
pub use decider::{Context, Decider, Rejection};
pub use error::{Error, Result};
pub use event::{CommandId, NewEvent, RecordedEvent};
pub use fold::AsOf;
pub use index::ForeignRecords;
pub use settings::EventStoreSettings;
pub use store::{Appended, EventStore};
pub use stream::{Direction, ExpectedVersion, StreamName, StreamSummary};
pub use subscription::{Delivery, Subscription};

#[cfg(test)]
mod tests;
