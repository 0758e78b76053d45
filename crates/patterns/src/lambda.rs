#![doc = include_str!("../../../docs/patterns/lambda.md")]
//!
//! # In code
//! What it is: [`LambdaView`], two tasks over one [`MergedView`]. The speed task folds the log from H on and closes
//! epochs; the batch task cuts at an epoch's end, waits until the lake has captured that far, runs the same plan over
//! the lake below the cut, commits the partial states with it, and puts them in the place of the epochs.
//!
//! What the lake has and the log has no more is folded first, as a batch, before the view answers.
//!
//! What must hold: no batch is put in place that says otherwise than the layers about the same records. H is always an
//! epoch's end. After a restart the speed layer is folded again from H: it needs no
//! checkpoint, because the batch version is one.

mod keyed_states;
mod layers;
mod merged;

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::FutureExt;
use lakehouse::{BatchTable, BatchVersion, CaptureProgress};
use model::{Error, ErrorKind, Positions, Result};
use parking_lot::Mutex;
use serving::views::Relation;
use streaming::{Evaluated, Fold, SourceBatch, SourceReader, StateMemory, ViewPlan};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use self::merged::MergedView;
use crate::{
    captured::Captured, catalogue::StoredView, extent::Extent, incarnation::Incarnation, resources::Resources,
    wiring::Wiring,
};

// Where in the lake the batches are.
const BATCHES: &str = "batch";
// A batch run waits for the lake this long before it gives up until the next one.
const CAPTURE_TIMEOUT: Duration = Duration::from_secs(120);
/// And how long when it fails all the time, as on a full disk.
const FAILING_CAPTURE_TIMEOUT: Duration = Duration::from_secs(5);
// With so much folded the memory is measured before the epoch ends.
const MEMORY_MEASURE_BYTES: usize = 16 * 1024 * 1024;

/// A view whose answer is a batch version merged with the epochs after it.
pub(crate) struct LambdaView {
    merged: Arc<MergedView>,
    batches: BatchTable,
    stop: watch::Sender<bool>,
    requests: mpsc::Sender<oneshot::Sender<Result<BatchReport>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a batch run did.
#[derive(Clone, Debug)]
pub(crate) struct BatchReport {
    /// The Delta version that holds the batch.
    pub(crate) version: u64,
    /// Where it ends: H.
    pub(crate) positions: Positions,
    /// How many groups it has.
    pub(crate) groups: usize,
}

impl fmt::Display for BatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, positions, groups } = self;
        // With conflicts there is no batch.
        write!(f, "batch version {version}: {groups} groups up to H = {positions}, 0 merge conflicts")
    }
}

/// What the two tasks of one view share.
struct Layered {
    resources: Resources,
    plan: Arc<ViewPlan>,
    incarnation: Incarnation,
    captured: Captured,
    batches: BatchTable,
    merged: Arc<MergedView>,
}

impl LambdaView {
    /// Starts version `version` of the view from its newest batch, if that was made by the same plan and the log bears it
    /// out, else from nothing. `captured` is the lake's side of the view's source.
    pub(crate) async fn start(
        resources: &Resources,
        plan: &Arc<ViewPlan>,
        version: u64,
        incarnation: Incarnation,
        captured: Captured,
        batch_interval: Duration,
    ) -> Result<Self> {
        let batches = batch_table(resources, plan.name(), version);
        let extent = Extent::of(resources.log.as_ref(), std::slice::from_ref(plan.source()))?;
        let (batch, disbelief) = believable(&batches, plan, &extent).await?;
        let merged = Arc::new(MergedView::new(plan, batch)?);
        merged.frontier().note_partitions(plan.source().topic.clone(), plan.source().partitions);
        let notes: Vec<String> = [disbelief, captured.note.clone()].into_iter().flatten().collect();
        let from = merged.frontier().positions();
        let building = extent.building(&from).with_note((!notes.is_empty()).then(|| notes.join("; ")));
        if !building.ends_at(&from) {
            merged.frontier().build(building);
        }
        let layered = Arc::new(Layered {
            resources: resources.clone(),
            plan: Arc::clone(plan),
            incarnation,
            captured,
            batches: batches.clone(),
            merged: Arc::clone(&merged),
        });
        let (stop, stopped) = watch::channel(false);
        let (requests, received) = mpsc::channel(1);
        let task = resources.threads.spawn(layered.work(batch_interval, received, stopped));
        Ok(Self { merged, batches, stop, requests, task: Mutex::new(Some(task)) })
    }

