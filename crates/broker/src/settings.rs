//! The broker's settings.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use eventlog::TopicSettings;
use serde::Deserialize;

/// How the broker listens, and its limits.
#[derive(Clone, Debug, Deserialize)]
pub struct BrokerSettings {
    /// The IP address to listen on.
    #[serde(deserialize_with = "settings::ip_address")]
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The host that clients are told to connect to. An IPv4 literal, because some clients resolve `localhost` to
    /// IPv6 first. `None` is the address listened on.
    #[serde(deserialize_with = "settings::optional_text")]
    pub advertised_host: Option<String>,
    /// The port that clients are told to connect to; `None` is the port listened on.
    #[serde(deserialize_with = "settings::optional_port")]
    pub advertised_port: Option<u16>,
    /// This broker's node id.
    pub node_id: i32,
    /// The id of the cluster of one.
    pub cluster_id: String,
    /// How many connections may be open. For one more the one that has been silent for longest is closed; where all have
    /// requests in work, it is closed itself.
    pub connections_max: usize,
    /// The largest request accepted, in bytes.
    pub request_bytes_max: usize,
    /// How many bytes of requests may be in work, over all connections. At least `request_bytes_max`.
    pub in_flight_bytes_max: usize,
    /// How many produce requests of one connection may be in work.
    pub in_flight_requests_max: usize,
    /// A connection without requests is closed after this time.
    #[serde(rename = "idle_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub idle_timeout: Duration,
    /// A request that began must have arrived, and an answer must have been taken, within this time.
    #[serde(rename = "transfer_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub transfer_timeout: Duration,
    /// How long a stop waits for requests in work.
    #[serde(rename = "stop_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub stop_timeout: Duration,
    /// The most bytes that one fetch answers (a first batch may be larger).
    pub fetch_bytes_max: usize,
    /// How many bytes of answers may wait to be read, over all connections. At least four times `fetch_bytes_max`.
    pub answer_bytes_max: usize,
    /// The longest wait of a fetch.
    #[serde(rename = "fetch_wait_ms_max", deserialize_with = "settings::milliseconds")]
    pub fetch_wait_max: Duration,
    /// Whether a topic that a client asks for is created.
    pub auto_create_topics: bool,
    /// How many partitions a topic gets when nobody says.
    pub default_partitions: i32,
    /// How long records are kept of a topic that a client creates without `retention.ms`, in milliseconds; -1 for ever.
    pub default_retention_ms: i64,
    /// Limits of consumer groups.
    #[serde(flatten)]
    pub groups: GroupSettings,
}

impl BrokerSettings {
    /// As shipped: the section `kafka` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("kafka")
    }

    /// What a topic has when nobody asks for anything else.
    pub(crate) fn topic_settings(&self) -> TopicSettings {
        let retention_ms = Some(self.default_retention_ms).filter(|ms| *ms >= 0);
        TopicSettings { retention_ms, ..TopicSettings::default() }
    }

    /// Where to listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

/// Limits of consumer groups.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct GroupSettings {
    /// The shortest session timeout accepted, in milliseconds.
    pub session_timeout_ms_min: i32,
    /// The longest session timeout accepted, in milliseconds.
    pub session_timeout_ms_max: i32,
    /// How long the first rebalance of an empty group waits for more members, in milliseconds.
    pub initial_rebalance_delay_ms: i64,
    /// How many members a group may have.
    pub members_max: usize,
    /// How many groups may have members at one time.
    pub groups_max: usize,
    /// How much one group may keep of its members, in bytes: their metadata, assignments and names.
    pub group_bytes_max: usize,
    /// How much all groups may keep of their members, in bytes.
    pub groups_bytes_max: usize,
    /// The longest note that a consumer may commit with an offset, in bytes.
    pub offset_metadata_bytes_max: usize,
    /// How many offsets all groups may have committed, one for each group and partition.
    pub offsets_max: usize,
    /// How much the notes with them may take together, in bytes.
    pub offset_notes_bytes_max: usize,
    /// How long the offsets of a group are kept after its last member has left, and without any, after their commit, in
    /// milliseconds; -1 for ever.
    pub offsets_retention_ms: i64,
    /// How often that is looked at, in milliseconds.
    pub offsets_check_interval_ms: u64,
}

impl GroupSettings {
    /// As shipped: the section `kafka` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("kafka")
    }
}
