//! What the writer decides about the appends of one commit, before any of it is durable.
//!
//! A [`Draft`] lies over the [`Index`]: it sees the durable events and, on top, those that this commit will append.
//! It changes nothing underneath. When the commit fails, dropping the draft is the whole rollback.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{CommandId, Error, ExpectedVersion, NewEvent, StreamName, index::Index, index::Versions};

/// What an append asks for.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) stream: StreamName,
    pub(crate) expected: ExpectedVersion,
    /// Not empty, checked, no id twice.
    pub(crate) events: Vec<NewEvent>,
    pub(crate) command_id: Option<CommandId>,
}

/// What is to be done about an append.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Append the events with these versions.
    Append(Versions),
    /// The events are there already.
    Duplicate(Versions),
    /// Append nothing.
    Refuse(Error),
}

/// The appends of one commit over the durable events.
pub(crate) struct Draft<'a> {
    index: &'a Index,
    next_versions: HashMap<StreamName, u64>,
    event_ids: HashMap<(StreamName, Uuid), u64>,
    commands: HashMap<Uuid, Versions>,
}

impl<'a> Draft<'a> {
    /// A draft with nothing in it.
    pub(crate) fn new(index: &'a Index) -> Self {
        Self { index, next_versions: HashMap::new(), event_ids: HashMap::new(), commands: HashMap::new() }
    }

    /// Whether events of this stream are in the draft: if so, what is decided about it holds only once they are
    /// durable.
    pub(crate) fn touches(&self, stream: &StreamName) -> bool {
        self.next_versions.contains_key(stream)
    }

    /// Decides about one append, and takes it in if it is to be done.
    pub(crate) fn decide(&mut self, proposal: &Proposal) -> Decision {
        let Proposal { stream, expected, events, command_id } = proposal;
        let command_key = command_id.as_ref().map(|id| id.key(stream));
        if let Some(versions) = command_key.and_then(|key| self.command(&key)) {
            return Decision::Duplicate(versions);
        }
        if let Some(versions) = self.same_append(proposal) {
            return Decision::Duplicate(versions);
        }
        let actual = self.version(stream);
        if !expected.allows(actual) {
            return Decision::Refuse(Error::WrongVersion { stream: stream.clone(), expected: *expected, actual });
        }
        let used = events.iter().find_map(|event| Some((event.event_id, self.version_of(stream, &event.event_id)?)));
        if let Some((event_id, version)) = used {
            return Decision::Refuse(Error::EventIdReused { stream: stream.clone(), event_id, version });
        }
        let first = actual.map_or(0, |version| version + 1);
        let next = first + events.len() as u64;
        let versions = Versions { first, last: next - 1 };
        self.event_ids.extend(events.iter().zip(first..).map(|(event, v)| ((stream.clone(), event.event_id), v)));
        self.commands.extend(command_key.map(|key| (key, versions)));
        self.next_versions.insert(stream.clone(), next);
        Decision::Append(versions)
    }

    /// The versions of these very events, if they were appended before in this order under the same expectation.
    fn same_append(&self, proposal: &Proposal) -> Option<Versions> {
        let first = self.version_of(&proposal.stream, &proposal.events.first()?.event_id)?;
        let stored =
            |(event, version): (&NewEvent, u64)| self.version_of(&proposal.stream, &event.event_id) == Some(version);
        let before = first.checked_sub(1);
        let same = proposal.expected.allows(before) && proposal.events.iter().zip(first..).all(stored);
        same.then(|| Versions { first, last: first + proposal.events.len() as u64 - 1 })
    }

    fn version(&self, stream: &StreamName) -> Option<u64> {
        self.next_versions.get(stream).map(|next| next - 1).or_else(|| self.index.version(stream))
    }

    fn version_of(&self, stream: &StreamName, event_id: &Uuid) -> Option<u64> {
        let key = (stream.clone(), *event_id);
        self.event_ids.get(&key).copied().or_else(|| self.index.version_of(&key))
    }

    fn command(&self, key: &Uuid) -> Option<Versions> {
        self.commands.get(key).copied().or_else(|| self.index.command(key))
    }
}

#[cfg(test)]
mod tests;