    /// The Delta version of the batch in use, and its H.
    pub(crate) fn batch_version(&self) -> (Option<u64>, Positions) {
        self.merged.batch()
    }

    /// Runs the batch layer now, up to where the topic ends.
    ///
    /// # Errors
    /// Those of the run; [`Unavailable`](model::ErrorKind::Unavailable) when the view fails before it has got there, or is
    /// being stopped.
    pub(crate) async fn run_batch(&self) -> Result<BatchReport> {
        let stopping = || Error::unavailable("the view is being stopped");
        let (answer, report) = oneshot::channel();
        self.requests.send(answer).await.map_err(|_| stopping())?;
        report.await.map_err(|_| stopping())?
    }

    /// Gives a version of the view that is about to start the newest batch, if it computes the same.
    pub(crate) async fn hand_over(&self, resources: &Resources, plan: &ViewPlan, version: u64) -> Result<()> {
        let batch = match self.batches.load().await {
            // What it has is folded anew: nothing is handed over.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(view = plan.name(), %error, "the batch of a view is not handed to its next version");
                return Ok(());
            }
            loaded => loaded?.filter(|batch| batch.plan_hash == plan.hash()),
        };
        let Some(batch) = batch.filter(|batch| !batch.states.is_empty()) else { return Ok(()) };
        let batches = batch_table(resources, plan.name(), version);
        batches.commit(&batch.plan_hash, &batch.positions, batch.states).await.map(drop)
    }
}

#[async_trait]
impl Wiring for LambdaView {
    fn relation(&self) -> Arc<dyn Relation> {
        Arc::clone(&self.merged) as _
    }

    fn pattern(&self) -> &'static str {
        "lambda"
    }

    fn state(&self) -> String {
        match self.batch_version() {
            (None, _) => "running, no batch yet".to_owned(),
            (Some(version), h) => format!("running, batch {version} up to {h}"),
        }
    }

    // A batch run that is under way is abandoned, which its one commit makes safe.
    async fn stop(&self) -> Result<()> {
        self.stop.send_replace(true);
        let task = self.task.lock().take();
        if let Some(task) = task {
            // A task that panicked has been reported by the runtime; there is nothing left to stop.
            let _ = task.await;
        }
        Ok(())
    }

    fn lambda(&self) -> Option<&LambdaView> {
        Some(self)
    }
}

/// The batch to begin with, and why the one that is there is none, as a sentence. That one is deleted.
async fn believable(
    batches: &BatchTable,
    plan: &ViewPlan,
    extent: &Extent,
) -> Result<(Option<BatchVersion>, Option<String>)> {
    let Some(batch) = batches.load().await?.filter(|batch| batch.plan_hash == plan.hash()) else {
        return Ok((None, None));
    };
    let Some(reason) = extent.disbelief("its batch", &batch.positions) else { return Ok((Some(batch), None)) };
    tracing::warn!(view = plan.name(), reason, "a view is built anew, without its batch");
    batches.remove().await?;
    Ok((None, Some(reason)))
}

/// Deletes the batches of a version of a view; it may not be running.
pub(crate) async fn remove(resources: &Resources, view: &str, version: u64) -> Result<()> {
    batch_table(resources, view, version).remove().await
}

/// Deletes the batches of versions that are not `current`: those whose end a crash has cut short.
pub(crate) async fn remove_all_but(resources: &Resources, current: &[StoredView]) -> Result<()> {
    let batches = resources.lake.child(BATCHES);
    let views: Vec<_> = current.iter().map(|view| view.name.clone()).collect();
    batches.remove_all_but(&views).await?;
    for view in current {
        batches.child(&view.name).remove_all_but(&[view.version.to_string()]).await?;
    }
    Ok(())
}

// Each version of a view has a table of its own: while a replacement is built, both versions run their batches.
fn batch_table(resources: &Resources, view: &str, version: u64) -> BatchTable {
    BatchTable::new(view, resources.lake.child(BATCHES).child(view).child(&version.to_string()))
}

enum SpeedEvent {
    Rows(streaming::Result<Option<SourceBatch>>),
    EpochEnds,
    Stop,
}

enum BatchEvent {
    Asked(oneshot::Sender<Result<BatchReport>>),
    Due,
    Stop,
}

