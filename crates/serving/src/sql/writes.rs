//! [`Writes`]: what a transaction has written so far, kept until it ends.
//!
//! What must hold: a row is there or not as it will be once everything before it is written; what is kept is reserved from the
//! budget of memory.

use std::{
    collections::{BTreeMap, HashMap, btree_map},
    fmt,
};

use arrow::array::{AsArray, RecordBatch};
use bytes::Bytes;
use model::{MemoryBudget, MemoryReservation};
use sql::{Conflict, SourceDefinition, SqlError, Verb, Write, sqlstate};
use streaming::{RowRecord, records_of_keys, records_of_rows};

use super::WriteClaim;

/// What a record takes beside its bytes.
const RECORD_BYTES: usize = 128;

/// What is to be written at the end of a transaction, by the name of its target.
#[derive(Debug, Default)]
pub(super) struct Writes(BTreeMap<String, TargetWrites>);

impl Writes {
    /// Takes out what is written to a target, for more to be added.
    pub(super) fn take(&mut self, target: &str) -> Option<TargetWrites> {
        self.0.remove(target)
    }

    pub(super) fn put(&mut self, writes: TargetWrites) {
        self.0.insert(writes.claim.target.name.clone(), writes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is written to a target.
    pub(super) fn has(&self, target: &str) -> bool {
        self.0.get(target).is_some_and(|writes| !writes.records.is_empty())
    }
}

impl IntoIterator for Writes {
    type Item = TargetWrites;
    type IntoIter = btree_map::IntoValues<String, TargetWrites>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_values()
    }
}

/// What is to be written to one target.
pub(super) struct TargetWrites {
    pub(super) claim: WriteClaim,
    pub(super) records: Vec<RowRecord>,
    /// Of each key that is written: whether its row is there afterwards.
    rows: HashMap<Bytes, bool>,
    memory: MemoryReservation,
}

impl TargetWrites {
    pub(super) fn new(claim: WriteClaim, memory: &MemoryBudget) -> Self {
        Self { claim, records: Vec::new(), rows: HashMap::new(), memory: memory.reservation("writes") }
    }

    /// Adds the rows that a statement writes; answers how many.
    ///
    /// # Errors
    /// [`SqlError`] for keys that are there or come twice, for values that cannot be written, and without memory.
    pub(super) fn add(&mut self, write: &Write, batches: &[RecordBatch]) -> Result<usize, SqlError> {
        let mut statement = HashMap::new();
        let records_before = self.records.len();
        for batch in batches {
            let records = match write.verb {
                Verb::Delete => records_of_keys(&self.claim.target, batch)?,
                Verb::Insert | Verb::Update => records_of_rows(&self.claim.target, batch)?,
            };
            for (row, record) in records.into_iter().enumerate() {
                if self.is_written(write, batch, row, &record, &statement)? {
                    self.keep(record, &mut statement)?;
                }
            }
        }
        self.rows.extend(statement);
        Ok(self.records.len() - records_before)
    }

    /// Whether a row is written, or passed over.
    fn is_written(
        &self,
        write: &Write,
        batch: &RecordBatch,
        row: usize,
        record: &RowRecord,
        statement: &HashMap<Bytes, bool>,
    ) -> Result<bool, SqlError> {
        let (Some(key), false) = (&record.key, write.conflict == Conflict::Meant) else { return Ok(true) };
        let target = &self.claim.target;
        let exists = batch.columns().last().and_then(|column| column.as_boolean_opt());
        let exists =
            exists.ok_or_else(|| SqlError::new(sqlstate::INTERNAL_ERROR, "nothing says which rows are there"))?;
        let is_own = statement.contains_key(key);
        let before = self.rows.get(key).copied();
        let is_there = is_own || before.unwrap_or_else(|| exists.value(row));
        match write.conflict {
            _ if !is_there => Ok(true),
            Conflict::PassedOver => Ok(false),
            Conflict::Refused => Err(duplicate(target, key)),
            Conflict::Replaced if is_own => {
                let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                Err(SqlError::new(sqlstate::CARDINALITY_VIOLATION, message)
                    .with_hint("let no two rows of the statement have the same key"))
            }
            Conflict::Replaced if before.is_some() => Err(unwritten(&target.name)),
            Conflict::Replaced | Conflict::Meant => Ok(true),
        }
    }

    fn keep(&mut self, record: RowRecord, statement: &mut HashMap<Bytes, bool>) -> Result<(), SqlError> {
        let bytes = [&record.key, &record.value].into_iter().flatten().map(Bytes::len).sum::<usize>();
        self.memory.grow((bytes + RECORD_BYTES) as u64).map_err(|exhausted| SqlError::from(&exhausted))?;
        if let Some(key) = &record.key {
            statement.insert(key.clone(), record.value.is_some());
        }
        self.records.push(record);
        Ok(())
    }
}

impl fmt::Debug for TargetWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetWrites").field("claim", &self.claim).field("records", &self.records.len()).finish()
    }
}

/// The refusal to read what the same transaction has written.
pub(super) fn unwritten(name: &str) -> SqlError {
    SqlError::unsupported(format!("reading {name} in the transaction that has written to it"))
        .with_hint("what a transaction writes is there after COMMIT; end it first")
}

fn duplicate(target: &SourceDefinition, key: &Bytes) -> SqlError {
    let columns: Vec<&str> = target.key.iter().map(|column| target.columns.field(*column).name().as_str()).collect();
    let message = format!("duplicate key value violates unique constraint \"{}_pkey\"", target.name);
    let hint = format!(
        "the row of key ({}) = ({}) is there; ON CONFLICT says what to do then",
        columns.join(", "),
        String::from_utf8_lossy(key)
    );
    SqlError::new(sqlstate::UNIQUE_VIOLATION, message).with_hint(hint)
}
