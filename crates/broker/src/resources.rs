//! What a broker is started with; made by whoever starts the product.

use std::sync::Arc;

use eventlog::EventLog;
use model::{Clock, Metrics};

use crate::topic_deletion::TopicDeletion;

/// What a server is made of.
#[derive(Clone)]
pub struct Resources {
    /// Where records are.
    pub log: Arc<dyn EventLog>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// Which topics may be deleted.
    pub topic_deletion: TopicDeletion,
}
