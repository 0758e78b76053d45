//! What readers see of the log: the topics that are durable, their partitions, and what groups committed.
//!
//! What must hold: only the writer (and recovery before it) changes what is stored, and only after a change is durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use model::{TopicName, TopicPartition};
use parking_lot::RwLock;

use crate::{
    groups::{GroupChange, Groups},
    log::{CommittedOffset, Error, OffsetTotals, Result, Topic},
    partition::Partition,
};

#[derive(Default)]
pub(crate) struct Catalogue {
    topics: RwLock<BTreeMap<TopicName, Entry>>,
    /// How many partitions they have; changed while they are held.
    partition_count: AtomicUsize,
    groups: RwLock<Groups>,
}

struct Entry {
    topic: Arc<Topic>,
    partitions: Vec<Arc<Partition>>,
}

impl Catalogue {
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().get(name).map(|entry| Arc::clone(&entry.topic))
    }

    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().values().map(|entry| Arc::clone(&entry.topic)).collect()
    }

    /// How many partitions all topics have.
    pub(crate) fn partition_count(&self) -> usize {
        self.partition_count.load(Ordering::Relaxed)
    }

    /// The partition and its topic.
    pub(crate) fn partition(&self, name: &TopicPartition) -> Result<(Arc<Topic>, Arc<Partition>)> {
        let topics = self.topics.read();
        let found = topics.get(&name.topic).and_then(|entry| {
            let partition = entry.partitions.get(usize::try_from(name.partition).ok()?)?;
            Some((Arc::clone(&entry.topic), Arc::clone(partition)))
        });
        found.ok_or_else(|| Error::UnknownPartition(name.to_string()))
    }

    /// All partitions with their topics.
    pub(crate) fn partitions(&self) -> Vec<(Arc<Topic>, Arc<Partition>)> {
        let topics = self.topics.read();
        let of_entry = |entry: &Entry| {
            let topic = Arc::clone(&entry.topic);
            entry.partitions.iter().map(|partition| (Arc::clone(&topic), Arc::clone(partition))).collect::<Vec<_>>()
        };
        topics.values().flat_map(of_entry).collect()
    }

    pub(crate) fn add_topic(&self, topic: Arc<Topic>, partitions: Vec<Arc<Partition>>) {
        let mut topics = self.topics.write();
        self.partition_count.fetch_add(partitions.len(), Ordering::Relaxed);
        topics.insert(topic.name.clone(), Entry { topic, partitions });
    }

    /// Notes who alone writes a topic; see [`EventLog::claim_topic`](crate::EventLog::claim_topic).
    pub(crate) fn claim_topic(&self, name: &TopicName, owner: &'static str) -> Result<()> {
        let mut topics = self.topics.write();
        let entry = topics.get_mut(name).ok_or_else(|| Error::UnknownPartition(name.to_string()))?;
        entry.topic = Arc::new(Topic { owner: Some(owner), ..(*entry.topic).clone() });
        Ok(())
    }

    /// Takes a topic away, with the offsets committed for it.
    pub(crate) fn remove_topic(&self, name: &TopicName) {
        let mut topics = self.topics.write();
        let removed = topics.remove(name);
        if let Some(entry) = &removed {
            self.partition_count.fetch_sub(entry.partitions.len(), Ordering::Relaxed);
        }
        drop(topics);
        if let Some(entry) = removed {
            entry.partitions.iter().for_each(|partition| partition.delete());
        }
        self.groups.write().forget_topic(name);
    }

    pub(crate) fn set_groups(&self, groups: Groups) {
        *self.groups.write() = groups;
    }

    pub(crate) fn all_groups(&self) -> Groups {
        self.groups.read().clone()
    }

    pub(crate) fn groups(&self) -> Vec<String> {
        self.groups.read().iter().map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn committed_offsets(&self, group: &str) -> BTreeMap<TopicPartition, CommittedOffset> {
        let groups = self.groups.read();
        let offsets = groups.get(group).into_iter().flat_map(|group| &group.offsets);
        offsets.map(|(partition, commit)| (partition.clone(), commit.offset.clone())).collect()
    }

    pub(crate) fn offset_totals(&self) -> OffsetTotals {
        self.groups.read().totals()
    }

    /// See [`Groups::review`].
    pub(crate) fn review_groups(
        &self,
        with_members: &BTreeSet<String>,
        now_ms: i64,
        retention_ms: i64,
    ) -> Vec<GroupChange> {
        self.groups.read().review(with_members, now_ms, retention_ms)
    }

    pub(crate) fn commit_offsets(
        &self,
        group: &str,
        committed_ms: Option<i64>,
        offsets: impl Iterator<Item = (TopicPartition, CommittedOffset)>,
    ) {
        self.groups.write().commit(group, committed_ms, offsets);
    }

    /// Returns how many offsets went.
    pub(crate) fn change_groups(&self, changes: &[GroupChange]) -> usize {
        let mut groups = self.groups.write();
        changes.iter().map(|change| groups.apply(change)).sum()
    }

    pub(crate) fn delete_group(&self, group: &str) {
        self.groups.write().delete(group);
    }
}
