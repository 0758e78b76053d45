//! The words of the product, each written down once.
//!
//! What it is: the vocabulary that every other crate shares: [`TopicName`], [`TopicPartition`], [`Offset`],
//! [`Positions`], [`Epoch`], [`Principal`], [`Error`], [`MemoryBudget`], [`Clock`], [`Entropy`], [`Metrics`].
//!
//! What it is not: no async, no serialisation framework, no I/O, no settings. A format that stores one of these
//! words writes it by hand and versions it.
//!
//! What must hold: this crate depends on no other crate of the workspace, and a value of one of its types is
//! always valid (a [`TopicName`] that exists is a legal name).
//!
//! ```
//! use model::{Positions, TopicName, TopicPartition};
//!
//! let flights = TopicPartition::new(TopicName::new("flights")?, 0);
//! let written = Positions::from([(flights.clone(), 42)]);
//! let served: Positions = "flights/0:57".parse()?;
//! assert!(served.covers(&written));
//! # Ok::<(), model::Error>(())
//! ```

pub mod entropy;
pub mod error;
pub mod memory;
pub mod metrics;
pub mod positions;
pub mod principal;
pub mod time;
pub mod topic;

pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use error::{Error, ErrorKind, Result};
pub use memory::{MemoryBudget, MemoryExhausted, MemoryReservation};
pub use metrics::Metrics;
pub use positions::{Epoch, Positions};
pub use principal::{Access, Principal, Resource};
pub use time::{Clock, ManualClock, SystemClock};
pub use topic::{Offset, TopicName, TopicPartition};

#[cfg(test)]
mod tests;
