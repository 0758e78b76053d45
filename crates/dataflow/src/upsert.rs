//! [`Upsert`]: records by key, of which the last one counts, as rows that come and go.
//!
//! What must hold: what is out is, for each key, its record at the greatest place in the log, and nothing where that record
//! deletes; so it depends on which records came in, and not on the order or the cut in which they did. A deletion is
//! remembered: a record of an earlier place that comes after it changes nothing.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch, UInt32Array},
    compute::{not, take_record_batch},
    datatypes::{Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType},
};

use crate::{
    arrangement::{Arrangement, dirty_parts},
    change::{Change, gather},
    error::{Error, Result},
    gathered::Gathered,
    hash::hash_rows,
    operator::{Operator, StatePart, unknown_part, written_rows},
    run::{Chunk, Layout, Run, column_comparator, keys_of},
};

/// Which columns of its input an upsert takes for what.
#[derive(Clone, Debug)]
pub struct UpsertColumns {
    /// The records.
    pub schema: SchemaRef,
    /// What a record replaces the earlier ones by.
    pub key: Vec<usize>,
    /// Where a record is in the log: arrival time, partition and offset.
    pub place: [usize; 3],
    /// Whether a record deletes: a column of booleans.
    pub deletes: usize,
}

type Place = (i64, i32, i64);

/// What the one part of the state is called.
const LAST: &str = "last";

/// The last record of each key.
pub struct Upsert {
    columns: UpsertColumns,
    last: Arrangement,
    pending: Vec<Change>,
}

impl Upsert {
    /// No records yet.
    #[must_use]
    pub fn new(columns: UpsertColumns) -> Self {
        let layout = Layout { schema: Arc::clone(&columns.schema), key: columns.key.clone(), is_retracting: true };
        Self { columns, last: Arrangement::new(layout), pending: Vec::new() }
    }

    /// Of each key the record at the greatest place.
    fn newest(&self, records: &RecordBatch) -> Result<RecordBatch> {
        let keys = keys_of(self.last.layout(), records);
        let words = hash_rows(&keys, records.num_rows())?;
        let same = column_comparator(&keys, &keys)?;
        let mut order: Vec<u32> = (0..records.num_rows() as u32).collect();
        order.sort_unstable_by_key(|row| (words[*row as usize], *row));
        let mut newest: Vec<u32> = Vec::new();
        // Those of one word so far: one key, but for rare others.
        let mut first_of_word = 0;
        for row in order {
            let word = |row: &u32| words[*row as usize];
            if newest.last().is_none_or(|last| word(last) != word(&row)) {
                first_of_word = newest.len();
            }
            let known = newest[first_of_word..].iter_mut().find(|known| same(**known as usize, row as usize));
            let at = |row: u32| place(&self.columns, records, row as usize);
            match known {
                Some(known) if at(*known) < at(row) => *known = row,
                Some(_) => {}
                None => newest.push(row),
            }
        }
        take_record_batch(records, &UInt32Array::from(newest)).map_err(Error::arrow("choose the last records"))
    }

    /// The record that is there now of each key in `newest`, by the number of its row.
    fn replaced<'a>(&'a self, newest: &'a Run) -> Result<HashMap<usize, Current<'a>>> {
        let mut found: HashMap<(usize, Place), Current<'a>> = HashMap::new();
        self.last.meet(newest, |asking, chunk, row| {
            let place = place(&self.columns, &chunk.rows, row);
            let current = found.entry((asking.number, place)).or_insert(Current { place, chunk, row, count: 0 });
            current.count += chunk.weights.value(row);
            Ok(())
        })?;
        // A record that was replaced may still be there, beside what takes it back.
        let there = found.into_iter().filter(|(_, current)| current.count > 0);
        Ok(there.map(|((number, _), current)| (number, current)).collect())
    }
}

impl Operator for Upsert {
    /// Records of the one port; a log takes none of them back.
    fn push(&mut self, _: usize, records: Change) -> Result<()> {
        if records.weights().column().is_some() {
            return Err(Error::shape("records by key", "they have weights"));
        }
        self.pending.push(records);
        Ok(())
    }

    /// What is emitted are the rows that go and come, with the columns of the records.
    fn finish(&mut self, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        let schema = Arc::clone(&self.columns.schema);
        let Some(records) = gather(&schema, std::mem::take(&mut self.pending))? else { return Ok(()) };
        let newest = self.newest(records.rows())?;
        let newest = Run::new(self.last.layout(), &Change::of_rows(newest))?;
        let replaced = self.replaced(&newest)?;
        let (mut old, mut new) = (Gathered::default(), Gathered::default());
        for (number, (chunk, row)) in rows_of(&newest).enumerate() {
            let current = replaced.get(&number);
            if current.is_some_and(|current| current.place >= place(&self.columns, &chunk.rows, row)) {
                continue;
            }
            if let Some(current) = current {
                old.push(current.chunk, current.row);
            }
            new.push(chunk, row);
        }
        if new.len() == 0 {
            return Ok(());
        }
        let gone = if old.len() == 0 { RecordBatch::new_empty(schema) } else { old.take()? };
        let change = Change::replace(&gone, new.take()?)?;
        self.last.insert(Run::new(self.last.layout(), &change)?)?;
        let shown = not(deletes(&self.columns, change.rows())?).map_err(Error::arrow("leave deletions out"))?;
        let change = change.filter(&shown)?;
        if change.is_empty() { Ok(()) } else { emit(change) }
    }

    fn memory_bytes(&self) -> usize {
        self.last.bytes() + self.pending.iter().map(|records| records.rows().get_array_memory_size()).sum::<usize>()
    }

    fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        dirty_parts([(LAST, &self.last)])
    }

    fn forget_dirty(&mut self) {
        self.last.forget_dirty();
    }

    fn restore(&mut self, part: &str, rows: &RecordBatch) -> Result<()> {
        if part != LAST {
            return Err(unknown_part(part));
        }
        self.last.restore(&written_rows(rows)?)
    }
}

/// The last record of a key.
struct Current<'a> {
    place: Place,
    chunk: &'a Arc<Chunk>,
    row: usize,
    count: i64,
}

fn rows_of(run: &Run) -> impl Iterator<Item = (&Arc<Chunk>, usize)> {
    run.chunks.iter().flat_map(|chunk| (0..chunk.words.len()).map(move |row| (chunk, row)))
}

fn place(columns: &UpsertColumns, rows: &RecordBatch, row: usize) -> Place {
    let [arrival, partition, offset] = columns.place.map(|column| rows.column(column));
    (
        arrival.as_primitive::<TimestampMicrosecondType>().value(row),
        partition.as_primitive::<Int32Type>().value(row),
        offset.as_primitive::<Int64Type>().value(row),
    )
}

fn deletes<'a>(columns: &UpsertColumns, rows: &'a RecordBatch) -> Result<&'a BooleanArray> {
    let column = rows.column(columns.deletes);
    column
        .as_boolean_opt()
        .ok_or_else(|| Error::shape("records by key", format!("{} says what deletes", column.data_type())))
}

#[cfg(test)]
mod tests;
