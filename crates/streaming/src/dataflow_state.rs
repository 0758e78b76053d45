//! [`DataflowState`]: the operators of a dataflow at work: rows of sources in, changes of the view out.
//!
//! What it is not: it reads no log and keeps no checkpoint.
//!
//! What must hold: the sum of all changes that went out is the answer over all rows that came in, wherever the epochs were
//! cut; a change has each row once, and of each key at most one that goes and one that comes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use dataflow::{Change, Graph, Layout, NodeId, net};

use crate::{
    error::Result,
    halves::FailedRow,
    plan::{BuiltGraph, DataflowPlan},
};

/// The operators of one view and what they keep.
pub struct DataflowState {
    plan: Arc<DataflowPlan>,
    graph: Graph,
    inputs: Vec<NodeId>,
    /// What has not gone in yet, though it was there from the beginning.
    constants: Vec<(NodeId, Change)>,
    layout: Layout,
}

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
        Ok(Self { plan: Arc::clone(plan), graph, inputs, constants, layout })
    }

    /// Evaluates rows of a source, by its number in [`DataflowPlan::sources`], and moves on by them; what changed, and which
    /// rows were left out.
    ///
    /// # Errors
    /// As [`epoch`](Self::epoch).
    pub fn apply(&mut self, source: usize, rows: &RecordBatch) -> Result<(Change, Vec<FailedRow>)> {
        let (evaluated, _) = self.plan.evaluate(source, rows, usize::MAX)?;
        Ok((self.epoch(evaluated.rows)?, evaluated.failed))
    }

    /// Moves on by rows for inputs; what changed of the view.
    ///
    /// # Errors
    /// [`Error::Operator`](crate::Error::Operator) when rows cannot be compared or gathered: the state is of no use then.
    pub(crate) fn epoch(&mut self, rows: Vec<(usize, RecordBatch)>) -> Result<Change> {
        let mut changes = std::mem::take(&mut self.constants);
        let inputs = rows.into_iter().filter(|(_, rows)| rows.num_rows() > 0);
        changes.extend(inputs.map(|(input, rows)| (self.inputs[input], Change::of_rows(rows))));
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

    /// How much memory the operators hold, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.graph.memory_bytes()
    }
}
