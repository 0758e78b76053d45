//! PostgreSQL's protocol, so that psql, drivers and BI tools reach the views as they are.
//!
//! What it is: a door on `pgwire` (messages and their order) and `arrow-pg` (values). One task a connection, one
//! [`Session`](crate::sql::Session) a connection; results are streamed, and a slow reader slows its query down.
//!
//! What it is not: an engine. Whatever a statement means is decided in [`crate::sql`].
//!
//! What must hold: bad input ends in an error message, never in a panic; every result is preceded by the Positions it
//! reflects, as the parameter status `fourfold.positions`, where they have changed.
//!
//! Not there yet: TLS and passwords (the door listens on loopback only), `COPY FROM`, `LISTEN`.

mod backend;
mod cancel;
mod connection;
mod conversation;
mod copy_text;
mod encodable;
mod error;
mod extended;
mod fields;
mod frame;
mod parameters;
mod respond;
mod server;
mod settings;
mod simple;
mod startup;
mod statement_parser;
mod wide_numbers;

pub use server::{PgServer, start};
pub use settings::PgSettings;

#[cfg(test)]
mod tests;
