//! What a Lambda view holds in memory: one batch version, and the speed layer's epochs after it.
//!
//! What it is not: it reads no log and no lake; the tasks beside it do, and hand over what they found.
//!
//! What must hold, at every moment and so for every query:
//! - the batch version's H, the closed epochs and the open epoch lie end to end without gap or overlap;
//! - every record before `positions` is counted in exactly one of them.

use std::{collections::VecDeque, sync::Arc};

use arrow::array::RecordBatch;
use lakehouse::BatchVersion;
use model::{Epoch, Error, Positions, Result};
use streaming::{Fold, ViewPlan};

// Beyond this, the two oldest closed epochs become one: a batch run can still cut at every later boundary.
const EPOCHS_MAX: usize = 64;

/// The layers of one view.
pub(crate) struct Layers {
    plan: Arc<ViewPlan>,
    batch: Option<Arc<BatchVersion>>,
    closed: VecDeque<ClosedEpoch>,
    open: Fold,
    open_from: Positions,
    positions: Positions,
    /// Where the batch run that is under way will end: this boundary must not vanish inside a joined epoch.
    cut: Positions,
}

#[derive(Clone)]
struct ClosedEpoch {
    epoch: Epoch,
    states: RecordBatch,
}

/// Everything one answer is merged from, pinned together.
pub(crate) struct Pinned {
    plan: Arc<ViewPlan>,
    batch: Option<Arc<BatchVersion>>,
    speed: Vec<RecordBatch>,
    /// What the answer has folded.
    pub(crate) positions: Positions,
}

impl Layers {
    /// Begins at the batch version's H, or at the start of the log when there is none.
    pub(crate) fn new(plan: Arc<ViewPlan>, batch: Option<Arc<BatchVersion>>) -> Result<Self> {
        let from = batch.as_ref().map(|batch| batch.positions.clone()).unwrap_or_default();
        let open = Fold::new(&plan)?;
        Ok(Self {
            plan,
            batch,
            closed: VecDeque::new(),
            open,
            open_from: from.clone(),
            cut: from.clone(),
            positions: from,
        })
    }

    /// Everything before this has been folded.
    pub(crate) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// H of the batch version in use.
    pub(crate) fn batch_positions(&self) -> Positions {
        self.batch.as_ref().map(|batch| batch.positions.clone()).unwrap_or_default()
    }

    /// The Delta version of the batch in use, for people.
    pub(crate) fn batch_version(&self) -> Option<u64> {
        self.batch.as_ref().map(|batch| batch.version)
    }

    /// Folds source rows that end at `positions` into the open epoch.
    pub(crate) fn fold(&mut self, rows: &RecordBatch, positions: &Positions) -> Result<()> {
        debug_assert!(positions.covers(&self.positions), "the speed layer reads forward");
        self.open.apply(rows, None)?;
        self.positions = positions.clone();
        Ok(())
    }

    /// Closes the open epoch and remembers its end as the place where the next batch version will cut.
    pub(crate) fn cut(&mut self) -> Result<Positions> {
        self.cut = self.close_epoch()?;
        Ok(self.cut.clone())
    }

    /// Closes the open epoch where it stands and returns the boundary.
    pub(crate) fn close_epoch(&mut self) -> Result<Positions> {
        if self.positions != self.open_from {
            let epoch = Epoch::new(self.open_from.clone(), self.positions.clone())?;
            let open = std::mem::replace(&mut self.open, Fold::new(&self.plan)?);
            self.closed.push_back(ClosedEpoch { epoch, states: open.all_state()? });
            self.open_from = self.positions.clone();
            self.join_oldest()?;
        }
        debug_assert!(self.is_seamless());
        Ok(self.positions.clone())
    }

    fn join_oldest(&mut self) -> Result<()> {
        if self.closed.len() <= EPOCHS_MAX {
            return Ok(());
        }
        let joinable = |i: &usize| self.closed.get(*i).is_some_and(|closed| closed.epoch.to != self.cut);
        let Some(first) = (0..self.closed.len() - 1).find(joinable) else { return Ok(()) };
        if let (Some(older), Some(newer)) = (self.closed.remove(first), self.closed.remove(first)) {
            let epoch = Epoch::new(older.epoch.from, newer.epoch.to)?;
            let states = merged(&self.plan, [&older.states, &newer.states])?.all_state()?;
            self.closed.insert(first, ClosedEpoch { epoch, states });
        }
        Ok(())
    }

    /// What the layers say about everything before `boundary`: the answer that a batch run up to there must repeat.
    pub(crate) fn pin_at(&self, boundary: &Positions) -> Pinned {
        let speed = self.closed.iter().filter(|closed| boundary.covers(&closed.epoch.to));
        self.pinned(speed.map(|closed| closed.states.clone()).collect(), boundary.clone())
    }

    /// Pins everything for one answer.
    pub(crate) fn pin(&self) -> Result<Pinned> {
        let mut speed: Vec<_> = self.closed.iter().map(|closed| closed.states.clone()).collect();
        speed.push(self.open.all_state()?);
        Ok(self.pinned(speed, self.positions.clone()))
    }

    fn pinned(&self, speed: Vec<RecordBatch>, positions: Positions) -> Pinned {
        Pinned { plan: Arc::clone(&self.plan), batch: self.batch.clone(), speed, positions }
    }

    /// Puts a new batch version in place and drops the epochs that it covers, in one step.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when its H is not an epoch boundary: merging would count records
    /// twice or not at all.
    pub(crate) fn replace_batch(&mut self, batch: Arc<BatchVersion>) -> Result<()> {
        let h = &batch.positions;
        let kept: VecDeque<_> = self.closed.iter().filter(|closed| !h.covers(&closed.epoch.to)).cloned().collect();
        let next_from = kept.front().map_or(&self.open_from, |closed| &closed.epoch.from);
        if next_from != h {
            return Err(Error::conflict(format!(
                "the batch ends at {h}, but the epochs after it begin at {next_from}"
            )));
        }
        self.closed = kept;
        self.batch = Some(batch);
        debug_assert!(self.is_seamless());
        Ok(())
    }

    fn is_seamless(&self) -> bool {
        let mut end = self.batch_positions();
        for closed in &self.closed {
            if closed.epoch.from != end {
                return false;
            }
            end = closed.epoch.to.clone();
        }
        end == self.open_from && self.positions.covers(&end)
    }
}

impl Pinned {
    /// Merges the partial states and finishes them into rows.
    pub(crate) fn rows(&self) -> Result<RecordBatch> {
        let batch = self.batch.iter().flat_map(|batch| &batch.states);
        Ok(merged(&self.plan, batch.chain(&self.speed))?.rows()?)
    }
}

fn merged<'a>(plan: &Arc<ViewPlan>, states: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Fold> {
    let mut fold = Fold::new(plan)?;
    for states in states {
        fold.merge_state(states)?;
    }
    Ok(fold)
}

#[cfg(test)]
mod tests;
