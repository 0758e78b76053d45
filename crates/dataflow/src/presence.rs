//! [`PresenceJoin`]: rows of the left side whose key is, or is not, on the right: semi and anti joins, and with them
//! `EXISTS`, `IN`, `INTERSECT`, `EXCEPT` and the padded rows of outer joins.
//!
//! What must hold: what went out is every left row that came in and whose key is kept, in any cut. Of the right side only
//! keys and how often each is there are kept; only where that becomes or ceases to be 0 do left rows come or go.

use std::sync::Arc;

use arrow::{
    array::{BooleanArray, Int64Array, RecordBatch, RecordBatchOptions},
    compute::{filter_record_batch, not},
    datatypes::{Field, Schema},
};

use crate::{
    arrangement::{Arrangement, dirty_parts, null_keys},
    change::{Change, Weights, gather},
    error::{Error, Result},
    gathered::{Gathered, OUTPUT_ROWS},
    join::{JoinKeys, SIDES, side_of},
    operator::{Operator, StatePart, written_rows},
    run::{Layout, Run, keys_of},
};

/// Which left rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those whose key is on the right.
    Present,
    /// Those whose key is not.
    Absent,
}

/// Left rows by key, and how often each key is on the right.
pub struct PresenceJoin {
    keep: Keep,
    /// Whether a NULL in a key equals a NULL, as in `INTERSECT`; else it equals nothing.
    nulls_are_equal: bool,
    left: Arrangement,
    /// Nothing but keys, in their normal form.
    right: Arrangement,
    /// The columns of the key in what is pushed on the right.
    right_layout: Layout,
    pending: [Vec<Change>; 2],
}

impl PresenceJoin {
    /// Nothing on either side. What goes out are left rows.
    #[must_use]
    pub fn new(keep: Keep, nulls_are_equal: bool, left: JoinKeys, right: JoinKeys) -> Self {
        let fields = right.columns.iter().map(|column| {
            let field = right.schema.field(*column);
            Field::new(field.name(), field.data_type().clone(), true)
        });
        let keys = Layout {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            key: (0..right.columns.len()).collect(),
            is_retracting: true,
        };
        let right_layout = Layout { schema: right.schema, key: right.columns, is_retracting: right.is_retracting };
        let left = Layout { schema: left.schema, key: left.columns, is_retracting: left.is_retracting };
        Self {
            keep,
            nulls_are_equal,
            left: Arrangement::new(left),
            right: Arrangement::new(keys),
            right_layout,
            pending: [Vec::new(), Vec::new()],
        }
    }

    fn take_pending(&mut self, side: usize) -> Result<Option<Change>> {
        let layout = if side == 0 { self.left.layout() } else { self.right.layout() };
        gather(&layout.schema, std::mem::take(&mut self.pending[side]))
    }

