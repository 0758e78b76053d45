//! The index: what the writer knows about the events that are durable.
//!
//! It holds, in memory, where each stream's events are, which event and command ids were used lately, and how far
//! the log was read. It is derived: [`Index::apply`] is called for every record of the topic in offset order, at
//! open and while running, so both give the same index.
//!
//! What must hold: a stream's versions are dense from 0. A record that is no event, or whose version is not its
//! stream's next, is *foreign*: counted, reported, and invisible to every read. Where events are damaged, the versions
//! that a stream lost there stand for the damage's offset, so that whoever reads them is told.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
    ops::{Bound, Range},
};

use model::Offset;
use uuid::Uuid;

use crate::{
    Damage, EventStoreSettings, RecordedEvent, StreamName, StreamSummary, digest::ContentDigest, outcome::Outcome,
};

/// Records in the topic that are not events of this store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignRecords {
    /// How many.
    pub count: u64,
    /// The offset of the last one, and why it is no event.
    pub last: Option<(Offset, String)>,
}

/// A run of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// A command that was handled before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandledCommand {
    /// What it said; events from before this was kept do not tell.
    pub(crate) digest: Option<ContentDigest>,
    pub(crate) result: CommandResult,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandResult {
    /// These events.
    Events(Versions),
    /// No events, as the outcome at this offset says.
    Nothing(Offset),
}

impl HandledCommand {
    /// Whether a command that says this is the same.
    pub(crate) fn says(&self, digest: &ContentDigest) -> bool {
        self.digest.is_none_or(|known| known == *digest)
    }
}

/// What is known about the durable events.
#[derive(Debug, PartialEq)]
pub(crate) struct Index {
    streams: BTreeMap<StreamName, Offsets>,
    /// Versions by stream and event id: an id that is used in two streams names two events.
    event_ids: Recent<(StreamName, Uuid), u64>,
    /// Commands that led to events, and those that led to none: they are in two topics, which have no common order.
    commands: Recent<Uuid, (Option<ContentDigest>, Versions)>,
    outcomes: Recent<Uuid, (ContentDigest, Offset)>,
    next_offset: Offset,
    outcomes_next_offset: Offset,
    recorded_time_ms: i64,
    foreign: ForeignRecords,
    /// In order of their offsets.
    damage: Vec<Damage>,
    /// The streams that lost events, and in which damage first.
    damaged: BTreeMap<StreamName, usize>,
}

impl Index {
    /// The index of an empty topic.
    pub(crate) fn new(settings: &EventStoreSettings) -> Self {
        Self {
            streams: BTreeMap::new(),
            event_ids: Recent::new(settings.idempotence_window_events),
            commands: Recent::new(settings.idempotence_window_commands),
            outcomes: Recent::new(settings.idempotence_window_commands),
            next_offset: 0,
            outcomes_next_offset: 0,
            recorded_time_ms: 0,
            foreign: ForeignRecords::default(),
            damage: Vec::new(),
            damaged: BTreeMap::new(),
        }
    }

    /// Takes in one event; an event that does not continue its stream is foreign, and the answer is `false`.
    pub(crate) fn apply(&mut self, event: &RecordedEvent) -> bool {
        let next = self.version(&event.stream).map_or(0, |version| version + 1);
        if event.version != next && !self.fill_loss(&event.stream, next..event.version) {
            self.skip(event.offset, "its version is not the next of its stream: another writer appended it");
            return false;
        }
        // One copy of a stream's name is enough: the index's own.
        let stream = match self.streams.get_key_value(&event.stream) {
            Some((known, _)) => known.clone(),
            None => event.stream.clone(),
        };
        match self.streams.get_mut(&stream) {
            Some(offsets) => offsets.push(event.offset),
            None => drop(self.streams.insert(stream.clone(), Offsets::one(event.offset))),
        }
        if let Some(id) = &event.command_id {
            let key = id.key(&stream);
            match self.commands.get_mut(&key) {
                Some((_, versions)) if versions.last + 1 == event.version => versions.last = event.version,
                _ => {
                    let versions = Versions { first: event.version, last: event.version };
                    self.commands.insert(key, (event.command_digest, versions));
                }
            }
        }
        self.event_ids.insert((stream, event.event_id), event.version);
        self.recorded_time_ms = self.recorded_time_ms.max(event.recorded_time_ms);
        self.advance(event.offset + 1);
        true
    }

