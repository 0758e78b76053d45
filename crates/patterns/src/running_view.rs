//! A view that runs: its wiring, whichever pattern that is, and how far it is.

use std::sync::Arc;

use model::{Error, Positions, Result};
use parking_lot::RwLock;
use serving::views::Relation;
use streaming::{SourceDefinition, ViewPlan, ViewProgress};
use tokio::sync::watch;

use crate::{
    catalogue::StoredView,
    incarnation::Incarnation,
    kappa::{self, KappaView},
    lambda::{self, LambdaView},
    parts::Parts,
    stopped_view::StoppedView,
};

/// A view of a deployment.
pub(crate) struct RunningView {
    pub(crate) stored: StoredView,
    /// Absent where it cannot be planned; then it is stopped.
    pub(crate) plan: Option<Arc<ViewPlan>>,
    incarnation: Option<Incarnation>,
    pub(crate) wiring: Wiring,
    /// The new version that is being built beside this one, while there is one.
    pub(crate) rebuild: RwLock<Option<Rebuild>>,
}

/// How a view is wired.
pub(crate) enum Wiring {
    /// One path.
    Kappa(KappaView),
    /// Two paths.
    Lambda(LambdaView),
    /// None: it could not be started.
    Stopped(Arc<StoppedView>),
}

/// A rebuild under way.
pub(crate) struct Rebuild {
    pub(crate) target: Positions,
    pub(crate) progress: watch::Receiver<ViewProgress>,
}

impl RunningView {
    pub(crate) fn new(stored: StoredView, plan: Arc<ViewPlan>, incarnation: Incarnation, wiring: Wiring) -> Self {
        Self { stored, plan: Some(plan), incarnation: Some(incarnation), wiring, rebuild: RwLock::new(None) }
    }

    /// A view that cannot be planned, for that reason.
    pub(crate) fn without_plan(stored: StoredView, reason: Error) -> Self {
        let wiring = Wiring::Stopped(StoppedView::without_plan(&stored.name, reason));
        Self { stored, plan: None, incarnation: None, wiring, rebuild: RwLock::new(None) }
    }

    /// The source that it reads, where that is known.
    pub(crate) fn source(&self) -> Option<&SourceDefinition> {
        self.plan.as_ref().map(|plan| plan.source())
    }

    pub(crate) fn relation(&self) -> Arc<dyn Relation> {
        match &self.wiring {
            Wiring::Kappa(view) => view.relation(),
            Wiring::Lambda(view) => view.relation(),
            Wiring::Stopped(view) => Arc::clone(view) as _,
        }
    }

    /// Everything before this is in the answer.
    pub(crate) fn positions(&self) -> Positions {
        self.relation().reach().positions()
    }

    /// Waits until everything before `target` is in the answer, however long that takes.
    ///
    /// # Errors
    /// When the view fails before it gets there.
    pub(crate) async fn caught_up(&self, target: &Positions) -> Result<()> {
        self.relation().reach().settled(target).await
    }

    /// The pattern's name.
    pub(crate) fn pattern(&self) -> &'static str {
        match &self.wiring {
            Wiring::Kappa(_) => "kappa",
            Wiring::Lambda(_) => "lambda",
            Wiring::Stopped(_) => "none",
        }
    }

    /// What it is doing, for people: `running`, `rebuilding 40%`, `failed: ...`, or for Lambda where its batch ends.
    pub(crate) fn state(&self) -> String {
        if let Some(rebuild) = &*self.rebuild.read() {
            return format!("rebuilding {}%", percent(&rebuild.progress.borrow().positions, &rebuild.target));
        }
        if let Some(failure) = self.failure() {
            return format!("failed: {failure}");
        }
        match &self.wiring {
            Wiring::Kappa(_) | Wiring::Stopped(_) => "running".to_owned(),
            Wiring::Lambda(view) => match view.batch_version() {
                (None, _) => "running, no batch yet".to_owned(),
                (Some(version), h) => format!("running, batch {version} up to {h}"),
            },
        }
    }

    /// Why it goes no further, when it does not.
    pub(crate) fn failure(&self) -> Option<String> {
        if let Some(Err(error)) = self.incarnation.as_ref().map(Incarnation::check) {
            return Some(error.to_string());
        }
        self.relation().reach().failure()
    }

    pub(crate) async fn stop(&self) -> Result<()> {
        match &self.wiring {
            Wiring::Kappa(view) => view.stop().await,
            Wiring::Lambda(view) => {
                view.stop().await;
                Ok(())
            }
            Wiring::Stopped(_) => Ok(()),
        }
    }

    /// Stops it and deletes what it stored and can be derived again.
    pub(crate) async fn discard(&self, parts: &Parts) -> Result<()> {
        // A task that failed has nothing left to stop; what it stored is to go all the same.
        if let Err(error) = self.stop().await {
            tracing::warn!(view = self.stored.name, %error, "a discarded view had failed");
        }
        remove(parts, &self.stored).await
    }
}

/// Deletes what a version of a view stored, whichever pattern it had; it may not be running.
pub(crate) async fn remove(parts: &Parts, stored: &StoredView) -> Result<()> {
    kappa::remove(parts, &stored.name, stored.version).await?;
    lambda::remove(parts, &stored.name, stored.version).await
}

/// Deletes what versions stored that are not `current`: those whose end a crash has cut short.
pub(crate) async fn remove_all_but(parts: &Parts, current: &[StoredView]) -> Result<()> {
    kappa::remove_all_but(parts, current).await?;
    lambda::remove_all_but(parts, current).await
}

fn percent(reached: &Positions, target: &Positions) -> i64 {
    let sum = |of: &dyn Fn(&model::TopicPartition, i64) -> i64| target.iter().map(|(p, end)| of(p, end)).sum::<i64>();
    let total = sum(&|_, end| end);
    let done = sum(&|partition, end| reached.next_offset(partition).min(end));
    if total == 0 { 100 } else { done * 100 / total }
}
