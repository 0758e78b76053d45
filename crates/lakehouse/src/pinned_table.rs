//! [`PinnedTable`]: the rows of a lake table below some Positions, at one version, as a DataFusion table.
//!
//! What it is not: a view of the newest data; it never changes, whatever is committed or compacted after it was
//! made. (A vacuum removes the files of versions older than a week.)
//!
//! What must hold: its columns are the source's own, with the source's types and values; each row below the Positions
//! is there once, and no other. A file that is not as it was written is an error.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, lit, utils};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::ident;
use deltalake_core::DeltaTable;
use model::Positions;

use crate::checked_files::CheckedRoot;
use crate::columns::{OFFSET_COLUMN, PARTITION_COLUMN};
use crate::error::LakeError;
use crate::exact_scan::ExactScan;
use crate::stored_schema::StoredSchema;

/// The rows of a lake table below some Positions, at one version.
#[derive(Clone)]
pub struct PinnedTable {
    delta: Arc<dyn TableProvider>,
    root: CheckedRoot,
    schema: StoredSchema,
    version: u64,
    positions: Positions,
    bounds: Option<Expr>,
}

impl PinnedTable {
    pub(crate) async fn new(
        table: &DeltaTable,
        schema: StoredSchema,
        positions: Positions,
        bounded: bool,
    ) -> crate::error::Result<Self> {
        let url = table.table_url();
        let state = table.snapshot().map_err(LakeError::delta(format!("read the table at {url}")))?;
        let version = state.version();
        let root = CheckedRoot::of(table)?;
        let delta = table.table_provider().await.map_err(LakeError::query(format!("read the table at {url}")))?;
        let bounds = bounded.then(|| below(&positions));
        Ok(Self { delta, root, schema, version, positions, bounds })
    }

    /// The Delta version whose files it reads.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What a failure to read it is.
    pub(crate) fn failed(&self, doing: String, error: DataFusionError) -> LakeError {
        self.root.failed(doing, error)
    }

    /// The Positions below which its rows lie.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }
}

impl fmt::Debug for PinnedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedTable(version {}, below {})", self.version, self.positions)
    }
}

#[async_trait]
impl TableProvider for PinnedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.original())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| {
            // See `exact_scan`: bounds do not tell of NaN.
            if refers_to_float(filter, self.schema.original()) {
                TableProviderFilterPushDown::Unsupported
            } else {
                TableProviderFilterPushDown::Inexact
            }
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.root.register(session.runtime_env());
        let all: Vec<usize> = (0..self.schema.original().fields().len()).collect();
        let mut plan = LogicalPlanBuilder::scan("lake", provider_as_source(Arc::clone(&self.delta)), None)?;
        if let Some(bounds) = &self.bounds {
            plan = plan.filter(bounds.clone())?;
        }
        plan = plan.project(self.schema.decoders(&all))?;
        if let Some(filter) = utils::conjunction(filters.iter().map(unqualified).collect::<Result<Vec<_>>>()?) {
            plan = plan.filter(filter)?;
        }
        if let Some(projection) = projection {
            let name = |index: &usize| ident(self.schema.original().field(*index).name());
            plan = plan.project(projection.iter().map(name))?;
        }
        // The filters were only offered: DataFusion applies them again above, and so a limit may come first only when
        // there are none.
        if filters.is_empty() {
            plan = plan.limit(0, limit)?;
        }
        Ok(Arc::new(ExactScan::new(session.create_physical_plan(&plan.build()?).await?)))
    }
}

// `(_partition = p AND _offset < h) OR ...`
fn below(positions: &Positions) -> Expr {
    let rows_of = |(partition, offset): (&model::TopicPartition, i64)| {
        ident(PARTITION_COLUMN).eq(lit(partition.partition)).and(ident(OFFSET_COLUMN).lt(lit(offset)))
    };
    utils::disjunction(positions.iter().map(rows_of)).unwrap_or_else(|| lit(false))
}

// Filters come with the name that the query gave this table.
fn unqualified(filter: &Expr) -> Result<Expr> {
    use datafusion::common::tree_node::Transformed;
    let transformed = filter.clone().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => Transformed::yes(ident(column.name)),
            other => Transformed::no(other),
        })
    })?;
    Ok(transformed.data)
}

fn refers_to_float(filter: &Expr, schema: &SchemaRef) -> bool {
    let is_float = |name: &str| {
        let field = schema.field_with_name(name);
        field.map_or(true, |field| {
            matches!(field.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64)
        })
    };
    let mut found = false;
    let visited = filter.apply(|expr| {
        if let Expr::Column(column) = expr {
            found |= is_float(&column.name);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || visited.is_err()
}
