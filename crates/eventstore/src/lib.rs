//! Streams of events with expected versions, and the deciders over them.

mod cache;
mod draft;
mod error;
mod event;
mod index;
mod reader;
mod record;
mod settings;
mod store;
mod stream;
mod subscription;
mod writer;

pub use error::{Error, Result};
pub use event::{CommandId, NewEvent, RecordedEvent};
pub use index::ForeignRecords;
pub use settings::EventStoreSettings;
pub use store::{AllPage, Appended, EventStore};
pub use stream::{Direction, ExpectedVersion, StreamName, StreamSummary};
pub use subscription::{Delivery, Subscription};
