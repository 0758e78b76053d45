//! [`Deployment`]: the sources and views that are defined, kept in the catalogue and kept running.
//!
//! What it is not: it folds nothing and serves nothing. It starts the wiring of `kappa` and `lambda`, publishes what
//! they answer, and carries out definitions one at a time.
//!
//! What must hold:
//! - what the catalogue names is running, after a restart too; a view that cannot be started is there all the same, and
//!   says why, and nothing else is kept from starting;
//! - a replaced view answers at every moment: with the old version until the new one has folded everything that was
//!   in the log when the replacement began, then with the new one;
//! - a definition that fails leaves everything as it was;
//! - a version of a view folds one incarnation of each of its topics: when one is gone it is stopped, and says so;
//! - what is missing of the catalogue is never taken for a catalogue that has nothing.

use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    path::Path,
    sync::{Arc, Weak},
};

use eventlog::{EventLog, Topic, TopicSpec};
use futures::FutureExt as _;
use model::{Epoch, Error, ErrorKind, Positions, Result};
use parking_lot::RwLock;
use serving::views::{Relation, Snapshot, Views};
use sql::{SourceDefinition, ViewDefinition};
use streaming::{PlannedView, SourceTable};

use crate::{
    captures::Captures,
    catalogue::{Catalogue, StoredView},
    incarnation::Incarnation,
    kappa::KappaView,
    lambda::LambdaView,
    resources::Resources,
    running_view::{self, RunningView},
    stopped_view::StoppedView,
    stored_statement::{self, view_definition},
    view_state::ViewState,
    wiring::Wiring,
};

/// The sources and views of one server.
pub struct Deployment {
    this: Weak<Deployment>,
    pub(crate) resources: Resources,
    views: Arc<Views>,
    pub(crate) catalogue: Catalogue,
    sources: RwLock<BTreeMap<String, SourceDefinition>>,
    running: RwLock<BTreeMap<String, Arc<RunningView>>>,
    captures: Captures,
    // Definitions are carried out one after the other; reads of the maps above do not wait for them.
    defining: tokio::sync::Mutex<()>,
}

