//! How versions of views are started, each group together, and shown.
//!
//! What must hold: whatever is wrong with one view, the others and the doors are to be there.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
};

use futures::FutureExt as _;
use model::{Error, Positions, Result};
use serving::views::Relation;
use sql::ViewDefinition;
use streaming::PlannedView;

use super::Deployment;
use crate::{
    catalogue::StoredView,
    incarnation::Incarnation,
    kappa::{Course, KappaView},
    lambda::LambdaView,
    running_view::RunningView,
    stopped_view::StoppedView,
    stored_statement::view_definition,
    wiring::Wiring,
};

impl Deployment {
    /// Starts the versions of a group.
    ///
    /// # Errors
    /// Those of loading what they stored and of opening their sources.
    pub(super) async fn start(
        &self,
        group: Vec<(StoredView, ViewDefinition, PlannedView)>,
    ) -> Result<Vec<RunningView>> {
        let mut incarnations = Vec::with_capacity(group.len());
        for (stored, _, plan) in &group {
            let incarnation = self.incarnation(stored, plan);
            incarnation.check()?;
            incarnations.push(incarnation);
        }
        let wirings = match group.as_slice() {
            [] => Vec::new(),
            [(stored, ViewDefinition { options, .. }, plan)] if options.batch_interval.is_some() => {
                let interval = options.batch_interval.unwrap_or_default();
                vec![self.start_lambda(stored, plan, interval, incarnations[0].clone()).await?]
            }
            [(stored, _, plan), ..] => {
                let all = group.iter().map(|(_, _, plan)| plan.clone()).collect::<Vec<_>>();
                debug_assert!(all.iter().all(|other| other.hash() == plan.hash()), "a group is one dataflow");
                let (resources, incarnation) = (&self.resources, incarnations[0].clone());
                let views = KappaView::start(resources, &all, stored.version, incarnation, Course::On).await?;
                views.into_iter().map(|view| Box::new(view) as Box<dyn Wiring>).collect()
            }
        };
        let members = group.into_iter().zip(incarnations).zip(wirings);
        let members = members
            .map(|(((stored, _, plan), incarnation), wiring)| RunningView::new(stored, plan, incarnation, wiring));
        Ok(members.collect())
    }

    async fn start_lambda(
        &self,
        stored: &StoredView,
        plan: &PlannedView,
        interval: std::time::Duration,
        incarnation: Incarnation,
    ) -> Result<Box<dyn Wiring>> {
        let name = &stored.name;
        match plan {
            PlannedView::Chain(plan) if plan.is_aggregate() => {
                let captured = self.captures.capture_of(plan.source()).await?;
                let view = LambdaView::start(&self.resources, plan, stored.version, incarnation, captured, interval);
                Ok(Box::new(view.await?))
            }
            PlannedView::Chain(_) => Err(Error::unsupported(format!(
                "view {name} has a batch interval but no aggregate"
            ))
            .with_hint("a batch layer holds partial aggregates; leave WITH (batch = ...) out, or group the rows")),
            PlannedView::Dataflow(..) => {
                let message = format!("view {name} has a batch interval, and is more than one GROUP BY over a source");
                Err(Error::unsupported(message).with_hint(
                    "a batch layer holds partial aggregates of one source; leave WITH (batch = ...) out: the view is as exact",
                ))
            }
        }
    }

    /// Starts a group that the catalogue names; what cannot be started is there all the same, and says why.
    pub(super) async fn start_again(&self, group: Vec<StoredView>) -> Vec<RunningView> {
        let definitions = group.iter().map(view_definition).collect::<Result<Vec<_>>>();
        let planned = definitions.and_then(|definitions| {
            let plans = self.planned(&definitions)?;
            Ok(group.iter().cloned().zip(definitions).zip(plans).map(|((s, d), p)| (s, d, p)).collect::<Vec<_>>())
        });
        match planned {
            Ok(planned) => {
                // What was stored may be damaged in a way that the library which reads it does not expect.
                let error = match AssertUnwindSafe(self.start(planned.clone())).catch_unwind().await {
                    Ok(Ok(views)) => return views,
                    Ok(Err(error)) => error,
                    Err(_) => unreadable(),
                };
                let stop = |(stored, _, plan): (StoredView, ViewDefinition, PlannedView)| {
                    let reason = Error::new(error.kind(), error.to_string());
                    let reason = match error.hint() {
                        Some(hint) => reason.with_hint(hint),
                        None => reason,
                    };
                    self.stopped(stored, plan, reason)
                };
                planned.into_iter().map(stop).collect()
            }
            Err(error) => {
                let hint = error.hint().map_or_else(
                    || "CREATE OR REPLACE MATERIALIZED VIEW defines it anew".to_owned(),
                    ToString::to_string,
                );
                let unplanned = group.into_iter().map(|stored| {
                    tracing::error!(view = stored.name, %error, "a view cannot be planned");
                    let reason = Error::new(error.kind(), error.to_string()).with_hint(hint.clone());
                    RunningView::without_plan(stored, reason)
                });
                unplanned.collect()
            }
        }
    }

    /// Serves versions of views from now on, all in one step.
    pub(super) fn publish(&self, views: Vec<RunningView>) {
        let relations = views.iter().map(|view| (view.stored.name.clone(), view.relation()));
        self.views.publish_all(relations.collect());
        let mut running = self.running.write();
        for mut view in views {
            if !view.stored.built {
                let (this, version) = (Weak::clone(&self.this), view.stored.version);
                view.noting = Some(tokio::spawn(note_built(this, view.relation(), version)));
            }
            running.insert(view.stored.name.clone(), Arc::new(view));
        }
    }

    fn stopped(&self, stored: StoredView, plan: PlannedView, reason: Error) -> RunningView {
        tracing::error!(view = stored.name, error = %reason, "a view is stopped");
        let incarnation = self.incarnation(&stored, &plan);
        let wiring = Box::new(StoppedView::new(&plan, reason));
        RunningView::new(stored, plan, incarnation, wiring)
    }

    pub(super) fn incarnation(&self, stored: &StoredView, plan: &PlannedView) -> Incarnation {
        let topics = plan.sources().iter().map(|source| (source.topic.clone(), stored.topic_id(source.topic.as_str())));
        Incarnation::new(&self.resources.log, topics.collect())
    }
}

fn unreadable() -> Error {
    Error::corrupt("what it stored is damaged: reading it ended abnormally")
        .with_hint("REFRESH MATERIALIZED VIEW builds it anew")
}

/// Notes that a version of a view has answered, once it could.
async fn note_built(deployment: Weak<Deployment>, relation: Arc<dyn Relation>, version: u64) {
    if relation.frontier().settled(&Positions::new()).await.is_err() {
        return;
    }
    let Some(deployment) = deployment.upgrade() else { return };
    if let Err(error) = deployment.catalogue.note_built(relation.name(), version) {
        tracing::warn!(view = relation.name(), %error, "the next start does not know that this view has answered");
    }
}
