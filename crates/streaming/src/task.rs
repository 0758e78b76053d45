//! A view at work: one loop that reads, folds, emits and checkpoints.
//!
//! What must hold: a record that cannot be decoded or evaluated is in the dead-letter topic before the task's Positions
//! are past it; a change is emitted with the Positions after it, in order; a checkpoint holds the state at exactly
//! the Positions it names; a task that is killed anywhere and started again ends with the rows that it would have had;
//! a state that would grow over what all views may have ends the task, and not the process.

use std::{sync::Arc, time::Duration};

use dataflow::Change;
use eventlog::EventLog;
use model::{Metrics, Positions};
use serde::Deserialize;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    checkpoint::CheckpointStore,
    error::{Error, Result},
    plan::ViewPlan,
    source::{DeadLetters, Evaluated, ReaderSettings},
    sources::{Arrived, Sources},
    state_memory::StateMemory,
    view_state::{RowPlan, ViewState},
};

const MEMORY_MEASURE_INTERVAL: Duration = Duration::from_secs(1);
// With so much folded the state is measured earlier.
const MEMORY_MEASURE_BYTES: usize = 16 * 1024 * 1024;
// And with so much a checkpoint is made earlier: to write one takes as much memory again as it has to say.
const CHECKPOINT_BYTES: usize = 32 * 1024 * 1024;
// What is folded is kept twice at most: by the fold, and for those who read it.
const KEPT_TIMES: usize = 2;

/// How a task works.
#[derive(Clone, Debug, Deserialize)]
pub struct ViewTaskSettings {
    /// How long to wait between two checkpoints; zero makes one after every batch. Nothing is written when nothing
    /// was read.
    #[serde(rename = "checkpoint_interval_ms", deserialize_with = "settings::milliseconds")]
    pub checkpoint_interval: Duration,
    /// How the log is read.
    #[serde(flatten)]
    pub reader: ReaderSettings,
}

impl ViewTaskSettings {
    /// As shipped: the section `views` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("views")
    }
}

/// How far a task is.
#[derive(Clone, Debug, Default)]
pub struct ViewProgress {
    /// Everything before this was folded and emitted.
    pub positions: Positions,
    /// Everything before this is in the last checkpoint.
    pub checkpointed: Positions,
    /// How many records were folded since the task started.
    pub folded_records: u64,
    /// How many records could not be decoded or evaluated since the task started.
    pub rejected_records: u64,
    /// Where the task will stop by itself.
    pub target: Option<Positions>,
    /// Why the task has ended before that, where it has.
    pub failure: Option<String>,
}

/// Everything that a task works with.
pub struct ViewTask<P = ViewPlan> {
    /// What to compute.
    pub plan: Arc<P>,
    /// Where the records are.
    pub log: Arc<dyn EventLog>,
    /// Where the records go that cannot be decoded or evaluated.
    pub dead_letters: Arc<DeadLetters>,
    /// Where checkpoints go; `None` keeps none.
    pub checkpoints: Option<CheckpointStore>,
    /// Where to begin when there is no checkpoint.
    pub start: Positions,
    /// Where to stop; `None` goes on for ever.
    pub until: Option<Positions>,
    /// How to work.
    pub settings: ViewTaskSettings,
    /// What to count.
    pub metrics: Metrics,
    /// The memory for the state.
    pub memory: StateMemory,
    /// Where it works.
    pub threads: Handle,
}

/// What the loop wakes up for.
enum Wake {
    /// Rows came in.
    Rows(Arrived),
    /// The end was reached.
    Finished,
    /// It is time for a checkpoint.
    CheckpointDue,
    /// Someone wants the task to stop, or nobody holds it any more.
    Stop,
}

impl<P: RowPlan> ViewTask<P> {
    /// Starts the task; `emit` is called with what changed of each view and the Positions after it, the first time with
    /// what was restored.
    ///
    /// # Errors
    /// Those of loading the checkpoint and of opening the sources.
    pub async fn spawn(
        self,
        emit: impl FnMut(Vec<Change>, &Positions) -> model::Result<()> + Send + 'static,
    ) -> Result<ViewTaskHandle> {
        // To restore a state takes as long as to fold much.
        let name = self.plan.name().to_owned();
        let begun = self.threads.clone().spawn(self.begin(emit)).await;
        begun.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::TaskLost(format!("view {name}"))),
        })
    }

    async fn begin(
        mut self,
        emit: impl FnMut(Vec<Change>, &Positions) -> model::Result<()> + Send + 'static,
    ) -> Result<ViewTaskHandle> {
        let mut state = self.plan.new_state()?;
        let plan_hash = self.plan.hash();
        let restored = match &mut self.checkpoints {
            Some(checkpoints) => {
                // Before it is read: a state that does not fit must not be what ends the process.
                let bytes = checkpoints.state_bytes(&plan_hash).await?;
                self.memory.have(bytes).await?;
                checkpoints.load(&plan_hash).await?
            }
            None => None,
        };
        let mut start = self.start.clone();
        let mut checkpointed = Positions::new();
        if let Some(restored) = restored {
            state.restore(&restored.parts)?;
            (start, checkpointed) = (restored.positions.clone(), restored.positions);
            self.memory.have(state.memory_bytes() as u64).await?;
        }
        let sources = Sources::open(
            &self.log,
            &self.dead_letters,
            self.plan.sources(),
            &start,
            self.until.as_ref(),
            &self.settings.reader,
        )?;
        let (progress, watched) = watch::channel(ViewProgress {
            positions: start,
            checkpointed,
            target: self.until.clone(),
            ..ViewProgress::default()
        });
        let (stop, stopped) = watch::channel(false);
        let name = self.plan.name().to_owned();
        let running = Running {
            task: self,
            state,
            sources,
            emit,
            progress,
            memory_measured: None,
            unmeasured_bytes: 0,
            unwritten_bytes: 0,
            failure_told: false,
        };
        let join = running.task.threads.clone().spawn(running.run(stopped));
        Ok(ViewTaskHandle { name, progress: watched, stop, join })
    }
}

