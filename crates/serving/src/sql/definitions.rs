//! [`Definitions`]: who carries out what a statement defines, and knows the sources.

use std::fmt::Debug;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use model::{Principal, Result};
use sql::{Show, SourceDefinition, SqlError, Statement};

use crate::views::Snapshot;

/// What a definition has brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    /// The command tag, as in `CREATE MATERIALIZED VIEW`.
    pub tag: String,
    /// What the user should know besides, one sentence each.
    pub notices: Vec<String>,
}

/// Carries out definitions and knows what is defined.
#[async_trait]
pub trait Definitions: Debug + Send + Sync {
    /// Carries out `CREATE` and `DROP` of sources and views. It asks `model::principal::authorise` itself, since only
    /// it knows what a definition touches.
    async fn define(&self, principal: &Principal, statement: Statement) -> Result<Defined, SqlError>;

    /// Says what a definition would do, one line each, and does nothing.
    async fn explain(&self, principal: &Principal, statement: Statement) -> Result<Vec<String>, SqlError>;

    /// The answer to `SHOW SOURCES`, `SHOW VIEWS` and `SHOW TOPICS`; the columns are the same each time.
    async fn show(&self, principal: &Principal, show: Show) -> Result<RecordBatch>;

    /// The sources that queries may name.
    fn sources(&self) -> Vec<SourceDefinition>;

    /// What a source's topic holds now: a pinned range of the log, and where it ends. `None` without such a source.
    async fn source_table(&self, name: &str) -> Result<Option<Snapshot>>;
}
