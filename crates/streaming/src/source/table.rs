//! A pinned range of the log as a table.

use std::sync::{Arc, Mutex, PoisonError};

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
use sql::SourceDefinition;

use super::{
    SourceDecoder,
    unread_records::{Scan, UnreadRecords},
};
use crate::error::Error;

const READ_BYTES_MAX: usize = 1024 * 1024;

/// A source, from one Positions to another, as a table. Records that cannot be decoded are left out, and counted.
#[derive(Clone)]
pub struct SourceTable {
    log: Arc<dyn EventLog>,
    source: SourceDefinition,
    range: Epoch,
    /// The reads that were planned since [`take_unread`](SourceTable::take_unread).
    scans: Arc<Mutex<Vec<Arc<Scan>>>>,
}

impl SourceTable {
    /// The records of `source` in `range`.
    pub fn new(log: Arc<dyn EventLog>, source: SourceDefinition, range: Epoch) -> Self {
        Self { log, source, range, scans: Arc::default() }
    }

    /// The name of the source.
    pub fn source_name(&self) -> &str {
        &self.source.name
    }

    /// Reads the whole range: how many records can be read and cannot, and what was left out.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read_through(&self) -> crate::error::Result<(u64, UnreadRecords)> {
        let scan = Arc::new(Scan::default());
        let mut records = 0;
        for range in self.ranges(&scan) {
            let (mut decoder, mut next) = (None, range.from);
            while let Some((rows, used, read_to)) = range.read(decoder, next).await? {
                records += rows.num_rows() as u64;
                (decoder, next) = (Some(used), read_to);
                // A long range does not keep others from this thread.
                tokio::task::yield_now().await;
            }
        }
        let unread = UnreadRecords::new(Arc::clone(&self.source.columns), vec![scan]);
        Ok((records + unread.records(), unread))
    }

    /// The range of each partition.
    fn ranges(&self, scan: &Arc<Scan>) -> Vec<LogRange> {
        let log_range = |partition, from, to| LogRange {
            table: self.clone(),
            schema: self.schema(),
            scan: Arc::clone(scan),
            partition,
            from,
            to,
        };
        let places = self.range.to.iter().filter(|(place, _)| place.topic == self.source.topic);
        places.map(|(place, to)| log_range(place.partition, self.range.from.next_offset(place), to)).collect()
    }

    /// What the reads will have left out that were planned since the last call: to be asked for once a query is planned,
    /// and looked at once its rows have been read.
    pub fn take_unread(&self) -> UnreadRecords {
        let scans = std::mem::take(&mut *self.scans.lock().unwrap_or_else(PoisonError::into_inner));
        UnreadRecords::new(Arc::clone(&self.source.columns), scans)
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
        let scan = Arc::new(Scan::default());
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&scan));
        let mut ranges = self.ranges(&scan);
        if ranges.is_empty() {
            ranges.push(LogRange { table: self.clone(), schema: self.schema(), scan, partition: 0, from: 0, to: 0 });
        }
        let partitions = ranges.into_iter().map(|range| Arc::new(range) as Arc<dyn PartitionStream>).collect();
        Ok(Arc::new(StreamingTableExec::try_new(self.schema(), partitions, projection, None, false, limit)?))
    }
}

/// A range of one partition.
#[derive(Clone, Debug)]
struct LogRange {
    table: SourceTable,
    schema: SchemaRef,
    scan: Arc<Scan>,
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
            self.scan.add(&decoded.rejected, decoded.unmatched);
            if decoded.rows.num_rows() > 0 {
                return Ok(Some((decoded.rows, decoder, next)));
            }
        }
        Ok(None)
    }
}
