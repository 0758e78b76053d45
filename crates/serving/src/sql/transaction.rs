//! Transactions over data that nobody here changes: what is left of them is which snapshots a query reads.
//!
//! `READ COMMITTED`, the default, reads each relation as it is when the statement begins. `REPEATABLE READ` and
//! `SERIALIZABLE` pin each relation at its first use and read that snapshot until the transaction ends.

use datafusion::sql::sqlparser::ast::{TransactionIsolationLevel, TransactionMode};
use sql::{SqlError, sqlstate};

use super::{
    settings::SqlSettings,
    variables::{Assignment, Changed, Variables},
};

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

/// An open transaction block.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) isolation: Isolation,
    /// The variables when it began: a rollback brings them back.
    pub(super) variables_before: Variables,
    /// Names that `SET LOCAL` gave a value.
    pub(super) local: Vec<&'static str>,
}

/// Gives a variable its value, until the transaction ends where the assignment says so.
pub(super) fn assign(
    variables: &mut Variables,
    transaction: Option<&mut Transaction>,
    assignment: &Assignment,
    settings: &SqlSettings,
) -> Result<Changed, SqlError> {
    let changed = variables.set(&assignment.name, assignment.value.as_deref(), settings)?;
    if let (true, Some(transaction)) = (assignment.local, transaction) {
        transaction.local.push(variables.show(&assignment.name, settings)?.0);
    }
    Ok(changed)
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
