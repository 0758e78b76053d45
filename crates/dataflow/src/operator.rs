//! [`Operator`]: the contract of everything that a graph is made of.

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Schema},
};
use std::sync::Arc;

use crate::{
    change::{Change, Weights},
    error::{Error, Result},
};

/// What turns changes into changes.
///
/// What must hold: the sum of all that was emitted is what the operator makes of the sum of all that was pushed, whenever
/// [`finish`](Self::finish) was called; a state that was written part by part and restored goes on as if nothing had been.
pub trait Operator: Send {
    /// Takes a change that comes in at a port, counted from 0.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such port, or when the rows are not those of the port.
    fn push(&mut self, port: usize, change: Change) -> Result<()>;

    /// Judges what was pushed; `emit` gets what comes of it.
    ///
    /// # Errors
    /// Those of `emit`; [`Error::Arrow`] when rows cannot be compared or gathered. The operator is of no use afterwards.
    fn finish(&mut self, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()>;

    /// Memory held, in bytes.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// What has changed of its state since [`forget_dirty`](Self::forget_dirty).
    ///
    /// # Errors
    /// [`Error::Arrow`] when it cannot be written as Arrow.
    fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        Ok(Vec::new())
    }

    /// Forgets what is dirty: it is safe.
    fn forget_dirty(&mut self) {}

    /// Takes what was written down of a part, in the order in which it was; before anything is pushed.
    ///
    /// # Errors
    /// [`Error::Shape`] when it is no part of this operator.
    fn restore(&mut self, part: &str, _rows: &RecordBatch) -> Result<()> {
        Err(unknown_part(part))
    }
}

/// A part of a state, as it is written down.
#[derive(Clone, Debug)]
pub struct StatePart {
    /// Which part of the operator, or of the graph.
    pub name: String,
    /// What parts of one name come to together.
    pub kind: PartKind,
    /// What it says.
    pub rows: RecordBatch,
}

/// What parts of one name come to together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Of each key, in the first columns, the last state; the column after them says how many rows it stands for, none where
    /// it is gone.
    States {
        /// How many columns are the key.
        key_count: usize,
    },
    /// Rows, with the sum of their weights, which are the last column.
    Rows,
}

const WEIGHT: &str = "weight";

impl StatePart {
    /// Rows that came and went.
    ///
    /// # Errors
    /// [`Error::Arrow`] when they cannot be put together.
    pub fn of_rows(name: &str, change: &Change) -> Result<Self> {
        let rows = change.rows();
        let mut fields: Vec<_> = rows.schema_ref().fields().iter().map(Arc::clone).collect();
        fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
        let mut columns = rows.columns().to_vec();
        let weights = (0..rows.num_rows()).map(|row| change.weights().value(row));
        columns.push(Arc::new(Int64Array::from_iter_values(weights)) as ArrayRef);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        let rows = rows.map_err(Error::arrow("write rows down"))?;
        Ok(Self { name: name.to_owned(), kind: PartKind::Rows, rows })
    }
}

/// The rows that written rows with their weights stand for.
///
/// # Errors
/// [`Error::Shape`] when they have no weights.
pub fn written_rows(rows: &RecordBatch) -> Result<Change> {
    let last = rows.num_columns().checked_sub(1);
    let weights = last.and_then(|last| rows.column(last).as_any().downcast_ref::<Int64Array>());
    let (Some(last), Some(weights)) = (last, weights) else {
        return Err(Error::shape("a part of a state", "its rows have no weights"));
    };
    let columns: Vec<usize> = (0..last).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let schema = rows.schema_ref().project(&columns).map_err(Error::arrow("read rows"))?;
    let rows = RecordBatch::try_new_with_options(Arc::new(schema), rows.columns()[..last].to_vec(), &options);
    Change::new(rows.map_err(Error::arrow("read rows"))?, Weights::of(weights.values().to_vec()))
}

pub(crate) fn unknown_part(part: &str) -> Error {
    Error::shape("a part of a state", format!("there is no part {part:?}"))
}
