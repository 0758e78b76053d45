//! `INSERT`, `UPDATE` and `DELETE`: rows are found by a query, and written as records.
//!
//! What must hold: whoever writes to a table has seen everything that was written to it over SQL before; a statement that is
//! answered is on disk, and seen by whoever asks the table next; what was cancelled before it was written is not written.

use std::{sync::Arc, time::Duration};

use arrow::record_batch::RecordBatch;
use datafusion::{common::ScalarValue, sql::sqlparser::ast};
use futures::StreamExt as _;
use model::Positions;
use sql::{SqlError, Verb, Write, WriteStatement, relations_read, sql_error, sqlstate};

use super::Inner;
use crate::sql::{
    Outcome, Prepared, WriteClaim, parser,
    writes::{TargetWrites, unwritten},
};

impl Inner {
    /// Writes what a statement says, at once or at the end of the transaction.
    pub(super) async fn write(
        &self,
        statement: &WriteStatement,
        prepared: &Prepared,
        parameters: &[ScalarValue],
    ) -> Result<Outcome, SqlError> {
        let mut guard = self.guard();
        if self.is_read_only() {
            let message = format!("cannot execute {} in a read-only transaction", statement.verb());
            return Err(SqlError::new(sqlstate::READ_ONLY, message)
                .with_hint("BEGIN READ WRITE, or SET default_transaction_read_only = off"));
        }
        if self.keeps_snapshots() {
            return Err(SqlError::unsupported("writing in a transaction that reads one snapshot")
                .with_hint("BEGIN ISOLATION LEVEL READ COMMITTED"));
        }
        let (writes, verb, rows) = guard.run(Box::pin(self.added(statement, prepared, parameters))).await?;
        let tag = match verb {
            Verb::Insert => "INSERT 0",
            Verb::Update => "UPDATE",
            Verb::Delete => "DELETE",
        };
        if let Some(transaction) = self.transaction.lock().as_mut() {
            transaction.writes.put(writes);
            return Ok(Outcome::Written { tag, rows, positions: Positions::new(), notices: Vec::new() });
        }
        let (positions, notices) = self.append([writes]).await?;
        Ok(Outcome::Written { tag, rows, positions, notices })
    }

    /// Ends a transaction, and writes what it has written.
    pub(super) async fn commit(&self) -> Result<Outcome, SqlError> {
        let writes = self.transaction.lock().as_mut().map(|transaction| std::mem::take(&mut transaction.writes));
        let appended = self.append(writes.unwrap_or_default()).await;
        let outcome = self.end_transaction(if appended.is_ok() { "COMMIT" } else { "ROLLBACK" });
        let (_, more) = appended?;
        match outcome {
            Outcome::Done { tag, mut notices, effect } => {
                notices.extend(more);
                Ok(Outcome::Done { tag, notices, effect })
            }
            other => Ok(other),
        }
    }

    /// Refuses a query of what the transaction has written and nobody sees yet.
    pub(super) fn refuse_unwritten(&self, query: &ast::Statement) -> Result<(), SqlError> {
        let transaction = self.transaction.lock();
        let Some(transaction) = transaction.as_ref().filter(|transaction| !transaction.writes.is_empty()) else {
            return Ok(());
        };
        let reads = relations_read(&query.to_string())?;
        reads.iter().find(|name| transaction.writes.has(name)).map_or(Ok(()), |name| Err(unwritten(name)))
    }

    /// Whether the transaction has written something.
    pub(super) fn has_writes(&self) -> bool {
        self.transaction.lock().as_ref().is_some_and(|transaction| !transaction.writes.is_empty())
    }

