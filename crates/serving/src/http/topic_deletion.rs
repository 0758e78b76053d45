//! Which topics may be deleted, and what is said of those that may not.
//!
//! What it is: the one rule, asked by `DELETE /v1/topics/{topic}` and so by `fourfold topic delete`.
//!
//! What it is not: authorisation. A caller who may change the topic is kept from an accident here, and `force` says that
//! it is none. The topic of a part of the server is that part's: no force deletes it.

use model::{Error, ErrorKind, TopicName};
use sql::SourceDefinition;
use streaming::dead_letter_topic;

use super::problem::{Problem, Result};

/// Refuses to delete what a part of the server owns.
pub(super) fn refuse_if_owned(topic: &TopicName, owner: Option<&str>) -> Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    let error = Error::new(ErrorKind::Denied, format!("topic {topic} is {owner}'s: it cannot be deleted"));
    Err(error.with_hint("it goes with the server's data folder").into())
}

/// Refuses to delete what sources read, and the dead letters of what they read.
pub(super) fn refuse_if_used(topic: &TopicName, sources: &[SourceDefinition]) -> Result<()> {
    let names = |uses: &dyn Fn(&TopicName) -> bool| -> Vec<&str> {
        sources.iter().filter(|source| uses(&source.topic)).map(|source| source.name.as_str()).collect()
    };
    let readers = names(&|read| read == topic);
    let rejecters = names(&|read| dead_letter_topic(read).is_ok_and(|letters| letters == *topic));
    let (what, used_by) = match (readers.is_empty(), rejecters.is_empty()) {
        (false, _) => (format!("topic {topic} is read by {}", listed(&readers)), readers),
        (true, false) => (format!("topic {topic} has the dead letters of {}", listed(&rejecters)), rejecters),
        (true, true) => return Ok(()),
    };
    let dropped: Vec<String> = used_by.iter().map(|source| format!("DROP SOURCE {source}")).collect();
    let hint = format!(
        "drop first what needs it ({}), or delete it all the same: ?force=true, or fourfold topic delete --force",
        dropped.join("; ")
    );
    let problem = Problem::from(Error::conflict(what)).with_hint(hint);
    Err(problem.with_member("sources", used_by))
}

fn listed(sources: &[&str]) -> String {
    let noun = if sources.len() == 1 { "source" } else { "sources" };
    format!("{noun} {}", sources.join(", "))
}
