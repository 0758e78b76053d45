//! A view at work: one loop that reads, folds, emits and checkpoints.
//!
//! What must hold: a record that cannot be decoded or evaluated is in the dead-letter topic before the task's Positions
//! are past it; a change is emitted with the Positions after it, in order; a checkpoint holds the state at exactly
//! the Positions it names; a task that is killed anywhere and started again ends with the rows that it would have had;
//! a state that has grown over what all views may have ends the task, and not the process.

use std::{sync::Arc, time::Duration};

use eventlog::EventLog;
use model::{MemoryReservation, Metrics, Positions};
use serde::Deserialize;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    checkpoint::CheckpointStore,
    error::{Error, Result},
    fold::{Fold, ViewChange},
    plan::ViewPlan,
    source::{DeadLetters, ReaderSettings, SourceBatch, SourceReader},
};

const MEMORY_MEASURE_INTERVAL: Duration = Duration::from_secs(1);
// With so much read the state is measured earlier.
const MEMORY_MEASURE_BYTES: usize = 16 * 1024 * 1024;

/// How a task works.
#[derive(Clone, Debug, Deserialize)]
pub struct ViewTaskSettings {
    /// How long to wait between two checkpoints; zero makes one after every batch. Nothing is written when nothing
    /// was read.
    #[serde(rename = "checkpoint_interval_ms", deserialize_with = "settings::milliseconds")]
    pub checkpoint_interval: Duration,
    /// How many bytes the state of all views together may have.
    pub state_bytes_max: u64,
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
pub struct ViewTask {
    /// What to compute.
    pub plan: Arc<ViewPlan>,
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
    /// The part of the memory for the state of all views that this one has.
    pub memory: MemoryReservation,
}

/// What the loop wakes up for.
enum Wake {
    /// Rows came in.
    Rows(SourceBatch),
    /// The end was reached.
    Finished,
    /// It is time for a checkpoint.
    CheckpointDue,
    /// Someone wants the task to stop, or nobody holds it any more.
    Stop,
}

impl ViewTask {
    /// Starts the task; `emit` is called with each change and the Positions after it, the first time with what was
    /// restored.
    ///
    /// # Errors
    /// Those of loading the checkpoint and of opening the source.
    pub async fn spawn(
        self,
        mut emit: impl FnMut(ViewChange, &Positions) -> model::Result<()> + Send + 'static,
    ) -> Result<ViewTaskHandle> {
        self.spawn_with_fold(move |fold, positions| emit(fold.drain_changes()?, positions)).await
    }

    /// Starts the task; `advanced` is called with the fold after each batch, and takes from it what it needs (at least
    /// [`Fold::drain_changes`], which would otherwise gather).
    ///
    /// # Errors
    /// Those of loading the checkpoint and of opening the source.
    pub async fn spawn_with_fold(
        mut self,
        advanced: impl FnMut(&mut Fold, &Positions) -> model::Result<()> + Send + 'static,
    ) -> Result<ViewTaskHandle> {
        let mut fold = Fold::new(&self.plan)?;
        let restored = match &mut self.checkpoints {
            Some(checkpoints) => {
                // Before it is read: a state that does not fit must not be what ends the process.
                let bytes = checkpoints.state_bytes(&self.plan).await?;
                reserve(&mut self.memory, &self.plan, bytes)?;
                checkpoints.load(&self.plan).await?
            }
            None => None,
        };
        let mut start = self.start.clone();
        let mut checkpointed = Positions::new();
        if let Some(restored) = restored {
            for states in &restored.states {
                fold.restore_state(states)?;
            }
            (start, checkpointed) = (restored.positions.clone(), restored.positions);
            reserve(&mut self.memory, &self.plan, fold.memory_bytes() as u64)?;
        }
        let reader = SourceReader::open(
            Arc::clone(&self.log),
            Arc::clone(&self.dead_letters),
            self.plan.source(),
            start.clone(),
            self.until.clone(),
            self.settings.reader.clone(),
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
            fold,
            reader,
            advanced,
            progress,
            memory_measured: None,
            unmeasured_bytes: 0,
            failure_told: false,
        };
        let join = tokio::spawn(running.run(stopped));
        Ok(ViewTaskHandle { name, progress: watched, stop, join })
    }
}

struct Running<F> {
    task: ViewTask,
    fold: Fold,
    reader: SourceReader,
    advanced: F,
    progress: watch::Sender<ViewProgress>,
    memory_measured: Option<Instant>,
    /// What was read since then.
    unmeasured_bytes: usize,
    failure_told: bool,
}

/// Takes or gives back memory for a state of `bytes`.
fn reserve(memory: &mut MemoryReservation, plan: &ViewPlan, bytes: u64) -> Result<()> {
    memory.resize(bytes).map_err(|exhausted| Error::StateTooLarge {
        view: plan.name().to_owned(),
        bytes,
        budget_bytes: exhausted.budget_bytes,
    })
}

impl<F: FnMut(&mut Fold, &Positions) -> model::Result<()> + Send> Running<F> {
    async fn run(mut self, stop: watch::Receiver<bool>) -> Result<Positions> {
        let ended = self.follow(stop).await;
        if let Err(error) = &ended {
            tracing::error!(view = self.task.plan.name(), %error, "a view has failed and goes no further");
            self.progress.send_modify(|progress| progress.failure = Some(error.to_string()));
        }
        ended
    }

