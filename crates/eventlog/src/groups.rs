//! What consumer groups committed, and since when nobody of a group was seen.
//!
//! What it is not: who is in a group. That is known to those who serve it, and noted here as they say it.
//!
//! What must hold: the totals are those of what is there; what a [`GroupChange`] does depends on nothing but what is
//! stored and what it says, so that a replay does the same.

use std::collections::{BTreeMap, BTreeSet};

use model::{TopicName, TopicPartition};

use crate::log::{CommittedOffset, OffsetTotals};

/// An offset and the time at which it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimedCommit {
    pub(crate) offset: CommittedOffset,
    pub(crate) committed_ms: i64,
}

/// What is kept of a group; one that committed nothing is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// Since when it has no members, as far as was noted; `None` where it had some.
    pub(crate) idle_since_ms: Option<i64>,
    pub(crate) offsets: BTreeMap<TopicPartition, TimedCommit>,
}

/// What may become of a group besides a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupChange {
    /// Since when it has no members; `None` where it has some.
    Members { group: String, idle_since_ms: Option<i64> },
    /// It lets go of the offsets that were committed up to then, if it has had no members from then on.
    Expire { group: String, until_ms: i64 },
}

/// All groups, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    by_name: BTreeMap<String, Group>,
    totals: OffsetTotals,
}

impl GroupChange {
    pub(crate) fn group(&self) -> &str {
        match self {
            Self::Members { group, .. } | Self::Expire { group, .. } => group,
        }
    }
}

impl Group {
    fn expire(&mut self, until_ms: i64) {
        if self.is_idle_since(until_ms) {
            self.offsets.retain(|_, commit| commit.committed_ms > until_ms);
        }
    }

    fn is_idle_since(&self, until_ms: i64) -> bool {
        self.idle_since_ms.is_some_and(|since_ms| since_ms <= until_ms)
    }

    fn totals(&self) -> OffsetTotals {
        let note_bytes = self.offsets.values().map(|commit| commit.offset.metadata.len()).sum();
        OffsetTotals { offsets: self.offsets.len(), note_bytes }
    }
}

impl Groups {
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.by_name.iter()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Group> {
        self.by_name.get(name)
    }

    pub(crate) fn totals(&self) -> OffsetTotals {
        self.totals
    }

    /// Adds a group as it was stored.
    pub(crate) fn insert(&mut self, name: String, group: Group) {
        self.delete(&name);
        self.totals += group.totals();
        self.by_name.insert(name, group);
    }

    /// Stores what a group committed, at a time that formats before the time was stored do not know: such offsets count
    /// from when the group is first seen without members.
    pub(crate) fn commit(
        &mut self,
        name: &str,
        committed_ms: Option<i64>,
        offsets: impl Iterator<Item = (TopicPartition, CommittedOffset)>,
    ) {
        let mut offsets = offsets.peekable();
        if offsets.peek().is_none() {
            return;
        }
        let new = || Group { idle_since_ms: committed_ms, offsets: BTreeMap::new() };
        let group = self.by_name.entry(name.to_owned()).or_insert_with(new);
        for (partition, offset) in offsets {
            self.totals += OffsetTotals { offsets: 1, note_bytes: offset.metadata.len() };
            let commit = TimedCommit { offset, committed_ms: committed_ms.unwrap_or(0) };
            if let Some(before) = group.offsets.insert(partition, commit) {
                self.totals -= OffsetTotals { offsets: 1, note_bytes: before.offset.metadata.len() };
            }
        }
    }

    pub(crate) fn delete(&mut self, name: &str) {
        if let Some(group) = self.by_name.remove(name) {
            self.totals -= group.totals();
        }
    }

    /// Forgets what was committed for a topic.
    pub(crate) fn forget_topic(&mut self, topic: &TopicName) {
        let knows = |group: &Group| group.offsets.keys().any(|partition| partition.topic == *topic);
        let names = self.by_name.iter().filter(|(_, group)| knows(group)).map(|(name, _)| name.clone());
        for name in names.collect::<Vec<_>>() {
            self.change(&name, |group| group.offsets.retain(|partition, _| partition.topic != *topic));
        }
    }

    /// Does what a change says; returns how many offsets went.
    pub(crate) fn apply(&mut self, change: &GroupChange) -> usize {
        let before = self.totals.offsets;
        self.change(change.group(), |group| match change {
            GroupChange::Members { idle_since_ms, .. } => group.idle_since_ms = *idle_since_ms,
            GroupChange::Expire { until_ms, .. } => group.expire(*until_ms),
        });
        before - self.totals.offsets
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.by_name.get_mut(name) else { return };
        self.totals -= group.totals();
        change(group);
        self.totals += group.totals();
        if group.offsets.is_empty() {
            self.by_name.remove(name);
        }
    }

    /// What has changed since the last look: who has members, and whose offsets nobody has needed for `retention_ms`
    /// (negative: for ever). As in Kafka (KIP-211) those count from when the group lost its last member, and where it
    /// never had one, from the commit.
    pub(crate) fn review(&self, with_members: &BTreeSet<String>, now_ms: i64, retention_ms: i64) -> Vec<GroupChange> {
        let until_ms = u64::try_from(retention_ms).ok().map(|kept_ms| now_ms.saturating_sub_unsigned(kept_ms));
        let reviewed = |(name, group): (&String, &Group)| {
            let is_due = |until_ms: i64| {
                let is_old = |commit: &TimedCommit| commit.committed_ms <= until_ms;
                group.is_idle_since(until_ms) && group.offsets.values().any(is_old)
            };
            let group_name = name.clone();
            match (with_members.contains(name), group.idle_since_ms) {
                (true, None) => None,
                (true, Some(_)) => Some(GroupChange::Members { group: group_name, idle_since_ms: None }),
                (false, None) => Some(GroupChange::Members { group: group_name, idle_since_ms: Some(now_ms) }),
                (false, Some(_)) => until_ms
                    .filter(|until_ms| is_due(*until_ms))
                    .map(|until_ms| GroupChange::Expire { group: group_name, until_ms }),
            }
        };
        self.by_name.iter().filter_map(reviewed).collect()
    }
}

#[cfg(test)]
mod tests;
