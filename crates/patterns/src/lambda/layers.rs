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
use streaming::{EvaluatedRows, Fold, ViewPlan};

use super::keyed_states::{GroupKeys, KeyedStates};

// Beyond this, two neighbours among the closed epochs become one: a batch run can still cut at every later boundary.
const EPOCHS_MAX: usize = 64;
// States of the open epoch that were replaced by later ones are let go once there are more than groups, and than this.
const REPLACED_STATES_MAX: usize = 1024;

/// The layers of one view.
pub(crate) struct Layers {
    plan: Arc<ViewPlan>,
    keys: Arc<GroupKeys>,
    batch: Option<Arc<BatchLayer>>,
    closed: VecDeque<ClosedEpoch>,
    open: Fold,
    open_from: Positions,
    /// The open fold's states by key, but for those that it has still marked as dirty.
    open_states: KeyedStates,
    positions: Positions,
    /// Where the batch run that is under way will end: this boundary must not vanish inside a joined epoch.
    cut: Positions,
}

/// A batch version whose states are found by key.
pub(crate) struct BatchLayer {
    version: u64,
    positions: Positions,
    states: KeyedStates,
}

struct ClosedEpoch {
    epoch: Epoch,
    states: KeyedStates,
}

/// Everything one answer is merged from, pinned together.
pub(crate) struct Pinned {
    plan: Arc<ViewPlan>,
    states: Vec<RecordBatch>,
    /// What the answer has folded.
    pub(crate) positions: Positions,
}

impl BatchLayer {
    /// Finds the place of each key; for many groups this takes a while.
    pub(crate) fn new(keys: &Arc<GroupKeys>, batch: BatchVersion) -> Result<Arc<Self>> {
        let BatchVersion { version, positions, states, .. } = batch;
        Ok(Arc::new(Self { version, positions, states: KeyedStates::new(keys, states)? }))
    }
}

impl Layers {
    /// Begins at the batch version's H, or at the start of the log when there is none.
    pub(crate) fn new(plan: Arc<ViewPlan>, keys: Arc<GroupKeys>, batch: Option<Arc<BatchLayer>>) -> Result<Self> {
        let from = batch.as_ref().map(|batch| batch.positions.clone()).unwrap_or_default();
        let open = Fold::new(&plan)?;
        let open_states = KeyedStates::new(&keys, [])?;
        Ok(Self {
            plan,
            keys,
            batch,
            closed: VecDeque::new(),
            open,
            open_states,
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

    /// How much memory the layers hold, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let closed = self.closed.iter().map(|closed| &closed.states);
        let states = self.batch_states().chain(closed).chain([&self.open_states]);
        states.map(KeyedStates::memory_bytes).sum::<usize>() + self.open.memory_bytes()
    }

    /// Folds source rows that end at `positions` into the open epoch.
    pub(crate) fn fold(&mut self, rows: EvaluatedRows, positions: &Positions) -> Result<()> {
        debug_assert!(positions.covers(&self.positions), "the speed layer reads forward");
        self.open.fold(rows)?;
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
            let states = KeyedStates::new(&self.keys, [self.open.all_state()?])?;
            let (next, next_states) = (Fold::new(&self.plan)?, KeyedStates::new(&self.keys, [])?);
            // Only now that nothing can fail.
            self.closed.push_back(ClosedEpoch { epoch, states });
            (self.open, self.open_states) = (next, next_states);
            self.open_from = self.positions.clone();
            self.join_two()?;
        }
        debug_assert!(self.is_seamless());
        Ok(self.positions.clone())
    }

    // Joins the two neighbours that are least work, so that no record is joined again each time.
    fn join_two(&mut self) -> Result<()> {
        if self.closed.len() <= EPOCHS_MAX {
            return Ok(());
        }
        let pairs = self.closed.iter().zip(self.closed.iter().skip(1)).enumerate();
        let joinable = pairs.filter(|(_, (older, _))| older.epoch.to != self.cut);
        let Some((first, (older, newer))) =
            joinable.min_by_key(|(_, (older, newer))| older.states.len() + newer.states.len())
        else {
            return Ok(());
        };
        let epoch = Epoch::new(older.epoch.from.clone(), newer.epoch.to.clone())?;
        let states = merged(&self.plan, older.states.batches().chain(newer.states.batches()))?.all_state()?;
        let joined = ClosedEpoch { epoch, states: KeyedStates::new(&self.keys, [states])? };
        self.closed.remove(first + 1);
        self.closed[first] = joined;
        Ok(())
    }

    /// What the layers say about everything before `boundary`: the answer that a batch run up to there must repeat.
    pub(crate) fn pin_at(&self, boundary: &Positions) -> Pinned {
        let below = self.closed.iter().filter(|closed| boundary.covers(&closed.epoch.to));
        let states = self.batch_states().chain(below.map(|closed| &closed.states));
        let states = states.flat_map(KeyedStates::batches).cloned().collect();
        Pinned { plan: Arc::clone(&self.plan), states, positions: boundary.clone() }
    }

    /// Pins everything for one answer.
    pub(crate) fn pin(&self) -> Result<Pinned> {
        let states = self.batch_states().chain(self.closed.iter().map(|closed| &closed.states));
        let mut states: Vec<_> = states.flat_map(KeyedStates::batches).cloned().collect();
        states.push(self.open.all_state()?);
        Ok(Pinned { plan: Arc::clone(&self.plan), states, positions: self.positions.clone() })
    }

    /// Pins what one group is merged from.
    pub(crate) fn pin_group(&mut self, key: &[u8]) -> Result<Pinned> {
        self.index_open()?;
        let closed = self.closed.iter().map(|closed| &closed.states);
        let layers = self.batch_states().chain(closed).chain([&self.open_states]);
        let states = layers.filter_map(|states| states.find(key)).collect();
        Ok(Pinned { plan: Arc::clone(&self.plan), states, positions: self.positions.clone() })
    }

    // The open fold's dirty groups are those that changed since the last time: each state is taken over once.
    fn index_open(&mut self) -> Result<()> {
        self.open_states.put(self.open.dirty_state()?)?;
        self.open.forget_dirty();
        if self.open_states.replaced() > self.open_states.len().max(REPLACED_STATES_MAX) {
            self.open_states = KeyedStates::new(&self.keys, [self.open.all_state()?])?;
        }
        Ok(())
    }

    fn batch_states(&self) -> impl Iterator<Item = &KeyedStates> {
        self.batch.iter().map(|batch| &batch.states)
    }

    /// Puts a new batch version in place and drops the epochs that it covers, in one step.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when its H is not an epoch boundary: merging would count records
    /// twice or not at all.
    pub(crate) fn replace_batch(&mut self, batch: Arc<BatchLayer>) -> Result<()> {
        let h = &batch.positions;
        let covered = self.closed.iter().take_while(|closed| h.covers(&closed.epoch.to)).count();
        let next_from = self.closed.get(covered).map_or(&self.open_from, |closed| &closed.epoch.from);
        if next_from != h {
            return Err(Error::conflict(format!(
                "the batch ends at {h}, but the epochs after it begin at {next_from}"
            )));
        }
        self.closed.drain(..covered);
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
        Ok(merged(&self.plan, &self.states)?.rows()?)
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
