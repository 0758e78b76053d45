#![doc = include_str!("../../../docs/patterns/kappa.md")]
//!
//! # In code
//! What it is: [`KappaView`], one view task wired to the materialised views of a dataflow. Replacing a view is starting a second one
//! at the log's beginning and waiting until it has caught up; the swap itself is the deployment's.
//!
//! What must hold: a change reaches the view together with its Positions; a version's checkpoint belongs to that
//! version alone, so that a half-built version can be thrown away.

use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use model::{Error, Positions, Result};
use object_store::{ObjectStoreExt as _, path::Path};
use parking_lot::Mutex;
use serving::views::{Building, Relation, View, ViewGroup};
use streaming::{Change, CheckpointStore, PlannedView, RowPlan, StateMemory, ViewProgress, ViewTask, ViewTaskHandle};
use tokio::sync::watch;

use crate::{catalogue::StoredView, extent::Extent, incarnation::Incarnation, resources::Resources, wiring::Wiring};

/// A view that a task folds from the log, alone or together with others.
pub(crate) struct KappaView {
    view: Arc<View>,
    /// Absent once the task was stopped.
    task: Arc<Mutex<Option<ViewTaskHandle>>>,
}

/// How the views of a version move.
#[derive(Clone, Debug)]
pub(crate) enum Course {
    /// On, from their checkpoint when there is one that the log bears out, else from the log's beginning.
    On,
    /// Not at all: they stay where their checkpoint is.
    Frozen,
    /// From one place in the log to another, and no further. Nothing may be stored of them.
    Between(Positions, Positions),
}

