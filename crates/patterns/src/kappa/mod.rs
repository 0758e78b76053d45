#![doc = include_str!("../../../../docs/patterns/kappa.md")]
//!
//! # In code
//! What it is: [`KappaView`], one view task wired to one materialised view. Replacing a view is starting a second one
//! at the log's beginning and waiting until it has caught up; the swap itself is the deployment's.
//!
//! What must hold: a change reaches the view together with its Positions; a version's checkpoint belongs to that
//! version alone, so that a half-built version can be thrown away.

use std::sync::Arc;

use model::{Error, Positions, Result};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use parking_lot::Mutex;
use serving::views::{Relation, View};
use streaming::{CheckpointStore, ViewPlan, ViewProgress, ViewTask, ViewTaskHandle};
use tokio::sync::watch;

use crate::parts::Parts;

/// A view that one task folds from the log.
pub(crate) struct KappaView {
    view: Arc<View>,
    /// Absent once the task was stopped.
    task: Mutex<Option<ViewTaskHandle>>,
    progress: watch::Receiver<ViewProgress>,
    checkpoint_prefix: String,
}

impl KappaView {
    /// Starts version `version` of the view: from its checkpoint when there is one, else from the log's beginning.
    pub(crate) async fn start(parts: &Parts, plan: &Arc<ViewPlan>, version: u64) -> Result<Self> {
        let topics = vec![plan.source().topic.clone()];
        let view = View::new(plan.name(), Arc::clone(plan.output_schema()), plan.key_columns(), topics)?;
        let view = Arc::new(view);
        let checkpoint_prefix = format!("views/{}/{version}", plan.name());
        let task = ViewTask {
            plan: Arc::clone(plan),
            log: Arc::clone(&parts.log),
            checkpoints: Some(CheckpointStore::new(Arc::clone(&parts.checkpoints), &checkpoint_prefix)),
            start: Positions::new(),
            until: None,
            settings: parts.settings.view_task.clone(),
            metrics: parts.metrics.clone(),
        };
        let target = Arc::clone(&view);
        let task =
            task.spawn(move |change, positions| target.apply_rows(&change.rows, &change.weights, positions)).await?;
        let progress = task.progress();
        Ok(Self { view, task: Mutex::new(Some(task)), progress, checkpoint_prefix })
    }

    /// What queries read.
    pub(crate) fn relation(&self) -> Arc<dyn Relation> {
        Arc::clone(&self.view) as _
    }

    /// How far the task is.
    pub(crate) fn progress(&self) -> watch::Receiver<ViewProgress> {
        self.progress.clone()
    }

    /// Waits until everything before `target` is in the view.
    ///
    /// # Errors
    /// [`Internal`](model::ErrorKind::Internal) when the task ends before it gets there.
    pub(crate) async fn caught_up(&self, target: &Positions) -> Result<()> {
        let mut progress = self.progress();
        let reached = progress.wait_for(|progress| progress.positions.covers(target)).await;
        reached.map(drop).map_err(|_| {
            Error::internal(format!("the task of view {} ended before it reached {target}", self.view.name()))
        })
    }

    /// Stops the task after a last checkpoint. The view stays readable where it is.
    pub(crate) async fn stop(&self) -> Result<()> {
        let task = self.task.lock().take();
        if let Some(task) = task {
            task.stop().await?;
        }
        Ok(())
    }

    /// Stops the task and deletes what it stored.
    pub(crate) async fn discard(&self, checkpoints: &dyn ObjectStore) -> Result<()> {
        // A task that failed has nothing left to stop; its checkpoint is to go all the same.
        if let Err(error) = self.stop().await {
            tracing::warn!(%error, prefix = self.checkpoint_prefix, "a discarded view had failed");
        }
        delete_prefix(checkpoints, &self.checkpoint_prefix).await
    }
}

async fn delete_prefix(store: &dyn ObjectStore, prefix: &str) -> Result<()> {
    use futures::TryStreamExt as _;
    let failed = |e: object_store::Error| Error::internal(format!("cannot delete {prefix}")).with_source(e);
    let objects: Vec<_> = store.list(Some(&Path::from(prefix))).try_collect().await.map_err(failed)?;
    for object in objects {
        store.delete(&object.location).await.map_err(failed)?;
    }
    Ok(())
}
