//! Versions of views that are kept beside the current one, because they were replaced or replayed: as they were, readable as
//! `"view@version"`, until their time is over.
//!
//! What must hold: a kept version never moves; it ends when its time is over, also across restarts, and with its view; whatever
//! is wrong with one keeps nothing else from starting.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use model::{Error, Positions, Result};
use sql::ViewDefinition;
use streaming::PlannedView;

use super::Deployment;
use crate::{
    catalogue::{KeptVersion, StoredView},
    kappa::{self, Course, KappaView},
    running_view::{self, RunningView},
    stored_statement::view_definition,
    wiring::Wiring,
};

/// How long nobody looks whether a kept version's time is over, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// A version that is kept.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) view: Arc<RunningView>,
    /// When its time is over. Those of one step have the same, and no others.
    pub(crate) until_ms: i64,
    /// Where in the log it begins, if it was replayed beside the current one.
    pub(crate) replayed_from: Option<Positions>,
}

impl Deployment {
    /// Puts back the newest version of a view that is kept: its definition, from where it stood. The one that was current until
    /// then is kept for as long as it says. Answers what was done, as sentences.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) when none is kept, and as for a definition.
    pub async fn rollback_view(&self, name: &str) -> Result<Vec<String>> {
        let _one_at_a_time = self.defining.lock().await;
        self.is_no_table(name)?;
        let current = self.view(name)?;
        let kept = self.replaced_of(name).pop().ok_or_else(|| {
            Error::not_found(format!("no version of view {name} is kept")).with_hint(
                "CREATE OR REPLACE MATERIALIZED VIEW ... WITH (keep = '1 day') keeps the one that it replaces",
            )
        })?;
        let definition = view_definition(&kept.view.stored)?;
        let keep = view_definition(&current.stored).ok().and_then(|current| current.options.keep);
        let groups = self.proposed(&definition)?;
        let (_, mut notices) = self.change(groups, &[], keep).await?;
        notices.push(format!("version {} of view {name} is current again", kept.view.stored.version));
        Ok(notices)
    }

