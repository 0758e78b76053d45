//! [`Positions`]: the one consistency token of the product.
//!
//! Read-your-writes, Lambda's merge and rebuild equality all compare these vectors. An entry is the *next offset to
//! read*, never a count, because compacted and transactional topics have gaps.
//!
//! What must hold: an absent entry means 0 (nothing read yet), and 0 is never stored; entries are positive; the text form
//! `topic/partition:offset,...` is sorted, so that equal Positions are equal text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use crate::{Error, Offset, Result, TopicPartition};

/// `(topic, partition) -> next offset to read`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Positions(BTreeMap<TopicPartition, Offset>);

impl Positions {
    /// Positions at the start of everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next offset to read of `partition`; 0 when nothing was read.
    pub fn next_offset(&self, partition: &TopicPartition) -> Offset {
        self.0.get(partition).copied().unwrap_or(0)
    }

    /// Moves one partition forward; an older offset changes nothing.
    pub fn advance(&mut self, partition: TopicPartition, next_offset: Offset) {
        debug_assert!(next_offset >= 0, "a position is never negative");
        // 0 is what an absent entry means; storing it would make equal Positions unequal.
        if next_offset > 0 {
            let entry = self.0.entry(partition).or_insert(next_offset);
            *entry = (*entry).max(next_offset);
        }
    }

    /// Moves every partition forward to at least `other`.
    pub fn advance_all(&mut self, other: &Positions) {
        for (partition, offset) in &other.0 {
            self.advance(partition.clone(), *offset);
        }
    }

    /// Whether everything before `demanded` has been read here.
    pub fn covers(&self, demanded: &Positions) -> bool {
        demanded.0.iter().all(|(partition, offset)| self.next_offset(partition) >= *offset)
    }

    /// The entries that speak of `topic`.
    #[must_use]
    pub fn of_topic(&self, topic: &str) -> Positions {
        self.iter().filter(|(p, _)| p.topic.as_str() == topic).map(|(p, o)| (p.clone(), o)).collect()
    }

    /// All entries, in order of topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.0.iter().map(|(partition, offset)| (partition, *offset))
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(TopicPartition, Offset)> for Positions {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, Offset)>>(entries: I) -> Self {
        let mut positions = Self::new();
        for (partition, offset) in entries {
            positions.advance(partition, offset);
        }
        positions
    }
}

impl<const N: usize> From<[(TopicPartition, Offset); N]> for Positions {
    fn from(entries: [(TopicPartition, Offset); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (partition, offset)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Positions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let entry = |entry: &str| {
            let (partition, offset) = entry.trim().rsplit_once(':')?;
            let offset: Offset = offset.parse().ok().filter(|o| *o >= 0)?;
            Some((partition.parse().ok()?, offset))
        };
        let entries = text.split(',').filter(|part| !part.trim().is_empty()).map(entry);
        let entries = entries.collect::<Option<Vec<_>>>().ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a position"))
                .with_hint("write topic/partition:offset, more of them separated by commas")
        })?;
        let mut partitions = BTreeSet::new();
        match entries.iter().all(|(partition, _): &(TopicPartition, Offset)| partitions.insert(partition.clone())) {
            true => Ok(entries.into_iter().collect()),
            false => Err(Error::invalid(format!("{text:?} has two offsets of one partition"))),
        }
    }
}

/// A closed range between two Positions: everything at or after `from` and before `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Where the epoch begins (inclusive).
    pub from: Positions,
    /// Where it ends (exclusive).
    pub to: Positions,
}

impl Epoch {
    /// An epoch between two Positions.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when `to` does not cover `from`.
    pub fn new(from: Positions, to: Positions) -> Result<Self> {
        if !to.covers(&from) {
            return Err(Error::invalid(format!("an epoch cannot end at {to}, before its start {from}")));
        }
        Ok(Self { from, to })
    }

    /// Whether the record at `offset` of `partition` belongs to this epoch.
    pub fn contains(&self, partition: &TopicPartition, offset: Offset) -> bool {
        self.from.next_offset(partition) <= offset && offset < self.to.next_offset(partition)
    }
}
