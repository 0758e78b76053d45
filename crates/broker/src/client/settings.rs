//! How our own clients connect, wait, gather and repeat.

use std::time::Duration;

use eventlog::{Acks, Compression};
use serde::Deserialize;

/// How a client connects and waits.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientSettings {
    /// The client's name for itself.
    pub client_id: String,
    /// How long a connection may take to be made.
    #[serde(rename = "connect_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub connect_timeout: Duration,
    /// How long an answer may take.
    #[serde(rename = "request_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub request_timeout: Duration,
    /// The largest answer accepted, in bytes.
    pub answer_bytes_max: usize,
}

impl ClientSettings {
    /// As shipped: the section `client` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("client")
    }
}

/// How a producer gathers, sends and repeats.
#[derive(Clone, Debug, Deserialize)]
pub struct ProducerSettings {
    /// When the broker confirms a batch.
    #[serde(skip, default = "durable")]
    pub acks: Acks,
    /// How batches are compressed.
    #[serde(skip, default = "uncompressed")]
    pub compression: Compression,
    /// How long a batch may wait for more records before it is sent.
    #[serde(rename = "linger_ms", deserialize_with = "settings::milliseconds")]
    pub linger: Duration,
    /// A batch of this size is sent at once, in bytes before compression.
    pub batch_bytes_max: usize,
    /// How many bytes of records may wait for confirmation; a sender beyond that waits.
    pub buffered_bytes_max: usize,
    /// How many requests may be in flight. At most 5, as a broker remembers five batches to recognise repetitions.
    #[serde(rename = "in_flight_requests_max")]
    pub in_flight_max: usize,
    /// How long a batch is tried before its records are given up.
    #[serde(rename = "delivery_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub delivery_timeout: Duration,
    /// How long to pause before a request is repeated.
    #[serde(rename = "retry_pause_ms", deserialize_with = "settings::milliseconds")]
    pub retry_pause: Duration,
}

impl ProducerSettings {
    /// As shipped: the section `producer` of `config/default.toml`, each batch durable and not compressed.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("producer")
    }
}

fn durable() -> Acks {
    Acks::Durable
}

fn uncompressed() -> Compression {
    Compression::None
}
