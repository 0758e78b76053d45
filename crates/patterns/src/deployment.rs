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

mod altering;
mod defining;
mod kept;
mod replaying;
mod starting;
mod tables;
mod writing;

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Arc, Weak, atomic::AtomicU32},
};

use eventlog::{EventLog, Topic, TopicSpec};
pub(crate) use kept::Kept;
use model::{Epoch, Error, ErrorKind, Positions, Result};
use parking_lot::{Mutex, RwLock};
use serving::views::{Snapshot, Views};
use sql::{SourceDefinition, ViewDefinition};
use streaming::SourceTable;
use tokio::task::JoinHandle;

use crate::{
    captures::Captures,
    catalogue::{Catalogue, KeptVersion, StoredView},
    dependencies::Dependencies,
    resources::Resources,
    running_view::{self, RunningView},
    stored_statement::{self, view_definition},
    view_state::ViewState,
};

/// The sources and views of one server.
pub struct Deployment {
    this: Weak<Deployment>,
    pub(crate) resources: Resources,
    views: Arc<Views>,
    pub(crate) catalogue: Catalogue,
    sources: RwLock<BTreeMap<String, SourceDefinition>>,
    running: RwLock<BTreeMap<String, Arc<RunningView>>>,
    /// Versions that are kept beside the current ones, by the names under which they are read.
    kept: RwLock<BTreeMap<String, Kept>>,
    /// Ends those whose time is over.
    looking: Mutex<Option<JoinHandle<()>>>,
    captures: Captures,
    // Definitions are carried out one after the other; reads of the maps above do not wait for them.
    defining: tokio::sync::Mutex<()>,
    /// Of each table, who writes to it over SQL.
    write_locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Where the next rows without a key go.
    next_partition: AtomicU32,
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
            kept: RwLock::default(),
            looking: Mutex::default(),
            defining: tokio::sync::Mutex::default(),
            write_locks: Mutex::default(),
            next_partition: AtomicU32::default(),
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
        let mut current = deployment.catalogue.views()?;
        current.extend(deployment.views_of_tables(&current));
        let now_ms = deployment.resources.clock.now_ms();
        let (kept, over): (Vec<_>, Vec<_>) =
            deployment.catalogue.kept()?.into_iter().partition(|kept| kept.until_ms > now_ms);
        for KeptVersion { stored, .. } in &over {
            deployment.catalogue.forget_kept(&stored.name, stored.version)?;
        }
        let left: Vec<StoredView> = current.iter().chain(kept.iter().map(|kept| &kept.stored)).cloned().collect();
        if let Err(error) = running_view::remove_all_but(&deployment.resources, &left).await {
            tracing::warn!(%error, "what old versions of views have left behind stays until the next start");
        }
        for group in groups(current) {
            let group = deployment.start_again(group).await;
            deployment.publish(group);
        }
        deployment.start_kept(kept).await;
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
        self.begin_source(source).await
    }

    async fn begin_source(&self, source: SourceDefinition) -> Result<()> {
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
        self.is_no_table(name)?;
        let reader = self.running.read().values().find(|view| view.reads(name)).map(|v| v.stored.name.clone());
        if let Some(view) = reader {
            return Err(Error::conflict(format!("view {view} reads source {name}")).with_hint("drop the view first"));
        }
        self.end_source(name).await
    }

    async fn end_source(&self, name: &str) -> Result<Option<String>> {
        self.catalogue.remove_source(name)?;
        let source = self.sources.write().remove(name);
        self.captures.end(name, source.map_or(0, |source| source.added_columns)).await
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
        if let Some(looking) = self.looking.lock().take() {
            looking.abort();
        }
        let mut outcome = Ok(());
        for view in self.running() {
            outcome = outcome.and(view.stop().await);
        }
        for kept in self.kept() {
            outcome = outcome.and(kept.view.stop().await);
        }
        outcome.and(self.captures.stop().await)
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

/// Stored views as groups of those that move on together, each after those that it reads.
fn groups(stored: Vec<StoredView>) -> Vec<Vec<StoredView>> {
    let definitions: Vec<ViewDefinition> = stored.iter().filter_map(|view| view_definition(view).ok()).collect();
    // Circles are not stored.
    let dependencies = Dependencies::of(&definitions).unwrap_or_default();
    let mut left: BTreeMap<String, StoredView> = stored.into_iter().map(|view| (view.name.clone(), view)).collect();
    let names: Vec<String> = left.keys().cloned().collect();
    let mut groups = Vec::new();
    for name in names {
        let group = dependencies.group_of([name.as_str()]);
        let group = if group.is_empty() { vec![name] } else { group };
        groups.push(group.iter().filter_map(|name| left.remove(name)).collect::<Vec<_>>());
    }
    groups.retain(|group| !group.is_empty());
    groups
}

#[cfg(test)]
mod tests;
