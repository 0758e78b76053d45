//! [`Arrangement`]: rows by key, as a few sorted runs.
//!
//! What must hold: the number of runs grows with the logarithm of the rows; whoever inserts rows pays for merging about as
//! many for each size of run, so that no merger falls behind; a run that someone holds stays as it is.

use std::sync::Arc;

use crate::{
    change::{Change, gather},
    error::{Error, Result},
    operator::StatePart,
    run::{Chunk, Layout, Merge, Place, Run, column_comparator, keys_of},
};

/// A run is merged with the one after it when it is not so many times as large.
const RATIO: usize = 4;
/// A row that is inserted pays for so many that are merged, for each size of run.
const FUEL: usize = 4;

/// Rows by key, with their weights.
#[derive(Debug)]
pub struct Arrangement {
    layout: Layout,
    /// From old and large to new and small.
    slots: Vec<Slot>,
    /// What was inserted and is not yet written down.
    dirty: Vec<Arc<Run>>,
}

#[derive(Debug)]
enum Slot {
    Run(Arc<Run>),
    Merging(Merge),
}

impl Slot {
    fn row_count(&self) -> usize {
        self.runs().iter().map(|run| run.row_count()).sum()
    }

    fn runs(&self) -> &[Arc<Run>] {
        match self {
            Self::Run(run) => std::slice::from_ref(run),
            Self::Merging(merge) => merge.inputs(),
        }
    }
}

impl Arrangement {
    /// No rows yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout, slots: Vec::new(), dirty: Vec::new() }
    }

    /// How its rows are arranged.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Adds a run of this layout.
    ///
    /// # Errors
    /// [`Error::Arrow`] when rows cannot be merged.
    pub fn insert(&mut self, run: Run) -> Result<()> {
        if run.row_count() == 0 {
            return Ok(());
        }
        let run = Arc::new(run);
        self.dirty.push(Arc::clone(&run));
        self.add(run)
    }

    /// Adds rows that are written down already.
    ///
    /// # Errors
    /// [`Error::Arrow`] when they are not of this layout.
    pub fn restore(&mut self, change: &Change) -> Result<()> {
        let run = Run::new(&self.layout, change)?;
        if run.row_count() == 0 {
            return Ok(());
        }
        self.add(Arc::new(run))
    }

    /// The rows that came and went since [`forget_dirty`](Self::forget_dirty); none without any.
    ///
    /// # Errors
    /// [`Error::Arrow`] when they cannot be gathered.
    pub fn dirty(&self) -> Result<Option<Change>> {
        gather(&self.layout.schema, self.dirty.iter().flat_map(|run| run.changes()).collect())
    }

    /// Forgets which rows are not written down.
    pub fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    fn add(&mut self, run: Arc<Run>) -> Result<()> {
        let fuel = run.row_count() * FUEL;
        self.slots.push(Slot::Run(run));
        self.work(fuel)
    }

    /// Merges runs, at most about `fuel` rows for each size: what an insertion does, and who is idle can do more of.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn work(&mut self, fuel: usize) -> Result<()> {
        for number in (0..self.slots.len()).rev() {
            // What came while it was merged is as much as itself: no merger falls further behind.
            let behind: usize = self.slots.iter().skip(number + 1).map(Slot::row_count).sum();
            match self.slots.get_mut(number) {
                Some(Slot::Merging(merge)) => {
                    let is_pressed = behind >= merge.inputs().iter().map(|run| run.row_count()).sum();
                    let mut fuel = if is_pressed { usize::MAX } else { fuel };
                    if let Some(run) = merge.work(&self.layout, &mut fuel)? {
                        self.replace(number, run);
                    }
                }
                Some(Slot::Run(_)) => {}
                None => continue,
            }
            self.pair(number);
        }
        Ok(())
    }

    fn replace(&mut self, number: usize, run: Run) {
        if run.row_count() == 0 {
            self.slots.remove(number);
        } else {
            self.slots[number] = Slot::Run(Arc::new(run));
        }
    }

    /// Begins to merge a run with the one after it, where their sizes are alike.
    fn pair(&mut self, number: usize) {
        let (Some(Slot::Run(older)), Some(Slot::Run(newer))) = (self.slots.get(number), self.slots.get(number + 1))
        else {
            return;
        };
        if older.row_count() <= newer.row_count().saturating_mul(RATIO) {
            let merge = Merge::new(Arc::clone(older), Arc::clone(newer));
            self.slots[number] = Slot::Merging(merge);
            self.slots.remove(number + 1);
        }
    }

    /// The runs, from old to new.
    pub fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.slots.iter().flat_map(Slot::runs)
    }

    /// How many rows are kept; a row and its retraction may be two.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.slots.iter().map(Slot::row_count).sum()
    }

    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let merging = self.slots.iter().map(|slot| match slot {
            Slot::Run(_) => 0,
            Slot::Merging(merge) => merge.bytes(),
        });
        // What has been merged since is there for this alone.
        let dirty = self.dirty.iter().filter(|run| Arc::strong_count(run) == 1).map(|run| run.bytes()).sum::<usize>();
        self.runs().map(|run| run.bytes()).sum::<usize>() + merging.sum::<usize>() + dirty
    }

    /// Calls `each(asking, chunk, row)` for each row here that has the key of a row of `probe`, whose layout has keys of
    /// the same types. The rows of `probe` ask in order, once for each run.
    pub(crate) fn meet<'a>(
        &'a self,
        probe: &'a Run,
        mut each: impl FnMut(Asking<'a>, &'a Arc<Chunk>, usize) -> Result<()>,
    ) -> Result<()> {
        for run in self.runs() {
            let (mut from, mut comparator, mut number) = (Place::default(), None, 0);
            for asking in &probe.chunks {
                for (row, word) in asking.words.iter().enumerate() {
                    for (chunk, piece) in run.seek(*word, &mut from) {
                        let same = pair_comparator(&mut comparator, asking, chunk)?;
                        for found in piece {
                            if same(row, found) {
                                each(Asking { number, chunk: asking, row }, chunk, found)?;
                            }
                        }
                    }
                    number += 1;
                }
            }
        }
        Ok(())
    }

    /// How often the key of each row of `probe` is here.
    pub(crate) fn count(&self, probe: &Run) -> Result<Vec<i64>> {
        let mut counts = vec![0; probe.row_count()];
        self.meet(probe, |asking, chunk, found| {
            counts[asking.number] += chunk.weights.value(found);
            Ok(())
        })?;
        Ok(counts)
    }
}

