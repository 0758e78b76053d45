//! The store's settings.

use model::TopicName;
use serde::{Deserialize, Deserializer, de::Error as _};

/// How a store behaves. All limits are inclusive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventStoreSettings {
    /// The topic that holds the events; made with one partition and without retention when it is missing.
    #[serde(deserialize_with = "topic_name")]
    pub topic: TopicName,
    /// How many appends may wait for the writer; more of them wait for room.
    #[serde(rename = "queue_requests_max")]
    pub queue_requests: usize,
    /// How many bytes of records the writer puts into one record batch, when several appends wait. One append is
    /// always one batch, so a larger one makes a larger batch.
    pub batch_bytes: usize,
    /// The most streams; each takes a few hundred bytes of memory, and each event four more.
    pub streams_max: usize,
    /// The largest event, data and metadata together, in bytes; also the largest command.
    pub event_bytes_max: usize,
    /// The most events in one append.
    pub events_per_append_max: usize,
    /// The largest append, in bytes of records.
    pub append_bytes_max: usize,
    /// How many of the latest events are remembered by id, so that an append sent twice is done once.
    pub idempotence_window_events: usize,
    /// How many of the latest commands are remembered by id, so that a command sent twice is done once: so many of
    /// those that led to events, and so many of those that led to none.
    pub idempotence_window_commands: usize,
    /// The most events in one page of a read.
    pub page_events_max: usize,
    /// The most bytes in one page of a read; a page has at least one event.
    pub page_bytes_max: usize,
    /// How many bytes are read from the log at once.
    pub read_bytes: usize,
    /// How many bytes of record batches are cached for reads of streams.
    pub cache_bytes: usize,
    /// How many events a subscription reads ahead of its reader.
    pub subscription_queue_events: usize,
    /// How many bytes of events a subscription reads ahead of its reader; one event at least.
    pub subscription_queue_bytes: usize,
}

impl EventStoreSettings {
    /// As shipped: the section `events` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("events")
    }
}

fn topic_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TopicName, D::Error> {
    TopicName::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}
