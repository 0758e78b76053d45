//! Whether the doors' ports are free, asked before anything is started or written.
//!
//! What it is not: a reservation. Between this question and the door another program may take the port; the door then
//! says so itself.

use std::net::{IpAddr, TcpListener};

use model::Error;

use crate::settings::Settings;

/// The Kafka door, as the flags name it.
pub(crate) const KAFKA: &str = "kafka";
/// The PostgreSQL door.
pub(crate) const PG: &str = "pg";
/// The HTTP door.
pub(crate) const HTTP: &str = "http";

/// A door that cannot open where the settings want it.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The door, as the flags name it.
    pub(crate) door: &'static str,
    host: String,
    /// The port that is not to be had.
    pub(crate) port: u16,
    reason: std::io::Error,
}

/// The doors that cannot open where they should.
pub(crate) fn taken(settings: &Settings) -> Vec<Taken> {
    let doors = [
        (KAFKA, &settings.kafka.host, settings.kafka.port),
        (PG, &settings.pg.host, settings.pg.port),
        (HTTP, &settings.http.host, settings.http.port),
    ];
    let try_door = |(door, host, port): (&'static str, &String, u16)| {
        // What is not an address is the server's to refuse.
        let reason = TcpListener::bind((host.parse::<IpAddr>().ok()?, port)).err()?;
        Some(Taken { door, host: host.clone(), port, reason })
    };
    doors.into_iter().filter(|(_, _, port)| *port != 0).filter_map(try_door).collect()
}

impl From<Taken> for Error {
    fn from(taken: Taken) -> Self {
        let Taken { door, host, port, reason } = taken;
        Error::conflict(format!("cannot listen on {host}:{port}"))
            .with_source(reason)
            .with_hint(format!("another program may have the port: choose one with --{door}-port PORT, 0 for any"))
    }
}
