//! SQL over whatever is served: views, sources and the catalogue tables that clients look at.
//!
//! What it is: [`SqlService`] (one a server) and [`Session`] (one a connection). A statement goes one of three ways:
//! definitions to [`Definitions`], a read of one row by its key straight to the relation, everything else through
//! DataFusion over snapshots that are pinned for the query. `INSERT`, `UPDATE` and `DELETE` are queries for rows, which become
//! records of a topic.
//!
//! What it is not: a place where anything is stored.
//!
//! What must hold: every result carries the Positions it reflects; `fourfold.min_position` is honoured by every read;
//! the statement timeout and a cancel reach planning and the whole of the result.

mod action;
mod advisory_locks;
mod assignment;
mod boolean_comparison;
mod catalog;
mod column_names;
mod comparison;
mod compatibility;
mod copy;
mod counted_rows;
mod cursor;
mod definitions;
mod engine;
mod error;
mod explain;
mod functions;
mod guard;
mod information_schema;
mod isolation;
mod memory_pool;
mod outcome;
mod parameter_types;
mod parser;
mod passing;
mod pg_catalog;
mod placeholder;
mod planner;
mod point_read;
mod refusal;
mod service;
mod session;
mod session_functions;
mod settings;
mod statement;
mod threads;
mod transaction;
mod unread;
mod variables;
mod window_memory;
mod writes;

pub use copy::{CopyFormat, CopyOptions};
pub use definitions::{Comparison, Defined, Definitions, Replayed, WriteClaim};
pub use outcome::{Effect, Outcome};
pub use service::SqlService;
pub use session::Session;
pub use settings::SqlSettings;
pub use statement::{Prepared, StatementText};
pub use unread::Unread;
pub(crate) use variables::{BYTEA_OUTPUT, EXTRA_FLOAT_DIGITS, INTERVAL_STYLE};

#[cfg(test)]
mod tests;
