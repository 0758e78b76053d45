//! Versions of views that are replayed beside the current one, over a part of the log or to be compared.
//!
//! What must hold: the current version goes on and is not touched; a replayed one shows nothing before it has folded all that it
//! is to fold, never moves after that, and is never current; two versions are compared at the same Positions.

use std::{sync::Arc, time::Duration};

use model::{Error, Positions, Result};
use serving::sql::{Comparison, Replayed};
use serving::views::Snapshot;
use sql::{Compared, Place, Replay, SourceDefinition, ViewDefinition};
use streaming::PlannedView;

use super::{Deployment, kept::Kept};
use crate::{
    catalogue::{KeptVersion, StoredView},
    dependencies::Dependencies,
    extent::Extent,
    kappa::Course,
    running_view::RunningView,
    stored_statement::view_definition,
};

/// How long a replayed version is kept that says nothing of it.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// What is being replayed.
struct Begun {
    /// The view that was asked for, and with it those that it reads.
    members: Vec<Kept>,
    name: String,
    to: Positions,
    /// The version that it is compared with.
    other: Option<(u64, Snapshot)>,
}

impl Deployment {
    /// Builds a version of a view from the log beside the current one, and waits until it is there.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) without the view or the version, [`Invalid`](model::ErrorKind::Invalid) for
    /// places that the log does not have, and what keeps it from being built.
    pub(crate) async fn replay_view(&self, replay: &Replay) -> Result<Replayed> {
        let begun = {
            let _one_at_a_time = self.defining.lock().await;
            self.begin_replay(replay).await?
        };
        // Other definitions need not wait for it.
        let built = match begun.members.last() {
            Some(member) => member.view.caught_up(&begun.to).await,
            None => Ok(()),
        };
        let _one_at_a_time = self.defining.lock().await;
        let is_there = |member: &Kept| self.kept_as(&member.view.stored.kept_name()).is_some();
        let built = match built {
            Ok(()) if begun.members.iter().all(is_there) => self.end_replay(replay, &begun).await,
            Ok(()) => Err(Error::conflict(format!("{} was dropped while it was built", begun.name))),
            Err(error) => Err(error),
        };
        if built.is_err() {
            self.end_replayed(&begun).await;
        }
        built
    }

    async fn begin_replay(&self, replay: &Replay) -> Result<Begun> {
        self.is_no_table(&replay.view)?;
        let view = self.view(&replay.view)?;
        let group = self.with_read(&view)?;
        let plans = self.planned(&group)?;
        let sources = plans.first().map_or(&[][..], PlannedView::sources);
        let extent = Extent::of(self.resources.log.as_ref(), sources)?;
        let other = match replay.compare {
            Some(compared) => Some(self.other(&view, compared).await?),
            None => None,
        };
        let from = match &replay.from {
            Some(place) => self.places(place, sources, &Positions::new(), true).await?,
            None => Positions::new(),
        };
        let to = match (&other, &replay.to) {
            (Some((_, snapshot)), _) => of_sources(snapshot.positions(), sources),
            (None, Some(place)) => self.places(place, sources, extent.end(), false).await?,
            (None, None) => extent.end().clone(),
        };
        extent.require_between(&from, &to)?;

        // Told apart from all others by when its time is over, before that is known.
        let until_ms = self.until_ms(Duration::MAX);
        let mut members = Vec::with_capacity(group.len());
        for (definition, plan) in group.iter().zip(plans) {
            let (stored, _) = self.prepare(definition, &plan, self.next_version(&definition.name)).await?;
            members.push((stored, plan));
        }
        let versions = self.start_beside(members, Course::Between(from.clone(), to.clone())).await?;
        let member = |view: RunningView| Kept { view: Arc::new(view), until_ms, replayed_from: Some(from.clone()) };
        let members: Vec<Kept> = versions.into_iter().map(member).collect();
        members.iter().for_each(|member| self.show_kept(member.clone()));
        let name = members.last().map(|member| member.view.stored.kept_name()).unwrap_or_default();
        Ok(Begun { members, name, to, other })
    }

    async fn end_replay(&self, replay: &Replay, begun: &Begun) -> Result<Replayed> {
        let Some(Kept { view, replayed_from, .. }) = begun.members.last() else {
            return Err(Error::internal("a view was replayed that is none"));
        };
        let version = view.stored.version;
        let comparison = match &begun.other {
            None => None,
            Some((other_version, other)) => Some(Comparison {
                versions: [*other_version, version],
                snapshots: [other.clone(), view.relation().snapshot().await?],
            }),
        };
        let place = |positions: &Positions, otherwise: &str| match positions.is_empty() {
            true => otherwise.to_owned(),
            false => positions.to_string(),
        };
        let from = place(replayed_from.as_ref().unwrap_or(&begun.to), "the beginning of the log");
        let mut notice = format!(
            "version {version} of view {} was built from {from} up to {}",
            replay.view,
            place(&begun.to, "where it is empty")
        );
        match replay.keep.or(comparison.is_none().then_some(KEEP)) {
            Some(keep) => {
                self.keep_replayed(begun, self.until_ms(keep)).await?;
                notice.push_str(&format!(", and is kept as \"{}\"", begun.name));
            }
            None => self.end_replayed(begun).await,
        }
        Ok(Replayed { notices: vec![notice], comparison })
    }

