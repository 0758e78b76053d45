//! The state of a view that does not group: its rows, each identified by its place in the log.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, new_null_array},
    compute::{concat_batches, filter_record_batch, not},
};
use dataflow::{Change, check_state};
use hashbrown::{HashMap, HashSet};

use super::evaluated_rows::{Piece, array_bytes};
use crate::{
    error::{Error, Result},
    plan::{ViewPlan, step},
};

/// Small batches are put together up to this size, so that a slow trickle does not end in thousands of them.
const CHUNK_ROWS: usize = 8_192;
/// Larger ones are not: each time everything would be copied.
const CHUNK_BYTES: usize = 1024 * 1024;

type Place = (i32, i64);

/// Rows, in the order in which they were folded.
pub(super) struct RowFold {
    plan: Arc<ViewPlan>,
    chunks: Vec<RecordBatch>,
    row_count: usize,
    /// What the rows take.
    bytes: usize,
    /// What was not yet given out as a change.
    changed: Changed,
    /// What was not yet given out as states.
    dirty: Dirty,
}

/// Rows that came and rows that went, whole, as chunks.
#[derive(Default)]
struct Changed {
    added: Vec<RecordBatch>,
    removed: Vec<RecordBatch>,
}

#[derive(Default)]
struct Dirty {
    added: Vec<RecordBatch>,
    /// Where rows left; one may be among the added again.
    removed: BTreeSet<Place>,
}

impl Dirty {
    /// Where rows left and none came back.
    fn gone(&self, plan: &ViewPlan) -> Result<Vec<Place>> {
        let mut gone = self.removed.clone();
        for batch in &self.added {
            for place in places_of(plan, batch)? {
                gone.remove(&place);
            }
        }
        Ok(gone.into_iter().collect())
    }
}

impl RowFold {
    pub(super) fn new(plan: Arc<ViewPlan>) -> Self {
        Self { plan, chunks: Vec::new(), row_count: 0, bytes: 0, changed: Changed::default(), dirty: Dirty::default() }
    }

    /// Folds rows; what they carry are weights (if `weighted`), then partition and offset.
    pub(super) fn fold(&mut self, pieces: Vec<Piece>, weighted: bool) -> Result<()> {
        pieces.into_iter().try_for_each(|piece| self.fold_piece(piece, weighted))
    }

    fn fold_piece(&mut self, Piece { rows, carried, .. }: Piece, weighted: bool) -> Result<()> {
        let weights = carried.first().filter(|_| weighted);
        let weights = weights.and_then(|weights| weights.as_any().downcast_ref::<Int64Array>());
        let Some(weights) = weights else {
            self.add(rows, true);
            return Ok(());
        };
        let (came, left) = self.net(&rows, weights)?;
        self.add(filter_record_batch(&rows, &came).map_err(Error::arrow("split rows by weight"))?, true);
        self.remove(&left)
    }

    pub(super) fn drain_changes(&mut self) -> Result<Change> {
        let change = Change::replace(&self.concat(&self.changed.removed)?, self.concat(&self.changed.added)?)?;
        self.changed = Changed::default();
        Ok(change)
    }

    pub(super) fn dirty_state(&self) -> Result<RecordBatch> {
        let added = self.states(&self.concat(&self.dirty.added)?, 1)?;
        let gone = self.states(&key_batch(&self.plan, &self.dirty.gone(&self.plan)?)?, 0)?;
        if gone.num_rows() == 0 {
            return Ok(added);
        }
        concat_batches(self.plan.state_schema(), [&added, &gone]).map_err(Error::arrow("gather states"))
    }

    pub(super) fn forget_dirty(&mut self) {
        self.dirty = Dirty::default();
    }

    pub(super) fn all_state(&self) -> Result<RecordBatch> {
        self.states(&self.rows()?, 1)
    }

    pub(super) fn merge_state(&mut self, states: &RecordBatch) -> Result<()> {
        let (present, _) = self.rows_of_states(states)?;
        self.add(present, true);
        Ok(())
    }

    pub(super) fn restore_state(&mut self, states: &RecordBatch) -> Result<()> {
        let (present, absent) = self.rows_of_states(states)?;
        if self.row_count > 0 {
            let mut replaced: HashSet<Place> = places_of(&self.plan, &present)?.collect();
            replaced.extend(absent);
            self.take_out(&replaced)?;
        }
        self.add(present, false);
        Ok(())
    }

