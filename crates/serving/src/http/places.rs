//! The places of requests: of those that work, and of those that wait for Positions; and the room for their bodies.
//!
//! What must hold: each kind is bounded by itself, so that neither clients that send slowly nor clients that wait for
//! what does not come keep anybody from an answer that could be had at once.

use std::sync::Arc;

use model::Error;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{HttpSettings, problem::Result};

/// All places of a door.
#[derive(Debug)]
pub(super) struct Places {
    working: Kind,
    waiting: Arc<Kind>,
    /// What all bodies together may have, in bytes.
    bodies: Arc<Semaphore>,
    bodies_bytes_max: u32,
}

/// The places of one kind.
#[derive(Debug)]
struct Kind {
    free: Arc<Semaphore>,
    places: usize,
    doing: &'static str,
}

/// The place of one request, given back when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<OwnedSemaphorePermit>>,
    waiting: Arc<Kind>,
}

impl Places {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let kind = |places, doing| Kind { free: Arc::new(Semaphore::new(places)), places, doing };
        Self {
            working: kind(settings.requests_in_flight_max, "are in work"),
            waiting: Arc::new(kind(settings.requests_waiting_max, "wait for positions")),
            bodies: Arc::new(Semaphore::new(settings.bodies_bytes_max as usize)),
            bodies_bytes_max: settings.bodies_bytes_max,
        }
    }

    /// A place for a request that works, until its answer's last byte.
    pub(super) fn work(&self) -> Result<Place> {
        let taken = Arc::new(Mutex::new(self.working.take()?));
        Ok(Place { taken, waiting: Arc::clone(&self.waiting) })
    }

    /// Room for so many more bytes of a body.
    pub(super) fn receive(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.bodies).try_acquire_many_owned(permits).map_err(|_| {
            let max = self.bodies_bytes_max;
            let error = format!("the bodies of all requests have {max} bytes already, which is this server's limit");
            Error::unavailable(error).with_hint("try again in a moment, or send smaller requests").into()
        })
    }
}

impl Place {
    /// Exchanges a place to work for a place to wait: whoever waits for a Position may do so for as long as it says.
    pub(super) fn wait(&self) -> model::Result<()> {
        *self.taken.lock() = self.waiting.take()?;
        Ok(())
    }
}

impl Kind {
    fn take(&self) -> model::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let error = format!("{} requests {} already, which is this server's limit", self.places, self.doing);
            Error::unavailable(error).with_hint("try again in a moment, with fewer requests at a time")
        })
    }
}
