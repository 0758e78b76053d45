//! Levels of isolation, and what else is said of a transaction.

use datafusion::sql::sqlparser::ast::{TransactionAccessMode, TransactionIsolationLevel, TransactionMode};
use sql::{SqlError, sqlstate};

/// How long a snapshot is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Isolation {
    /// For one statement.
    #[default]
    ReadCommitted,
    /// For the transaction.
    RepeatableRead,
    /// The same, since nothing is written in it.
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

/// What `BEGIN` and `SET TRANSACTION` say of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) isolation: Option<Isolation>,
    pub(super) read_only: Option<bool>,
}

impl Modes {
    pub(super) fn of(modes: &[TransactionMode]) -> Result<Self, SqlError> {
        let mut told = Self::default();
        for mode in modes {
            match mode {
                TransactionMode::AccessMode(access) => {
                    told.read_only = Some(*access == TransactionAccessMode::ReadOnly);
                }
                TransactionMode::IsolationLevel(level) => told.isolation = Some(level_of(*level)?),
            }
        }
        Ok(told)
    }
}

fn level_of(level: TransactionIsolationLevel) -> Result<Isolation, SqlError> {
    match level {
        TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => {
            Ok(Isolation::ReadCommitted)
        }
        TransactionIsolationLevel::RepeatableRead => Ok(Isolation::RepeatableRead),
        TransactionIsolationLevel::Serializable => Ok(Isolation::Serializable),
        TransactionIsolationLevel::Snapshot => Err(SqlError::unsupported("ISOLATION LEVEL SNAPSHOT")),
    }
}
