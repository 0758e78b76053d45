//! Levels of isolation.

use datafusion::sql::sqlparser::ast::{TransactionIsolationLevel, TransactionMode};
use sql::{SqlError, sqlstate};

/// How long a snapshot is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Isolation {
    /// For one statement.
    #[default]
    ReadCommitted,
    /// For the transaction.
    RepeatableRead,
    /// The same, since nothing is written.
    Serializable,
}

impl Isolation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }

    pub(super) fn parse(name: &str) -> Result<Self, SqlError> {
        match name.to_lowercase().as_str() {
            "read committed" | "read uncommitted" => Ok(Self::ReadCommitted),
            "repeatable read" => Ok(Self::RepeatableRead),
            "serializable" => Ok(Self::Serializable),
            other => {
                Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("there is no isolation level {other:?}")))
            }
        }
    }

    pub(super) fn keeps_snapshots(self) -> bool {
        self != Self::ReadCommitted
    }
}

/// The isolation level among the modes of `BEGIN`.
pub(super) fn isolation_of(modes: &[TransactionMode]) -> Result<Option<Isolation>, SqlError> {
    let mut isolation = None;
    for mode in modes {
        if let TransactionMode::IsolationLevel(level) = mode {
            isolation = Some(match level {
                TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => {
                    Isolation::ReadCommitted
                }
                TransactionIsolationLevel::RepeatableRead => Isolation::RepeatableRead,
                TransactionIsolationLevel::Serializable => Isolation::Serializable,
                TransactionIsolationLevel::Snapshot => return Err(SqlError::unsupported("ISOLATION LEVEL SNAPSHOT")),
            });
        }
    }
    Ok(isolation)
}
