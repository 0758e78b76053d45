//! What can go wrong in here, in detail; mapped once to [`model::Error`].

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use sql::SqlError;

/// `Result` with this crate's own [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The SQL text is wrong.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] eventlog::Error),
    /// An expression failed on the rows it was given (a division by zero, an overflow, a cast).
    #[error("cannot evaluate {expression}: {}", reason(source))]
    Evaluate {
        /// The expression.
        expression: String,
        /// Why.
        source: Box<DataFusionError>,
    },
    /// An operator failed.
    #[error(transparent)]
    Operator(#[from] dataflow::Error),
    /// Rows or states do not have the shape that the plan has.
    #[error("{what} does not fit the plan: {reason}")]
    Shape {
        /// What was given.
        what: &'static str,
        /// How it differs.
        reason: String,
    },
    /// Arrow failed.
    #[error("cannot {doing}: {source}")]
    Arrow {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: ArrowError,
    },
    /// A checkpoint failed a check.
    #[error("checkpoint {path} is damaged: {reason}")]
    CheckpointCorrupt {
        /// The object.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The store of checkpoints failed.
    #[error("cannot {doing}: {source}")]
    Storage {
        /// What was being done, with the path.
        doing: String,
        /// Why it failed.
        source: object_store::Error,
    },
    /// The state of a view, with that of all others, is more than is allowed.
    #[error(
        "the state of view {view} has {bytes} bytes, and with that of all others it is over the {budget_bytes} bytes that \
         views may take of memory.budget_bytes"
    )]
    StateTooLarge {
        /// The view.
        view: String,
        /// How much it has, or would have.
        bytes: u64,
        /// What all views together may have.
        budget_bytes: u64,
    },
    /// Whoever takes a view's changes refused them.
    #[error(transparent)]
    Emit(#[from] model::Error),
    /// A task ended without saying why.
    #[error("the task of {0} ended abnormally")]
    TaskLost(String),
}

/// What a function of ours says, or DataFusion.
fn reason(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::External(source) => source.to_string(),
        _ => error.to_string(),
    }
}

impl Error {
    pub(crate) fn evaluate(expression: impl Into<String>) -> impl FnOnce(DataFusionError) -> Self {
        let expression = expression.into();
        move |source| Self::Evaluate { expression, source: Box::new(source) }
    }

    pub(crate) fn arrow(doing: &'static str) -> impl FnOnce(ArrowError) -> Self {
        move |source| Self::Arrow { doing, source }
    }
}

impl From<Error> for model::Error {
    fn from(error: Error) -> Self {
        use model::ErrorKind as Kind;
        match error {
            Error::Sql(error) => error.into(),
            Error::Log(error) => error.into(),
            Error::Emit(error) => error,
            Error::Evaluate { .. } => Self::new(Kind::Invalid, error.to_string())
                .with_hint("change the view so that its expressions hold for every record, for example with NULLIF"),
            Error::Operator(dataflow::Error::Retraction { .. }) => Self::new(Kind::Unsupported, error.to_string()),
            Error::CheckpointCorrupt { .. } => Self::new(Kind::Corrupt, error.to_string())
                .with_hint("keep a copy, then delete the view's checkpoint: the view is rebuilt from the log"),
            Error::StateTooLarge { .. } => Self::new(Kind::Unavailable, error.to_string())
                .with_hint("raise memory.budget_bytes, drop a view, or group by fewer keys"),
            Error::Storage { .. } => Self::new(Kind::Unavailable, error.to_string()),
            Error::Operator(_) | Error::Shape { .. } | Error::Arrow { .. } | Error::TaskLost(_) => {
                Self::new(Kind::Internal, error.to_string())
            }
        }
    }
}