    /// The rows of a statement, with those that the transaction has written before.
    async fn added(
        &self,
        statement: &WriteStatement,
        prepared: &Prepared,
        parameters: &[ScalarValue],
    ) -> Result<(TargetWrites, Verb, usize), SqlError> {
        let mut writes = match self.taken(statement.target()) {
            Some(writes) => writes,
            None => TargetWrites::new(self.claim(statement.target()).await?, &self.service.memory),
        };
        let write = statement.write(&writes.claim.target)?;
        if let Some(name) = write.reads.iter().find(|name| self.has_written(name, &writes)) {
            return Err(unwritten(name));
        }
        let batches = self.rows_of(&write, &writes.claim, prepared, parameters).await?;
        let rows = writes.add(&write, &batches)?;
        Ok((writes, write.verb, rows))
    }

    fn taken(&self, target: &str) -> Option<TargetWrites> {
        self.transaction.lock().as_mut().and_then(|transaction| transaction.writes.take(target))
    }

    fn has_written(&self, name: &str, taken: &TargetWrites) -> bool {
        let is_taken = taken.claim.target.name == name && !taken.records.is_empty();
        is_taken || self.transaction.lock().as_ref().is_some_and(|transaction| transaction.writes.has(name))
    }

    async fn claim(&self, target: &str) -> Result<WriteClaim, SqlError> {
        let timeout = self.waits_for();
        let claim = tokio::time::timeout(timeout, self.service.definitions().claim(&self.principal, target)).await;
        let claim = claim.map_err(|_| {
            let message = format!("table {target} is being written by another session for {} ms", timeout.as_millis());
            SqlError::new(sqlstate::NOT_AVAILABLE, message)
                .with_hint("a transaction that has written keeps its tables until it ends")
        })?;
        claim.map_err(|error| sql_error(&error))
    }

    /// The rows that are to be written, found in what was written before.
    async fn rows_of(
        &self,
        write: &Write,
        claim: &WriteClaim,
        prepared: &Prepared,
        parameters: &[ScalarValue],
    ) -> Result<Vec<RecordBatch>, SqlError> {
        let tree = Arc::new(parser::tree(&write.query)?);
        let mut demanded = self.variables.lock().min_position();
        if claim.target.is_table() {
            demanded.advance_all(&claim.end);
        }
        self.public.begin(demanded, self.waits_for(), false);
        let read = self.planned_and_computed(&tree, prepared, parameters).await;
        let (_, mut stream) = read.map_err(|error| self.failed(&error, &write.query).without_position())?;
        self.public.release();
        let (mut batches, mut memory) = (Vec::new(), self.service.memory.reservation("writes"));
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| self.failed(&error, &write.query).without_position())?;
            memory.grow(batch.get_array_memory_size() as u64).map_err(|exhausted| SqlError::from(&exhausted))?;
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Appends, and waits until tables show it. Answers where it is, and what the user should know.
    async fn append(
        &self,
        writes: impl IntoIterator<Item = TargetWrites>,
    ) -> Result<(Positions, Vec<String>), SqlError> {
        let (mut positions, mut notices) = (Positions::new(), Vec::new());
        let mut shown = Vec::new();
        // Claims are kept until tables show it: whoever writes next finds it there.
        for TargetWrites { claim, records, .. } in writes {
            if records.is_empty() {
                continue;
            }
            let appended = self.service.definitions().write(&claim, records).await;
            let end = appended.map_err(|error| {
                let error = sql_error(&error);
                if positions.is_empty() {
                    error
                } else {
                    error.with_hint(format!("what is before {positions} was written"))
                }
            })?;
            positions.advance_all(&end);
            shown.push((claim, end));
        }
        for (claim, end) in shown.iter().filter(|(claim, _)| claim.target.is_table()) {
            let name = &claim.target.name;
            if let Err(error) = self.public.reached(name, end, self.waits_for()).await {
                notices.push(format!("it is written, and table {name} does not show it yet: {}", error.message));
            }
        }
        if !positions.is_empty() {
            self.note_positions(&positions);
        }
        Ok((positions, notices))
    }

    fn waits_for(&self) -> Duration {
        self.variables.lock().min_position_timeout(&self.service.settings)
    }
}
