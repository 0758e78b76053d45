//! A view's state: rows in, changes out.
//!
//! What it is: [`Fold`], a state machine without I/O. Rows come in as Arrow batches with weights (+1 for a row that is
//! there, -1 for one that is taken back: a Z-set), and what changed goes out the same way.
//!
//! What it is not: the plan, the reading of the log, or the keeping of checkpoints.
//!
//! What must hold:
//! - the state depends on the set of rows that were folded, and on nothing else. Any batching, any split into folds
//!   whose states are merged, and a restart between any two batches give the same rows, bit for bit;
//! - no row and no group stops a fold. A row whose evaluation fails is left out and handed back. What cannot be
//!   computed of a group (`sum(a) / sum(b)`, an average that does not fit its type) belongs to no record: it is NULL
//!   until the group's values allow it. Sums are exact, whatever they add up; one that its type cannot hold is NULL.

mod accumulator;
mod evaluated_rows;
mod group_fold;
mod row_fold;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use dataflow::{Change, plain, plain_text};

use crate::{
    error::{Error, Result},
    halves::FailedRow,
    plan::{ViewPlan, step},
};
pub(crate) use accumulator::Aggregate;
pub use evaluated_rows::EvaluatedRows;
pub(crate) use evaluated_rows::array_bytes;
use group_fold::GroupFold;
use row_fold::RowFold;

/// The state of one view.
pub struct Fold {
    plan: Arc<ViewPlan>,
    state: State,
}

enum State {
    Groups(Box<GroupFold>),
    Rows(RowFold),
}

/// Calls the same method of whichever state there is.
macro_rules! each {
    ($self:expr, $state:ident => $call:expr) => {
        match $self {
            State::Groups($state) => $call,
            State::Rows($state) => $call,
        }
    };
}

impl Fold {
    /// The state before any row.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the plan groups by a type that cannot be a key.
    pub fn new(plan: &ViewPlan) -> Result<Self> {
        let plan = Arc::new(plan.clone());
        let state = match plan.grouping() {
            Some(grouping) => State::Groups(Box::new(GroupFold::new(Arc::clone(&plan), grouping)?)),
            None => State::Rows(RowFold::new(Arc::clone(&plan))),
        };
        Ok(Self { plan, state })
    }

    /// Evaluates rows and folds them, but for those that fail, which it returns in order. See [`EvaluatedRows::new`] for
    /// what the rows are; whoever has to write down what failed before it counts as read evaluates first and then
    /// calls [`fold`](Self::fold).
    ///
    /// # Errors
    /// [`Error::Operator`] when a row is taken back that an aggregate did not keep; [`Error::Shape`] when the rows are
    /// not the source's. The view's rows are unchanged then.
    pub fn apply(&mut self, rows: &RecordBatch, weights: Option<&Int64Array>) -> Result<Vec<FailedRow>> {
        let mut evaluated = EvaluatedRows::new(&self.plan, rows, weights)?;
        let failed = evaluated.take_failed();
        self.fold(evaluated)?;
        Ok(failed)
    }

    /// Folds rows that were evaluated by the same plan.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn fold(&mut self, rows: EvaluatedRows) -> Result<()> {
        if rows.plan_hash != self.plan.hash() {
            let reason = format!("they were evaluated by plan {}, not {}", rows.plan_hash, self.plan.hash());
            return Err(Error::Shape { what: "the rows", reason });
        }
        let EvaluatedRows { pieces, weighted, .. } = rows;
        each!(&mut self.state, state => state.fold(pieces, weighted))
    }

    /// What changed since the last call; after [`restore_state`](Self::restore_state), also what was restored.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the rows cannot be built.
    pub fn drain_changes(&mut self) -> Result<Change> {
        each!(&mut self.state, state => state.drain_changes())
    }

    /// Why a value of some group that changed could not be computed and is NULL; told once.
    pub fn take_failure(&mut self) -> Option<String> {
        match &mut self.state {
            State::Groups(state) => state.take_failure(),
            State::Rows(_) => None,
        }
    }

    /// The state of the groups that were touched since the last call. A group without rows (`rows` is 0) is gone.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the state cannot be written as Arrow.
    pub fn drain_dirty_state(&mut self) -> Result<RecordBatch> {
        let states = self.dirty_state()?;
        self.forget_dirty();
        Ok(states)
    }

    /// As [`drain_dirty_state`](Self::drain_dirty_state), but the groups stay dirty until
    /// [`forget_dirty`](Self::forget_dirty).
    ///
    /// # Errors
    /// As [`drain_dirty_state`](Self::drain_dirty_state).
    pub fn dirty_state(&self) -> Result<RecordBatch> {
        each!(&self.state, state => state.dirty_state())
    }

    /// Forgets which groups are dirty: their states are safe.
    pub fn forget_dirty(&mut self) {
        each!(&mut self.state, state => state.forget_dirty());
    }

    /// The state of all groups.
    ///
    /// # Errors
    /// As [`drain_dirty_state`](Self::drain_dirty_state).
    pub fn all_state(&self) -> Result<RecordBatch> {
        each!(&self.state, state => state.all_state())
    }

    /// Adds the states of another fold of the same plan, over other rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when the states are not of this plan.
    pub fn merge_state(&mut self, states: &RecordBatch) -> Result<()> {
        each!(&mut self.state, state => state.merge_state(states))
    }

    /// Puts states, each key once, in the place of what the groups have. They count as changed, but not as dirty:
    /// they come from a checkpoint.
    ///
    /// # Errors
    /// [`Error::Shape`] when the states are not of this plan.
    pub fn restore_state(&mut self, states: &RecordBatch) -> Result<()> {
        each!(&mut self.state, state => state.restore_state(states))
    }

    /// The view's rows, all of them.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the rows cannot be built.
    pub fn rows(&self) -> Result<RecordBatch> {
        each!(&self.state, state => state.rows())
    }

    /// How many groups (for a view that does not group: rows) there are.
    pub fn group_count(&self) -> usize {
        each!(&self.state, state => state.group_count())
    }

    /// How much memory the state holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        each!(&self.state, state => state.memory_bytes())
    }

    /// How many columns at the front of the state's schema are its key.
    pub(crate) fn key_count(&self) -> usize {
        self.plan.state_key_count()
    }

    /// The schema of the state: key columns, `rows` (how many rows the group has), then each aggregate's columns.
    pub fn state_schema(&self) -> SchemaRef {
        Arc::clone(self.plan.state_schema())
    }
}

/// The schema of the state of a view that does not group: its key, `rows`, and the other columns.
pub(crate) fn row_state_schema(keys: &[Field], output: &Schema, key_columns: &[usize]) -> Schema {
    let keys = keys.iter().enumerate();
    let mut fields: Vec<Field> =
        keys.map(|(i, key)| Field::new(format!("key_{i}"), plain_text(key.data_type()), true)).collect();
    fields.push(Field::new("rows", DataType::Int64, false));
    let others = output.fields().iter().enumerate().filter(|(i, _)| !key_columns.contains(i));
    fields.extend(others.map(|(i, field)| Field::new(format!("v{i}"), field.data_type().clone(), true)));
    Schema::new(fields)
}

/// Finished columns as a batch of the view's output.
fn output_batch(plan: &ViewPlan, columns: &[ArrayRef], row_count: usize) -> Result<RecordBatch> {
    let fields = plan.output_schema().fields().iter();
    let columns = columns.iter().zip(fields).map(|(column, field)| Ok(plain(column, field.data_type())?));
    step::batch(plan.output_schema(), columns.collect::<Result<Vec<_>>>()?, row_count)
}

#[cfg(test)]
mod tests;
