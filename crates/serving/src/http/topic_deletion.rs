//! Which topics this door deletes, and what is said of those that it does not.
//!
//! What must hold: `force` says that it is no accident to delete what sources need. The topic of a part of the server is
//! that part's: no force deletes it.

use model::{Error, ErrorKind, TopicName};
use sql::SourceDefinition;

use super::problem::{Problem, Result};
use crate::topic_use::TopicUse;

/// Refuses to delete what a part of the server owns.
pub(super) fn refuse_if_owned(topic: &TopicName, owner: Option<&str>) -> Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    let error = Error::new(ErrorKind::Denied, format!("topic {topic} is {owner}'s: it cannot be deleted"));
    Err(error.with_hint("it goes with the server's data folder").into())
}

/// Refuses to delete what sources read, and the dead letters of what they read.
pub(super) fn refuse_if_used(topic: &TopicName, sources: &[SourceDefinition]) -> Result<()> {
    let Some(used) = TopicUse::find(topic, sources) else { return Ok(()) };
    let hint = format!("{}, or delete it all the same: ?force=true, or fourfold topic delete --force", used.remedy());
    let problem = Problem::from(Error::conflict(used.to_string())).with_hint(hint);
    Err(problem.with_member("sources", used.sources()))
}
