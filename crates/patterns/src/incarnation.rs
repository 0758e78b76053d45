//! [`Incarnation`]: a topic as it was when a version of a view began to fold it.
//!
//! What must hold: offsets are compared within one incarnation only. A topic that is deleted and created again begins
//! at offset 0 with other records, and nothing in an offset tells.

use std::{fmt, sync::Arc};

use eventlog::EventLog;
use model::{Error, Result, TopicName};
use uuid::Uuid;

/// A topic with the id that it had.
#[derive(Clone)]
pub(crate) struct Incarnation {
    log: Arc<dyn EventLog>,
    topic: TopicName,
    id: Uuid,
}

impl Incarnation {
    /// The topic with this id, whether it is still there or not.
    pub(crate) fn new(log: &Arc<dyn EventLog>, topic: &TopicName, id: Uuid) -> Self {
        Self { log: Arc::clone(log), topic: topic.clone(), id }
    }

    /// Whether the topic is still the same. Since ids do not come back, what was read before the check is then of this
    /// incarnation too.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when the topic is gone, or another has its name.
    pub(crate) fn check(&self) -> Result<()> {
        let (happened, hint) = match self.log.topic(self.topic.as_str()) {
            Some(topic) if topic.id == self.id => return Ok(()),
            Some(_) => (
                "was deleted and created again",
                "REFRESH MATERIALIZED VIEW begins again, with the topic that is there now",
            ),
            None => (
                "was deleted",
                "drop the view; or create the topic again, and REFRESH MATERIALIZED VIEW begins again with that one",
            ),
        };
        Err(Error::conflict(format!("topic {} {happened}", self.topic)).with_hint(hint))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({} {})", self.topic, self.id)
    }
}
