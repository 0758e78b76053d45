//! A view that runs: its wiring, whichever pattern that is, and how far it is.

use std::sync::Arc;

use model::{Error, Positions, Result};
use serving::views::Relation;
use sql::SourceDefinition;
use streaming::PlannedView;
use tokio::task::JoinHandle;

use crate::{
    catalogue::StoredView, incarnation::Incarnation, kappa, lambda, resources::Resources, stopped_view::StoppedView,
    wiring::Wiring,
};

/// A view of a deployment.
pub(crate) struct RunningView {
    pub(crate) stored: StoredView,
    /// Absent where it cannot be planned; then it is stopped.
    pub(crate) plan: Option<PlannedView>,
    incarnation: Option<Incarnation>,
    pub(crate) wiring: Box<dyn Wiring>,
    /// Waits for the first answer, to note it; ends with the view.
    pub(crate) noting: Option<JoinHandle<()>>,
}

impl Drop for RunningView {
    fn drop(&mut self) {
        if let Some(noting) = &self.noting {
            noting.abort();
        }
    }
}

impl RunningView {
    pub(crate) fn new(
        stored: StoredView,
        plan: PlannedView,
        incarnation: Incarnation,
        wiring: Box<dyn Wiring>,
    ) -> Self {
        Self { stored, plan: Some(plan), incarnation: Some(incarnation), wiring, noting: None }
    }

    /// A view that cannot be planned, for that reason.
    pub(crate) fn without_plan(stored: StoredView, reason: Error) -> Self {
        let wiring = Box::new(StoppedView::without_plan(&stored.name, reason));
        Self { stored, plan: None, incarnation: None, wiring, noting: None }
    }

    /// The sources that it reads, where they are known.
    pub(crate) fn sources(&self) -> &[SourceDefinition] {
        self.plan.as_ref().map_or(&[], PlannedView::sources)
    }

    /// Whether it reads a source.
    pub(crate) fn reads(&self, source: &str) -> bool {
        self.sources().iter().any(|read| read.name == source)
    }

    /// What queries read.
    pub(crate) fn relation(&self) -> Arc<dyn Relation> {
        self.wiring.relation()
    }

    /// Everything before this is in the answer.
    pub(crate) fn positions(&self) -> Positions {
        self.relation().frontier().positions()
    }

    /// Waits until everything before `target` is in the answer, however long that takes.
    ///
    /// # Errors
    /// When the view fails before it gets there.
    pub(crate) async fn caught_up(&self, target: &Positions) -> Result<()> {
        self.relation().frontier().settled(target).await
    }

    /// What it is doing, for people: `running`, for Lambda with where its batch ends, `building 40% (...)`,
    /// `rebuilding 40% (...)` while the version `replacement` is built, or `failed: ...`.
    pub(crate) fn state(&self, replacement: Option<&dyn Relation>) -> String {
        if let Some(progress) = replacement.and_then(|replacement| replacement.frontier().building()) {
            return format!("rebuilding {progress}");
        }
        if let Some(failure) = self.failure() {
            return format!("failed: {failure}");
        }
        match self.relation().frontier().building() {
            Some(progress) => format!("building {progress}"),
            None => self.wiring.state(),
        }
    }

    /// Whether it has not yet folded what was in the log when it began.
    pub(crate) fn is_building(&self) -> bool {
        self.relation().frontier().building().is_some()
    }

    /// Why it goes no further, when it does not.
    pub(crate) fn failure(&self) -> Option<String> {
        if let Some(Err(error)) = self.incarnation.as_ref().map(Incarnation::check) {
            return Some(error.to_string());
        }
        self.relation().frontier().failure()
    }

    /// Stops it. What had failed before has been told, and has nothing left to lose.
    pub(crate) async fn stop(&self) -> Result<()> {
        let had_failed = self.failure().is_some();
        match self.wiring.stop().await {
            Err(error) if had_failed => {
                tracing::debug!(view = self.stored.name, %error, "a view that is stopped had failed");
                Ok(())
            }
            stopped => stopped,
        }
    }

    /// Stops it and deletes what it stored and can be derived again.
    pub(crate) async fn discard(&self, resources: &Resources) -> Result<()> {
        // A task that failed has nothing left to stop; what it stored is to go all the same.
        if let Err(error) = self.wiring.stop().await {
            tracing::warn!(view = self.stored.name, %error, "a discarded view had failed");
        }
        remove(resources, &self.stored).await
    }
}

/// Deletes what a version of a view stored, whichever pattern it had; it may not be running.
pub(crate) async fn remove(resources: &Resources, stored: &StoredView) -> Result<()> {
    kappa::remove(resources, &stored.name, stored.version).await?;
    lambda::remove(resources, &stored.name, stored.version).await
}

/// Deletes what versions stored that are not `current`: those whose end a crash has cut short.
pub(crate) async fn remove_all_but(resources: &Resources, current: &[StoredView]) -> Result<()> {
    kappa::remove_all_but(resources, current).await?;
    lambda::remove_all_but(resources, current).await
}
