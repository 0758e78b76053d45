//! [`DataflowState`]: the operators of a dataflow at work: rows of sources in, changes of the view out.
//!
//! What it is not: it reads no log and keeps no checkpoint.
//!
//! What must hold: the sum of all changes that went out is the answer over all rows that came in, wherever the epochs were
//! cut; a change has each row once, and of each key at most one that goes and one that comes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use dataflow::{Change, Graph, Layout, NodeId, StatePart, net, written_rows};
use sql::SourceDefinition;

use crate::{
    error::Result,
    halves::FailedRow,
    plan::{BuiltGraph, DataflowPlan, InputRows},
    view_state::{FirstRows, RowPlan, ViewState},
};

/// The operators of one view and what they keep.
pub struct DataflowState {
    plan: Arc<DataflowPlan>,
    graph: Graph,
    inputs: Vec<NodeId>,
    /// What has not gone in yet, though it was there from the beginning.
    constants: Vec<(NodeId, Change)>,
    layout: Layout,
    /// What was evaluated and has not moved the graph yet.
    pending: Vec<(usize, RecordBatch)>,
    /// What went out and is not yet written down.
    dirty: Vec<Change>,
    /// What was restored and has not gone out.
    restored: Vec<Change>,
    row_count: usize,
}

/// The part of a checkpoint that has the view's rows; those of the graph have a number and a point in their names.
const VIEW: &str = "view";

impl DataflowState {
    /// The state before any row.
    ///
    /// # Errors
    /// [`Error::Operator`](crate::Error::Operator) when a type cannot be a key.
    pub fn new(plan: &Arc<DataflowPlan>) -> Result<Self> {
        let BuiltGraph { graph, inputs, constants } = plan.build()?;
        let layout = Layout {
            schema: Arc::clone(plan.output_schema()),
            key: plan.key_columns().to_vec(),
            is_retracting: plan.is_retracting(),
        };
        Ok(Self {
            plan: Arc::clone(plan),
            graph,
            inputs,
            constants,
            layout,
            pending: Vec::new(),
            dirty: Vec::new(),
            restored: Vec::new(),
            row_count: 0,
        })
    }

    /// Evaluates rows of a source, by its number in [`DataflowPlan::sources`], and moves on by them; what changed, and which
    /// rows were left out.
    ///
    /// # Errors
    /// As [`ViewState::drain_changes`].
    pub fn apply(&mut self, source: usize, rows: &RecordBatch) -> Result<(Change, Vec<FailedRow>)> {
        let FirstRows { rows, failed, .. } = self.plan.evaluate(source, rows, usize::MAX)?;
        self.fold(rows)?;
        Ok((self.drain_changes()?, failed))
    }

    /// Moves the graph on by what was evaluated; what changed of the view.
    fn epoch(&mut self) -> Result<Change> {
        let mut changes = std::mem::take(&mut self.constants);
        let pending = std::mem::take(&mut self.pending);
        changes.extend(pending.into_iter().map(|(input, rows)| (self.inputs[input], Change::of_rows(rows))));
        let outputs = self.graph.epoch(changes)?;
        let shown = outputs.into_iter().flatten().map(|change| {
            let (rows, weights) = change.into_parts();
            Ok(Change::new(self.plan.output_rows(&rows)?, weights)?)
        });
        let change = net(&self.layout, shown.collect::<Result<Vec<_>>>()?)?;
        debug_assert!(
            (0..change.row_count()).all(|row| change.weights().value(row).abs() == 1),
            "a view is a set: each row is there once or not"
        );
        Ok(change)
    }

    fn count(&mut self, change: &Change) {
        let came: i64 = (0..change.row_count()).map(|row| change.weights().value(row)).sum();
        self.row_count = self.row_count.saturating_add_signed(isize::try_from(came).unwrap_or(0));
    }
}

impl ViewState for DataflowState {
    type Rows = InputRows;

    fn fold(&mut self, rows: InputRows) -> Result<()> {
        self.pending.extend(rows.into_iter().filter(|(_, rows)| rows.num_rows() > 0));
        Ok(())
    }

    fn drain_changes(&mut self) -> Result<Change> {
        let change = self.epoch()?;
        if !change.is_empty() {
            self.count(&change);
            self.dirty.push(change.clone());
        }
        if self.restored.is_empty() {
            return Ok(change);
        }
        let mut all = std::mem::take(&mut self.restored);
        all.push(change);
        Ok(net(&self.layout, all)?)
    }

    fn take_failure(&mut self) -> Option<String> {
        None
    }

    fn row_count(&self) -> usize {
        self.row_count
    }

    fn memory_bytes(&self) -> usize {
        let kept = self.dirty.iter().chain(&self.restored).map(|change| change.rows().get_array_memory_size());
        self.graph.memory_bytes() + kept.sum::<usize>()
    }

    fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        let mut parts = self.graph.dirty_parts()?;
        let change = net(&self.layout, self.dirty.clone())?;
        if !change.is_empty() {
            parts.push(StatePart::of_rows(VIEW, &change)?);
        }
        Ok(parts)
    }

    fn forget_dirty(&mut self) {
        self.graph.forget_dirty();
        self.dirty.clear();
    }

    fn restore(&mut self, parts: &[(String, RecordBatch)]) -> Result<()> {
        let mut shown = Vec::new();
        for (name, rows) in parts {
            match name.as_str() {
                VIEW => shown.push(written_rows(rows)?),
                _ => self.graph.restore(name, rows)?,
            }
        }
        self.graph.resume()?;
        // They went in before what was written down.
        self.constants.clear();
        let change = net(&self.layout, shown)?;
        self.count(&change);
        self.restored.push(change);
        Ok(())
    }
}

impl RowPlan for DataflowPlan {
    type Rows = InputRows;
    type State = DataflowState;

    fn name(&self) -> &str {
        self.name()
    }

    fn hash(&self) -> String {
        self.hash()
    }

    fn sources(&self) -> &[SourceDefinition] {
        self.sources()
    }

    fn evaluate(&self, source: usize, rows: &RecordBatch, bytes_max: usize) -> Result<FirstRows<InputRows>> {
        self.evaluate(source, rows, bytes_max)
    }

    fn new_state(self: &Arc<Self>) -> Result<DataflowState> {
        DataflowState::new(self)
    }
}
