//! A page of what all streams have.

use model::Offset;

use crate::RecordedEvent;

/// A page of all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllPage {
    /// The events, in order. There may be none although more follow, where others have written into the topic.
    pub events: Vec<RecordedEvent>,
    /// Where to read on.
    pub next_offset: Offset,
    /// The end of the store when the page was read: when `next_offset` has reached it, everything was read.
    pub end_offset: Offset,
}