impl Layered {
    async fn work(
        self: Arc<Self>,
        batch_interval: Duration,
        requests: mpsc::Receiver<oneshot::Sender<Result<BatchReport>>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let begun = tokio::select! {
            begun = AssertUnwindSafe(self.begin()).catch_unwind() => begun,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        if let Err(error) = begun.unwrap_or_else(|_| Err(Error::internal("its task ended abnormally"))) {
            tracing::error!(view = self.plan.name(), %error, "what the lake has could not be folded");
            self.merged.frontier().fail(error.to_string());
            return;
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&self).speed(stopped.clone()));
        tasks.spawn(self.batch(batch_interval, requests, stopped));
        while tasks.join_next().await.is_some() {}
    }

    /// What the lake has and the log has no more comes from a batch, before anything is folded from the log.
    async fn begin(&self) -> Result<()> {
        let extent = Extent::of(self.resources.log.as_ref(), std::slice::from_ref(self.plan.source()))?;
        let captured = self.captured.table.positions();
        if !extent.needs(&captured, &self.merged.frontier().positions()) {
            return Ok(());
        }
        self.incarnation.check()?;
        let started = Instant::now();
        let states = self.fold_lake(&captured).await?;
        let batch = self.batches.commit(&self.plan.hash(), &captured, vec![states]).await?;
        self.merged.begin_at(batch)?;
        self.resources.metrics.batch_run.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    async fn speed(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let folding = AssertUnwindSafe(self.fold_speed(&mut stopped)).catch_unwind().await;
        if let Err(error) = folding.unwrap_or_else(|_| Err(Error::internal("its task ended abnormally"))) {
            tracing::error!(view = self.plan.name(), %error, "the speed layer stopped");
            self.merged.frontier().fail(error.to_string());
        }
    }

    async fn fold_speed(&self, stopped: &mut watch::Receiver<bool>) -> Result<()> {
        let reader = self.resources.settings.view_task.reader.clone();
        let (log, dead_letters) = (Arc::clone(&self.resources.log), Arc::clone(&self.resources.dead_letters));
        let from = self.merged.frontier().positions();
        let mut reader = SourceReader::open(log, dead_letters, self.plan.source(), from, None, reader)?;
        let mut epochs = interval(self.resources.settings.lambda.epoch_interval);
        epochs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut memory = StateMemory::new(self.plan.name(), &self.resources.state_memory);
        let (metrics, view) = (&self.resources.metrics, [("view", self.plan.name().to_owned())]);
        metrics.view_lag_records.get_or_create(&view).set(reader.lag_records());
        loop {
            let event = tokio::select! {
                rows = reader.next() => SpeedEvent::Rows(rows),
                _ = epochs.tick() => SpeedEvent::EpochEnds,
                _ = stopped.wait_for(|stopped| *stopped) => SpeedEvent::Stop,
            };
            match event {
                SpeedEvent::Rows(rows) => match rows? {
                    Some(batch) => {
                        tokio::select! {
                            folded = self.fold_batch(&mut reader, batch, &mut memory) => {
                                metrics.view_folded_records.get_or_create(&view).inc_by(folded?);
                            }
                            // There may be no memory before others give some back.
                            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
                        }
                        metrics.view_lag_records.get_or_create(&view).set(reader.lag_records());
                    }
                    None => return Ok(()),
                },
                SpeedEvent::EpochEnds => {
                    self.merged.close_epoch()?;
                    let bytes = self.merged.memory_bytes() as u64;
                    metrics.view_state.get_or_create(&view).set(i64::try_from(bytes).unwrap_or(i64::MAX));
                    tokio::select! {
                        has = memory.have(bytes) => has?,
                        _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
                    }
                }
                SpeedEvent::Stop => return Ok(()),
            }
        }
    }

    /// Folds a batch of the source, and tells how many records that were.
    async fn fold_batch(
        &self,
        reader: &mut SourceReader,
        mut batch: SourceBatch,
        memory: &mut StateMemory,
    ) -> Result<u64> {
        let (mut folded_records, mut unmeasured_bytes) = (0, 0);
        loop {
            // After the rows were read and before they are seen.
            self.incarnation.check()?;
            let Evaluated { rows, bytes, record_count, positions, has_more, .. } =
                reader.evaluate(self.plan.as_ref(), 0, &mut batch).await?;
            unmeasured_bytes += bytes;
            if unmeasured_bytes >= MEMORY_MEASURE_BYTES {
                memory.have((self.merged.memory_bytes() + bytes) as u64).await?;
                unmeasured_bytes = 0;
            }
            self.merged.fold(rows, &positions)?;
            folded_records += record_count;
            if !has_more {
                return Ok(folded_records);
            }
        }
    }

    async fn batch(
        self: Arc<Self>,
        batch_interval: Duration,
        mut requests: mpsc::Receiver<oneshot::Sender<Result<BatchReport>>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut due = Instant::now() + batch_interval;
        loop {
            let event = tokio::select! {
                Some(answer) = requests.recv() => BatchEvent::Asked(answer),
                () = sleep_until(due) => BatchEvent::Due,
                _ = stopped.wait_for(|stopped| *stopped) => BatchEvent::Stop,
            };
            let answer = match event {
                BatchEvent::Asked(answer) => Some(answer),
                BatchEvent::Due => None,
                BatchEvent::Stop => return,
            };
            let run = async {
                match &answer {
                    Some(_) => self.run_batch_to_the_end().await,
                    None => self.run_batch().await,
                }
            };
            let report = tokio::select! {
                report = run => report,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            due = Instant::now() + batch_interval;
            if let Err(error) = &report {
                tracing::error!(view = self.plan.name(), %error, "a batch run failed; the speed layer goes on");
                self.resources.metrics.batch_failures.get_or_create(&[("view", self.plan.name().to_owned())]).inc();
            }
            if let Some(answer) = answer {
                // Whoever asked may have gone away; the run counts all the same.
                let _ = answer.send(report);
            }
        }
    }

    /// As [`Self::run_batch`], once the layers have everything that is in the topic now.
    async fn run_batch_to_the_end(&self) -> Result<BatchReport> {
        self.incarnation.check()?;
        let extent = Extent::of(self.resources.log.as_ref(), std::slice::from_ref(self.plan.source()))?;
        self.merged.frontier().settled(extent.end()).await?;
        self.run_batch().await
    }

    async fn run_batch(&self) -> Result<BatchReport> {
        self.incarnation.check()?;
        let started = Instant::now();
        let h = self.merged.cut()?;
        self.captured(&h).await?;
        let states = self.fold_lake(&h).await?;
        let groups = states.num_rows();
        self.reconcile(&states, &h)?;
        let version = self.batches.commit(&self.plan.hash(), &h, vec![states]).await?;
        let report = BatchReport { version: version.version, positions: h, groups };
        self.merged.replace_batch(version)?;
        self.resources.metrics.batch_run.observe(started.elapsed().as_secs_f64());
        Ok(report)
    }

    async fn captured(&self, h: &Positions) -> Result<()> {
        let mut progress = self.captured.progress.clone();
        for patience in [FAILING_CAPTURE_TIMEOUT, CAPTURE_TIMEOUT - FAILING_CAPTURE_TIMEOUT] {
            let reached = timeout(patience, progress.wait_for(|progress| progress.positions.covers(h)));
            if matches!(reached.await, Ok(Ok(_))) {
                return Ok(());
            }
            if progress.borrow().failure.is_some() {
                break;
            }
        }
        let CaptureProgress { positions, failure, .. } = self.captured.progress.borrow().clone();
        let why = failure.map_or_else(String::new, |failure| format!("; its last failure: {failure}"));
        Err(Error::unavailable(format!("the lake is at {positions}, the batch needs {h}{why}")))
    }

    // The states of everything before `up_to`, from the lake; damaged files of it are captured anew first.
    async fn fold_lake(&self, up_to: &Positions) -> Result<RecordBatch> {
        let table = &self.captured.table;
        let fold = async || lakehouse::batch::run(&self.plan, &table.snapshot(Some(up_to)).await?).await;
        let damage = match fold().await {
            Err(error) if error.kind() == ErrorKind::Corrupt => error,
            folded => return folded,
        };
        if table.mend(&self.resources.log, self.plan.source()).await?.files == 0 {
            return Err(damage);
        }
        fold().await
    }

    // The layers and the batch have both folded everything before H: they must agree in every bit.
    fn reconcile(&self, states: &RecordBatch, h: &Positions) -> Result<()> {
        let mut fold = Fold::new(&self.plan)?;
        fold.merge_state(states)?;
        let conflicts = crate::rows::differences(&fold.rows()?, &self.merged.rows_at(h)?)?;
        if conflicts == 0 {
            return Ok(());
        }
        let view = self.plan.name();
        self.resources.metrics.merge_conflicts.get_or_create(&[("view", view.to_owned())]).inc_by(conflicts as u64);
        let refused = format!(
            "batch and speed layer of view {view} disagree in {conflicts} rows about the records before {h}: \
             the batch is not put in place, and the view goes on without it"
        );
        Err(Error::corrupt(refused)
            .with_hint("DROP MATERIALIZED VIEW, then CREATE MATERIALIZED VIEW folds all of it anew"))
    }
}