    /// Takes in the outcome of a command that led to no events.
    pub(crate) fn apply_outcome(&mut self, outcome: &Outcome, offset: Offset) {
        self.outcomes.insert(outcome.command_id.key(&outcome.stream), (outcome.digest, offset));
        self.advance_outcomes(offset + 1);
    }

    /// Notes that every outcome before `next_offset` was taken in.
    pub(crate) fn advance_outcomes(&mut self, next_offset: Offset) {
        self.outcomes_next_offset = self.outcomes_next_offset.max(next_offset);
    }

    /// The offset after the last outcome that was taken in.
    pub(crate) fn outcomes_next_offset(&self) -> Offset {
        self.outcomes_next_offset
    }

    /// Passes over records that cannot be read.
    pub(crate) fn pass_damage(&mut self, damage: Damage) {
        let at = self.damage.len();
        for stream in damage.streams.iter().flatten() {
            self.damaged.entry(stream.clone()).or_insert(at);
        }
        self.advance(damage.offsets.end);
        self.damage.push(damage);
    }

    /// Where the next event of a stream shows that these versions were lost in a damage: lets them stand for it.
    fn fill_loss(&mut self, stream: &StreamName, lost: Range<u64>) -> bool {
        let last = self.last_offset(stream);
        let may_be_its = |damage: &Damage| {
            let told = damage.streams.as_ref().is_none_or(|streams| streams.binary_search(stream).is_ok());
            told && last.is_none_or(|last| damage.offsets.start > last)
        };
        let mut room = 0;
        let mut first = None;
        for (at, damage) in self.damage.iter().enumerate().filter(|(_, damage)| may_be_its(damage)) {
            room += (damage.offsets.end - damage.offsets.start).unsigned_abs();
            first.get_or_insert((at, damage.offsets.start));
        }
        let Some((at, offset)) = first.filter(|_| !lost.is_empty() && lost.end - lost.start <= room) else {
            return false;
        };
        self.damaged.entry(stream.clone()).or_insert(at);
        for _ in lost {
            match self.streams.get_mut(stream) {
                Some(offsets) => offsets.push(offset),
                None => drop(self.streams.insert(stream.clone(), Offsets::one(offset))),
            }
        }
        true
    }

    fn last_offset(&self, stream: &StreamName) -> Option<Offset> {
        let offsets = self.streams.get(stream)?;
        offsets.get(offsets.len() - 1)
    }

    /// What cannot be read, in order.
    pub(crate) fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// The damage that an offset lies in.
    pub(crate) fn damage_at(&self, offset: Offset) -> Option<&Damage> {
        let at = self.damage.partition_point(|damage| damage.offsets.end <= offset);
        self.damage.get(at).filter(|damage| damage.offsets.contains(&offset))
    }

    /// The damage in which a stream lost events; for a stream that is not there, also one in which it may have.
    pub(crate) fn damage_of(&self, stream: &StreamName) -> Option<&Damage> {
        match self.damaged.get(stream) {
            Some(at) => self.damage.get(*at),
            None if self.streams.contains_key(stream) => None,
            None => self.doubt_of(stream),
        }
    }

    /// The damage in which a stream lost events, or may have.
    pub(crate) fn doubt_of(&self, stream: &StreamName) -> Option<&Damage> {
        let last = self.last_offset(stream);
        let may_be_its =
            |damage: &&Damage| damage.streams.is_none() && last.is_none_or(|last| damage.offsets.start > last);
        let known = self.damaged.get(stream).and_then(|at| self.damage.get(*at));
        known.or_else(|| self.damage.iter().find(may_be_its))
    }

    /// Passes over a record that is no event.
    pub(crate) fn skip(&mut self, offset: Offset, reason: &str) {
        self.foreign.count += 1;
        self.foreign.last = Some((offset, reason.to_owned()));
        self.advance(offset + 1);
    }

    /// Notes that everything before `next_offset` was taken in.
    pub(crate) fn advance(&mut self, next_offset: Offset) {
        self.next_offset = self.next_offset.max(next_offset);
    }

    /// The offset after the last record that was taken in.
    pub(crate) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The latest recorded time.
    pub(crate) fn recorded_time_ms(&self) -> i64 {
        self.recorded_time_ms
    }

