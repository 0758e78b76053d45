//! The settings of SQL.

use std::time::Duration;

/// Limits and defaults of SQL.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    /// How long a statement may run, planning and result together; zero for no limit. A session can change it with
    /// `SET statement_timeout`.
    pub statement_timeout: Duration,
    /// How long a query waits for `fourfold.min_position`; a session can change it with
    /// `SET fourfold.min_position_timeout_ms`.
    pub min_position_timeout: Duration,
    /// Bytes that all queries together may hold for sorts, joins and aggregates.
    pub query_memory_bytes_max: usize,
    /// Threads on which all queries together compute.
    pub query_threads: usize,
    /// Parts that one query is split into. With fewer parts than threads, one busy query leaves some to the others.
    pub query_partitions: usize,
    /// Bytes of one text of statements.
    pub statement_bytes_max: usize,
    /// Open cursors a session.
    pub cursors_max: usize,
}

impl Default for SqlSettings {
    fn default() -> Self {
        Self {
            statement_timeout: Duration::from_secs(60),
            min_position_timeout: Duration::from_secs(10),
            query_memory_bytes_max: 512 * 1024 * 1024,
            query_threads: 4,
            query_partitions: 2,
            statement_bytes_max: 1024 * 1024,
            cursors_max: 16,
        }
    }
}
