//! What becomes of views that are created, replaced, refreshed or dropped, and of those that move on together with them.
//!
//! What must hold: all views of a group change in one step, in the catalogue and for those who read them; until then the old
//! ones answer, and where anything fails they go on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{Error, Positions, Result};
use sql::{SourceDefinition, SqlError, ViewDefinition};
use streaming::{DataflowPlan, PlannedView};

use super::{Deployment, kept::Kept};
use crate::{
    catalogue::{KeptVersion, StoredView},
    dependencies::Dependencies,
    running_view::{self, RunningView},
    stored_statement::view_definition,
};

/// A view as it is to be.
pub(super) struct Member {
    definition: ViewDefinition,
    plan: PlannedView,
    /// The version that is there now.
    old: Option<Arc<RunningView>>,
}

impl Deployment {
    /// Creates a view, or replaces it when the definition says so: the same definition again changes nothing, unless
    /// the view has failed. Views that read each other are built anew together. Answers what else was done, as sentences.
    ///
    /// # Errors
    /// What is wrong with the definition; [`Conflict`](model::ErrorKind::Conflict) when the name is taken, or when a view
    /// that reads it would not plan any more.
    pub async fn create_view(&self, definition: ViewDefinition) -> Result<Vec<String>> {
        let _one_at_a_time = self.defining.lock().await;
        self.is_no_table(&definition.name)?;
        let old = self.running.read().get(&definition.name).cloned();
        match &old {
            None => self.name_is_free(&definition.name)?,
            Some(_) if !definition.or_replace => {
                return Err(Error::conflict(format!("view {} exists already", definition.name))
                    .with_hint("CREATE OR REPLACE MATERIALIZED VIEW replaces it without a gap"));
            }
            Some(_) => {}
        }
        self.define_view(definition).await
    }

    /// Defines a view whose name is free, or its own.
    pub(super) async fn define_view(&self, mut definition: ViewDefinition) -> Result<Vec<String>> {
        definition.fix_columns(&self.sources());
        let old = self.running.read().get(&definition.name).cloned();
        let groups = self.proposed(&definition)?;
        if let Some(old) = old.filter(|old| old.failure().is_none()) {
            let new = groups.iter().flatten().find(|member| member.definition.name == definition.name);
            if new.is_some_and(|new| is_same(&old, &definition, &new.plan)) {
                return Ok(Vec::new());
            }
        }
        Ok(self.change(groups, &[], definition.options.keep).await?.1)
    }

    /// Drops a view with its state; with `cascade` also those that read it. Answers what else was done, as sentences.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound), and [`Conflict`](model::ErrorKind::Conflict) naming a view that reads it.
    pub async fn drop_view(&self, name: &str, cascade: bool) -> Result<Vec<String>> {
        let _one_at_a_time = self.defining.lock().await;
        if let Some(version) = self.kept_as(name) {
            self.end_kept(|kept| kept.until_ms == version.until_ms).await;
            return Ok(Vec::new());
        }
        self.is_no_table(name)?;
        self.end_view(name, cascade).await
    }

    /// Drops a view, or what a table shows.
    pub(super) async fn end_view(&self, name: &str, cascade: bool) -> Result<Vec<String>> {
        self.view(name)?;
        let definitions = self.definitions();
        let before = Dependencies::of(definitions.values())?;
        let dependents = before.dependents_of(name);
        if let (Some(reader), false) = (dependents.first(), cascade) {
            let (what, statement) =
                if self.is_table(name) { ("table", "DROP TABLE") } else { ("view", "DROP MATERIALIZED VIEW") };
            return Err(Error::conflict(format!("view {reader} reads {what} {name}"))
                .with_hint(format!("drop that first, or {statement} {name} CASCADE drops it too")));
        }
        let dropped: Vec<String> = std::iter::once(name.to_owned()).chain(dependents.iter().cloned()).collect();
        let left: BTreeMap<String, ViewDefinition> =
            definitions.into_iter().filter(|(name, _)| !dropped.contains(name)).collect();
        let group = before.group_of([name]);
        let stay = group.iter().map(String::as_str).filter(|name| left.contains_key(*name));
        let groups = self.groups(&left, stay, &self.sources())?;
        let (_, mut notices) = self.change(groups, &dropped, None).await?;
        self.end_kept(|kept| dropped.contains(&kept.view.stored.name)).await;
        notices.extend(dependents.iter().map(|view| format!("drop cascades to view {view}")));
        Ok(notices)
    }