/// How a task ended, and the memory of what is still served.
struct Ended {
    result: Result<Positions>,
    _memory: StateMemory,
}

struct Running<P: RowPlan, F> {
    task: ViewTask<P>,
    state: P::State,
    sources: Sources,
    emit: F,
    progress: watch::Sender<ViewProgress>,
    memory_measured: Option<Instant>,
    /// What was folded since then.
    unmeasured_bytes: usize,
    /// What was folded since the last checkpoint.
    unwritten_bytes: usize,
    failure_told: bool,
}

impl<P: RowPlan, F: FnMut(Vec<Change>, &Positions) -> model::Result<()> + Send> Running<P, F> {
    async fn run(mut self, stop: watch::Receiver<bool>) -> Ended {
        let ended = self.follow(stop).await;
        if let Err(error) = &ended {
            tracing::error!(view = self.task.plan.name(), %error, "a view has failed and goes no further");
            self.progress.send_modify(|progress| progress.failure = Some(error.to_string()));
        }
        self.task.memory.keep_served();
        Ended { result: ended, _memory: self.task.memory }
    }

    async fn follow(&mut self, mut stop: watch::Receiver<bool>) -> Result<Positions> {
        // What was restored, and the one row of an aggregate over nothing, are there before the first record.
        let start = self.progress.borrow().positions.clone();
        (self.emit)(self.state.drain_changes()?, &start)?;
        tokio::select! {
            measured = self.measure(0) => measured?,
            _ = stop.wait_for(|stop| *stop) => {}
        }
        let interval = self.task.settings.checkpoint_interval;
        let mut checkpoint_timer = tokio::time::interval(interval.max(Duration::from_millis(1)));
        checkpoint_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checkpoint_timer.reset();
        loop {
            let wake = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => Wake::Stop,
                _ = checkpoint_timer.tick() => Wake::CheckpointDue,
                arrived = self.sources.next() => arrived?.map_or(Wake::Finished, Wake::Rows),
            };
            match wake {
                Wake::Rows(arrived) => {
                    self.fold_arrived(arrived, &mut stop).await?;
                    if interval.is_zero() {
                        self.checkpoint_or_later().await?;
                    }
                }
                Wake::CheckpointDue => {
                    self.checkpoint_or_later().await?;
                    if self.unmeasured_bytes > 0 {
                        // What was taken for rows that were not kept.
                        self.give_back();
                    }
                }
                Wake::Finished | Wake::Stop => {
                    self.checkpoint().await?;
                    return Ok(self.progress.borrow().positions.clone());
                }
            }
        }
    }

    /// Publishes a checkpoint, or leaves it to the next time: the store may come back, the state is still here, and
    /// the checkpoint before still holds.
    async fn checkpoint_or_later(&mut self) -> Result<()> {
        match self.checkpoint().await {
            Err(error @ Error::Storage { .. }) => {
                tracing::warn!(view = self.task.plan.name(), %error, "a checkpoint failed and is tried again");
                Ok(())
            }
            checkpointed => checkpointed,
        }
    }

    /// Folds a batch, or what comes of it before someone wants the task to stop.
    async fn fold_arrived(&mut self, mut arrived: Arrived, stop: &mut watch::Receiver<bool>) -> Result<()> {
        loop {
            let evaluated = self.sources.evaluate(self.task.plan.as_ref(), &mut arrived).await?;
            tokio::select! {
                biased;
                room = self.make_room(evaluated.bytes) => room?,
                // There may be none before others give some back.
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
            let has_more = evaluated.has_more;
            self.fold_rows(evaluated)?;
            if !has_more {
                return Ok(());
            }
            if self.unwritten_bytes >= CHECKPOINT_BYTES {
                self.checkpoint_or_later().await?;
            }
        }
    }

    fn fold_rows(&mut self, evaluated: Evaluated<P::Rows>) -> Result<()> {
        let Evaluated { rows, record_count, rejected_records, positions, .. } = evaluated;
        self.state.fold(rows)?;
        (self.emit)(self.state.drain_changes()?, &positions)?;
        self.count(record_count);
        self.tell_failure();
        self.progress.send_modify(|progress| {
            progress.positions = positions;
            progress.folded_records += record_count;
            progress.rejected_records += rejected_records;
        });
        Ok(())
    }

    /// Takes memory for rows before they are folded, as if all of them would be kept.
    async fn make_room(&mut self, bytes: usize) -> Result<()> {
        self.unmeasured_bytes += bytes;
        self.unwritten_bytes += bytes;
        let kept_bytes = bytes.saturating_mul(KEPT_TIMES);
        // Adding up the memory looks at every group: once a second is enough, unless much was folded.
        let is_due = self.memory_measured.is_none_or(|measured| measured.elapsed() >= MEMORY_MEASURE_INTERVAL)
            || self.unmeasured_bytes >= MEMORY_MEASURE_BYTES;
        if !is_due && self.task.memory.try_grow(kept_bytes as u64) {
            return Ok(());
        }
        self.measure(kept_bytes).await
    }

    /// Has as much memory as the state takes, and so much more.
    async fn measure(&mut self, more_bytes: usize) -> Result<()> {
        let bytes = self.state_bytes();
        self.task.memory.have(bytes.saturating_add(more_bytes) as u64).await
    }

    /// Gives back what the state does not take.
    fn give_back(&mut self) {
        let bytes = self.state_bytes();
        self.task.memory.have_no_more_than(bytes as u64);
    }

    fn state_bytes(&mut self) -> usize {
        let bytes = self.state.memory_bytes();
        let view = [("view", self.task.plan.name().to_owned())];
        self.task.metrics.view_state.get_or_create(&view).set(bytes as i64);
        (self.memory_measured, self.unmeasured_bytes) = (Some(Instant::now()), 0);
        bytes
    }

    /// Tells once that a value of a group cannot be computed: it may be so for many groups and for long.
    fn tell_failure(&mut self) {
        if let Some(reason) = self.state.take_failure()
            && !std::mem::replace(&mut self.failure_told, true)
        {
            tracing::warn!(view = self.task.plan.name(), reason, "a value of a group cannot be computed and is NULL");
        }
    }

    /// Publishes a checkpoint, when something was read since the last one.
    async fn checkpoint(&mut self) -> Result<()> {
        let positions = self.progress.borrow().positions.clone();
        let Some(checkpoints) = &mut self.task.checkpoints else {
            self.state.forget_dirty();
            return Ok(());
        };
        if self.progress.borrow().checkpointed == positions {
            return Ok(());
        }
        let started = Instant::now();
        let dirty = self.state.dirty_parts()?;
        checkpoints.publish(&self.task.plan.hash(), &positions, &dirty).await?;
        // Only now: had it failed, the groups would have to be written the next time.
        self.state.forget_dirty();
        self.unwritten_bytes = 0;
        self.task.metrics.view_checkpoint.observe(started.elapsed().as_secs_f64());
        self.progress.send_modify(|progress| progress.checkpointed = positions);
        Ok(())
    }

    fn count(&self, folded_records: u64) {
        let metrics = &self.task.metrics;
        let view = [("view", self.task.plan.name().to_owned())];
        metrics.view_folded_records.get_or_create(&view).inc_by(folded_records);
        metrics.view_lag_records.get_or_create(&view).set(self.sources.lag_records());
        metrics.view_rows.get_or_create(&view).set(self.state.row_count() as i64);
    }
}

/// A task that runs; dropping the handle stops it.
pub struct ViewTaskHandle {
    name: String,
    progress: watch::Receiver<ViewProgress>,
    stop: watch::Sender<bool>,
    join: JoinHandle<Ended>,
}

impl ViewTaskHandle {
    /// How far the task is. The channel closes when the task ends.
    pub fn progress(&self) -> watch::Receiver<ViewProgress> {
        self.progress.clone()
    }

    /// Whether the task has ended, by itself or with an error.
    pub fn is_finished(&self) -> bool {
        self.join.is_finished()
    }

    /// Stops the task after the batch it is at, with a last checkpoint, and returns where it stands.
    ///
    /// # Errors
    /// What the task failed with.
    pub async fn stop(self) -> Result<Positions> {
        self.stop.send_replace(true);
        self.wait().await
    }

    /// Waits until the task has reached its end, or failed.
    ///
    /// # Errors
    /// What the task failed with.
    pub async fn wait(self) -> Result<Positions> {
        match self.join.await {
            Ok(ended) => ended.result,
            Err(error) => {
                tracing::error!(view = self.name, %error, "a view's task ended abnormally");
                Err(Error::TaskLost(format!("view {}", self.name)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
