//! The broker's settings, with the defaults of one machine.

use std::{net::SocketAddr, time::Duration};

/// How the broker listens, and its limits.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The host that clients are told to connect to. An IPv4 literal, because some clients resolve `localhost` to
    /// IPv6 first. `None` is the address listened on.
    pub advertised_host: Option<String>,
    /// The port that clients are told to connect to; `None` is the port listened on.
    pub advertised_port: Option<u16>,
    /// This broker's node id.
    pub node_id: i32,
    /// The id of the cluster of one.
    pub cluster_id: String,
    /// How many connections may be open; one more is closed at once.
    pub connections_max: usize,
    /// The largest request accepted, in bytes.
    pub request_bytes_max: usize,
    /// How many bytes of requests may be in work, over all connections. At least `request_bytes_max`.
    pub in_flight_bytes_max: usize,
    /// How many produce requests of one connection may be in work.
    pub in_flight_requests_max: usize,
    /// A connection without requests is closed after this time.
    pub idle_timeout: Duration,
    /// A request that began must have arrived, and an answer must have been taken, within this time.
    pub transfer_timeout: Duration,
    /// How long a stop waits for requests in work.
    pub stop_timeout: Duration,
    /// The most bytes that one fetch answers (a first batch may be larger).
    pub fetch_bytes_max: usize,
    /// How many bytes of answers may wait to be read, over all connections. At least four times `fetch_bytes_max`.
    pub answer_bytes_max: usize,
    /// The longest wait of a fetch.
    pub fetch_wait_max: Duration,
    /// Whether a topic that a client asks for is created.
    pub auto_create_topics: bool,
    /// How many partitions a topic gets when nobody says.
    pub default_partitions: i32,
    /// Limits of consumer groups.
    pub groups: GroupSettings,
}

/// Limits of consumer groups.
#[derive(Clone, Copy, Debug)]
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
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9092)),
            advertised_host: None,
            advertised_port: None,
            node_id: 1,
            cluster_id: "fourfold".to_owned(),
            connections_max: 1_000,
            request_bytes_max: 100 * 1024 * 1024,
            in_flight_bytes_max: 256 * 1024 * 1024,
            in_flight_requests_max: 64,
            idle_timeout: Duration::from_secs(600),
            transfer_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
            fetch_bytes_max: 55 * 1024 * 1024,
            answer_bytes_max: 256 * 1024 * 1024,
            fetch_wait_max: Duration::from_secs(60),
            auto_create_topics: true,
            default_partitions: 1,
            groups: GroupSettings::default(),
        }
    }
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 200,
            members_max: 1_000,
            groups_max: 10_000,
            group_bytes_max: 16 * 1024 * 1024,
            groups_bytes_max: 64 * 1024 * 1024,
            offset_metadata_bytes_max: 4_096,
        }
    }
}
