//! Operators over weighted rows, and their state.
//!
//! What it is: [`Change`], rows with how often each comes or goes, and the operators that turn changes into changes:
//! [`GroupBy`] with its aggregates ([`kernel`]). It knows Arrow, and nothing of SQL, of the log or of time.
//!
//! What it is not: a planner or an evaluator of expressions (`streaming` has both), or a task: whoever holds an operator
//! calls it, and nothing here waits, does I/O, or reads a clock.
//!
//! What must hold: *the sum of all changes that went out is the answer over the sum of all that came in*, whatever the
//! borders between them. An update is the old row with weight -1 and the new one with +1, both whole: so whatever comes
//! out of one operator can go into the next.

mod aggregate;
mod arrangement;
mod change;
mod error;
mod exact_sum;
mod gathered;
mod graph;
mod group_by;
mod groups;
mod hash;
mod join;
pub mod kernel;
mod normal;
mod operator;
#[cfg(test)]
mod pairs;
mod presence;
mod quotient;
#[cfg(test)]
mod random;
mod rows;
mod run;
mod unnest;
mod upsert;
mod value_rows;
#[cfg(test)]
mod zset;

pub use aggregate::{AggregateKind, AggregateSignature};
pub use arrangement::Arrangement;
pub use change::{Change, Weights};
pub use error::{Error, Result};
pub use graph::{Graph, GroupColumns, Map, NodeId};
pub use group_by::{Argument, GroupBy, GroupInput, check_state};
pub use hash::hash_rows;
pub use join::{InnerJoin, JoinKeys};
pub use normal::{normal_key, plain, plain_text};
pub use operator::{Operator, PartKind, StatePart, written_rows};
pub use presence::{Keep, PresenceJoin};
pub use quotient::{quotient_type, rounded_quotient};
pub use run::{Layout, Run, net};
pub use unnest::{Unnest, UnnestColumns};
pub use upsert::{Upsert, UpsertColumns};
