//! [`TopicUse`]: what the sources need a topic for, and so why it should not be deleted.
//!
//! What it is: the one rule, asked by `DELETE /v1/topics/{topic}` (and so by `fourfold topic delete`), and by Kafka's
//! `DeleteTopics`.
//!
//! What it is not: authorisation. A caller who may change the topic is kept from an accident.

use std::fmt;

use model::{Error, TopicName};
use sql::SourceDefinition;
use streaming::dead_letter_topic;

/// A topic that sources need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicUse {
    topic: TopicName,
    verb: &'static str,
    sources: Vec<String>,
    /// The statements that drop them.
    drops: Vec<String>,
}

impl TopicUse {
    /// What `sources` need the topic for: they read it, or have their dead letters in it. `None` when none does.
    pub fn find(topic: &TopicName, sources: &[SourceDefinition]) -> Option<Self> {
        let users = |uses: &dyn Fn(&TopicName) -> bool| -> Vec<&SourceDefinition> {
            sources.iter().filter(|source| uses(&source.topic)).collect()
        };
        let readers = users(&|read| read == topic);
        let rejecters = users(&|read| dead_letter_topic(read).is_ok_and(|letters| letters == *topic));
        let (verb, users) = match (readers.is_empty(), rejecters.is_empty()) {
            (false, _) => ("is read by", readers),
            (true, false) => ("has the dead letters of", rejecters),
            (true, true) => return None,
        };
        let drop = |source: &SourceDefinition| {
            format!("DROP {} {}", if source.is_table() { "TABLE" } else { "SOURCE" }, source.name)
        };
        Some(Self {
            topic: topic.clone(),
            verb,
            sources: users.iter().map(|source| source.name.clone()).collect(),
            drops: users.into_iter().map(drop).collect(),
        })
    }

    /// The sources that need it.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// What to do before the topic is deleted.
    pub fn remedy(&self) -> String {
        format!("drop first what needs it ({})", self.drops.join("; "))
    }
}

impl fmt::Display for TopicUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.sources.len() == 1 { "source" } else { "sources" };
        write!(f, "topic {} {} {noun} {}", self.topic, self.verb, self.sources.join(", "))
    }
}

/// The refusal to delete it, where only the command line can insist.
impl From<TopicUse> for Error {
    fn from(used: TopicUse) -> Self {
        let hint = format!("{}, or delete it all the same: fourfold topic delete --force", used.remedy());
        Self::conflict(used.to_string()).with_hint(hint)
    }
}
