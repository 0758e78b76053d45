//! What a view's task works with, whichever way a view is planned: [`RowPlan`] and [`ViewState`].
//!
//! There are two: a chain over one source ([`ViewPlan`], [`Fold`]), whose states can be merged, and operators that feed each
//! other ([`DataflowPlan`](crate::DataflowPlan), [`DataflowState`](crate::DataflowState)).

use std::sync::Arc;

use arrow::array::RecordBatch;
use dataflow::{Change, PartKind, StatePart};
use sql::SourceDefinition;

use crate::{
    error::{Error, Result},
    fold::{EvaluatedRows, Fold},
    halves::FailedRow,
    plan::ViewPlan,
};

/// A plan that evaluates rows of sources before anything is folded.
pub trait RowPlan: Send + Sync + 'static {
    /// Rows that were evaluated.
    type Rows: Send;
    /// What folds them.
    type State: ViewState<Rows = Self::Rows>;

    /// What it is called: the view's name, or that of the first of several.
    fn name(&self) -> &str;

    /// What tells the plan from others.
    fn hash(&self) -> String;

    /// What is read.
    fn sources(&self) -> &[SourceDefinition];

    /// Evaluates the first rows of a source: all, or as many as it takes to have more than `bytes_max`.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are not the source's.
    fn evaluate(&self, source: usize, rows: &RecordBatch, bytes_max: usize) -> Result<FirstRows<Self::Rows>>;

    /// The state before any row.
    ///
    /// # Errors
    /// [`Error::Operator`] when a type cannot be a key.
    fn new_state(self: &Arc<Self>) -> Result<Self::State>;
}

/// The first rows of some, evaluated.
pub struct FirstRows<R> {
    /// Those that did not fail.
    pub rows: R,
    /// How many were looked at.
    pub row_count: usize,
    /// Those of them that failed, in order.
    pub failed: Vec<FailedRow>,
    /// What the rows take in memory.
    pub bytes: usize,
}

/// A view's state: rows in, changes out.
pub trait ViewState: Send + 'static {
    /// Rows that were evaluated.
    type Rows;

    /// Takes rows.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Operator`] when they are not of its plan.
    fn fold(&mut self, rows: Self::Rows) -> Result<()>;

    /// What changed of each view since the last call; after it was restored also what that came to.
    ///
    /// # Errors
    /// [`Error::Arrow`] and [`Error::Operator`] when rows cannot be built.
    fn drain_changes(&mut self) -> Result<Vec<Change>>;

    /// Why a value that changed could not be computed and is NULL; told once.
    fn take_failure(&mut self) -> Option<String>;

    /// How many groups or rows there are.
    fn row_count(&self) -> usize;

    /// Memory held, in bytes.
    fn memory_bytes(&self) -> usize;

    /// What has changed since [`forget_dirty`](Self::forget_dirty), to be written down.
    ///
    /// # Errors
    /// [`Error::Arrow`] and [`Error::Operator`] when it cannot be written as Arrow.
    fn dirty_parts(&self) -> Result<Vec<StatePart>>;

    /// Forgets what is dirty: it is safe.
    fn forget_dirty(&mut self);

    /// Takes what was written down, in order; before any row.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Operator`] when it is not of its plan.
    fn restore(&mut self, parts: &[(String, RecordBatch)]) -> Result<()>;
}

impl RowPlan for ViewPlan {
    type Rows = EvaluatedRows;
    type State = Fold;

    fn name(&self) -> &str {
        self.name()
    }

    fn hash(&self) -> String {
        self.hash()
    }

    fn sources(&self) -> &[SourceDefinition] {
        std::slice::from_ref(self.source())
    }

    fn evaluate(&self, _: usize, rows: &RecordBatch, bytes_max: usize) -> Result<FirstRows<EvaluatedRows>> {
        let (mut rows, row_count) = EvaluatedRows::first(self, rows, bytes_max)?;
        Ok(FirstRows { failed: rows.take_failed(), row_count, bytes: rows.bytes(), rows })
    }

    fn new_state(self: &Arc<Self>) -> Result<Fold> {
        Fold::new(self)
    }
}

impl ViewState for Fold {
    type Rows = EvaluatedRows;

    fn fold(&mut self, rows: EvaluatedRows) -> Result<()> {
        self.fold(rows)
    }

    fn drain_changes(&mut self) -> Result<Vec<Change>> {
        Ok(vec![self.drain_changes()?])
    }

    fn take_failure(&mut self) -> Option<String> {
        self.take_failure()
    }

    fn row_count(&self) -> usize {
        self.group_count()
    }

    fn memory_bytes(&self) -> usize {
        self.memory_bytes()
    }

    fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        Ok(vec![self.part(self.dirty_state()?)])
    }

    fn forget_dirty(&mut self) {
        self.forget_dirty();
    }

    fn restore(&mut self, parts: &[(String, RecordBatch)]) -> Result<()> {
        parts.iter().try_for_each(|(name, states)| match name.as_str() {
            WHOLE => self.restore_state(states),
            other => Err(Error::Shape { what: "a checkpoint", reason: format!("a chain has no part {other:?}") }),
        })
    }
}

/// The one part of a chain's state.
const WHOLE: &str = "";

impl Fold {
    /// States of this fold, as a part of a checkpoint.
    #[must_use]
    pub fn part(&self, states: RecordBatch) -> StatePart {
        StatePart { name: WHOLE.to_owned(), kind: PartKind::States { key_count: self.key_count() }, rows: states }
    }
}