impl Deployment {
    /// Opens the catalogue `file` and starts everything that it names.
    ///
    /// # Errors
    /// When the catalogue or a source in it cannot be read. A view that cannot be started has failed, and that is all.
    pub async fn open(file: &Path, resources: Resources, views: Arc<Views>) -> Result<Arc<Self>> {
        let catalogue = Catalogue::open(file)?;
        let deployment = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            captures: Captures::new(&resources),
            resources,
            views,
            catalogue,
            sources: RwLock::default(),
            running: RwLock::default(),
            defining: tokio::sync::Mutex::default(),
        });
        for (name, text) in deployment.catalogue.sources()? {
            let source = stored_statement::source_definition(&name, &text)?;
            // A topic that was deleted is not made again: that would be another one. Views over it are stopped, as over one
            // that clients have made instead, and the rest runs.
            if let Err(error) = deployment.topic_of(&source) {
                tracing::warn!(source = name, %error, "a source has no topic that fits it");
            }
            deployment.sources.write().insert(name, source);
        }
        let current = deployment.catalogue.views()?;
        if let Err(error) = running_view::remove_all_but(&deployment.resources, &current).await {
            tracing::warn!(%error, "what old versions of views have left behind stays until the next start");
        }
        for stored in current {
            let view = deployment.start_again(stored).await;
            deployment.publish(view);
        }
        Ok(deployment)
    }

    /// Makes sure that there is a catalogue at `file` for what the log has, before anything is created in either: a log
    /// without topics gets a new one. `may_begin_empty` gives one to any log.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when the log has topics and the catalogue is missing or empty; nothing
    /// was changed then.
    pub fn require_catalogue(file: &Path, log: &dyn EventLog, may_begin_empty: bool) -> Result<()> {
        let topics = log.topics().len();
        if topics > 0 && !may_begin_empty && !Catalogue::exists(file)? {
            let file = file.display();
            return Err(Error::conflict(format!(
                "the catalogue {file} is missing or empty, and the log has {topics} topics: their sources and views would be gone"
            ))
            .with_hint(
                "put the file back; without it, data.begin_without_catalogue = true \
                 (FOURFOLD_DATA_BEGIN_WITHOUT_CATALOGUE=true) starts with no sources and views: topics and what was \
                 captured stay, the state of views is deleted",
            ));
        }
        Catalogue::open(file).map(drop)
    }

    /// Creates a source, and its topic where that is missing.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when the name is taken.
    pub async fn create_source(&self, source: SourceDefinition) -> Result<()> {
        let _one_at_a_time = self.defining.lock().await;
        self.name_is_free(&source.name)?;
        let is_new = self.ensure_topic(&source).await?;
        if let Err(error) = self.catalogue.put_source(&source.name, &source.text) {
            // Nobody knows the topic yet.
            if is_new && let Err(error) = self.resources.log.delete_topic(&source.topic).await {
                tracing::warn!(topic = %source.topic, %error, "the topic of a source that was not created stays");
            }
            return Err(error);
        }
        self.sources.write().insert(source.name.clone(), source);
        Ok(())
    }

    /// Drops a source that no view reads; the topic and its records stay. Answers what else stays, as a sentence.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound), or [`Conflict`](model::ErrorKind::Conflict) naming a view that reads it.
    pub async fn drop_source(&self, name: &str) -> Result<Option<String>> {
        let _one_at_a_time = self.defining.lock().await;
        if !self.sources.read().contains_key(name) {
            return Err(Error::not_found(format!("there is no source {name}")));
        }
        let reader = self
            .running
            .read()
            .values()
            .find(|view| view.reads(name))
            .map(|v| v.stored.name.clone());
        if let Some(view) = reader {
            return Err(Error::conflict(format!("view {view} reads source {name}")).with_hint("drop the view first"));
        }
        self.catalogue.remove_source(name)?;
        self.sources.write().remove(name);
        self.captures.end(name).await
    }

    /// Creates a view, or replaces it when the definition says so: the same definition again changes nothing, unless
    /// the view has failed. Answers what else was done, as a sentence.
    ///
    /// # Errors
    /// What is wrong with the definition; [`Conflict`](model::ErrorKind::Conflict) when the name is taken.
    pub async fn create_view(&self, definition: ViewDefinition) -> Result<Option<String>> {
        let _one_at_a_time = self.defining.lock().await;
        let plan = self.plan(&definition)?;
        let old = self.running.read().get(&definition.name).cloned();
        match old {
            None => {
                self.name_is_free(&definition.name)?;
                let (stored, notice) = self.prepare(&definition, &plan, 1).await?;
                let view = self.start(stored, &definition, plan).await?;
                self.commit(view).await?;
                Ok(notice)
            }
            Some(_) if !definition.or_replace => {
                Err(Error::conflict(format!("view {} exists already", definition.name))
                    .with_hint("CREATE OR REPLACE MATERIALIZED VIEW replaces it without a gap"))
            }
            Some(old) if old.failure().is_none() && same_definition(&old, &definition, &plan)? => Ok(None),
            Some(old) => Ok(self.replace(&old, &definition, plan).await?.1),
        }
    }

    /// Drops a view with its state.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound).
    pub async fn drop_view(&self, name: &str) -> Result<()> {
        let _one_at_a_time = self.defining.lock().await;
        let view = self.view(name)?;
        self.catalogue.remove_view(name)?;
        self.views.remove(name);
        self.running.write().remove(name);
        let discarded = view.discard(&self.resources).await;
        self.resources.metrics.forget_view(name);
        discarded
    }

    /// Rebuilds a view from the log beside the one that answers, then swaps; for a Lambda view that has not failed: runs
    /// the batch layer, up to where the topic ends. Answers what was done, as sentences.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound), or what went wrong; the old version then goes on answering.
    pub async fn refresh_view(&self, name: &str) -> Result<Vec<String>> {
        let one_at_a_time = self.defining.lock().await;
        let view = self.view(name)?;
        if let (Some(lambda), None) = (view.wiring.lambda(), view.failure()) {
            // As when it is due: nobody waits for a batch who defines something else, or stops all.
            drop(one_at_a_time);
            return Ok(vec![lambda.run_batch().await?.to_string()]);
        }
        let definition = view_definition(&view.stored)?;
        let plan = self.plan(&definition)?;
        let (target, notice) = self.replace(&view, &definition, plan).await?;
        Ok(notice.into_iter().chain([format!("rebuilt by replay up to {target}")]).collect())
    }

    /// All sources.
    pub fn sources(&self) -> Vec<SourceDefinition> {
        self.sources.read().values().cloned().collect()
    }

    /// What each view is doing, by name.
    pub fn view_states(&self) -> Vec<ViewState> {
        let state = |view: &Arc<RunningView>| {
            let failed = view.failure().is_some();
            let ready = failed || !(view.stored.built && view.is_building());
            ViewState { name: view.stored.name.clone(), state: self.state_of(view), ready, failed }
        };
        self.running().iter().map(state).collect()
    }

    /// What a view is doing, for people.
    pub(crate) fn state_of(&self, view: &RunningView) -> String {
        view.state(self.views.replacement(&view.stored.name).as_deref())
    }

    /// What a source's topic holds now: a pinned range of the log.
    ///
    /// # Errors
    /// When the topic is gone.
    pub fn source_snapshot(&self, name: &str) -> Result<Option<Snapshot>> {
        let Some(source) = self.sources.read().get(name).cloned() else { return Ok(None) };
        let end = self.end_of(&source)?;
        let table =
            SourceTable::new(Arc::clone(&self.resources.log), source, Epoch::new(Positions::new(), end.clone())?);
        Ok(Some(Snapshot::of_table(Arc::new(table), end)))
    }

    /// The deployment itself, for work that must outlive whoever asked for it.
    pub(crate) fn this(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    pub(crate) fn running(&self) -> Vec<Arc<RunningView>> {
        self.running.read().values().cloned().collect()
    }

    /// What a view would be, for `EXPLAIN`.
    pub(crate) fn plan(&self, definition: &ViewDefinition) -> Result<PlannedView> {
        Ok(PlannedView::new(definition, &self.sources())?)
    }

    /// Where the logs of sources end now.
    pub(crate) fn end_of_all(&self, sources: &[SourceDefinition]) -> Result<Positions> {
        let mut end = Positions::new();
        for source in sources {
            end.advance_all(&self.end_of(source)?);
        }
        Ok(end)
    }

    /// Where the log of a source ends now.
    pub(crate) fn end_of(&self, source: &SourceDefinition) -> Result<Positions> {
        let partitions = (0..source.partitions).map(|partition| source.topic_partition(partition));
        let end = |partition: model::TopicPartition| -> Result<_> {
            let bounds = self.resources.log.bounds(&partition)?;
            Ok((partition, bounds.high_watermark))
        };
        partitions.map(end).collect()
    }

    /// Writes the definitions, as of one moment, to a catalogue of its own at `file`, where none is.
    ///
    /// # Errors
    /// What the file system says.
    pub fn copy_catalogue(&self, file: &Path) -> Result<()> {
        self.catalogue.copy_to(file)
    }

    /// Stops every view with a last checkpoint, then the captures.
    ///
    /// # Errors
    /// The first thing that failed by being stopped; everything is stopped all the same.
    pub async fn stop(&self) -> Result<()> {
        let _one_at_a_time = self.defining.lock().await;
        let mut outcome = Ok(());
        for view in self.running() {
            outcome = outcome.and(view.stop().await);
        }
        outcome.and(self.captures.stop().await)
    }

    async fn replace(
        &self,
        old: &Arc<RunningView>,
        definition: &ViewDefinition,
        plan: PlannedView,
    ) -> Result<(Positions, Option<String>)> {
        let started = self.resources.clock.instant();
        let (stored, notice) = self.prepare(definition, &plan, old.stored.version + 1).await?;
        let target = self.end_of_all(plan.sources())?;
        let is_same_topic = stored.topic_ids.values().eq(old.stored.topic_ids.values());
        if let (Some(lambda), Some(_), true, PlannedView::Chain(plan)) =
            (old.wiring.lambda(), definition.options.batch_interval, is_same_topic, &plan)
        {
            lambda.hand_over(&self.resources, plan, stored.version).await?;
        }
        let mut new = self.start(stored, definition, plan).await?;
        self.views.announce(&definition.name, Some(new.relation()));
        let caught_up = new.caught_up(&target).await;
        self.views.announce(&definition.name, None);
        if let Err(error) = caught_up {
            new.discard(&self.resources).await?;
            return Err(error);
        }
        self.resources.metrics.view_rebuild.observe((self.resources.clock.instant() - started).as_secs_f64());
        new.stored.built = true;
        self.commit(new).await?;
        // Stopped, it would never move again: there is no way back to it.
        self.views.discard_previous(&definition.name);
        if let Err(error) = old.discard(&self.resources).await {
            tracing::warn!(view = definition.name, %error, "what the old version has left behind stays until the next start");
        }
        Ok((target, notice))
    }

    // A version begins from nothing, whatever an earlier attempt has left behind, and with the topic as it is now.
    async fn prepare(
        &self,
        definition: &ViewDefinition,
        plan: &PlannedView,
        version: u64,
    ) -> Result<(StoredView, Option<String>)> {
        let topics = plan.sources().iter().map(|source| Ok((source.topic.to_string(), self.topic_of(source)?.id)));
        let topic_ids = topics.collect::<Result<_>>()?;
        let (name, text) = (definition.name.clone(), definition.text.clone());
        let stored = StoredView { name, version, topic_ids, text, built: false };
        running_view::remove(&self.resources, &stored).await?;
        let notice = match (definition.options.batch_interval, plan.sources()) {
            (Some(_), [source]) => self.captures.set_aside_misfit(source).await?,
            _ => None,
        };
        Ok((stored, notice))
    }

    // The catalogue first: a crash after it restarts the new version from its own checkpoint or from the log.
    async fn commit(&self, view: RunningView) -> Result<()> {
        if let Err(error) = self.catalogue.put_view(&view.stored) {
            view.discard(&self.resources).await?;
            return Err(error);
        }
        self.publish(view);
        Ok(())
    }

    fn publish(&self, mut view: RunningView) {
        if !view.stored.built {
            view.noting = Some(tokio::spawn(note_built(Weak::clone(&self.this), view.relation(), view.stored.version)));
        }
        self.views.publish(&view.stored.name, view.relation());
        self.running.write().insert(view.stored.name.clone(), Arc::new(view));
    }

    async fn start(&self, stored: StoredView, definition: &ViewDefinition, plan: PlannedView) -> Result<RunningView> {
        let incarnation = self.incarnation(&stored, &plan);
        incarnation.check()?;
        let wiring: Box<dyn Wiring> = match (definition.options.batch_interval, &plan) {
            (None, _) => Box::new(KappaView::start(&self.resources, &plan, stored.version, incarnation.clone()).await?),
            (Some(interval), PlannedView::Chain(plan)) if plan.is_aggregate() => {
                let captured = self.captures.capture_of(plan.source()).await?;
                let topic = incarnation.clone();
                Box::new(LambdaView::start(&self.resources, plan, stored.version, topic, captured, interval).await?)
            }
            (Some(_), PlannedView::Chain(_)) => {
                return Err(Error::unsupported(format!("view {} has a batch interval but no aggregate", stored.name))
                    .with_hint(
                        "a batch layer holds partial aggregates; leave WITH (batch = ...) out, or group the rows",
                    ));
            }
            (Some(_), PlannedView::Dataflow(_)) => {
                let message = format!("view {} has a batch interval, and is more than one GROUP BY over a source", stored.name);
                return Err(Error::unsupported(message).with_hint(
                    "a batch layer holds partial aggregates of one source; leave WITH (batch = ...) out: the view is as exact",
                ));
            }
        };
        Ok(RunningView::new(stored, plan, incarnation, wiring))
    }

    // Whatever is wrong with one view, the others and the doors are to be there.
    async fn start_again(&self, stored: StoredView) -> RunningView {
        let planned = view_definition(&stored).and_then(|definition| {
            let plan = self.plan(&definition)?;
            Ok((definition, plan))
        });
        match planned {
            Ok((definition, plan)) => {
                // What it stored may be damaged in a way that the library which reads it does not expect.
                let starting = self.start(stored.clone(), &definition, plan.clone());
                match AssertUnwindSafe(starting).catch_unwind().await {
                    Ok(Ok(view)) => view,
                    Ok(Err(error)) => self.stopped(stored, plan, error),
                    Err(_) => self.stopped(stored, plan, unreadable()),
                }
            }
            Err(error) => {
                tracing::error!(view = stored.name, %error, "a view cannot be planned");
                let error = match error.hint() {
                    Some(_) => error,
                    None => error.with_hint("CREATE OR REPLACE MATERIALIZED VIEW defines it anew"),
                };
                RunningView::without_plan(stored, error)
            }
        }
    }

    fn stopped(&self, stored: StoredView, plan: PlannedView, reason: Error) -> RunningView {
        tracing::error!(view = stored.name, error = %reason, "a view is stopped");
        let incarnation = self.incarnation(&stored, &plan);
        let wiring = Box::new(StoppedView::new(&plan, reason));
        RunningView::new(stored, plan, incarnation, wiring)
    }

    fn incarnation(&self, stored: &StoredView, plan: &PlannedView) -> Incarnation {
        let topics = plan.sources().iter().map(|source| (source.topic.clone(), stored.topic_id(source.topic.as_str())));
        Incarnation::new(&self.resources.log, topics.collect())
    }

    /// The topic of a source as it is now.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) when it was deleted, [`Conflict`](model::ErrorKind::Conflict) when there is
    /// another one of its name that does not fit.
    pub(crate) fn topic_of(&self, source: &SourceDefinition) -> Result<Arc<Topic>> {
        let SourceDefinition { name, topic, partitions, .. } = source;
        let Some(found) = self.resources.log.topic(topic.as_str()) else {
            return Err(Error::not_found(format!("topic {topic}, which source {name} reads, was deleted"))
                .with_hint(format!("create it again with {partitions} partitions, which makes another topic of it")));
        };
        if found.partitions == *partitions {
            return Ok(found);
        }
        Err(Error::conflict(format!("topic {topic} has {} partitions", found.partitions))
            .with_hint(format!("declare the source WITH (partitions = {})", found.partitions)))
    }

    /// Creates the topic of a source where it is missing; answers whether it was.
    async fn ensure_topic(&self, source: &SourceDefinition) -> Result<bool> {
        match self.topic_of(source) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return found.map(|_| false),
        }
        match self.resources.log.create_topic(TopicSpec::new(source.topic.clone(), source.partitions)).await {
            Ok(_) => Ok(true),
            Err(eventlog::Error::TopicExists(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn name_is_free(&self, name: &str) -> Result<()> {
        if self.sources.read().contains_key(name) || self.running.read().contains_key(name) {
            return Err(
                Error::conflict(format!("the name {name} is taken")).with_hint("choose another, or drop it first")
            );
        }
        Ok(())
    }

    fn view(&self, name: &str) -> Result<Arc<RunningView>> {
        let view = self.running.read().get(name).cloned();
        view.ok_or_else(|| Error::not_found(format!("there is no view {name}")).with_hint("SHOW VIEWS lists them"))
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment").finish_non_exhaustive()
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

fn same_definition(old: &RunningView, new: &ViewDefinition, plan: &PlannedView) -> Result<bool> {
    let is_same_plan = old.plan.as_ref().is_some_and(|old| old.hash() == plan.hash());
    Ok(is_same_plan && view_definition(&old.stored)?.options == new.options)
}

#[cfg(test)]
mod tests;
