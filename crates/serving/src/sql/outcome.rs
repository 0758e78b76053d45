//! What a statement results in.

use std::fmt;

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use model::Positions;

use super::{Unread, copy::CopyOptions};

/// What a statement results in.
pub enum Outcome {
    /// Rows, produced as they are read.
    Rows {
        /// The columns.
        schema: SchemaRef,
        /// The rows. The statement timeout and a cancel end it with an error.
        stream: SendableRecordBatchStream,
        /// What the rows reflect: for each partition the least that any relation of the query has folded.
        positions: Positions,
        /// The command tag without the count of rows, as in `SELECT`.
        tag: &'static str,
        /// What the rows leave out, known once they have been read.
        unread: Unread,
    },
    /// `COPY (query) TO STDOUT`: rows, to be written as text.
    Copy {
        /// The columns.
        schema: SchemaRef,
        /// The rows, as in [`Outcome::Rows`].
        stream: SendableRecordBatchStream,
        /// What the rows reflect.
        positions: Positions,
        /// How they are to be written.
        options: CopyOptions,
        /// What the rows leave out, as in [`Outcome::Rows`].
        unread: Unread,
    },
    /// Rows were written.
    Written {
        /// The command tag without the count of rows, as in `INSERT 0`.
        tag: &'static str,
        /// How many.
        rows: usize,
        /// Where they are in the log; empty where they are written later, or nothing was.
        positions: Positions,
        /// What the user should know besides.
        notices: Vec<String>,
    },
    /// Something was done and there are no rows.
    Done {
        /// The command tag, as in `SET`.
        tag: String,
        /// What the user should know besides.
        notices: Vec<String>,
        /// What the door has to take note of.
        effect: Effect,
    },
}

/// What a statement changed that a door keeps track of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    #[default]
    None,
    /// A transaction block began.
    TransactionStarted,
    /// The transaction block ended.
    TransactionEnded,
    /// Prepared statements are to be forgotten: the one of this name, or all of them.
    Deallocated(Option<String>),
    /// `DISCARD ALL`: as [`Effect::Deallocated`] of all.
    Discarded,
    /// A variable changed that PostgreSQL reports to its clients.
    Reported {
        /// Its name as PostgreSQL writes it.
        name: &'static str,
        /// Its value now.
        value: String,
    },
}

impl Outcome {
    pub(super) fn done(tag: impl Into<String>) -> Self {
        Self::with_effect(tag, Effect::None)
    }

    pub(super) fn with_effect(tag: impl Into<String>, effect: Effect) -> Self {
        Self::Done { tag: tag.into(), notices: Vec::new(), effect }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows { schema, positions, tag, .. } => {
                f.debug_struct("Rows").field("schema", schema).field("positions", positions).field("tag", tag).finish()
            }
            Self::Copy { schema, positions, options, .. } => f
                .debug_struct("Copy")
                .field("schema", schema)
                .field("positions", positions)
                .field("options", options)
                .finish(),
            Self::Written { tag, rows, positions, notices } => f
                .debug_struct("Written")
                .field("tag", tag)
                .field("rows", rows)
                .field("positions", positions)
                .field("notices", notices)
                .finish(),
            Self::Done { tag, notices, effect } => {
                f.debug_struct("Done").field("tag", tag).field("notices", notices).field("effect", effect).finish()
            }
        }
    }
}