    /// The kept versions of all views.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.kept.read().values().cloned().collect()
    }

    /// The one that is read under this name.
    pub(super) fn kept_as(&self, kept_name: &str) -> Option<Kept> {
        self.kept.read().get(kept_name).cloned()
    }

    /// Those of one view that were replaced, oldest first.
    fn replaced_of(&self, name: &str) -> Vec<Kept> {
        let mut kept = self.kept();
        kept.retain(|kept| kept.view.stored.name == name && kept.replayed_from.is_none());
        kept.sort_by_key(|kept| kept.view.stored.version);
        kept
    }

    /// The number of the next version of a view.
    pub(super) fn next_version(&self, name: &str) -> u64 {
        let current = self.running.read().get(name).map(|view| view.stored.version);
        let kept = self.kept().into_iter().filter(|kept| kept.view.stored.name == name);
        current.into_iter().chain(kept.map(|kept| kept.view.stored.version)).max().unwrap_or_default() + 1
    }

    /// When the time of what is kept from now on is over.
    pub(super) fn until_ms(&self, keep: Duration) -> i64 {
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let mut until_ms = self.resources.clock.now_ms().saturating_add(keep_ms);
        while self.kept().iter().any(|kept| kept.until_ms == until_ms) {
            until_ms -= 1;
        }
        until_ms
    }

    /// What is kept of the views that a change replaces, as the catalogue has it.
    pub(super) fn to_keep(&self, replaced: &[Arc<RunningView>], keep: Option<Duration>) -> Vec<KeptVersion> {
        let Some(keep) = keep else { return Vec::new() };
        let until_ms = self.until_ms(keep);
        // What has failed answers nothing that is worth it, and a batch layer goes on without its version.
        let lasting = replaced.iter().filter(|view| view.wiring.lambda().is_none() && view.failure().is_none());
        lasting.map(|view| KeptVersion { stored: view.stored.clone(), until_ms, replayed_from: None }).collect()
    }

    /// Freezes a version, and keeps it.
    pub(super) async fn freeze(&self, kept: Kept) {
        let view = &kept.view;
        view.relation().frontier().freeze();
        if let Err(error) = view.stop().await {
            tracing::warn!(view = view.stored.name, %error, "a version that is kept has stopped with an error");
        }
        self.show_kept(kept);
        self.look_after_kept();
    }

    /// Serves a version under its own name from now on.
    pub(super) fn show_kept(&self, kept: Kept) {
        let name = kept.view.stored.kept_name();
        self.views.publish(&name, kept.view.relation());
        self.kept.write().insert(name, kept);
    }

    /// Begins with what a kept version of the same dataflow has folded, where there is one.
    pub(super) async fn seed(&self, group: &[(StoredView, ViewDefinition, PlannedView)]) -> Result<()> {
        let Some((first, _, plan)) = group.first() else { return Ok(()) };
        let folds_the_same = |kept: &Kept| {
            let is_same_plan = kept.view.plan.as_ref().is_some_and(|known| known.hash() == plan.hash());
            is_same_plan && kept.view.stored.topic_ids == first.topic_ids
        };
        match self.replaced_of(&first.name).into_iter().rfind(folds_the_same) {
            Some(kept) => kappa::copy(&self.resources, &first.name, kept.view.stored.version, first.version).await,
            None => Ok(()),
        }
    }

    /// Starts what the catalogue says is kept, and forgets what is over.
    pub(super) async fn start_kept(&self, kept: Vec<KeptVersion>) {
        // What was replaced in one step was one dataflow, or several.
        let mut steps: BTreeMap<i64, (Vec<StoredView>, Option<Positions>)> = BTreeMap::new();
        for KeptVersion { stored, until_ms, replayed_from } in kept {
            let (step, from) = steps.entry(until_ms).or_default();
            step.push(stored);
            *from = replayed_from;
        }
        let groups = steps.into_iter().flat_map(|(until_ms, (step, from))| {
            super::groups(step).into_iter().map(move |group| (until_ms, from.clone(), group))
        });
        for (until_ms, replayed_from, group) in groups {
            match self.frozen(&group).await {
                Ok(views) => {
                    for view in views {
                        view.relation().frontier().freeze();
                        let replayed_from = replayed_from.clone();
                        self.show_kept(Kept { view: Arc::new(view), until_ms, replayed_from });
                    }
                }
                Err(error) => {
                    let views: Vec<String> = group.iter().map(StoredView::kept_name).collect();
                    tracing::warn!(views = views.join(", "), %error, "kept versions cannot be read and are given up");
                    for stored in &group {
                        self.forget(stored).await;
                    }
                }
            }
        }
        self.look_after_kept();
    }

    async fn frozen(&self, group: &[StoredView]) -> Result<Vec<RunningView>> {
        let definitions = group.iter().map(view_definition).collect::<Result<Vec<_>>>()?;
        let plans = self.planned(&definitions)?;
        self.start_beside(group.iter().cloned().zip(plans).collect(), Course::Frozen).await
    }

    /// Starts versions of the views of one dataflow that are not to be current.
    pub(super) async fn start_beside(
        &self,
        members: Vec<(StoredView, PlannedView)>,
        course: Course,
    ) -> Result<Vec<RunningView>> {
        let mut incarnations = Vec::with_capacity(members.len());
        for (stored, plan) in &members {
            let incarnation = self.incarnation(stored, plan);
            incarnation.check()?;
            incarnations.push(incarnation);
        }
        let (Some((first, _)), Some(incarnation)) = (members.first(), incarnations.first()) else {
            return Ok(Vec::new());
        };
        let plans: Vec<PlannedView> = members.iter().map(|(_, plan)| plan.clone()).collect();
        let views = KappaView::start(&self.resources, &plans, first.version, incarnation.clone(), course).await?;
        let views = members.into_iter().zip(incarnations).zip(views).map(|(((stored, plan), incarnation), view)| {
            RunningView::new(stored, plan, incarnation, Box::new(view) as Box<dyn Wiring>)
        });
        Ok(views.collect())
    }

    /// Ends kept versions of some views.
    pub(super) async fn end_kept(&self, is_over: impl Fn(&Kept) -> bool) {
        for kept in self.kept().into_iter().filter(is_over) {
            let name = kept.view.stored.kept_name();
            self.kept.write().remove(&name);
            self.views.remove(&name);
            if let Err(error) = kept.view.stop().await {
                tracing::debug!(view = name, %error, "a version that was kept had stopped with an error");
            }
            self.forget(&kept.view.stored).await;
        }
    }

    async fn forget(&self, stored: &StoredView) {
        let forgotten = self.catalogue.forget_kept(&stored.name, stored.version);
        let removed = running_view::remove(&self.resources, stored).await;
        if let Err(error) = forgotten.and(removed) {
            let view = stored.kept_name();
            tracing::warn!(view, %error, "what a kept version has left behind stays until the next start");
        }
    }

    /// Ends kept versions when their time is over, for as long as there are any.
    fn look_after_kept(&self) {
        let mut looking = self.looking.lock();
        if self.kept.read().is_empty() || looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
            return;
        }
        let this = Weak::clone(&self.this);
        *looking = Some(tokio::spawn(async move {
            while let Some(deployment) = this.upgrade() {
                let now_ms = deployment.resources.clock.now_ms();
                deployment.end_kept(|kept| kept.until_ms <= now_ms).await;
                let Some(next_ms) = deployment.kept().iter().map(|kept| kept.until_ms.saturating_sub(now_ms)).min()
                else {
                    return;
                };
                drop(deployment);
                let next = Duration::from_millis(u64::try_from(next_ms).unwrap_or_default());
                let look = tokio::time::Instant::now() + next.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL);
                tokio::time::sleep_until(look).await;
            }
        }));
    }
}