/// A row that asks for others of its key.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// Which one, from 0.
    pub(crate) number: usize,
    pub(crate) chunk: &'a Arc<Chunk>,
    /// Its row in the chunk.
    pub(crate) row: usize,
}

/// What has changed of some arrangements, by name.
pub(crate) fn dirty_parts<'a>(
    arrangements: impl IntoIterator<Item = (&'static str, &'a Arrangement)>,
) -> Result<Vec<StatePart>> {
    let mut parts = Vec::new();
    for (name, arrangement) in arrangements {
        if let Some(change) = arrangement.dirty()? {
            parts.push(StatePart::of_rows(name, &change)?);
        }
    }
    Ok(parts)
}

type Same = Box<dyn Fn(usize, usize) -> bool>;

/// What compares the keys of two chunks; made anew only where one of them is another.
fn pair_comparator<'c>(
    kept: &'c mut Option<(*const Chunk, *const Chunk, Same)>,
    asking: &Arc<Chunk>,
    chunk: &Arc<Chunk>,
) -> Result<&'c Same> {
    let (left, right) = (Arc::as_ptr(asking), Arc::as_ptr(chunk));
    if !matches!(kept, Some((l, r, _)) if (*l, *r) == (left, right)) {
        let same: Same = Box::new(column_comparator(&asking.keys, &chunk.keys)?);
        *kept = Some((left, right, same));
    }
    kept.as_ref().map(|(_, _, same)| same).ok_or_else(|| Error::shape("a probe", "nothing compares its keys"))
}

/// Whether any column of a row's key is NULL, row by row; `None` where none is.
pub(crate) fn null_keys(layout: &Layout, change: &Change) -> Option<arrow::buffer::NullBuffer> {
    let keys = keys_of(layout, change.rows());
    let nulls = keys.iter().map(|key| key.logical_nulls());
    nulls
        .fold(None, |all, nulls| arrow::buffer::NullBuffer::union(all.as_ref(), nulls.as_ref()))
        .filter(|valid| valid.null_count() > 0)
}

#[cfg(test)]
mod tests;
