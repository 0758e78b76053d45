//! [`DataflowState`]: the operators of a dataflow at work: rows of sources in, changes of its views out.
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
    error::{Error, Result},
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
    layouts: Vec<Layout>,
    /// What was evaluated and has not moved the graph yet.
    pending: Vec<(usize, RecordBatch)>,
    /// What went out of each view and is not yet written down.
    dirty: Vec<Vec<Change>>,
    /// What was restored of each view and has not gone out.
    restored: Option<Vec<Change>>,
    row_count: usize,
}

/// What stands before a view's name in the name of the part of a checkpoint that has its rows; the other parts are the graph's,
/// whose names begin with a number.
const VIEW: &str = "view/";

impl DataflowState {
    /// The state before any row.
    ///
    /// # Errors
    /// [`Error::Operator`](crate::Error::Operator) when a type cannot be a key.
    pub fn new(plan: &Arc<DataflowPlan>) -> Result<Self> {
        let BuiltGraph { graph, inputs, constants } = plan.build()?;
        let layouts = plan.layouts();
        Ok(Self {
            plan: Arc::clone(plan),
            graph,
            inputs,
            constants,
            dirty: vec![Vec::new(); layouts.len()],
            layouts,
            pending: Vec::new(),
            restored: None,
            row_count: 0,
        })
    }

    /// Evaluates rows of a source, by its number in [`DataflowPlan::sources`], and moves on by them; what changed of each view,
    /// and which rows were left out.
    ///
    /// # Errors
    /// As [`ViewState::drain_changes`].
    pub fn apply(&mut self, source: usize, rows: &RecordBatch) -> Result<(Vec<Change>, Vec<FailedRow>)> {
        let FirstRows { rows, failed, .. } = self.plan.evaluate(source, rows, usize::MAX)?;
        self.fold(rows)?;
        Ok((self.drain_changes()?, failed))
    }

    /// Moves the graph on by what was evaluated; what changed of each view.
    fn epoch(&mut self) -> Result<Vec<Change>> {
        let mut changes = std::mem::take(&mut self.constants);
        let pending = std::mem::take(&mut self.pending);
        changes.extend(pending.into_iter().map(|(input, rows)| (self.inputs[input], Change::of_rows(rows))));
        let outputs = self.graph.epoch(changes)?;
        let changes = outputs.into_iter().zip(&self.layouts).map(|(changes, layout)| Ok(net(layout, changes)?));
        let changes = changes.collect::<Result<Vec<_>>>()?;
        debug_assert!(
            changes.iter().all(|change| (0..change.row_count()).all(|row| change.weights().value(row).abs() == 1)),
            "a view is a set: each row is there once or not"
        );
        Ok(changes)
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

    fn drain_changes(&mut self) -> Result<Vec<Change>> {
        let changes = self.epoch()?;
        for (view, change) in changes.iter().enumerate().filter(|(_, change)| !change.is_empty()) {
            self.count(change);
            self.dirty[view].push(change.clone());
        }
        let Some(restored) = self.restored.take() else { return Ok(changes) };
        let all = restored.into_iter().zip(changes).zip(&self.layouts);
        all.map(|((restored, change), layout)| Ok(net(layout, vec![restored, change])?)).collect()
    }

    fn take_failure(&mut self) -> Option<String> {
        None
    }

    fn row_count(&self) -> usize {
        self.row_count
    }

    fn memory_bytes(&self) -> usize {
        let kept = self.dirty.iter().chain(&self.restored).flatten();
        let kept = kept.map(|change| change.rows().get_array_memory_size());
        self.graph.memory_bytes() + kept.sum::<usize>()
    }

    fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        let mut parts = self.graph.dirty_parts()?;
        for ((view, dirty), layout) in self.plan.views().iter().zip(&self.dirty).zip(&self.layouts) {
            let change = net(layout, dirty.clone())?;
            if !change.is_empty() {
                parts.push(StatePart::of_rows(&format!("{VIEW}{}", view.name()), &change)?);
            }
        }
        Ok(parts)
    }

    fn forget_dirty(&mut self) {
        self.graph.forget_dirty();
        self.dirty.iter_mut().for_each(Vec::clear);
    }

    fn restore(&mut self, parts: &[(String, RecordBatch)]) -> Result<()> {
        let mut shown: Vec<Vec<Change>> = vec![Vec::new(); self.layouts.len()];
        for (name, rows) in parts {
            let Some(view) = name.strip_prefix(VIEW) else {
                self.graph.restore(name, rows)?;
                continue;
            };
            let number = self.plan.views().iter().position(|known| known.name() == view).ok_or_else(|| {
                Error::Shape { what: "a checkpoint", reason: format!("the dataflow has no view {view}") }
            })?;
            shown[number].push(written_rows(rows)?);
        }
        self.graph.resume()?;
        // They went in before what was written down.
        self.constants.clear();
        let restored = shown.into_iter().zip(&self.layouts).map(|(shown, layout)| Ok(net(layout, shown)?));
        let restored = restored.collect::<Result<Vec<_>>>()?;
        restored.iter().for_each(|change| self.count(change));
        self.restored = Some(restored);
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
