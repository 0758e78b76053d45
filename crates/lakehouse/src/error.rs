//! What can go wrong in the lake, in detail; mapped once to [`model::Error`].

use datafusion::error::DataFusionError;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;
use model::{ErrorKind, Offset, Positions, TopicPartition};

/// What is derived is made anew, and what was captured is captured anew where the log still has it.
pub(crate) const REFRESH_HINT: &str = "REFRESH MATERIALIZED VIEW makes it anew from what the log and the lake have";

/// What files a table has is in its log alone.
const LOG_HINT: &str = "put the file back from a backup, or move the table's folder away: what the log of the topic still has is \
                        captured anew";

pub(crate) type Result<T, E = LakeError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LakeError {
    #[error("an epoch of {partition} begins at {from}, but {table} has committed up to {committed}")]
    Gap { table: String, partition: TopicPartition, committed: Offset, from: Offset },
    #[error("an epoch for {table} names {partition}, which it does not capture")]
    ForeignPartition { table: String, partition: TopicPartition },
    #[error("rows for {table} are not those of their epoch: {reason}")]
    Rows { table: String, reason: String },
    #[error("{table} has other columns than its definition: {reason}")]
    Columns { table: String, reason: String },
    #[error("column {column} of {table} cannot be stored in Delta Lake: {reason}")]
    Column { table: String, column: String, reason: String },
    #[error("{table} holds records of the topic with id {bound}, not of that with id {given}")]
    OtherTopic { table: String, bound: String, given: String },
    #[error("{table} has captured up to {captured}, not yet up to {wanted}")]
    NotCaptured { table: String, captured: Positions, wanted: Positions },
    #[error("{table} was changed by others during each of {attempts} attempts to commit")]
    Contended { table: String, attempts: u32 },
    #[error("version {version} of the Delta log of {table} cannot be written: what stands in its place is no commit")]
    Obstructed { table: String, version: u64 },
    #[error("batch view {view} already has a version at {committed}, which {given} does not cover")]
    StaleBatch { view: String, committed: Positions, given: Positions },
    #[error("{table} is damaged: {reason}")]
    Damaged { table: String, reason: String },
    #[error(transparent)]
    DamagedFile(#[from] FileDamage),
    #[error("{damage}; it cannot be captured anew: {reason}")]
    Lost { damage: FileDamage, reason: String },
    #[error("{location} is not a place for a lake table: {reason}")]
    Location { location: String, reason: String },
    #[error("cannot {doing}")]
    Delta { doing: String, source: DeltaTableError },
    #[error("cannot {doing}")]
    Query { doing: String, source: DataFusionError },
    #[error("cannot {doing}")]
    Arrow { doing: String, source: arrow::error::ArrowError },
}

const DAMAGED: &str = " of the lake is damaged: ";

/// A file whose bytes are not those that were written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("file {file}{DAMAGED}{reason}")]
pub(crate) struct FileDamage {
    pub(crate) file: String,
    pub(crate) reason: String,
}

impl FileDamage {
    /// Whether it is a file of a Delta log.
    fn is_of_log(&self) -> bool {
        self.file.split('/').any(|folder| folder == "_delta_log")
    }

    /// What made others fail, however often they have wrapped it.
    pub(crate) fn behind(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let causes = std::iter::successors(Some(error), |error| error.source());
        causes
            .filter_map(|error| error.downcast_ref::<Self>())
            .next()
            .cloned()
            .or_else(|| Self::told_in(&error.to_string()))
    }

    // Delta's kernel hands on what its object store says as a text alone.
    fn told_in(text: &str) -> Option<Self> {
        let (_, told) = text.split_once(&format!("Generic {} error: file ", crate::checked_log::STORE))?;
        let (file, reason) = told.split_once(DAMAGED)?;
        let reason = reason.split(": Error interacting with object store").next().unwrap_or(reason);
        Some(Self { file: file.to_owned(), reason: reason.to_owned() })
    }
}

impl LakeError {
    pub(crate) fn delta(doing: impl Into<String>) -> impl FnOnce(DeltaTableError) -> Self {
        move |source| match FileDamage::behind(&source) {
            Some(damage) => Self::DamagedFile(damage),
            None => Self::Delta { doing: doing.into(), source },
        }
    }

    pub(crate) fn query(doing: impl Into<String>) -> impl FnOnce(DataFusionError) -> Self {
        move |source| Self::Query { doing: doing.into(), source }
    }

    pub(crate) fn arrow(doing: impl Into<String>) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        move |source| Self::Arrow { doing: doing.into(), source }
    }
}

/// Whether somebody else's commit took the version that this one wanted.
pub(crate) fn is_commit_conflict(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => matches!(
            source,
            TransactionError::MaxCommitAttempts(_)
                | TransactionError::CommitConflict(_)
                | TransactionError::VersionAlreadyExists(_)
        ),
        _ => false,
    }
}

impl From<LakeError> for model::Error {
    fn from(error: LakeError) -> Self {
        let (kind, hint) = match &error {
            LakeError::Gap { .. } => (ErrorKind::Conflict, Some("read again from the table's positions")),
            LakeError::ForeignPartition { .. } | LakeError::Rows { .. } => (ErrorKind::Invalid, None),
            LakeError::Columns { .. } => {
                (ErrorKind::Conflict, Some("give the source another name, or move the old table away"))
            }
            LakeError::OtherTopic { .. } => {
                (ErrorKind::Conflict, Some("the topic was deleted and created again: move the old table away"))
            }
            LakeError::Column { .. } => (ErrorKind::Unsupported, Some("choose another type or name for the column")),
            LakeError::NotCaptured { .. } => (ErrorKind::Unavailable, Some("wait until the capture has caught up")),
            LakeError::Contended { .. } => (ErrorKind::Unavailable, Some("retry with a pause")),
            LakeError::Obstructed { .. } => {
                (ErrorKind::Unavailable, Some("move away what has the name of that version in the table's _delta_log"))
            }
            LakeError::StaleBatch { .. } => (ErrorKind::Conflict, Some("drop this run, a newer one is in place")),
            LakeError::Damaged { .. } => (ErrorKind::Corrupt, Some("keep a copy of the table before anything else")),
            LakeError::DamagedFile(damage) if damage.is_of_log() => (ErrorKind::Corrupt, Some(LOG_HINT)),
            LakeError::DamagedFile(_) => (ErrorKind::Corrupt, Some(REFRESH_HINT)),
            LakeError::Lost { .. } => (ErrorKind::Corrupt, Some("put the file back from a backup")),
            LakeError::Location { .. } => (ErrorKind::Invalid, None),
            LakeError::Delta { .. } => (ErrorKind::Unavailable, Some("check the lake's storage")),
            LakeError::Query { .. } | LakeError::Arrow { .. } => (ErrorKind::Internal, None),
        };
        let message = error.to_string();
        let mapped = match error {
            LakeError::Delta { source, .. } => Self::new(kind, message).with_source(source),
            LakeError::Query { source, .. } => Self::new(kind, message).with_source(source),
            LakeError::Arrow { source, .. } => Self::new(kind, message).with_source(source),
            _ => Self::new(kind, message),
        };
        match hint {
            Some(hint) => mapped.with_hint(hint),
            None => mapped,
        }
    }
}