    async fn follow(&mut self, mut stop: watch::Receiver<bool>) -> Result<Positions> {
        // What was restored, and the one row of an aggregate over nothing, are there before the first record.
        let start = self.progress.borrow().positions.clone();
        (self.advanced)(&mut self.fold, &start)?;
        let interval = self.task.settings.checkpoint_interval;
        let mut checkpoint_timer = tokio::time::interval(interval.max(Duration::from_millis(1)));
        checkpoint_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checkpoint_timer.reset();
        loop {
            let wake = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => Wake::Stop,
                _ = checkpoint_timer.tick() => Wake::CheckpointDue,
                batch = self.reader.next() => batch?.map_or(Wake::Finished, Wake::Rows),
            };
            match wake {
                Wake::Rows(batch) => {
                    self.fold_batch(&batch).await?;
                    if interval.is_zero() {
                        self.checkpoint_or_later().await?;
                    }
                }
                Wake::CheckpointDue => self.checkpoint_or_later().await?,
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

    async fn fold_batch(&mut self, batch: &SourceBatch) -> Result<()> {
        let rows = self.reader.evaluate(&self.task.plan, batch).await?;
        let failed_records = rows.failed().len() as u64;
        let folded_records = batch.rows.num_rows() as u64 - failed_records;
        self.fold.fold(rows)?;
        self.unmeasured_bytes += batch.rows.get_array_memory_size();
        self.measure(folded_records)?;
        (self.advanced)(&mut self.fold, &batch.positions)?;
        self.tell_failure();
        self.progress.send_modify(|progress| {
            progress.positions.clone_from(&batch.positions);
            progress.folded_records += folded_records;
            progress.rejected_records += batch.rejected_records + failed_records;
        });
        Ok(())
    }

    /// Tells once that a value of a group cannot be computed: it may be so for many groups and for long.
    fn tell_failure(&mut self) {
        if let Some(reason) = self.fold.take_failure()
            && !std::mem::replace(&mut self.failure_told, true)
        {
            tracing::warn!(view = self.task.plan.name(), reason, "a value of a group cannot be computed and is NULL");
        }
    }

    /// Publishes a checkpoint, when something was read since the last one.
    async fn checkpoint(&mut self) -> Result<()> {
        let positions = self.progress.borrow().positions.clone();
        let Some(checkpoints) = &mut self.task.checkpoints else { return Ok(()) };
        if self.progress.borrow().checkpointed == positions {
            return Ok(());
        }
        let started = Instant::now();
        let dirty = self.fold.dirty_state()?;
        checkpoints.publish(&self.task.plan, &positions, &dirty).await?;
        // Only now: had it failed, the groups would have to be written the next time.
        self.fold.forget_dirty();
        self.task.metrics.view_checkpoint.observe(started.elapsed().as_secs_f64());
        self.progress.send_modify(|progress| progress.checkpointed = positions);
        Ok(())
    }

    fn measure(&mut self, folded_records: u64) -> Result<()> {
        let metrics = &self.task.metrics;
        let view = [("view", self.task.plan.name().to_owned())];
        metrics.view_folded_records.get_or_create(&view).inc_by(folded_records);
        metrics.view_lag_records.get_or_create(&view).set(self.reader.lag_records());
        metrics.view_rows.get_or_create(&view).set(self.fold.group_count() as i64);
        // Adding up the memory looks at every group: once a second is enough, unless much was read.
        if self.memory_measured.is_none_or(|measured| measured.elapsed() >= MEMORY_MEASURE_INTERVAL)
            || self.unmeasured_bytes >= MEMORY_MEASURE_BYTES
        {
            let bytes = self.fold.memory_bytes();
            metrics.view_state.get_or_create(&view).set(bytes as i64);
            (self.memory_measured, self.unmeasured_bytes) = (Some(Instant::now()), 0);
            reserve(&mut self.task.memory, &self.task.plan, bytes as u64)?;
        }
        Ok(())
    }
}

/// A task that runs; dropping the handle stops it.
pub struct ViewTaskHandle {
    name: String,
    progress: watch::Receiver<ViewProgress>,
    stop: watch::Sender<bool>,
    join: JoinHandle<Result<Positions>>,
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
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(view = self.name, %error, "a view's task ended abnormally");
                Err(Error::TaskLost(format!("view {}", self.name)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
