//! The settings of SQL.

use std::time::Duration;

use serde::Deserialize;

/// Limits and defaults of SQL.
#[derive(Clone, Debug, Deserialize)]
pub struct SqlSettings {
    /// How long a statement may run, planning and result together; zero for no limit. A session can change it with
    /// `SET statement_timeout`.
    #[serde(rename = "statement_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub statement_timeout: Duration,
    /// How long a query waits for `fourfold.min_position`, and for a view that is being built; a session can change it with
    /// `SET fourfold.min_position_timeout_ms`.
    #[serde(rename = "min_position_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub min_position_timeout: Duration,
    /// How long planning a statement may keep its thread.
    #[serde(rename = "planning_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub planning_timeout: Duration,
    /// Threads on which all queries together compute.
    pub query_threads: usize,
    /// Parts that one query is split into. With fewer parts than threads, one busy query leaves some to the others.
    pub query_partitions: usize,
    /// Bytes of one text of statements.
    pub statement_bytes_max: usize,
    /// Open cursors a session.
    pub cursors_max: usize,
}

impl SqlSettings {
    /// As shipped: the section `sql` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("sql")
    }
}