    /// Rebuilds a view from the log beside the one that answers, with those that move on together with it, then swaps; for a
    /// Lambda view that has not failed: runs the batch layer, up to where the topic ends. Answers what was done, as sentences.
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
        let mut definitions = self.definitions();
        // What cannot be read any more says so.
        let definition = view_definition(&view.stored)?;
        let keep = definition.options.keep;
        definitions.insert(name.to_owned(), definition);
        let groups = self.groups(&definitions, [name], &self.sources())?;
        let (target, mut notices) = self.change(groups, &[], keep).await?;
        notices.push(format!("rebuilt by replay up to {target}"));
        Ok(notices)
    }

    /// What a view would be, and the views that move on together with it, for `EXPLAIN`: how each is planned.
    ///
    /// # Errors
    /// What is wrong with the definition.
    pub(crate) fn plans(&self, definition: &ViewDefinition) -> Result<Vec<PlannedView>> {
        let mut definition = definition.clone();
        definition.fix_columns(&self.sources());
        let groups = self.proposed(&definition)?;
        let is_its = |group: &&Vec<Member>| group.iter().any(|member| member.definition.name == definition.name);
        Ok(groups.iter().find(is_its).into_iter().flatten().map(|member| member.plan.clone()).collect())
    }

    /// Whether a definition can be planned, with the place in its text where it cannot.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, definition: &ViewDefinition) -> Result<(), SqlError> {
        let mut definition = definition.clone();
        definition.fix_columns(&self.sources());
        let mut definitions = self.definitions();
        definitions.insert(definition.name.clone(), definition.clone());
        // Whoever carries it out says what else is wrong.
        let Ok(dependencies) = Dependencies::of(definitions.values()) else { return Ok(()) };
        let group = dependencies.group_of([definition.name.as_str()]);
        let group: Vec<ViewDefinition> = group.iter().filter_map(|name| definitions.get(name).cloned()).collect();
        match group.as_slice() {
            [] | [_] => PlannedView::new(&definition, &self.sources()).map(drop),
            group => match DataflowPlan::new(group, &self.sources()) {
                Err((name, error)) if name == definition.name => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// The groups that change when a view is defined so.
    pub(super) fn proposed(&self, definition: &ViewDefinition) -> Result<Vec<Vec<Member>>> {
        let mut definitions = self.definitions();
        let before = Dependencies::of(definitions.values())?.group_of([definition.name.as_str()]);
        definitions.insert(definition.name.clone(), definition.clone());
        let names = before.iter().map(String::as_str).chain([definition.name.as_str()]);
        let is_read = before.iter().any(|name| *name != definition.name);
        self.groups(&definitions, names, &self.sources()).map_err(|error| match error.hint() {
            None if is_read => error.with_hint("drop the view that reads it first, or define that anew"),
            _ => error,
        })
    }

    /// The groups of some views, planned over `sources`.
    pub(super) fn groups<'a>(
        &self,
        definitions: &BTreeMap<String, ViewDefinition>,
        names: impl IntoIterator<Item = &'a str>,
        sources: &[SourceDefinition],
    ) -> Result<Vec<Vec<Member>>> {
        let dependencies = Dependencies::of(definitions.values())?;
        let groups = dependencies.groups_of(names).into_iter().map(|group| {
            let group: Vec<ViewDefinition> = group.iter().filter_map(|name| definitions.get(name).cloned()).collect();
            let plans = planned(&group, sources)?;
            let members = group.into_iter().zip(plans).map(|(definition, plan)| {
                let old = self.running.read().get(&definition.name).cloned();
                Member { definition, plan, old }
            });
            Ok(members.collect())
        });
        groups.collect()
    }

    /// The plans of a group.
    pub(super) fn planned(&self, group: &[ViewDefinition]) -> Result<Vec<PlannedView>> {
        planned(group, &self.sources())
    }

    /// The definitions of all views that can be read.
    pub(super) fn definitions(&self) -> BTreeMap<String, ViewDefinition> {
        let running = self.running();
        let definitions = running.iter().filter_map(|view| view_definition(&view.stored).ok());
        definitions.map(|definition| (definition.name.clone(), definition)).collect()
    }

    /// Puts groups in the place of what there is of their views, which is kept for so long, and drops others. Answers up to where
    /// they were built, and what else was done.
    pub(super) async fn change(
        &self,
        groups: Vec<Vec<Member>>,
        dropped: &[String],
        keep: Option<Duration>,
    ) -> Result<(Positions, Vec<String>)> {
        self.change_with(None, groups, dropped, keep).await
    }

    /// As [`change`](Self::change), and with a source, which is there from the same step on.
    pub(super) async fn change_with(
        &self,
        source: Option<SourceDefinition>,
        groups: Vec<Vec<Member>>,
        dropped: &[String],
        keep: Option<Duration>,
    ) -> Result<(Positions, Vec<String>)> {
        let started = self.resources.clock.instant();
        let (mut new, mut notices, mut target) = (Vec::new(), Vec::new(), Positions::new());
        for group in &groups {
            match self.begin(group).await {
                Ok((members, notice)) => {
                    new.push(members);
                    notices.extend(notice);
                }
                Err(error) => return Err(self.give_up(new, error).await),
            }
        }
        for (group, members) in groups.iter().zip(&mut new) {
            // What nobody could read before is waited for by those who read it.
            if group.iter().all(|member| member.old.is_none()) {
                continue;
            }
            let sources = members.first().map_or(&[][..], RunningView::sources);
            let caught_up = match self.end_of_all(sources) {
                Ok(end) => {
                    target.advance_all(&end);
                    self.caught_up(members, &end).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = caught_up {
                return Err(self.give_up(new, error).await);
            }
        }
        let stored: Vec<StoredView> = new.iter().flatten().map(|view| view.stored.clone()).collect();
        let replaced: Vec<Arc<RunningView>> = groups.iter().flatten().filter_map(|member| member.old.clone()).collect();
        let kept = self.to_keep(&replaced, keep);
        // The catalogue first: a crash after it restarts the new versions from their own checkpoints or from the log.
        let changed = match &source {
            None => self.catalogue.change(&stored, dropped, &kept),
            Some(source) => self.catalogue.change_with((&source.name, &source.text), &stored, dropped, &kept),
        };
        if let Err(error) = changed {
            return Err(self.give_up(new, error).await);
        }
        if let Some(source) = source {
            self.sources.write().insert(source.name.clone(), source);
        }
        if !replaced.is_empty() {
            self.resources.metrics.view_rebuild.observe((self.resources.clock.instant() - started).as_secs_f64());
        }
        let mut old = replaced;
        old.extend(dropped.iter().filter_map(|name| self.running.write().remove(name)));
        dropped.iter().for_each(|name| drop(self.views.remove(name)));
        self.publish(new.into_iter().flatten().collect());
        for old in old {
            // Stopped, it would never move again: there is no way back to it.
            self.views.discard_previous(&old.stored.name);
            if let Some(KeptVersion { until_ms, .. }) = kept.iter().find(|kept| kept.stored == old.stored) {
                notices.push(format!("version {} is kept as \"{}\"", old.stored.version, old.stored.kept_name()));
                self.freeze(Kept { view: old, until_ms: *until_ms, replayed_from: None }).await;
                continue;
            }
            if let Err(error) = old.discard(&self.resources).await {
                let view = &old.stored.name;
                tracing::warn!(view, %error, "what the old version has left behind stays until the next start");
            }
        }
        dropped.iter().for_each(|name| self.resources.metrics.forget_view(name));
        Ok((target, notices))
    }

    /// Starts the next versions of a group, beside what there is of it.
    async fn begin(&self, group: &[Member]) -> Result<(Vec<RunningView>, Option<String>)> {
        let (mut stored, mut notice) = (Vec::with_capacity(group.len()), None);
        for Member { definition, plan, old } in group {
            let version = self.next_version(&definition.name);
            let (view, said) = self.prepare(definition, plan, version).await?;
            if let Some(old) = old {
                self.hand_over(old, definition, plan, &view).await?;
            }
            stored.push((view, definition.clone(), plan.clone()));
            notice = notice.or(said);
        }
        self.seed(&stored).await?;
        Ok((self.start(stored).await?, notice))
    }

    // A version begins from nothing, whatever an earlier attempt has left behind, and with the topics as they are now.
    pub(super) async fn prepare(
        &self,
        definition: &ViewDefinition,
        plan: &PlannedView,
        version: u64,
    ) -> Result<(StoredView, Option<String>)> {
        let topics = plan.sources().iter().map(|source| Ok((source.topic.to_string(), self.topic_of(source)?.id)));
        let topic_ids = topics.collect::<Result<_>>()?;
        let (name, text) = (definition.name.clone(), definition.text.clone());
        let added_columns = definition.added_columns.clone().unwrap_or_default();
        let stored = StoredView { name, version, topic_ids, text, added_columns, built: false };
        running_view::remove(&self.resources, &stored).await?;
        let notice = match (definition.options.batch_interval, plan.sources()) {
            (Some(_), [source]) => {
                self.captures.check_expired(source).await?;
                self.captures.set_aside_misfit(source).await?
            }
            _ => None,
        };
        Ok((stored, notice))
    }

    /// Gives a version of a Lambda view the newest batch of the one before, where that computes the same.
    async fn hand_over(
        &self,
        old: &RunningView,
        definition: &ViewDefinition,
        plan: &PlannedView,
        new: &StoredView,
    ) -> Result<()> {
        let is_same_topic = new.topic_ids.values().eq(old.stored.topic_ids.values());
        match (old.wiring.lambda(), definition.options.batch_interval, plan) {
            (Some(lambda), Some(_), PlannedView::Chain(plan)) if is_same_topic => {
                lambda.hand_over(&self.resources, plan, new.version).await
            }
            _ => Ok(()),
        }
    }

    /// Waits until all views of a group have folded everything before `target`, and shows that they are built.
    async fn caught_up(&self, members: &mut [RunningView], target: &Positions) -> Result<()> {
        for view in members.iter() {
            self.views.announce(&view.stored.name, Some(view.relation()));
        }
        let mut caught_up = Ok(());
        for view in members.iter() {
            if caught_up.is_ok() {
                caught_up = view.caught_up(target).await;
            }
        }
        for view in members.iter_mut() {
            self.views.announce(&view.stored.name, None);
            view.stored.built = true;
        }
        caught_up
    }

    /// Discards versions that were begun, because of `error`.
    async fn give_up(&self, groups: Vec<Vec<RunningView>>, error: Error) -> Error {
        for view in groups.into_iter().flatten() {
            if let Err(error) = view.discard(&self.resources).await {
                tracing::warn!(view = view.stored.name, %error, "what was begun of a view stays until the next start");
            }
        }
        error
    }
}

/// The plans of a group over `sources`.
fn planned(group: &[ViewDefinition], sources: &[SourceDefinition]) -> Result<Vec<PlannedView>> {
    if let [definition] = group {
        return Ok(vec![PlannedView::new(definition, sources)?]);
    }
    if let Some(lambda) = group.iter().find(|definition| definition.options.batch_interval.is_some()) {
        let message = format!("view {} has a batch interval, and reads a view or is read by one", lambda.name);
        return Err(Error::unsupported(message).with_hint(
            "leave WITH (batch = ...) out of it: the views that read each other are as exact without a batch layer",
        ));
    }
    let plan = DataflowPlan::new(group, sources).map_err(|(name, error)| {
        let error = Error::from(error);
        let message = format!("view {name}: {error}");
        match error.hint() {
            Some(hint) => Error::new(error.kind(), message).with_hint(hint),
            None => Error::new(error.kind(), message),
        }
    })?;
    Ok(PlannedView::of_dataflow(&Arc::new(plan)))
}

fn is_same(old: &RunningView, new: &ViewDefinition, plan: &PlannedView) -> bool {
    let is_same_plan = old.plan.as_ref().is_some_and(|old| old.hash() == plan.hash());
    let is_as_before = |old: ViewDefinition| old.options == new.options && old.added_columns == new.added_columns;
    is_same_plan && view_definition(&old.stored).is_ok_and(is_as_before)
}
