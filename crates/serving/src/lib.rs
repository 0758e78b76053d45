//! Views, and the doors to them: PostgreSQL wire and HTTP.
//!
//! What it is: [`views`] holds versioned, keyed rows with their Positions; [`sql`] answers queries over them; [`pg`]
//! and [`http`] are doors that speak a protocol and decide nothing.
//!
//! What it is not: it computes no view and appends no record. Views are folded in `streaming`, definitions are carried
//! out by whoever implements [`sql::Definitions`], and records enter through the log's own doors.
//!
//! What must hold: every answer carries the Positions that it reflects; a reader never blocks a writer and never sees
//! half a batch.

#[cfg(test)]
mod fixture;
pub mod http;
pub mod pg;
pub mod sql;
mod stall_guard;
pub mod topic_use;
pub mod views;
