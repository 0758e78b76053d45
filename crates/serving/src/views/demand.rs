//! Whether those who are read can meet a demand for Positions at all, and whether they have to be waited for.

use std::{collections::BTreeSet, pin::pin};

use futures::future::poll_immediate;

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

/// Refuses a demand for partitions that a topic does not have, which no wait would meet. `partitions` says how many a topic
/// has; a topic of which that is not known is not asked.
///
/// # Errors
/// [`Invalid`](model::ErrorKind::Invalid) with the first of them.
pub(crate) fn require_partitions(
    reader: &str,
    demanded: &Positions,
    partitions: impl Fn(&TopicName) -> Option<i32>,
) -> Result<()> {
    for (partition, _) in demanded.iter() {
        let Some(count) = partitions(&partition.topic).filter(|count| partition.partition >= *count) else { continue };
        let (topic, last) = (&partition.topic, count - 1);
        let number = if count == 1 { "1 partition".to_owned() } else { format!("{count} partitions") };
        let message =
            format!("{reader} reads {topic}, which has {number}, and cannot wait for a position in {partition}");
        let there = if count == 1 { format!("{topic}/0") } else { format!("{topic}/0 to {topic}/{last}") };
        return Err(
            Error::invalid(message).with_hint(format!("partitions are counted from 0: demand positions in {there}"))
        );
    }
    Ok(())
}

/// The outcome of `wait`. Only who has to wait for it asks `admit` first, who can refuse.
///
/// # Errors
/// That of `admit`.
pub(crate) async fn admitted<T, E>(
    wait: impl Future<Output = T>,
    admit: impl FnOnce() -> Result<(), E>,
) -> Result<T, E> {
    let mut wait = pin!(wait);
    if let Some(outcome) = poll_immediate(wait.as_mut()).await {
        return Ok(outcome);
    }
    admit()?;
    Ok(wait.await)
}
