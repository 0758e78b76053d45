//! [`Relation`]: what a query may name.

use std::fmt::Debug;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use model::{Error, Positions, Result, TopicName};

use super::{Frontier, Snapshot};

/// Keyed rows with Positions: a materialised view, or a view that merges layers when it is read.
#[async_trait]
pub trait Relation: Debug + Send + Sync {
    /// The name that queries use.
    fn name(&self) -> &str;

    /// The columns.
    fn schema(&self) -> SchemaRef;

    /// The columns that identify a row, as indices into the schema; empty where there is one row at most.
    fn key_columns(&self) -> &[usize];

    /// The topics that it is folded from: demands on other topics do not concern it.
    fn topics(&self) -> &[TopicName];

    /// The rows now, where that is known without reading them; for metrics.
    fn row_count(&self) -> Option<usize> {
        None
    }

    /// Why nothing can be read, where that is so: then its columns may be unknown too.
    fn refusal(&self) -> Option<Error> {
        None
    }

    /// All rows and the Positions that they reflect, taken in one step.
    async fn snapshot(&self) -> Result<Snapshot>;

    /// The snapshots of all relations that move on together with it, itself among them, by name and at one moment; none where it
    /// moves alone.
    fn snapshots_together(&self) -> Vec<(String, Snapshot)> {
        Vec::new()
    }

    /// The one row with this key (values in the order of the key columns, cast to their types where that loses
    /// nothing), in the relation's schema, and the Positions that the answer reflects.
    async fn get(&self, key: &[ScalarValue]) -> Result<(Option<RecordBatch>, Positions)>;

    /// How far it is.
    fn frontier(&self) -> &Frontier;
}