    /// The records that are no events.
    pub(crate) fn foreign(&self) -> &ForeignRecords {
        &self.foreign
    }

    /// The version of a stream's last event.
    pub(crate) fn version(&self, stream: &StreamName) -> Option<u64> {
        // A stream that is in the map has an event.
        self.streams.get(stream).map(|offsets| offsets.len() - 1)
    }

    /// Where an event is.
    pub(crate) fn offset(&self, stream: &StreamName, version: u64) -> Option<Offset> {
        self.streams.get(stream)?.get(version)
    }

    /// Where a run of a stream's events is: those of `versions` that exist.
    pub(crate) fn offsets(&self, stream: &StreamName, versions: Range<u64>) -> Vec<Offset> {
        let Some(offsets) = self.streams.get(stream) else { return Vec::new() };
        (versions.start..versions.end.min(offsets.len())).filter_map(|version| offsets.get(version)).collect()
    }

    /// The version of a stream's event by its id, if it is recent.
    pub(crate) fn version_of(&self, key: &(StreamName, Uuid)) -> Option<u64> {
        self.event_ids.get(key).copied()
    }

    /// A recent command, by its key.
    pub(crate) fn command(&self, key: &Uuid) -> Option<HandledCommand> {
        let events = self.commands.get(key);
        let events = events.map(|(digest, versions)| (*digest, CommandResult::Events(*versions)));
        let nothing =
            || self.outcomes.get(key).map(|(digest, offset)| (Some(*digest), CommandResult::Nothing(*offset)));
        events.or_else(nothing).map(|(digest, result)| HandledCommand { digest, result })
    }

    /// How many streams there are.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// The streams whose names begin with `prefix` and come after `after`, in order of their names.
    pub(crate) fn streams(&self, prefix: &str, after: Option<&StreamName>, count_max: usize) -> Vec<StreamSummary> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        self.streams
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(stream, _)| stream.as_str().starts_with(prefix))
            .take(count_max)
            .map(|(stream, offsets)| StreamSummary { stream: stream.clone(), version: offsets.len() - 1 })
            .collect()
    }
}

/// The offsets of one stream's events, by version: four bytes an event for a stream that spans fewer than 2³²
/// offsets, and nothing on the heap for a stream of one event.
#[derive(Debug, PartialEq)]
enum Offsets {
    Near { first: Offset, distances: Vec<u32> },
    Far(Vec<Offset>),
}

impl Offsets {
    fn one(first: Offset) -> Self {
        Self::Near { first, distances: Vec::new() }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Near { distances, .. } => 1 + distances.len() as u64,
            Self::Far(offsets) => offsets.len() as u64,
        }
    }

    fn get(&self, version: u64) -> Option<Offset> {
        let at = usize::try_from(version).ok()?;
        match self {
            Self::Near { first, .. } if at == 0 => Some(*first),
            Self::Near { first, distances } => distances.get(at - 1).map(|distance| first + Offset::from(*distance)),
            Self::Far(offsets) => offsets.get(at).copied(),
        }
    }

    fn push(&mut self, offset: Offset) {
        match self {
            Self::Near { first, distances } => match u32::try_from(offset - *first) {
                Ok(distance) => distances.push(distance),
                Err(_) => {
                    let near = distances.iter().map(|distance| *first + Offset::from(*distance));
                    *self = Self::Far(std::iter::once(*first).chain(near).chain([offset]).collect());
                }
            },
            Self::Far(offsets) => offsets.push(offset),
        }
    }
}

/// The latest entries by key; the oldest leaves when there are too many.
#[derive(Debug, PartialEq)]
struct Recent<K: Eq + Hash, V> {
    // With the number under which the key was inserted last: a key inserted again lives as long as its last insertion.
    entries: HashMap<K, (u64, V)>,
    order: VecDeque<K>,
    first_number: u64,
    count_max: usize,
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    fn new(count_max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), first_number: 0, count_max }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    fn insert(&mut self, key: K, value: V) {
        let number = self.first_number + self.order.len() as u64;
        self.entries.insert(key.clone(), (number, value));
        self.order.push_back(key);
        while self.order.len() > self.count_max {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.entries.get(&oldest).is_some_and(|(number, _)| *number == self.first_number) {
                self.entries.remove(&oldest);
            }
            self.first_number += 1;
        }
    }
}

#[cfg(test)]
mod tests;
