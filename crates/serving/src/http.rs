//! The HTTP door: JSON over HTTP/1.1 for topics, views, SQL, event streams, commands, health and metrics.
//!
//! What it is: [`start`] binds an address and serves the [routes](mod@routes) described by `/openapi.json`; each
//! noun has its own file.
//!
//! What it is not: a second implementation of anything. A handler reads a request, asks one of the [`Services`], and
//! writes an answer.
//!
//! What must hold:
//! - every answer that read or wrote something says how far (`positions`, and the header `fourfold-positions`), and
//!   every read can demand a position and wait for it (`min_position`, `timeout_ms`);
//! - every request carries a principal, and `model::authorise` is asked before anything is looked at;
//! - connections, requests in flight, bodies, answers and times are bounded, and what is cut short says so;
//! - a door on loopback answers to loopback names only, so that a web page cannot reach it by DNS rebinding, and no
//!   answer permits another origin to read it.

mod answer;
mod backup;
mod commands;
mod connection;
mod encoding;
mod events;
mod guard;
mod health;
mod instants;
mod negotiation;
mod numbers;
mod parameters;
mod places;
mod positions;
mod problem;
mod record_json;
mod records;
mod rejected;
mod routes;
mod rows;
mod sql;
mod streams;
mod times;
mod topic_deletion;
mod topics;
mod unread;
mod views;
mod waiting;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use eventlog::EventLog;
use eventstore::{Aggregates, EventStore};
use model::{Clock, Entropy, Error, Metrics, Result};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use backup::{BackupReport, Backups};
pub use health::{Part, Readiness};

use crate::{sql::SqlService, views::Views};

#[cfg(test)]
mod tests;

/// The description of this door, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("http/openapi.json");

/// What may be set for the HTTP door.
#[derive(Clone, Debug, Deserialize)]
pub struct HttpSettings {
    /// The IP address to listen on.
    #[serde(deserialize_with = "settings::ip_address")]
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// Names, besides those of loopback, by which clients may call a door on loopback (the `Host` header, without
    /// port).
    pub hosts_allowed: Vec<String>,
    /// Connections open at a time; further ones wait to be accepted.
    pub connections_max: usize,
    /// Requests in work at a time, until the last byte of the answer; further ones are answered 503.
    pub requests_in_flight_max: usize,
    /// Requests that wait for a Position at a time; further ones are answered 503.
    pub requests_waiting_max: usize,
    /// What the bodies of all requests may have together, in bytes; more is answered 503.
    pub bodies_bytes_max: u32,
    /// The largest request body, in bytes.
    #[serde(rename = "body_bytes_max")]
    pub request_bytes_max: usize,
    /// A request's body has to have arrived in this time.
    #[serde(rename = "body_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub body_timeout: Duration,
    /// A request that has arrived has to be answered (up to the first byte of the answer's body) in this time.
    #[serde(rename = "request_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub request_timeout: Duration,
    /// The same for `/v1/sql`, where a statement may rebuild a view, which takes as long as its topic is long.
    #[serde(rename = "statement_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub statement_timeout: Duration,
    /// How long a read waits for `min_position` when it does not say.
    #[serde(rename = "wait_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub wait_timeout: Duration,
    /// A connection that sends no complete request head in this time is closed; also the longest idle time.
    #[serde(rename = "head_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub head_timeout: Duration,
    /// A connection that takes no byte of an answer in this time is closed.
    #[serde(rename = "write_stall_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub write_stall_timeout: Duration,
    /// The longest time in which a streamed answer has to be taken.
    #[serde(rename = "stream_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub stream_timeout: Duration,
    /// The most rows, records or events in an answer that is not streamed.
    pub answer_rows_max: usize,
    /// The largest answer that is not streamed, in bytes.
    pub answer_bytes_max: usize,
    /// The largest streamed answer, in bytes.
    pub stream_bytes_max: u64,
    /// How long [`HttpServer::stop`] lets requests finish.
    #[serde(rename = "stop_timeout_ms", deserialize_with = "settings::milliseconds")]
    pub stop_timeout: Duration,
}

impl HttpSettings {
    /// As shipped: the section `http` of `config/default.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        settings::section("http")
    }

    /// Where to listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

/// What lies behind the door.
#[derive(Clone)]
pub struct Services {
    /// Topics and their records.
    pub log: Arc<dyn EventLog>,
    /// SQL.
    pub sql: Arc<SqlService>,
    /// Views, for reads that need no SQL.
    pub views: Arc<Views>,
    /// Streams of events, where this server keeps them.
    pub event_store: Option<Arc<EventStore>>,
    /// What takes commands, where something does.
    pub aggregates: Option<Arc<Aggregates>>,
    /// Where the timestamps of records posted here come from.
    pub clock: Arc<dyn Clock>,
    /// Where the ids of events and commands come from that are sent without one.
    pub entropy: Arc<dyn Entropy>,
    /// What is counted, and served at `/metrics`.
    pub metrics: Metrics,
    /// Which parts of the server are ready, for `/readyz`.
    pub readiness: Readiness,
    /// What makes backups, where something does.
    pub backups: Option<Backups>,
}

/// The HTTP door, open.
#[derive(Debug)]
pub struct HttpServer {
    /// Where it listens.
    pub local_addr: SocketAddr,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl HttpServer {
    /// Closes the door: accepts no more, lets requests finish for [`HttpSettings::stop_timeout`], ends the rest.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        if let Err(error) = self.accepting.await {
            tracing::warn!(%error, "the HTTP door did not stop by itself");
        }
    }
}

/// Opens the door.
///
/// # Errors
/// [`Unavailable`](model::ErrorKind::Unavailable) when the address cannot be had.
pub async fn start(settings: HttpSettings, services: Services) -> Result<HttpServer> {
    let cannot_listen = |error: std::io::Error| {
        Error::unavailable(format!("cannot listen for HTTP on {}", settings.listen()))
            .with_hint("stop whatever uses the address, or choose another one")
            .with_source(error)
    };
    let listener = TcpListener::bind(settings.listen()).await.map_err(cannot_listen)?;
    let local_addr = listener.local_addr().map_err(cannot_listen)?;
    let (stopping, stopped) = watch::channel(false);
    let server = Arc::new(Server::new(settings, services, local_addr));
    let accepting = tokio::spawn(connection::accept(listener, server, stopped));
    tracing::info!(%local_addr, "listening for HTTP");
    Ok(HttpServer { local_addr, stopping, accepting })
}

/// What every handler shares.
struct Server {
    settings: HttpSettings,
    services: Services,
    registry: Registry,
    hosts: guard::Hosts,
    places: places::Places,
    /// Who unfolds compressed records, which takes a thread and memory for a while.
    unfolding: tokio::sync::Semaphore,
    next_partition: std::sync::atomic::AtomicUsize,
}

impl Server {
    fn new(settings: HttpSettings, services: Services, local_addr: SocketAddr) -> Self {
        Self {
            registry: services.metrics.registry(),
            hosts: guard::Hosts::new(local_addr, &settings.hosts_allowed),
            places: places::Places::new(&settings),
            unfolding: tokio::sync::Semaphore::new(records::UNFOLDING_MAX),
            next_partition: std::sync::atomic::AtomicUsize::new(0),
            settings,
            services,
        }
    }
}
