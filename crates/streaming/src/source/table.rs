//! A pinned range of the log as a table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::not_impl_err,
    error::Result,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use eventlog::EventLog;
use model::Epoch;

use super::SourceDefinition;

/// A source, from one Positions to another, as a table.
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
        let _ = &self.log;
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
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        not_impl_err!("scan")
    }
}
