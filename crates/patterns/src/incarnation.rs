//! [`Incarnation`]: topics as they were when a version of a view began to fold them.
//!
//! What must hold: offsets are compared within one incarnation only. A topic that is deleted and created again begins
//! at offset 0 with other records, and nothing in an offset tells.

use std::{fmt, sync::Arc};

use eventlog::EventLog;
use model::{Error, Result, TopicName};
use uuid::Uuid;

/// Topics with the ids that they had.
#[derive(Clone)]
pub(crate) struct Incarnation {
    log: Arc<dyn EventLog>,
    topics: Vec<(TopicName, Uuid)>,
}

impl Incarnation {
    /// The topics with these ids, whether they are still there or not.
    pub(crate) fn new(log: &Arc<dyn EventLog>, topics: Vec<(TopicName, Uuid)>) -> Self {
        Self { log: Arc::clone(log), topics }
    }

    /// Whether the topics are still the same. Since ids do not come back, what was read before the check is then of this
    /// incarnation too.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when a topic is gone, or another has its name.
    pub(crate) fn check(&self) -> Result<()> {
        self.topics.iter().try_for_each(|(topic, id)| self.check_one(topic, *id))
    }

    fn check_one(&self, topic: &TopicName, id: Uuid) -> Result<()> {
        let (happened, hint) = match self.log.topic(topic.as_str()) {
            Some(found) if found.id == id => return Ok(()),
            Some(_) => (
                "was deleted and created again",
                "REFRESH MATERIALIZED VIEW begins again, with the topic that is there now",
            ),
            None => (
                "was deleted",
                "drop the view; or create the topic again, and REFRESH MATERIALIZED VIEW begins again with that one",
            ),
        };
        Err(Error::conflict(format!("topic {topic} {happened}")).with_hint(hint))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({:?})", self.topics)
    }
}