    pub(super) fn rows(&self) -> Result<RecordBatch> {
        self.concat(&self.chunks)
    }

    pub(super) fn group_count(&self) -> usize {
        self.row_count
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn count_bytes(&mut self) {
        self.bytes = self.chunks.iter().map(bytes_of).sum();
    }

    fn add(&mut self, rows: RecordBatch, dirty: bool) {
        if rows.num_rows() == 0 {
            return;
        }
        self.row_count += rows.num_rows();
        let bytes = bytes_of(&rows);
        self.bytes += bytes;
        let small = self.chunks.last().is_some_and(|last| {
            last.num_rows() + rows.num_rows() <= CHUNK_ROWS && bytes_of(last) + bytes <= CHUNK_BYTES
        });
        let joined = if small {
            self.chunks.last().and_then(|last| self.concat(&[last.clone(), rows.clone()]).ok())
        } else {
            None
        };
        match (joined, self.chunks.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => self.chunks.push(rows.clone()),
        }
        if dirty {
            self.dirty.added.push(rows.clone());
        }
        self.changed.added.push(rows);
    }

    /// What weighted rows come to: which of them to add (for each place at most one), and the places to take back.
    fn net(&self, rows: &RecordBatch, weights: &Int64Array) -> Result<(BooleanArray, HashSet<Place>)> {
        let places: Vec<Place> = places_of(&self.plan, rows)?.collect();
        let mut nets: HashMap<Place, i64> = HashMap::with_capacity(places.len());
        for (place, weight) in places.iter().zip(weights.values()) {
            *nets.entry(*place).or_default() += weight;
        }
        if let Some(weight) = nets.values().find(|weight| weight.abs() > 1) {
            let reason = format!("a row has weight {weight}, but a place in the log holds one record");
            return Err(Error::Shape { what: "the weights", reason });
        }
        let left = nets.iter().filter(|(_, weight)| **weight < 0).map(|(place, _)| *place).collect();
        // Taking the place out of the map leaves the later rows of the same place out.
        let came = places.iter().zip(weights.values());
        let came = came.map(|(place, weight)| Some(*weight > 0 && nets.remove(place) == Some(1)));
        Ok((came.collect(), left))
    }

    fn remove(&mut self, places: &HashSet<Place>) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let removed = self.take_out(places)?;
        retain(&self.plan, &mut self.dirty.added, places)?;
        self.dirty.removed.extend(removed);
        Ok(())
    }

    /// Takes the rows at `places` out of what there is; returns the places that were found.
    fn take_out(&mut self, places: &HashSet<Place>) -> Result<Vec<Place>> {
        let removed = retain(&self.plan, &mut self.chunks, places)?;
        self.row_count -= removed.iter().map(RecordBatch::num_rows).sum::<usize>();
        self.count_bytes();
        let never_shown = retain(&self.plan, &mut self.changed.added, places)?;
        let never_shown = self.places_of_all(&never_shown)?;
        let found = self.places_of_all(&removed)?;
        for rows in removed {
            let shown: BooleanArray =
                places_of(&self.plan, &rows)?.map(|place| Some(!never_shown.contains(&place))).collect();
            if shown.true_count() > 0 {
                let shown = filter_record_batch(&rows, &shown).map_err(Error::arrow("take rows back"))?;
                self.changed.removed.push(shown);
            }
        }
        Ok(found.into_iter().collect())
    }

    fn places_of_all(&self, batches: &[RecordBatch]) -> Result<HashSet<Place>> {
        let mut places = HashSet::new();
        for batch in batches {
            places.extend(places_of(&self.plan, batch)?);
        }
        Ok(places)
    }

    fn concat(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        concat_batches(self.plan.output_schema(), batches).map_err(Error::arrow("gather rows"))
    }

    fn states(&self, rows: &RecordBatch, weight: i64) -> Result<RecordBatch> {
        let keys = self.plan.key_columns();
        let mut columns: Vec<ArrayRef> = keys.iter().map(|key| ArrayRef::clone(rows.column(*key))).collect();
        columns.push(Arc::new(Int64Array::from_value(weight, rows.num_rows())));
        let others = (0..rows.num_columns()).filter(|i| !keys.contains(i));
        columns.extend(others.map(|i| ArrayRef::clone(rows.column(i))));
        step::batch(self.plan.state_schema(), columns, rows.num_rows())
    }

