//! Variables and transactions in a session.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use model::Positions;
use sql::{SqlError, sqlstate};

use super::Inner;
use crate::sql::{
    Effect, Outcome, Unread,
    assignment::Assignment,
    isolation::{Isolation, Modes},
    transaction::{Transaction, assign},
    variables::{DEFAULT_READ_ONLY, READ_ONLY, Variables},
    writes::Writes,
};

impl Inner {
    pub(super) fn show_variable(&self, name: &str) -> Result<RecordBatch, SqlError> {
        if name.eq_ignore_ascii_case("session_authorization") {
            return text_rows("session_authorization", &[self.principal.name().to_owned()]);
        }
        let mut shown = self.variables.lock().show(name, &self.service.settings)?;
        if shown.0 == READ_ONLY {
            shown.1 = (if self.is_read_only() { "on" } else { "off" }).to_owned();
        } else if let ("transaction_isolation", Some(transaction)) = (shown.0, &*self.transaction.lock()) {
            shown.1 = transaction.isolation.name().to_owned();
        }
        text_rows(shown.0, &[shown.1])
    }

    pub(super) fn show_all(&self) -> Result<RecordBatch, SqlError> {
        let all = self.variables.lock().all(&self.service.settings);
        let names: ArrayRef = Arc::new(all.iter().map(|(name, _)| Some(*name)).collect::<StringArray>());
        let values: ArrayRef = Arc::new(all.iter().map(|(_, value)| Some(value.as_str())).collect::<StringArray>());
        RecordBatch::try_from_iter([("name", names), ("setting", values)]).map_err(|e| internal(&e))
    }

    pub(super) fn set(&self, assignments: &[Assignment]) -> Result<Outcome, SqlError> {
        let (mut notices, mut effect) = (Vec::new(), Effect::None);
        let mut transaction = self.transaction.lock();
        for assignment in assignments {
            if assignment.name.eq_ignore_ascii_case("transaction_isolation") {
                let isolation = Isolation::parse(assignment.value.as_deref().unwrap_or("read committed"))?;
                if let Some(transaction) = &mut *transaction {
                    transaction.isolation = isolation;
                }
                continue;
            }
            if assignment.local && transaction.is_none() {
                notices.push("SET LOCAL can only be used in transaction blocks, it has no effect here".to_owned());
                continue;
            }
            let mut variables = self.variables.lock();
            let changed = assign(&mut variables, transaction.as_mut(), assignment, &self.service.settings)?;
            notices.extend(changed.notice);
            if let Some((name, value)) = changed.reported {
                effect = Effect::Reported { name, value };
            }
        }
        Ok(Outcome::Done { tag: "SET".to_owned(), notices, effect })
    }

    pub(super) fn reset(&self, name: Option<&str>) -> Result<Outcome, SqlError> {
        let mut effect = Effect::None;
        match name {
            None => *self.variables.lock() = Variables::default(),
            Some(name) => {
                let changed = self.variables.lock().set(name, None, &self.service.settings)?;
                if let Some((name, value)) = changed.reported {
                    effect = Effect::Reported { name, value };
                }
            }
        }
        Ok(Outcome::with_effect("RESET", effect))
    }

    pub(super) fn set_modes(&self, modes: Modes, session: bool) -> Outcome {
        if session {
            let mut variables = self.variables.lock();
            if let Some(isolation) = modes.isolation {
                variables.record("default_transaction_isolation", isolation.name().to_owned());
            }
            if let Some(read_only) = modes.read_only {
                variables.record(DEFAULT_READ_ONLY, (if read_only { "on" } else { "off" }).to_owned());
            }
            return Outcome::done("SET");
        }
        let mut notices = Vec::new();
        match &mut *self.transaction.lock() {
            Some(transaction) => {
                transaction.isolation = modes.isolation.unwrap_or(transaction.isolation);
                transaction.read_only = modes.read_only.unwrap_or(transaction.read_only);
            }
            None => notices.push("SET TRANSACTION can only be used in transaction blocks".to_owned()),
        }
        Outcome::Done { tag: "SET".to_owned(), notices, effect: Effect::None }
    }

    /// Whether nothing may be written now.
    pub(super) fn is_read_only(&self) -> bool {
        let in_transaction = self.transaction.lock().as_ref().map(|transaction| transaction.read_only);
        in_transaction.unwrap_or_else(|| self.variables.lock().default_read_only())
    }

    pub(super) fn begin(&self, modes: Modes) -> Outcome {
        let mut transaction = self.transaction.lock();
        if transaction.is_some() {
            let notices = vec!["there is already a transaction in progress".to_owned()];
            return Outcome::Done { tag: "BEGIN".to_owned(), notices, effect: Effect::None };
        }
        let variables = self.variables.lock().clone();
        let isolation = modes.isolation.unwrap_or_else(|| variables.default_isolation());
        let read_only = modes.read_only.unwrap_or_else(|| variables.default_read_only());
        *transaction = Some(Transaction {
            isolation,
            read_only,
            variables_before: variables,
            local: Vec::new(),
            writes: Writes::default(),
        });
        self.public.release();
        Outcome::with_effect("BEGIN", Effect::TransactionStarted)
    }

    pub(super) fn end_transaction(&self, tag: &'static str) -> Outcome {
        let Some(transaction) = self.transaction.lock().take() else {
            let notices = vec!["there is no transaction in progress".to_owned()];
            return Outcome::Done { tag: tag.to_owned(), notices, effect: Effect::TransactionEnded };
        };
        self.public.release();
        self.cursors.lock().close_of_transaction();
        let mut variables = self.variables.lock();
        if tag == "ROLLBACK" {
            *variables = transaction.variables_before;
        } else {
            for name in transaction.local {
                variables.restore(name, &transaction.variables_before);
            }
        }
        Outcome::with_effect(tag, Effect::TransactionEnded)
    }

    pub(super) fn in_transaction(&self, tag: &'static str) -> Result<Outcome, SqlError> {
        if self.transaction.lock().is_none() {
            let message = format!("{tag} can only be used in transaction blocks");
            return Err(SqlError::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message));
        }
        Ok(Outcome::done(tag))
    }

    pub(super) fn discard(&self, all: bool) -> Outcome {
        if !all {
            return Outcome::done("DISCARD");
        }
        *self.variables.lock() = Variables::default();
        self.cursors.lock().close_all();
        self.locks.unlock_all();
        self.public.release();
        Outcome::with_effect("DISCARD ALL", Effect::Discarded)
    }

    pub(super) fn keeps_snapshots(&self) -> bool {
        self.transaction.lock().as_ref().is_some_and(|transaction| transaction.isolation.keeps_snapshots())
    }
}

pub(super) fn text_rows(column: &str, lines: &[String]) -> Result<RecordBatch, SqlError> {
    let lines: ArrayRef = Arc::new(lines.iter().map(|line| Some(line.as_str())).collect::<StringArray>());
    RecordBatch::try_from_iter([(column, lines)]).map_err(|error| internal(&error))
}

pub(super) fn rows_outcome(rows: RecordBatch, tag: &'static str) -> Result<Outcome, SqlError> {
    let schema = rows.schema();
    let stream = RecordBatchStreamAdapter::new(Arc::clone(&schema), stream::iter([Ok(rows)]));
    Ok(Outcome::Rows { schema, stream: Box::pin(stream), positions: Positions::new(), tag, unread: Unread::default() })
}

fn internal(error: &dyn std::error::Error) -> SqlError {
    SqlError::new(sqlstate::INTERNAL_ERROR, error.to_string())
}
