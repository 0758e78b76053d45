//! SQL as a running dataflow: state = fold(log).
//!
//! What it is: the text of a source or a view (crate `sql`), a topic seen as typed rows ([`source`]), a view's query planned
//! ([`ViewPlan`]), its state ([`Fold`]), its checkpoints ([`CheckpointStore`]), and the task that keeps it up to date
//! ([`ViewTask`]).
//!
//! ```text
//!   topic ── SourceReader ── rows ── Fold ── Change ──> whoever serves the view
//!               │ what cannot be       │ dirty groups
//!               │ decoded, evaluated   v
//!               v               CheckpointStore (with Positions)
//!      <topic>.dead-letter
//! ```
//!
//! What it is not: a server of views (`serving`), a lake (`lakehouse`), or a SQL engine: DataFusion parses, plans and
//! evaluates expressions, without a fork or a patch, and answers the queries over views.
//!
//! What must hold: *one SQL text, one answer*. Any batching, a restart at any point, a split into folds whose states
//! are merged, and a replay give the same rows, bit for bit. Hence exact float sums, `first_value` and `last_value`
//! by place in the log, and no function whose value depends on when it is called.
//!
//! # Operators
//!
//! Rows are Arrow batches with a weight each (Z-sets: +1 is there, -1 is taken back). Linear steps (filters, projections,
//! windows of fixed size) are here, as compiled expressions; what has a state is an operator of crate `dataflow`, of which a
//! plan uses the group-by. Over a source nothing is taken back, so that its states are the compact ones.
//!
//! ```
//! use sql::Statement;
//! use streaming::{Fold, ViewPlan};
//!
//! let text = "CREATE SOURCE flights (carrier TEXT, delay DOUBLE PRECISION);
//!     CREATE MATERIALIZED VIEW delays AS SELECT carrier, avg(delay) AS mean FROM flights GROUP BY carrier";
//! let statements = sql::parse(text)?;
//! let [Statement::CreateSource(source), Statement::CreateView(view)] = statements.as_slice() else { unreachable!() };
//! let plan = ViewPlan::new(view, std::slice::from_ref(source))?;
//! assert_eq!(plan.key_columns(), [0]);
//! assert_eq!(Fold::new(&plan).map(|fold| fold.group_count()).ok(), Some(0));
//! # Ok::<(), sql::SqlError>(())
//! ```

mod checkpoint;
mod dataflow_state;
mod error;
mod fold;
mod fold_threads;
mod functions;
mod halves;
mod hash;
mod plan;
pub mod source;
mod sources;
mod state_memory;
mod task;
#[cfg(test)]
mod testing;
mod view_state;

pub use checkpoint::{CheckpointStore, RestoredCheckpoint};
pub use dataflow::{Change, PartKind, StatePart, Weights, normal_key};
pub use dataflow_state::DataflowState;
pub use error::{Error, Result};
pub use fold::{EvaluatedRows, Fold};
pub use fold_threads::FoldThreads;
pub use functions::{
    CertainSubqueries, Evaluation, ExactArithmetic, ExactComparison, ExistsValue, FloatEquality, Stage,
    bound_aggregates, bound_functions, register_aggregates, register_times, reserved, with_lateral_unnests,
    with_settled_numbers,
};
pub use halves::FailedRow;
pub use plan::{DataflowPlan, InputRows, PlannedOutput, PlannedView, ViewPlan};
pub use source::{
    DeadLetters, Decoded, Evaluated, LetterCount, ReaderSettings, Reason, ReasonClass, RejectedBy, RejectedRecord,
    RowRecord, SourceBatch, SourceDecoder, SourceReader, SourceTable, UnreadRecords, dead_letter_topic,
    digits_after_point, records_of_keys, records_of_rows,
};
pub use state_memory::StateMemory;
pub use task::{ViewProgress, ViewTask, ViewTaskHandle, ViewTaskSettings};
pub use view_state::{FirstRows, RowPlan, ViewState};
