//! [`Unnest`]: a row for each element of the lists in a row: a flat map, linear and without a state.
//!
//! What must hold: the elements of a row have its weight, so that what takes the row back takes back exactly them; rows go out
//! in batches of bounded size, however long the lists are.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, RecordBatchOptions, UInt32Array},
    compute::take,
    datatypes::{DataType, SchemaRef},
};

use crate::{
    change::{Change, Weights},
    error::{Error, Result},
    gathered::OUTPUT_ROWS,
    operator::Operator,
};

/// What is repeated for the rows that go out at a time, in bytes.
const OUTPUT_BYTES: usize = 32 * 1024 * 1024;

/// What comes out of lists, and what of them is told.
#[derive(Clone, Debug)]
pub struct UnnestColumns {
    /// The schema of what comes out: that of what comes in, with elements in the place of lists.
    pub schema: SchemaRef,
    /// The columns that are lists. Several stand beside each other: where one is shorter, its elements are NULL.
    pub lists: Vec<usize>,
    /// Whether a row without any element comes out once, with NULLs in their place.
    pub keeps_empty: bool,
    /// Whether the last column of the schema is the number of the element, from 1.
    pub is_numbered: bool,
}

/// Rows with lists on their way to rows with elements.
pub struct Unnest {
    columns: UnnestColumns,
    pending: Vec<Change>,
}

impl Unnest {
    /// Nothing is kept of any row.
    #[must_use]
    pub fn new(columns: UnnestColumns) -> Self {
        Self { columns, pending: Vec::new() }
    }

    fn expand(&self, change: &Change, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        let rows = change.rows();
        let lists = self.columns.lists.iter().map(|column| list(rows, *column)).collect::<Result<Vec<_>>>()?;
        let repeated: Vec<Vec<usize>> = rows
            .columns()
            .iter()
            .enumerate()
            .filter(|(column, _)| !self.columns.lists.contains(column))
            .map(|(_, values)| value_bytes(values))
            .collect();
        let mut elements = Elements::default();
        let mut bytes = 0;
        for row in 0..rows.num_rows() {
            let longest = lists.iter().map(|list| length(list, row)).max().unwrap_or(0);
            let count = if self.columns.keeps_empty { longest.max(1) } else { longest };
            let row_bytes: usize = repeated.iter().map(|values| values[row]).sum();
            for number in 0..count {
                elements.push(row, number);
                bytes += row_bytes;
                if elements.len() >= OUTPUT_ROWS || bytes >= OUTPUT_BYTES {
                    emit(self.rows_of(change, &lists, &elements)?)?;
                    (elements, bytes) = (Elements::default(), 0);
                }
            }
        }
        if elements.len() > 0 { emit(self.rows_of(change, &lists, &elements)?) } else { Ok(()) }
    }

    /// A row for each of the elements.
    fn rows_of(&self, change: &Change, lists: &[&ListArray], elements: &Elements) -> Result<Change> {
        let sources = UInt32Array::from(elements.rows.clone());
        let taken = |values: &dyn Array, numbers: &UInt32Array| {
            take(values, numbers, None).map_err(Error::arrow("take elements out of lists"))
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.schema.fields().len());
        for (column, values) in change.rows().columns().iter().enumerate() {
            columns.push(match self.columns.lists.iter().position(|list| *list == column) {
                Some(list) => taken(lists[list].values().as_ref(), &elements.places(lists[list]))?,
                None => taken(values.as_ref(), &sources)?,
            });
        }
        if self.columns.is_numbered {
            let numbers = elements.numbers.iter().map(|number| i64::from(*number) + 1);
            columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
        }
        let weights = match change.weights() {
            Weights::Ones => Weights::Ones,
            Weights::Column(weights) => {
                Weights::of(elements.rows.iter().map(|row| weights.value(*row as usize)).collect())
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(elements.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.columns.schema), columns, &options);
        Ok(Change::trusted(rows.map_err(Error::arrow("put elements beside their rows"))?, weights))
    }
}

impl Operator for Unnest {
    fn push(&mut self, port: usize, change: Change) -> Result<()> {
        if port != 0 {
            return Err(Error::shape("a change", format!("an unnest has no port {port}")));
        }
        self.pending.push(change);
        Ok(())
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        std::mem::take(&mut self.pending).iter().try_for_each(|change| self.expand(change, emit))
    }
}

/// Elements, each by its row and by its number in the lists of that row.
#[derive(Default)]
struct Elements {
    rows: Vec<u32>,
    numbers: Vec<u32>,
}

impl Elements {
    fn push(&mut self, row: usize, number: usize) {
        // A batch has fewer rows, and a list fewer elements, than can be counted so.
        self.rows.push(row as u32);
        self.numbers.push(number as u32);
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    /// Where they are among the values of a list; none where the list is shorter.
    fn places(&self, list: &ListArray) -> UInt32Array {
        let place = |(row, number): (&u32, &u32)| {
            let (row, number) = (*row as usize, *number as usize);
            (number < length(list, row)).then(|| list.value_offsets()[row] as u32 + number as u32)
        };
        self.rows.iter().zip(&self.numbers).map(place).collect()
    }
}

fn list(rows: &RecordBatch, column: usize) -> Result<&ListArray> {
    let values = rows.columns().get(column).and_then(|values| values.as_list_opt());
    values.ok_or_else(|| Error::shape("a change", format!("column {column} is no list")))
}

fn length(list: &ListArray, row: usize) -> usize {
    if list.is_null(row) { 0 } else { list.value_length(row) as usize }
}

/// How many bytes each value of a column has.
fn value_bytes(values: &ArrayRef) -> Vec<usize> {
    match values.data_type() {
        DataType::Utf8 => {
            values.as_string::<i32>().value_offsets().windows(2).map(|ends| (ends[1] - ends[0]) as usize).collect()
        }
        DataType::Null | DataType::Boolean => vec![1; values.len()],
        other => match other.primitive_width() {
            Some(width) => vec![width; values.len()],
            None => (0..values.len())
                .map(|row| values.slice(row, 1).to_data().get_slice_memory_size().unwrap_or(OUTPUT_BYTES))
                .collect(),
        },
    }
}

#[cfg(test)]
mod tests;
