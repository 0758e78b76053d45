//! Whether those who are read can meet a demand for Positions at all.

use std::collections::BTreeSet;

use model::{Error, Positions, Result, TopicName};

/// Refuses a demand of which `reader`, who reads `topics`, knows nothing: it would look met. One that a client has gathered
/// from several answers may name other topics besides. Who reads no topic is not asked.
///
/// # Errors
/// [`Invalid`](model::ErrorKind::Invalid) where none of the topics is demanded.
pub(crate) fn require_concerned<'a>(
    reader: &str,
    topics: impl IntoIterator<Item = &'a TopicName>,
    demanded: &Positions,
) -> Result<()> {
    let topics: BTreeSet<&str> = topics.into_iter().map(TopicName::as_str).collect();
    let others: BTreeSet<&str> = demanded.iter().map(|(partition, _)| partition.topic.as_str()).collect();
    if others.is_empty() || topics.is_empty() || !topics.is_disjoint(&others) {
        return Ok(());
    }
    let listed = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    let message = format!("{reader} reads {} and cannot wait for a position in {}", listed(topics), listed(others));
    Err(Error::invalid(message).with_hint("demand a position in a topic that is read, or leave it out"))
}