    async fn keep_replayed(&self, begun: &Begun, until_ms: i64) -> Result<()> {
        let kept = begun.members.iter().map(|member| KeptVersion {
            stored: StoredView { built: true, ..member.view.stored.clone() },
            until_ms,
            replayed_from: member.replayed_from.clone(),
        });
        // Its task has to have written its last checkpoint before the catalogue speaks of it.
        for member in &begun.members {
            member.view.stop().await?;
        }
        self.catalogue.change(&[], &[], &kept.collect::<Vec<_>>())?;
        for member in &begun.members {
            self.freeze(Kept { until_ms, ..member.clone() }).await;
        }
        Ok(())
    }

    async fn end_replayed(&self, begun: &Begun) {
        let names: Vec<String> = begun.members.iter().map(|member| member.view.stored.kept_name()).collect();
        self.end_kept(|kept| names.contains(&kept.view.stored.kept_name())).await;
    }

    /// The definitions of a view and of those that it reads, each after those that it reads; all of them folded from the log
    /// alone.
    fn with_read(&self, view: &RunningView) -> Result<Vec<ViewDefinition>> {
        let mut definitions = self.definitions();
        // What cannot be read any more says so.
        definitions.insert(view.stored.name.clone(), view_definition(&view.stored)?);
        let names = Dependencies::of(definitions.values())?.with_read(&view.stored.name);
        let mut group: Vec<ViewDefinition> = names.iter().filter_map(|name| definitions.remove(name)).collect();
        group.iter_mut().for_each(|definition| definition.options.batch_interval = None);
        Ok(group)
    }

    /// What a replayed version is compared with, as it is now.
    async fn other(&self, view: &RunningView, compared: Compared) -> Result<(u64, Snapshot)> {
        let version = match compared {
            Compared::Version(version) if version != view.stored.version => version,
            _ => {
                let failure = view.failure().map(|failure| format!("view {} has failed: {failure}", view.stored.name));
                let building = || view.is_building().then(|| format!("view {} is not built yet", view.stored.name));
                return match failure.or_else(building) {
                    Some(reason) => Err(Error::unavailable(reason).with_hint("SHOW VIEWS shows how far it is")),
                    None => Ok((view.stored.version, view.relation().snapshot().await?)),
                };
            }
        };
        let name = StoredView { version, ..view.stored.clone() }.kept_name();
        let kept = self.kept_as(&name).filter(|kept| !kept.view.is_building()).ok_or_else(|| {
            Error::not_found(format!("there is no version {version} of view {}", view.stored.name))
                .with_hint("SHOW VIEWS lists the versions that are kept")
        })?;
        if kept.replayed_from.is_some_and(|from| !from.is_empty()) {
            return Err(Error::invalid(format!("\"{name}\" does not begin where the log does")).with_hint(
                "compare with a version that does; two versions that are kept can be compared with EXCEPT",
            ));
        }
        if kept.view.relation().schema() != view.relation().schema() {
            return Err(Error::invalid(format!("\"{name}\" has other columns than view {}", view.stored.name))
                .with_hint("compare the columns that both have with EXCEPT"));
        }
        Ok((version, kept.view.relation().snapshot().await?))
    }

    /// A place in the log as Positions; in partitions that it does not name it is where `otherwise` says. Of tables all records
    /// count, wherever they `begin`.
    async fn places(
        &self,
        place: &Place,
        sources: &[SourceDefinition],
        otherwise: &Positions,
        begins: bool,
    ) -> Result<Positions> {
        let mut found = Positions::new();
        if let Place::Positions(positions) = place {
            let is_read = |partition: &model::TopicPartition| {
                sources.iter().any(|source| {
                    source.topic == partition.topic && (0..source.partitions).contains(&partition.partition)
                })
            };
            if let Some((unread, _)) = positions.iter().find(|(partition, _)| !is_read(partition)) {
                return Err(Error::invalid(format!("the view does not read {unread}"))
                    .with_hint("SHOW VIEWS shows its positions"));
            }
        }
        for source in sources {
            let is_whole = begins && source.is_table();
            for partition in (0..source.partitions).map(|partition| source.topic_partition(partition)) {
                let offset = match place {
                    Place::Time(_) if is_whole => 0,
                    Place::Time(time_ms) => match self.resources.log.offset_at_time(&partition, *time_ms).await? {
                        Some(found) => found.offset,
                        // All that is there is earlier.
                        None => self.resources.log.bounds(&partition)?.high_watermark,
                    },
                    Place::Positions(positions) => match positions.next_offset(&partition) {
                        0 => otherwise.next_offset(&partition),
                        offset if is_whole => {
                            let (name, topic) = (&source.name, &source.topic);
                            let message = format!("a table cannot begin at {topic}/{}:{offset}", partition.partition);
                            return Err(Error::invalid(message).with_hint(format!(
                                "what table {name} shows is made by all of its records; leave its topic out"
                            )));
                        }
                        offset => offset,
                    },
                };
                found.advance(partition, offset);
            }
        }
        Ok(found)
    }
}

/// What of Positions is of some sources.
fn of_sources(positions: &Positions, sources: &[SourceDefinition]) -> Positions {
    let is_theirs = |topic: &model::TopicName| sources.iter().any(|source| source.topic == *topic);
    positions.iter().filter(|(p, _)| is_theirs(&p.topic)).map(|(p, offset)| (p.clone(), offset)).collect()
}
