//! The settings of the PostgreSQL door.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

/// Where the door is and how many may come in.
#[derive(Clone, Debug, Deserialize)]
pub struct PgSettings {
    /// The IP address to listen on.
    #[serde(deserialize_with = "settings::ip_address")]
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// Connections at a time; one more gets an error.
    pub connections_max: usize,
    /// How long a client may take to say who it is, and a cancel request to come.
    #[serde(rename = "startup_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub startup_timeout: Duration,
    /// How long a client may take nothing of an answer before it loses the connection.
    #[serde(rename = "write_stall_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub write_stall_timeout: Duration,
    /// Named prepared statements a connection.
    pub prepared_statements_max: usize,
}

impl PgSettings {
    /// As shipped: the section `pg` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("pg")
    }

    /// Where to listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}
