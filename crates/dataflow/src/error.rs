//! What can go wrong in here.

use arrow::error::ArrowError;

/// `Result` with this crate's own [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Rows or states do not have the shape that an operator has.
    #[error("{what} does not fit the operator: {reason}")]
    Shape {
        /// What was given.
        what: &'static str,
        /// How it differs.
        reason: String,
    },
    /// A row was taken back from an aggregate that only keeps a compact state for rows that are never taken back.
    #[error("{aggregate} of group {group} cannot take a row back")]
    Retraction {
        /// The aggregate, by name.
        aggregate: String,
        /// The group's key.
        group: String,
    },
    /// Arrow failed.
    #[error("cannot {doing}: {source}")]
    Arrow {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: ArrowError,
    },
}

impl Error {
    pub(crate) fn arrow(doing: &'static str) -> impl FnOnce(ArrowError) -> Self {
        move |source| Self::Arrow { doing, source }
    }

    pub(crate) fn shape(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Shape { what, reason: reason.into() }
    }
}
