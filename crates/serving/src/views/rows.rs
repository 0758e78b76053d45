//! [`Rows`]: rows that no longer change, wherever they are.

use std::fmt::Debug;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::DataFusionError, execution::SendableRecordBatchStream, physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::{StreamExt, stream};
use model::{Error, Result};

use super::projection::{projected_schema, same_columns};

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
