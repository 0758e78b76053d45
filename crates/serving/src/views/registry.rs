//! [`Views`]: which version of which relation is served under a name.
//!
//! What must hold: a name changes from one version to the next in one step, and the version before stays at hand until
//! it is discarded, so that a rollback is a swap and no rebuild.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{Error, Metrics, Positions, Result};
use parking_lot::RwLock;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{ReadRefusal, Relation};

/// The relations that are being served, by name.
#[derive(Debug)]
pub struct Views {
    names: RwLock<BTreeMap<String, Versions>>,
    /// The versions that are being built to take the place of others.
    replacements: RwLock<BTreeMap<String, Arc<dyn Relation>>>,
    /// Counts changes of the map above, so that whoever waits on a version notices that it was replaced.
    changes: watch::Sender<u64>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Versions {
    current: Arc<dyn Relation>,
    previous: Option<Arc<dyn Relation>>,
}

impl Views {
    /// No relation yet.
    pub fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            names: RwLock::default(),
            replacements: RwLock::default(),
            changes: watch::Sender::new(0),
            metrics,
        })
    }

    /// Serves `relation` under `name` from now on; the version before is kept for [`Views::rollback`] and returned.
    pub fn publish(&self, name: &str, relation: Arc<dyn Relation>) -> Option<Arc<dyn Relation>> {
        self.publish_all(vec![(name.to_owned(), relation)]);
        self.previous(name)
    }

    /// Serves relations under their names from now on, all in one step; see [`publish`](Self::publish).
    pub fn publish_all(&self, relations: Vec<(String, Arc<dyn Relation>)>) {
        {
            let mut names = self.names.write();
            for (name, current) in relations {
                let previous = names.remove(&name).map(|versions| versions.current);
                names.insert(name, Versions { current, previous });
            }
        }
        self.changed();
    }

    /// Shows that `relation` is being built to take the place of what is served under `name`, or that none is.
    pub fn announce(&self, name: &str, relation: Option<Arc<dyn Relation>>) {
        let mut replacements = self.replacements.write();
        match relation {
            Some(relation) => drop(replacements.insert(name.to_owned(), relation)),
            None => drop(replacements.remove(name)),
        }
    }

    /// The version that is being built to take the place of what is served under `name`.
    pub fn replacement(&self, name: &str) -> Option<Arc<dyn Relation>> {
        self.replacements.read().get(name).map(Arc::clone)
    }

    /// The version that is served under `name`.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Relation>> {
        self.names.read().get(name).map(|versions| Arc::clone(&versions.current))
    }

    /// The version that was served before, where it was not discarded.
    pub fn previous(&self, name: &str) -> Option<Arc<dyn Relation>> {
        self.names.read().get(name).and_then(|versions| versions.previous.as_ref().map(Arc::clone))
    }

    /// Serves the version before again; the one that was served until now takes its place.
    ///
    /// # Errors
    /// [`NotFound`](model::ErrorKind::NotFound) when there is no such name or no version before.
    pub fn rollback(&self, name: &str) -> Result<Arc<dyn Relation>> {
        let restored = {
            let mut names = self.names.write();
            let versions = names.get_mut(name).ok_or_else(|| Error::not_found(format!("there is no view {name}")))?;
            let previous = versions
                .previous
                .take()
                .ok_or_else(|| Error::not_found(format!("view {name} has no version before the one that is served")))?;
            versions.previous = Some(std::mem::replace(&mut versions.current, Arc::clone(&previous)));
            previous
        };
        self.changed();
        Ok(restored)
    }

    /// Gives up the version before, and with it the memory that it holds.
    pub fn discard_previous(&self, name: &str) -> Option<Arc<dyn Relation>> {
        self.names.write().get_mut(name).and_then(|versions| versions.previous.take())
    }

    /// Serves nothing under `name` any more.
    pub fn remove(&self, name: &str) -> Option<Arc<dyn Relation>> {
        let removed = self.names.write().remove(name).map(|versions| versions.current);
        self.metrics.view_rows.remove(&[("view", name.to_owned())]);
        self.changed();
        removed
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.names.read().keys().cloned().collect()
    }

    /// Waits until what is served under `name` is whole and reflects everything before `demanded`, as far as it is folded
    /// from the topics that are demanded, and returns that version. A version that is published meanwhile is waited on
    /// instead. Every read comes through here: what is not whole is not read.
    ///
    /// # Errors
    /// [`ReadRefusal::Building`] and [`ReadRefusal::Late`] after `timeout`. [`ReadRefusal::Refused`] without such a name
    /// ([`NotFound`](model::ErrorKind::NotFound)), when the view fails before
    /// ([`Unavailable`](model::ErrorKind::Unavailable)), where a partition is demanded that its topic does not have
    /// ([`Invalid`](model::ErrorKind::Invalid)), and with its own error for a view of which nothing can be read.
    pub async fn wait_for(
        &self,
        name: &str,
        demanded: &Positions,
        timeout: Duration,
    ) -> Result<Arc<dyn Relation>, ReadRefusal> {
        let deadline = Instant::now() + timeout;
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let relation = self.get(name).ok_or_else(|| Error::not_found(format!("there is no view {name}")))?;
            if let Some(refusal) = relation.refusal() {
                return Err(refusal.into());
            }
            let concerned: Positions =
                relation.topics().iter().flat_map(|topic| entries_of(demanded, topic.as_str())).collect();
            relation.frontier().require_partitions(&concerned)?;
            if concerned.is_empty() && relation.frontier().building().is_none() {
                return Ok(relation);
            }
            tokio::select! {
                // The version that takes its place first: an old one that is stopped then has not failed.
                biased;
                // Only the name that is waited for matters, but a needless turn of the loop costs nothing.
                Ok(()) = changes.changed() => {}
                settled = timeout_at(deadline, relation.frontier().settled(&concerned)) => match settled {
                    // It may have been replaced between the two looks.
                    Ok(Err(_)) if changes.has_changed().unwrap_or(false) => {}
                    Ok(settled) => return Ok(settled.map(|()| relation)?),
                    Err(_) => {
                        let refusal = ReadRefusal::after(&*relation, &concerned, timeout);
                        // It may have arrived while the time ran out: then there is nothing to say.
                        let arrived = relation.frontier().has(&concerned);
                        return if arrived { Ok(relation) } else { Err(refusal) };
                    }
                },
            }
        }
    }

    /// Brings the gauges of the catalogue up to date; called when metrics are about to be read.
    pub fn refresh_metrics(&self) {
        for (name, versions) in self.names.read().iter() {
            if let Some(rows) = versions.current.row_count() {
                let rows = i64::try_from(rows).unwrap_or(i64::MAX);
                self.metrics.view_rows.get_or_create(&[("view", name.clone())]).set(rows);
            }
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

fn entries_of(positions: &Positions, topic: &str) -> Vec<(model::TopicPartition, model::Offset)> {
    positions.of_topic(topic).iter().map(|(partition, offset)| (partition.clone(), offset)).collect()
}
