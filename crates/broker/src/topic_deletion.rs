//! [`TopicDeletion`]: whether a topic that its caller may change may go.
//!
//! What it is not: authorisation, which comes before. A broker does not know who else needs a topic; whoever starts it
//! does, and hands the question over.

use std::{fmt, sync::Arc};

use kafka_wire::ErrorCode;
use model::TopicName;

use crate::requests::{Refusal, reason};

type Check = dyn Fn(&TopicName) -> model::Result<()> + Send + Sync;

/// Asks whether a topic may be deleted.
#[derive(Clone)]
pub struct TopicDeletion(Arc<Check>);

impl TopicDeletion {
    /// A question that is asked for each topic that a client wants to delete; it must not block. Its error is what the
    /// client is told.
    pub fn new(check: impl Fn(&TopicName) -> model::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Every topic may be deleted.
    pub fn unrestricted() -> Self {
        Self::new(|_| Ok(()))
    }

    /// Refuses what may not be deleted. Kafka's own policies refuse with this code, and every version has it.
    pub(crate) fn check(&self, topic: &TopicName) -> Result<(), Refusal> {
        (self.0)(topic).map_err(|error| {
            let reason = reason(&error);
            // Many clients show no more than the code.
            tracing::warn!(%topic, "did not delete a topic: {reason}");
            (ErrorCode::PolicyViolation, reason)
        })
    }
}

impl fmt::Debug for TopicDeletion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TopicDeletion")
    }
}
