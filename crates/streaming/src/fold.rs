//! A view's state: rows in, changes out.

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
};

use crate::{
    error::{Error, Result},
    plan::ViewPlan,
};

/// What changed in a view. For each key there is at most one row: with weight +1 it replaces the key's old row, with
/// weight -1 the key leaves (and only the row's key columns mean something).
#[derive(Clone, Debug)]
pub struct ViewChange {
    /// The rows, with the view's output schema.
    pub rows: RecordBatch,
    /// +1 or -1 for each row.
    pub weights: Int64Array,
}

/// The state of one view.
pub struct Fold {
    plan: ViewPlan,
}

impl Fold {
    /// The state before any row.
    ///
    /// # Errors
    /// [`Error::Shape`] when the plan groups by a type that cannot be a key.
    pub fn new(plan: &ViewPlan) -> Result<Self> {
        Ok(Self { plan: plan.clone() })
    }

    /// Folds rows of the source (its whole schema) with their weights; without weights each row counts once.
    ///
    /// # Errors
    /// [`Error::Evaluate`] when an expression fails; [`Error::Retraction`] when a row is taken back that an
    /// aggregate did not keep. The state is unchanged then.
    pub fn apply(&mut self, rows: &RecordBatch, weights: Option<&Int64Array>) -> Result<()> {
        let _ = (rows, weights);
        Err(Error::TaskLost("fold".into()))
    }

    /// What changed since the last call.
    ///
    /// # Errors
    /// [`Error::Evaluate`] when an expression above the aggregates fails.
    pub fn drain_changes(&mut self) -> Result<ViewChange> {
        Err(Error::TaskLost("fold".into()))
    }

    /// The state of the groups that were touched since the last call.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the state cannot be written as Arrow.
    pub fn drain_dirty_state(&mut self) -> Result<RecordBatch> {
        Err(Error::TaskLost("fold".into()))
    }

    /// The state of all groups.
    ///
    /// # Errors
    /// As [`drain_dirty_state`](Self::drain_dirty_state).
    pub fn all_state(&self) -> Result<RecordBatch> {
        Err(Error::TaskLost("fold".into()))
    }

    /// Adds states to the groups that are there.
    ///
    /// # Errors
    /// [`Error::Shape`] when the states are not of this plan.
    pub fn merge_state(&mut self, states: &RecordBatch) -> Result<()> {
        let _ = states;
        Err(Error::TaskLost("fold".into()))
    }

    /// Puts states in the place of the groups that are there.
    ///
    /// # Errors
    /// [`Error::Shape`] when the states are not of this plan.
    pub fn restore_state(&mut self, states: &RecordBatch) -> Result<()> {
        let _ = states;
        Err(Error::TaskLost("fold".into()))
    }

    /// The view's rows, all of them.
    ///
    /// # Errors
    /// [`Error::Evaluate`] when an expression above the aggregates fails.
    pub fn rows(&self) -> Result<RecordBatch> {
        Err(Error::TaskLost("fold".into()))
    }

    /// How many groups (for a view that does not group: rows) there are.
    pub fn group_count(&self) -> usize {
        0
    }

    /// How much memory the state holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        0
    }

    /// The schema of the state: key columns, `rows` (how many rows the group has), then each aggregate's columns.
    pub fn state_schema(&self) -> SchemaRef {
        self.plan.state_schema().clone()
    }
}
