//! The places of requests: of those that work, of those that wait for Positions, of those whose bodies arrive.
//!
//! What must hold: each kind is bounded by itself, so that neither clients that send slowly nor clients that wait for
//! what does not come keep anybody from an answer that could be had at once.

use std::sync::Arc;

use model::Error;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    HttpSettings,
    problem::{Problem, Result},
};

/// All places of a door.
#[derive(Debug)]
pub(super) struct Places {
    working: Kind,
    waiting: Arc<Kind>,
    arriving: Kind,
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
            arriving: kind(settings.requests_in_flight_max, "are being received"),
        }
    }

    /// A place for a request that works, until its answer's last byte.
    pub(super) fn work(&self) -> Result<Place> {
        let taken = Arc::new(Mutex::new(self.working.take()?));
        Ok(Place { taken, waiting: Arc::clone(&self.waiting) })
    }

    /// A place for a request whose body has yet to come.
    pub(super) fn arrive(&self) -> Result<OwnedSemaphorePermit> {
        self.arriving.take()
    }
}

impl Place {
    /// Exchanges a place to work for a place to wait: whoever demands a Position may wait for as long as it says.
    pub(super) fn wait(&self) -> Result<()> {
        *self.taken.lock() = self.waiting.take()?;
        Ok(())
    }
}

impl Kind {
    fn take(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let error = format!("{} requests {} already, which is this server's limit", self.places, self.doing);
            Problem::from(Error::unavailable(error).with_hint("try again in a moment, with fewer requests at a time"))
        })
    }
}
