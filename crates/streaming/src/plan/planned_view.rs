//! [`PlannedView`]: a view's query, planned as what it is: a chain over one source, or operators that feed each other.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use sql::{SourceDefinition, SqlError, ViewDefinition, on_deep_stack};

use super::{DataflowPlan, ViewPlan, query, split, start_of_query};

/// A view's query, planned.
#[derive(Clone, Debug)]
pub enum PlannedView {
    /// Steps over one source, with one aggregate at most.
    Chain(Arc<ViewPlan>),
    /// Anything else that can be kept up to date: a view of a dataflow, by its number there.
    Dataflow(Arc<DataflowPlan>, usize),
}

impl PlannedView {
    /// Plans a view over `sources`.
    ///
    /// # Errors
    /// [`SqlError`] when the query is wrong, or cannot be kept up to date. Its position counts in the view's whole text.
    pub fn new(view: &ViewDefinition, sources: &[SourceDefinition]) -> Result<Self, SqlError> {
        let sources: Vec<SourceDefinition> = sources.iter().map(|source| view.seen(source)).collect();
        let chain = on_deep_stack(|| Self::chain(view, &sources));
        if let Some(chain) = chain.map_err(|error| error.shifted(start_of_query(view)))? {
            return Ok(Self::Chain(Arc::new(chain)));
        }
        let plan = DataflowPlan::new(std::slice::from_ref(view), &sources).map_err(|(_, error)| error)?;
        Ok(Self::Dataflow(Arc::new(plan), 0))
    }

    /// The view as a chain, where it is one.
    fn chain(view: &ViewDefinition, sources: &[SourceDefinition]) -> Result<Option<ViewPlan>, SqlError> {
        let query = query::analyse(&view.query, &query::tables(sources), sources)?;
        let is_of_tables =
            view.is_table || sources.iter().any(|source| source.is_table() && reads(&query.plan, &source.name));
        if is_of_tables || !split::is_chain(&query.plan) {
            return Ok(None);
        }
        ViewPlan::of(view, sources, &query).map(Some)
    }

    /// The views of a dataflow.
    pub fn of_dataflow(plan: &Arc<DataflowPlan>) -> Vec<Self> {
        (0..plan.views().len()).map(|view| Self::Dataflow(Arc::clone(plan), view)).collect()
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Chain(plan) => plan.name(),
            Self::Dataflow(plan, view) => plan.views()[*view].name(),
        }
    }

    /// The sources that it reads.
    pub fn sources(&self) -> &[SourceDefinition] {
        match self {
            Self::Chain(plan) => std::slice::from_ref(plan.source()),
            Self::Dataflow(plan, _) => plan.sources(),
        }
    }

    /// The view's columns: those of the query, then what identifies a row and is not shown.
    pub fn output_schema(&self) -> &SchemaRef {
        match self {
            Self::Chain(plan) => plan.output_schema(),
            Self::Dataflow(plan, view) => plan.views()[*view].output_schema(),
        }
    }

    /// The columns of the output that identify a row.
    pub fn key_columns(&self) -> &[usize] {
        match self {
            Self::Chain(plan) => plan.key_columns(),
            Self::Dataflow(plan, view) => plan.views()[*view].key_columns(),
        }
    }

    /// A hash of what the view computes: the same across restarts.
    pub fn hash(&self) -> String {
        match self {
            Self::Chain(plan) => plan.hash(),
            Self::Dataflow(plan, _) => plan.hash(),
        }
    }

    /// The plan as text, for `EXPLAIN`.
    pub fn explanation(&self) -> &str {
        match self {
            Self::Chain(plan) => plan.explanation(),
            Self::Dataflow(plan, view) => plan.views()[*view].explanation(),
        }
    }
}

fn reads(plan: &LogicalPlan, source: &str) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => scan.table_name.table() == source,
        other => other.inputs().into_iter().any(|input| reads(input, source)),
    }
}