    /// The keys of right rows: a row that equals nothing is none.
    fn keys_of_right(&self, change: &Change) -> Result<Change> {
        let change = match null_keys(&self.right_layout, change) {
            Some(valid) if !self.nulls_are_equal => &change.filter(&valid.into_inner().into())?,
            _ => change,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(change.row_count()));
        let (schema, keys) = (&self.right.layout().schema, keys_of(&self.right_layout, change.rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(schema), keys, &options);
        Ok(Change::trusted(rows.map_err(Error::arrow("take the keys of rows"))?, change.weights().clone()))
    }

    /// A change of the right side: left rows that were there come or go where a key becomes or ceases to be present.
    fn flip(&mut self, change: &Change, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        let run = Run::new(self.right.layout(), change)?;
        let mut counts = self.right.count(&run)?.into_iter();
        let mut flipped = Vec::new();
        for change in run.changes() {
            let signs = (0..change.row_count()).zip(&mut counts).map(|(row, before)| {
                let after = before + change.weights().value(row);
                i64::from(after > 0) - i64::from(before > 0)
            });
            let signs: Int64Array = signs.collect::<Vec<i64>>().into();
            let selected: BooleanArray = signs.values().iter().map(|sign| Some(*sign != 0)).collect();
            if selected.true_count() > 0 {
                let rows = filter_record_batch(change.rows(), &selected).map_err(Error::arrow("filter keys"))?;
                let signs = signs.values().iter().copied().filter(|sign| *sign != 0);
                flipped.push(Change::trusted(rows, Weights::Column(Int64Array::from_iter_values(signs))));
            }
        }
        if let Some(flipped) = gather(&self.right.layout().schema, flipped)? {
            let flipped = Run::new(self.right.layout(), &flipped)?;
            let sense = if self.keep == Keep::Present { 1 } else { -1 };
            emit_meeting(&self.left, &flipped, sense, emit)?;
        }
        self.right.insert(run)
    }

    /// A change of the left side, by what is on the right now.
    fn judge(&mut self, change: &Change, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        let change = match null_keys(self.left.layout(), change) {
            Some(valid) if !self.nulls_are_equal => {
                let valid: BooleanArray = valid.into_inner().into();
                if self.keep == Keep::Absent {
                    // It meets nothing, and never will.
                    emit(change.filter(&not(&valid).map_err(Error::arrow("filter rows"))?)?)?;
                }
                &change.filter(&valid)?
            }
            _ => change,
        };
        let run = Run::new(self.left.layout(), change)?;
        let mut counts = self.right.count(&run)?.into_iter();
        for change in run.changes() {
            let kept = (0..change.row_count()).zip(&mut counts);
            let kept: BooleanArray = kept.map(|(_, count)| Some((count > 0) == (self.keep == Keep::Present))).collect();
            if kept.true_count() == kept.len() {
                emit(change)?;
            } else if kept.true_count() > 0 {
                emit(change.filter(&kept)?)?;
            }
        }
        self.left.insert(run)
    }
}

impl Operator for PresenceJoin {
    /// Port 0 is the left side, port 1 the right one.
    fn push(&mut self, port: usize, change: Change) -> Result<()> {
        let change = match port {
            0 => change,
            1 => self.keys_of_right(&change)?,
            other => return Err(Error::shape("a join", format!("it has no side {other}"))),
        };
        self.pending[port].push(change);
        Ok(())
    }

    /// What is emitted are the left rows that come and go.
    fn finish(&mut self, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        if let Some(change) = self.take_pending(1)? {
            self.flip(&change, emit)?;
        }
        if let Some(change) = self.take_pending(0)? {
            self.judge(&change, emit)?;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let pending = self.pending.iter().flatten().map(|change| change.rows().get_array_memory_size());
        self.left.bytes() + self.right.bytes() + pending.sum::<usize>()
    }

    fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        dirty_parts(SIDES.into_iter().zip([&self.left, &self.right]))
    }

    fn forget_dirty(&mut self) {
        self.left.forget_dirty();
        self.right.forget_dirty();
    }

    fn restore(&mut self, part: &str, rows: &RecordBatch) -> Result<()> {
        let side = if side_of(part)? == 0 { &mut self.left } else { &mut self.right };
        side.restore(&written_rows(rows)?)
    }
}

/// The rows that meet others, as often as both are there, or the reverse.
fn emit_meeting(rows: &Arrangement, probe: &Run, sense: i64, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
    let (mut found, mut weights) = (Gathered::default(), Vec::new());
    rows.meet(probe, |asking, chunk, row| {
        weights.push(sense * asking.chunk.weights.value(asking.row) * chunk.weights.value(row));
        found.push(chunk, row);
        if found.len() < OUTPUT_ROWS {
            return Ok(());
        }
        emit(Change::trusted(found.take()?, Weights::of(std::mem::take(&mut weights))))
    })?;
    if found.len() > 0 {
        emit(Change::trusted(found.take()?, Weights::of(weights)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
