//! Transactions: which snapshots a query reads, and what is written when they end.
//!
//! What a transaction writes is kept until `COMMIT`, and nobody sees it before, the transaction itself included: a statement that
//! would have to is refused.
//!
//! `READ COMMITTED`, the default, reads each relation as it is when the statement begins. `REPEATABLE READ` and
//! `SERIALIZABLE` pin each relation at its first use and read that snapshot until the transaction ends.

use sql::SqlError;

use super::{
    assignment::Assignment,
    isolation::Isolation,
    settings::SqlSettings,
    variables::{Changed, Variables},
    writes::Writes,
};

/// An open transaction block.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) isolation: Isolation,
    pub(super) read_only: bool,
    /// The variables when it began: a rollback brings them back.
    pub(super) variables_before: Variables,
    /// Names that `SET LOCAL` gave a value.
    pub(super) local: Vec<&'static str>,
    /// What is written at its end.
    pub(super) writes: Writes,
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
