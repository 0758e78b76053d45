//! [`Definitions`]: who carries out what a statement defines, knows the sources, and writes to them.

use std::fmt::{self, Debug};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use model::{Positions, Principal, Result};
use sql::{Replay, Show, SourceDefinition, SqlError, Statement};
use streaming::RowRecord;
use tokio::sync::OwnedMutexGuard;

use crate::views::Snapshot;

/// What a definition has brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    /// The command tag, as in `CREATE MATERIALIZED VIEW`.
    pub tag: String,
    /// What the user should know besides, one sentence each.
    pub notices: Vec<String>,
}

/// What a replay has brought about.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What the user should know, one sentence each.
    pub notices: Vec<String>,
    /// What is to be compared, where that was asked for.
    pub comparison: Option<Comparison>,
}

/// Two versions of a view with the same columns, as of the same Positions.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Their numbers: the one that was there, and the one that was replayed.
    pub versions: [u64; 2],
    /// What they show.
    pub snapshots: [Snapshot; 2],
}

/// The right to write to a source or table over SQL. Where rows are found before they are written, nobody else has it.
pub struct WriteClaim {
    /// What is written.
    pub target: SourceDefinition,
    /// Where its log ended when the claim was made: everything that was written over SQL before.
    pub end: Positions,
    /// Given up when it is dropped; `None` for what several may write at once.
    pub held: Option<OwnedMutexGuard<()>>,
}

impl Debug for WriteClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteClaim").field("target", &self.target.name).field("end", &self.end).finish_non_exhaustive()
    }
}

/// Carries out definitions and knows what is defined.
#[async_trait]
pub trait Definitions: Debug + Send + Sync {
    /// Carries out `CREATE` and `DROP` of sources and views. It asks `model::principal::authorise` itself, since only
    /// it knows what a definition touches.
    async fn define(&self, principal: &Principal, statement: Statement) -> Result<Defined, SqlError>;

    /// Builds a version of a view beside the current one. It asks `model::principal::authorise` itself. Whoever computes no views
    /// refuses it.
    async fn replay(&self, _principal: &Principal, _replay: Replay) -> Result<Replayed, SqlError> {
        Err(SqlError::unsupported("REPLAY MATERIALIZED VIEW"))
    }

    /// Says what a definition would do, one line each, and does nothing.
    async fn explain(&self, principal: &Principal, statement: Statement) -> Result<Vec<String>, SqlError>;

    /// The answer to `SHOW SOURCES`, `SHOW VIEWS` and `SHOW TOPICS`; the columns are the same each time.
    async fn show(&self, principal: &Principal, show: Show) -> Result<RecordBatch>;

    /// The sources that queries may name.
    fn sources(&self) -> Vec<SourceDefinition>;

    /// What a source's topic holds now: a pinned range of the log, and where it ends. `None` without such a source.
    async fn source_table(&self, name: &str) -> Result<Option<Snapshot>>;

    /// Waits for the right to write to a source or table.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound), and when the principal may not.
    async fn claim(&self, principal: &Principal, name: &str) -> Result<WriteClaim>;

    /// Writes records; on disk when it returns. Answers where their partitions end with them. Those of one partition are written
    /// together, others one after the other.
    async fn write(&self, claim: &WriteClaim, records: Vec<RowRecord>) -> Result<Positions>;
}
