//! A Kafka server over an event log, and a small Kafka client.
//!
//! What it is: [`Broker`], a TCP server that speaks Kafka's protocol over any [`EventLog`](eventlog::EventLog) with
//! the coordinator of classic consumer groups inside; and [`client`], the client that our own command line and demo
//! use.
//!
//! What it is not: storage (that is `eventlog`), nor the protocol's bytes (`kafka-wire`).
//!
//! ```text
//! TCP -> request reader -> connection loop -> requests::* -> EventLog
//!                              |                  `--------> coordinator (one task, all groups)
//!                              `-> answers in request order
//! ```
//!
//! What must hold:
//! - answers leave in the order of their requests; produce requests of one connection overlap, nothing else does;
//! - with `acks=all` an answer leaves after the log made the records durable;
//! - connections, requests in flight, their bytes, the bytes of answers that wait to be read, groups, members and
//!   committed offsets are bounded by [`BrokerSettings`].

mod answer_budget;
pub mod client;
mod connection;
mod coordinator;
mod damage_reports;
mod error;
mod offset_expiry;
mod offset_room;
mod request_reader;
mod requests;
mod resources;
mod server;
mod services;
mod settings;
mod silence;
mod stop;
mod topic_deletion;

pub use resources::Resources;
pub use server::Broker;
pub use settings::{BrokerSettings, GroupSettings};
pub use topic_deletion::TopicDeletion;
