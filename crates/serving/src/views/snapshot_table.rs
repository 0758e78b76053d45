//! A [`Snapshot`](super::Snapshot)'s rows as a table for DataFusion.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Statistics, stats::Precision},
    datasource::TableType,
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::Expr,
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use futures::stream;

use super::{projection::projected_schema, rows::Rows};

#[derive(Debug)]
pub(super) struct SnapshotTable {
    rows: Arc<dyn Rows>,
}

impl SnapshotTable {
    pub(super) fn new(rows: Arc<dyn Rows>) -> Self {
        Self { rows }
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.rows.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = projected_schema(self.rows.schema(), projection.map(Vec::as_slice)).map_err(external)?;
        let scan: Arc<dyn PartitionStream> = Arc::new(Scan {
            rows: Arc::clone(&self.rows),
            schema: Arc::clone(&schema),
            projection: projection.cloned(),
        });
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![scan], None, [], false, limit)?))
    }

    fn statistics(&self) -> Option<Statistics> {
        let row_count = self.rows.row_count()?;
        Some(Statistics { num_rows: Precision::Exact(row_count), ..Statistics::new_unknown(self.rows.schema()) })
    }
}

/// One read of the rows. The projection is applied while the rows are decoded, not after.
#[derive(Debug)]
struct Scan {
    rows: Arc<dyn Rows>,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        match self.rows.stream(self.projection.as_deref()) {
            Ok(rows) => rows,
            Err(error) => {
                let failed = stream::iter([Err(external(error))]);
                Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), failed))
            }
        }
    }
}

fn external(error: model::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
