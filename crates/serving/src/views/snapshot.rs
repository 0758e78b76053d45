//! [`Snapshot`]: rows that no longer change, and the Positions that they reflect.

use std::{fmt::Debug, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    catalog::TableProvider, error::DataFusionError, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::{StreamExt, stream};
use model::{Error, Positions, Result};

use super::{
    projection::{projected_schema, same_columns},
    snapshot_table::SnapshotTable,
};

/// Rows that can be read many times and are the same each time.
pub trait Rows: Debug + Send + Sync {
    /// The columns.
    fn schema(&self) -> &SchemaRef;

    /// How many rows, where that is known without reading them.
    fn row_count(&self) -> Option<usize>;

    /// Reads the rows, only the columns of `projection` where there is one, in batches of a few thousand.
    ///
    /// # Errors
    /// When `projection` names a column that does not exist.
    fn stream(&self, projection: Option<&[usize]>) -> Result<SendableRecordBatchStream>;
}

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

/// Rows that are in memory as batches: what a relation that merges on read hands out.
#[derive(Debug)]
pub struct BatchRows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl BatchRows {
    /// Rows of `schema`.
    ///
    /// # Errors
    /// [`Internal`](model::ErrorKind::Internal) when a batch has other columns.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        if let Some(stranger) = batches.iter().find(|batch| !same_columns(&batch.schema(), &schema)) {
            let message = format!("a batch with the columns {} is no part of {schema}", stranger.schema());
            return Err(Error::internal(message));
        }
        Ok(Self { schema, batches })
    }
}

impl Rows for BatchRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn row_count(&self) -> Option<usize> {
        Some(self.batches.iter().map(RecordBatch::num_rows).sum())
    }

    fn stream(&self, projection: Option<&[usize]>) -> Result<SendableRecordBatchStream> {
        let schema = projected_schema(&self.schema, projection)?;
        let indices: Option<Vec<usize>> = projection.map(<[usize]>::to_vec);
        let batches = stream::iter(self.batches.clone()).map(move |batch| match &indices {
            Some(indices) => batch.project(indices).map_err(DataFusionError::from),
            None => Ok(batch),
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}
