//! A pinned range of the log as a table.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use eventlog::EventLog;
use futures::stream;
use model::{Epoch, Offset};

use super::{SourceDecoder, SourceDefinition};
use crate::error::Error;

const READ_BYTES_MAX: usize = 1024 * 1024;

/// A source, from one Positions to another, as a table. Records that cannot be decoded are left out.
#[derive(Clone)]
pub struct SourceTable {
    log: Arc<dyn EventLog>,
    source: SourceDefinition,
    range: Epoch,
}

impl SourceTable {
    /// The records of `source` in `range`.
    pub fn new(log: Arc<dyn EventLog>, source: SourceDefinition, range: Epoch) -> Self {
        Self { log, source, range }
    }
}

impl std::fmt::Debug for SourceTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceTable({} {}..{})", self.source.name, self.range.from, self.range.to)
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let ranges = self.range.to.iter().filter(|(place, _)| place.topic == self.source.topic);
        let mut partitions: Vec<Arc<dyn PartitionStream>> = ranges
            .map(|(place, to)| {
                let from = self.range.from.next_offset(place);
                Arc::new(LogRange { table: self.clone(), schema: self.schema(), partition: place.partition, from, to })
                    as _
            })
            .collect();
        if partitions.is_empty() {
            let nothing = LogRange { table: self.clone(), schema: self.schema(), partition: 0, from: 0, to: 0 };
            partitions.push(Arc::new(nothing));
        }
        Ok(Arc::new(StreamingTableExec::try_new(self.schema(), partitions, projection, None, false, limit)?))
    }
}

/// A range of one partition.
#[derive(Clone, Debug)]
struct LogRange {
    table: SourceTable,
    schema: SchemaRef,
    partition: i32,
    from: Offset,
    to: Offset,
}

impl PartitionStream for LogRange {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = stream::try_unfold((self.clone(), None, self.from), |(range, decoder, next)| async move {
            let step = range.read(decoder, next).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
            Ok(step.map(|(rows, decoder, next)| (rows, (range, Some(decoder), next))))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

impl LogRange {
    async fn read(
        &self,
        decoder: Option<SourceDecoder>,
        mut next: Offset,
    ) -> crate::error::Result<Option<(RecordBatch, SourceDecoder, Offset)>> {
        let place = self.table.source.topic_partition(self.partition);
        let mut decoder = match decoder {
            Some(decoder) => decoder,
            None => SourceDecoder::new(&self.table.source)?,
        };
        while next < self.to {
            let batches = match self.table.log.read(&place, next, READ_BYTES_MAX).await {
                Ok(read) => read.batches,
                Err(eventlog::Error::OffsetOutOfRange { start, .. }) if start > next => {
                    next = start;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let decoded = decoder.decode(self.partition, &batches, next, self.to)?;
            if decoded.next_offset <= next {
                let reason = format!("{place} ends before offset {}", self.to);
                return Err(Error::Shape { what: "the range of a source", reason });
            }
            next = decoded.next_offset;
            if decoded.rows.num_rows() > 0 {
                return Ok(Some((decoded.rows, decoder, next)));
            }
        }
        Ok(None)
    }
}
