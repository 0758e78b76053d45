//! [`Snapshot`]: rows that no longer change, and the Positions that they reflect.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::catalog::TableProvider;
use model::{Positions, Result};

use super::{
    rows::{BatchRows, Rows},
    snapshot_table::SnapshotTable,
};

/// What a query reads: rows and the Positions that they reflect.
#[derive(Clone, Debug)]
pub struct Snapshot {
    table: Arc<dyn TableProvider>,
    rows: Option<Arc<dyn Rows>>,
    positions: Positions,
}

impl Snapshot {
    /// A snapshot of `rows`.
    pub fn new(rows: Arc<dyn Rows>, positions: Positions) -> Self {
        Self { table: Arc::new(SnapshotTable::new(Arc::clone(&rows))), rows: Some(rows), positions }
    }

    /// A snapshot of batches that are in memory already.
    ///
    /// # Errors
    /// [`Internal`](model::ErrorKind::Internal) when a batch is not of `schema`.
    pub fn from_batches(schema: SchemaRef, batches: Vec<RecordBatch>, positions: Positions) -> Result<Self> {
        Ok(Self::new(Arc::new(BatchRows::new(schema, batches)?), positions))
    }

    /// A snapshot of a table that is pinned by other means (a range of the log, a version of a lake table).
    pub fn of_table(table: Arc<dyn TableProvider>, positions: Positions) -> Self {
        Self { table, rows: None, positions }
    }

    /// The Positions that the rows reflect.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The rows as a table for DataFusion.
    pub fn table(&self) -> Arc<dyn TableProvider> {
        Arc::clone(&self.table)
    }

    /// The rows, for a reader that needs no SQL; `None` for a snapshot made by [`Snapshot::of_table`].
    pub fn rows(&self) -> Option<&Arc<dyn Rows>> {
        self.rows.as_ref()
    }

    /// How many rows, where that is known without reading them.
    pub fn row_count(&self) -> Option<usize> {
        self.rows.as_ref().and_then(|rows| rows.row_count())
    }
}
