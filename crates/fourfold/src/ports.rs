//! Whether the doors' ports are free, asked before anything is started or written.
//!
//! What it is not: a reservation. Between this question and the door another program may take the port; the door then
//! says so itself.

use std::net::{SocketAddr, TcpListener};

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
    address: SocketAddr,
    reason: std::io::Error,
}

/// The doors that cannot open where they should.
pub(crate) fn taken(settings: &Settings) -> Vec<Taken> {
    let doors = [(KAFKA, settings.kafka.listen()), (PG, settings.pg.listen()), (HTTP, settings.http.listen())];
    let try_door = |(door, address): (&'static str, SocketAddr)| {
        let reason = TcpListener::bind(address).err()?;
        Some(Taken { door, address, reason })
    };
    doors.into_iter().filter(|(_, address)| address.port() != 0).filter_map(try_door).collect()
}

impl Taken {
    /// The port that is not to be had.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl From<Taken> for Error {
    fn from(taken: Taken) -> Self {
        let Taken { door, address, reason } = taken;
        Error::conflict(format!("cannot listen on {address}"))
            .with_source(reason)
            .with_hint(format!("another program may have the port: choose one with --{door}-port PORT, 0 for any"))
    }
}