    /// The rows that states stand for, and the places of rows that are gone.
    fn rows_of_states(&self, states: &RecordBatch) -> Result<(RecordBatch, Vec<Place>)> {
        check_state(self.plan.state_schema(), states)?;
        let keys = self.plan.key_columns();
        let others: Vec<usize> = (0..self.plan.output_schema().fields().len()).filter(|i| !keys.contains(i)).collect();
        let columns = (0..self.plan.output_schema().fields().len()).map(|i| {
            let key = keys.iter().position(|key| *key == i);
            let other = others.iter().position(|other| *other == i).unwrap_or(0);
            ArrayRef::clone(states.column(key.unwrap_or(keys.len() + 1 + other)))
        });
        let rows = step::batch(self.plan.output_schema(), columns.collect(), states.num_rows())?;
        let weights = states.column(keys.len()).as_any().downcast_ref::<Int64Array>();
        let present: BooleanArray = match weights {
            Some(weights) => weights.iter().map(|weight| Some(weight.unwrap_or(0) > 0)).collect(),
            None => return Err(Error::Shape { what: "the states", reason: "rows is not a BIGINT".to_owned() }),
        };
        let absent = not(&present).map_err(Error::arrow("split states"))?;
        let absent = filter_record_batch(&rows, &absent).map_err(Error::arrow("split states"))?;
        let present = filter_record_batch(&rows, &present).map_err(Error::arrow("split states"))?;
        let absent = places_of(&self.plan, &absent)?.collect();
        Ok((present, absent))
    }
}

/// What rows take, whoever else holds what they are slices of.
fn bytes_of(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(array_bytes).sum()
}

/// The places of rows, read from their key columns.
fn places_of<'a>(plan: &ViewPlan, rows: &'a RecordBatch) -> Result<impl Iterator<Item = Place> + 'a> {
    let [partition, offset] = plan.key_columns() else {
        return Err(Error::Shape { what: "the plan", reason: "its rows have no place".to_owned() });
    };
    let partitions = rows.column(*partition).as_any().downcast_ref::<Int32Array>();
    let offsets = rows.column(*offset).as_any().downcast_ref::<Int64Array>();
    match (partitions, offsets) {
        (Some(partitions), Some(offsets)) => {
            Ok((0..rows.num_rows()).map(|row| (partitions.value(row), offsets.value(row))))
        }
        _ => Err(Error::Shape { what: "the rows", reason: "their places are not INT and BIGINT".to_owned() }),
    }
}

/// Takes the rows at `places` out of some batches; returns them.
fn retain(plan: &ViewPlan, batches: &mut Vec<RecordBatch>, places: &HashSet<Place>) -> Result<Vec<RecordBatch>> {
    let mut found = Vec::new();
    for batch in batches.iter_mut() {
        let keep: BooleanArray = places_of(plan, batch)?.map(|place| Some(!places.contains(&place))).collect();
        if keep.true_count() < keep.len() {
            let taken = not(&keep).map_err(Error::arrow("take rows back"))?;
            found.push(filter_record_batch(batch, &taken).map_err(Error::arrow("take rows back"))?);
            *batch = filter_record_batch(batch, &keep).map_err(Error::arrow("take rows back"))?;
        }
    }
    batches.retain(|batch| batch.num_rows() > 0);
    Ok(found)
}

/// The rows of states of rows that are gone: nothing but their places.
fn key_batch(plan: &ViewPlan, places: &[Place]) -> Result<RecordBatch> {
    let partitions: ArrayRef = Arc::new(places.iter().map(|place| Some(place.0)).collect::<Int32Array>());
    let offsets: ArrayRef = Arc::new(places.iter().map(|place| Some(place.1)).collect::<Int64Array>());
    let columns = plan.output_schema().fields().iter().enumerate().map(|(i, field)| match plan.key_columns() {
        [partition, _] if *partition == i => ArrayRef::clone(&partitions),
        [_, offset] if *offset == i => ArrayRef::clone(&offsets),
        _ => new_null_array(field.data_type(), places.len()),
    });
    step::batch(plan.output_schema(), columns.collect(), places.len())
}
