//! [`InnerJoin`]: rows of two sides that meet by key.
//!
//! What must hold: what went out is the join of all that came in on both sides, in any cut: the change of one side meets the
//! other side as it was, and the change of the other meets the first as it is. A NULL in a key meets nothing, or NULLs.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Schema, SchemaRef},
};

use crate::{
    arrangement::{Arrangement, dirty_parts, null_keys},
    change::{Change, Weights, gather},
    error::{Error, Result},
    gathered::{Gathered, OUTPUT_ROWS},
    operator::{Operator, StatePart, unknown_part, written_rows},
    run::{Chunk, Layout, Run},
};

/// One side of a join.
#[derive(Clone, Debug)]
pub struct JoinKeys {
    /// The rows.
    pub schema: SchemaRef,
    /// The columns that have to be equal to those of the other side, one by one and of its types.
    pub columns: Vec<usize>,
    /// Whether rows can be taken back.
    pub is_retracting: bool,
}

/// Two sides, and what has not been joined yet.
pub struct InnerJoin {
    sides: [Arrangement; 2],
    pending: [Vec<Change>; 2],
    schema: SchemaRef,
    /// Whether a NULL in a key equals a NULL, as in `IS NOT DISTINCT FROM`; else it meets nothing.
    nulls_are_equal: bool,
}

impl InnerJoin {
    /// Nothing on either side. A joined row is one of the left, then one of the right.
    #[must_use]
    pub fn new(left: JoinKeys, right: JoinKeys, nulls_are_equal: bool) -> Self {
        let fields = left.schema.fields().iter().chain(right.schema.fields());
        let schema = Arc::new(Schema::new(fields.map(Arc::clone).collect::<Vec<_>>()));
        let side = |side: JoinKeys| {
            let JoinKeys { schema, columns: key, is_retracting } = side;
            Arrangement::new(Layout { schema, key, is_retracting })
        };
        Self { sides: [side(left), side(right)], pending: [Vec::new(), Vec::new()], schema, nulls_are_equal }
    }

    /// The columns of joined rows.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What was pushed on a side, but for rows that can meet nothing.
    fn take_pending(&mut self, side: usize) -> Result<Option<Change>> {
        let layout = self.sides[side].layout().clone();
        let changes = std::mem::take(&mut self.pending[side]);
        let changes = changes.into_iter().map(|change| match self.nulls_are_equal {
            true => Ok(change),
            false => without_null_keys(&layout, change),
        });
        gather(&layout.schema, changes.collect::<Result<Vec<_>>>()?)
    }
}

impl Operator for InnerJoin {
    /// Port 0 is the left side, port 1 the right one.
    fn push(&mut self, port: usize, change: Change) -> Result<()> {
        let pending = self.pending.get_mut(port);
        let pending = pending.ok_or_else(|| Error::shape("a join", format!("it has no side {port}")))?;
        if !change.is_empty() {
            pending.push(change);
        }
        Ok(())
    }

    /// What is emitted are changes of a few thousand rows, as pairs are found.
    fn finish(&mut self, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        for side in [0, 1] {
            let Some(change) = self.take_pending(side)? else { continue };
            let run = Run::new(self.sides[side].layout(), &change)?;
            let mut joined = Joined::new(&self.schema, side);
            self.sides[1 - side].meet(&run, |asking, chunk, found| {
                joined.push(asking.chunk, asking.row, chunk, found)?;
                if joined.len() >= OUTPUT_ROWS { emit(joined.take()?) } else { Ok(()) }
            })?;
            if joined.len() > 0 {
                emit(joined.take()?)?;
            }
            self.sides[side].insert(run)?;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let pending = self.pending.iter().flatten().map(|change| change.rows().get_array_memory_size());
        self.sides.iter().map(Arrangement::bytes).sum::<usize>() + pending.sum::<usize>()
    }

    fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        dirty_parts(SIDES.into_iter().zip(&self.sides))
    }

    fn forget_dirty(&mut self) {
        self.sides.iter_mut().for_each(Arrangement::forget_dirty);
    }

    fn restore(&mut self, part: &str, rows: &RecordBatch) -> Result<()> {
        self.sides[side_of(part)?].restore(&written_rows(rows)?)
    }
}

/// What the parts of an operator with two sides are called.
pub(crate) const SIDES: [&str; 2] = ["left", "right"];

pub(crate) fn side_of(part: &str) -> Result<usize> {
    SIDES.iter().position(|side| *side == part).ok_or_else(|| unknown_part(part))
}

fn without_null_keys(layout: &Layout, change: Change) -> Result<Change> {
    let Some(valid) = null_keys(layout, &change) else { return Ok(change) };
    change.filter(&valid.into_inner().into())
}

/// Pairs of rows that met.
struct Joined<'a> {
    schema: &'a SchemaRef,
    /// Which side asked.
    side: usize,
    asking: Gathered<'a>,
    found: Gathered<'a>,
    weights: Vec<i64>,
}

impl<'a> Joined<'a> {
    fn new(schema: &'a SchemaRef, side: usize) -> Self {
        Self { schema, side, asking: Gathered::default(), found: Gathered::default(), weights: Vec::new() }
    }

    fn len(&self) -> usize {
        self.weights.len()
    }

    #[inline]
    fn push(&mut self, asking: &'a Arc<Chunk>, row: usize, chunk: &'a Arc<Chunk>, found: usize) -> Result<()> {
        let weight = asking.weights.value(row).checked_mul(chunk.weights.value(found));
        self.weights.push(weight.ok_or_else(|| Error::shape("a join", "a row would be there more than 2^63 times"))?);
        self.asking.push(asking, row);
        self.found.push(chunk, found);
        Ok(())
    }

    fn take(&mut self) -> Result<Change> {
        let (asking, found) = (self.asking.take()?, self.found.take()?);
        let (left, right) = if self.side == 0 { (asking, found) } else { (found, asking) };
        let columns = left.columns().iter().chain(right.columns()).map(Arc::clone).collect();
        let weights = std::mem::take(&mut self.weights);
        let options = RecordBatchOptions::new().with_row_count(Some(weights.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(self.schema), columns, &options);
        let rows = rows.map_err(Error::arrow("build joined rows"))?;
        Ok(Change::trusted(rows, Weights::of(weights)))
    }
}

#[cfg(test)]
mod tests;
