//! Streams of events with expected versions, and the deciders over them.

mod aggregates;
mod behaviour;
mod cache;
mod command;
mod decider;
mod draft;
mod error;
mod event;
mod fold;
mod index;
mod reader;
mod record;
mod settings;
mod store;
mod stream;
mod subscription;
mod turnstiles;
mod writer;

pub use aggregates::{Aggregates, AggregatesSettings, StateAt};
pub use command::{CommandError, CommandOutcome, CommandRequest};
pub use decider::{Context, Decider, Rejection};
pub use error::{Error, Result};
pub use event::{CommandId, NewEvent, RecordedEvent};
pub use fold::AsOf;
pub use index::ForeignRecords;
pub use settings::EventStoreSettings;
pub use store::{AllPage, Appended, EventStore};
pub use stream::{Direction, ExpectedVersion, StreamName, StreamSummary};
pub use subscription::{Delivery, Subscription};

#[cfg(test)]
mod tests;