impl KappaView {
    /// Starts a version of the views of one dataflow, in the order in which they read each other. `version` is that of the
    /// first, in whose name the checkpoint is.
    ///
    /// # Errors
    /// Those of loading the checkpoint and of opening the sources; [`Corrupt`](model::ErrorKind::Corrupt) for frozen ones
    /// without a checkpoint that the log bears out.
    pub(crate) async fn start(
        resources: &Resources,
        plans: &[PlannedView],
        version: u64,
        incarnation: Incarnation,
        course: Course,
    ) -> Result<Vec<Self>> {
        let Some(first) = plans.first() else { return Ok(Vec::new()) };
        let topics: Vec<_> = first.sources().iter().map(|source| source.topic.clone()).collect();
        let views = plans.iter().map(|plan| {
            let view = View::new(plan.name(), Arc::clone(plan.output_schema()), plan.key_columns(), topics.clone())?;
            Ok(Arc::new(view))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let checkpoints =
            CheckpointStore::new(Arc::clone(&resources.checkpoints), &checkpoint_prefix(first.name(), version));
        let extent = Extent::of(resources.log.as_ref(), first.sources())?;
        let (start, until, checkpoints, building) = match &course {
            Course::On => {
                let (checkpoints, building) = restorable(checkpoints, first, &extent).await?;
                (Positions::new(), None, checkpoints, Some(building))
            }
            // What is frozen is whole.
            Course::Frozen => {
                let until = stand(checkpoints.clone(), first, &extent).await?;
                (Positions::new(), Some(until), checkpoints, None)
            }
            Course::Between(from, to) => {
                (from.clone(), Some(to.clone()), checkpoints, Some(Building::new(from.clone(), to.clone())))
            }
        };
        for view in &views {
            for source in first.sources() {
                view.frontier().note_partitions(source.topic.clone(), source.partitions);
            }
            if let Some(building) = &building {
                view.frontier().build(building.clone());
            }
        }
        let shown = Shown { group: ViewGroup::of(&views), views: views.clone(), incarnation };
        let part = Part { checkpoints, start, until };
        let task = match first {
            PlannedView::Chain(plan) => spawn(resources, plan, part, shown).await?,
            PlannedView::Dataflow(plan, _) => spawn(resources, plan, part, shown).await?,
        };
        if let Course::Frozen = course {
            // It ends once it has shown what was restored.
            let mut progress = task.progress();
            while progress.changed().await.is_ok() {}
        }
        for view in &views {
            tokio::spawn(tell_end(Arc::clone(view), task.progress()));
        }
        let task = Arc::new(Mutex::new(Some(task)));
        Ok(views.into_iter().map(|view| Self { view, task: Arc::clone(&task) }).collect())
    }
}

/// What of the log a task folds, and where what it has folded is kept.
struct Part {
    checkpoints: CheckpointStore,
    start: Positions,
    until: Option<Positions>,
}

/// Where a task's changes go.
struct Shown {
    views: Vec<Arc<View>>,
    group: Arc<ViewGroup>,
    incarnation: Incarnation,
}

#[async_trait]
impl Wiring for KappaView {
    fn relation(&self) -> Arc<dyn Relation> {
        Arc::clone(&self.view) as _
    }

    fn pattern(&self) -> &'static str {
        "kappa"
    }

    fn state(&self) -> String {
        "running".to_owned()
    }

    // The view stays readable where it is.
    async fn stop(&self) -> Result<()> {
        let task = self.task.lock().take();
        if let Some(task) = task {
            task.stop().await?;
        }
        Ok(())
    }
}

/// Starts the task that folds views.
async fn spawn<P: RowPlan>(resources: &Resources, plan: &Arc<P>, part: Part, shown: Shown) -> Result<ViewTaskHandle> {
    let Part { checkpoints, start, until } = part;
    let Shown { views, group, incarnation } = shown;
    let served = move || views.iter().map(|view| view.memory_bytes()).sum();
    let task = ViewTask {
        plan: Arc::clone(plan),
        log: Arc::clone(&resources.log),
        dead_letters: Arc::clone(&resources.dead_letters),
        checkpoints: Some(checkpoints),
        start,
        until,
        settings: resources.settings.view_task.clone(),
        metrics: resources.metrics.clone(),
        memory: StateMemory::new(plan.name(), &resources.state_memory).with_served(served),
        threads: resources.threads.clone(),
    };
    let emit = move |changes: Vec<Change>, positions: &Positions| {
        // After the rows were read and before they are seen or checkpointed.
        incarnation.check()?;
        group.apply(&changes, positions)
    };
    Ok(task.spawn(emit).await?)
}

/// Where a version stands that is to stay there.
async fn stand(mut checkpoints: CheckpointStore, plan: &PlannedView, extent: &Extent) -> Result<Positions> {
    let stand = checkpoints.positions(&plan.hash()).await?;
    let stand = stand.ok_or_else(|| Error::corrupt(format!("a version of view {} has no checkpoint", plan.name())))?;
    match extent.disbelief("its checkpoint", &stand) {
        None => Ok(stand),
        Some(reason) => Err(Error::corrupt(reason)),
    }
}

/// Copies what a version of a view has folded, for another one that computes the same.
pub(crate) async fn copy(resources: &Resources, view: &str, from: u64, to: u64) -> Result<()> {
    let at = |version| CheckpointStore::new(Arc::clone(&resources.checkpoints), &checkpoint_prefix(view, version));
    Ok(at(to).copy_from(&mut at(from)).await?)
}

/// The checkpoints to go on from, and what is left to fold then. Those that the log does not bear out are deleted.
async fn restorable(
    mut checkpoints: CheckpointStore,
    plan: &PlannedView,
    extent: &Extent,
) -> Result<(CheckpointStore, Building)> {
    let from = checkpoints.positions(&plan.hash()).await?.unwrap_or_default();
    let Some(reason) = extent.disbelief("its checkpoint", &from) else {
        return Ok((checkpoints, extent.building(&from)));
    };
    tracing::warn!(view = plan.name(), reason, "a view is built anew from the log");
    checkpoints.delete().await?;
    Ok((checkpoints, extent.building(&Positions::new()).with_note(Some(reason))))
}

/// Tells whoever waits for the view that it goes no further, once its task has ended.
async fn tell_end(view: Arc<View>, mut progress: watch::Receiver<ViewProgress>) {
    let failure = match progress.wait_for(|progress| progress.failure.is_some()).await {
        Ok(progress) => progress.failure.clone(),
        Err(_) => None,
    };
    view.frontier().fail(failure.unwrap_or_else(|| "its task has ended".to_owned()));
}

/// Deletes what a version of a view stored; it may not be running.
pub(crate) async fn remove(resources: &Resources, view: &str, version: u64) -> Result<()> {
    let prefix = Path::from(checkpoint_prefix(view, version));
    remove_checkpoints(resources, &prefix, |_| true).await
}

/// Deletes what versions stored that are not `current`: those whose end a crash has cut short.
pub(crate) async fn remove_all_but(resources: &Resources, current: &[StoredView]) -> Result<()> {
    let kept: Vec<_> = current.iter().map(|view| Path::from(checkpoint_prefix(&view.name, view.version))).collect();
    let is_stray = |object: &Path| !kept.iter().any(|prefix| object.prefix_matches(prefix));
    remove_checkpoints(resources, &Path::from("views"), is_stray).await
}

fn checkpoint_prefix(view: &str, version: u64) -> String {
    format!("views/{view}/{version}")
}

async fn remove_checkpoints(resources: &Resources, below: &Path, is_stray: impl Fn(&Path) -> bool) -> Result<()> {
    let failed = |e: object_store::Error| Error::unavailable("cannot delete checkpoints").with_source(e);
    let objects: Vec<_> = resources.checkpoints.list(Some(below)).try_collect().await.map_err(failed)?;
    for object in objects.into_iter().filter(|object| is_stray(&object.location)) {
        resources.checkpoints.delete(&object.location).await.map_err(failed)?;
    }
    Ok(())
}
