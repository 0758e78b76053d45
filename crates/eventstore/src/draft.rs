//! What the writer decides about the appends of one commit, before any of it is durable.
//!
//! A [`Draft`] lies over the [`Index`]: it sees the durable events and, on top, those that this commit will append.
//! It changes nothing underneath. When the commit fails, dropping the draft is the whole rollback.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::{
    CommandId, Damage, Error, ExpectedVersion, NewEvent, StreamName, digest::ContentDigest, index::Index,
    index::Versions, outcome::Outcome,
};

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Proposal {
    /// To append events.
    Append(Append),
    /// To keep what came of a command that led to none.
    Keep(Outcome),
}

/// Events to append.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) stream: StreamName,
    pub(crate) expected: ExpectedVersion,
    /// Not empty, checked, no id twice.
    pub(crate) events: Vec<NewEvent>,
    pub(crate) command: Option<Command>,
}

/// A command as far as the writer looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) id: CommandId,
    pub(crate) digest: ContentDigest,
}

/// What is to be done about a proposal.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Append the events with these versions.
    Append(Versions),
    /// Keep the outcome.
    Keep,
    /// The events are there already.
    Duplicate(Versions),
    /// The command with this key was handled already.
    DuplicateCommand(Uuid),
    /// Do nothing: events of the stream are lost in this, or may be.
    Damaged(Damage),
    /// Do nothing.
    Refuse(Error),
}

/// The proposals of one commit over the durable events.
pub(crate) struct Draft<'a> {
    index: &'a Index,
    streams_max: usize,
    streams_begun: usize,
    next_versions: HashMap<StreamName, u64>,
    event_ids: HashMap<(StreamName, Uuid), u64>,
    commands: HashMap<Uuid, ContentDigest>,
    /// The streams of commands whose outcomes are kept.
    kept: HashSet<StreamName>,
}

impl<'a> Draft<'a> {
    /// A draft with nothing in it, over a store that may have so many streams.
    pub(crate) fn new(index: &'a Index, streams_max: usize) -> Self {
        Self {
            index,
            streams_max,
            streams_begun: 0,
            next_versions: HashMap::new(),
            event_ids: HashMap::new(),
            commands: HashMap::new(),
            kept: HashSet::new(),
        }
    }

    /// Whether something about this stream is in the draft: if so, what is decided about it holds only once that is
    /// durable.
    pub(crate) fn touches(&self, stream: &StreamName) -> bool {
        self.next_versions.contains_key(stream) || self.kept.contains(stream)
    }

    /// Decides about one proposal, and takes it in if it is to be done.
    pub(crate) fn decide(&mut self, proposal: &Proposal) -> Decision {
        match proposal {
            Proposal::Append(append) => self.decide_append(append),
            Proposal::Keep(outcome) => self.decide_keep(outcome),
        }
    }

    fn decide_keep(&mut self, outcome: &Outcome) -> Decision {
        let Outcome { stream, command_id, digest, .. } = outcome;
        if let Some(decision) = self.handled(stream, command_id, digest) {
            return decision;
        }
        self.commands.insert(command_id.key(stream), *digest);
        self.kept.insert(stream.clone());
        Decision::Keep
    }

    fn decide_append(&mut self, append: &Append) -> Decision {
        let Append { stream, expected, events, command } = append;
        if let Some(decision) = command.as_ref().and_then(|command| self.handled(stream, &command.id, &command.digest))
        {
            return decision;
        }
        if let Some(versions) = self.same_append(append) {
            return Decision::Duplicate(versions);
        }
        if let Some(damage) = self.index.doubt_of(stream) {
            return Decision::Damaged(damage.clone());
        }
        let actual = self.version(stream);
        if !expected.allows(actual) {
            return Decision::Refuse(Error::WrongVersion { stream: stream.clone(), expected: *expected, actual });
        }
        let used = events.iter().find_map(|event| Some((event.event_id, self.version_of(stream, &event.event_id)?)));
        if let Some((event_id, version)) = used {
            return Decision::Refuse(Error::EventIdReused { stream: stream.clone(), event_id, version });
        }
        if actual.is_none() {
            if self.index.stream_count() + self.streams_begun >= self.streams_max {
                return Decision::Refuse(Error::TooManyStreams { stream: stream.clone(), max: self.streams_max });
            }
            self.streams_begun += 1;
        }
        let first = actual.map_or(0, |version| version + 1);
        let next = first + events.len() as u64;
        let versions = Versions { first, last: next - 1 };
        self.event_ids.extend(events.iter().zip(first..).map(|(event, v)| ((stream.clone(), event.event_id), v)));
        self.commands.extend(command.as_ref().map(|command| (command.id.key(stream), command.digest)));
        self.next_versions.insert(stream.clone(), next);
        Decision::Append(versions)
    }

    /// What is to be done about a command whose id was used before.
    fn handled(&self, stream: &StreamName, command_id: &CommandId, digest: &ContentDigest) -> Option<Decision> {
        let key = command_id.key(stream);
        let in_draft = self.commands.get(&key).map(|known| known == digest);
        let is_same = in_draft.or_else(|| self.index.command(&key).map(|known| known.says(digest)))?;
        Some(match is_same {
            true => Decision::DuplicateCommand(key),
            false => {
                Decision::Refuse(Error::CommandIdReused { stream: stream.clone(), command_id: command_id.clone() })
            }
        })
    }

    /// The versions of these very events, if they were appended before in this order under the same expectation.
    fn same_append(&self, append: &Append) -> Option<Versions> {
        let first = self.version_of(&append.stream, &append.events.first()?.event_id)?;
        let stored =
            |(event, version): (&NewEvent, u64)| self.version_of(&append.stream, &event.event_id) == Some(version);
        let before = first.checked_sub(1);
        let same = append.expected.allows(before) && append.events.iter().zip(first..).all(stored);
        same.then(|| Versions { first, last: first + append.events.len() as u64 - 1 })
    }

    fn version(&self, stream: &StreamName) -> Option<u64> {
        self.next_versions.get(stream).map(|next| next - 1).or_else(|| self.index.version(stream))
    }

    fn version_of(&self, stream: &StreamName, event_id: &Uuid) -> Option<u64> {
        let key = (stream.clone(), *event_id);
        self.event_ids.get(&key).copied().or_else(|| self.index.version_of(&key))
    }
}

impl Proposal {
    /// The stream that it is about.
    pub(crate) fn stream(&self) -> &StreamName {
        match self {
            Self::Append(append) => &append.stream,
            Self::Keep(outcome) => &outcome.stream,
        }
    }
}

#[cfg(test)]
mod tests;
