//! Which connections have nothing to do, and since when, so that one gives way where all places are taken.
//!
//! What must hold: a connection whose request is in work never gives way; one on which nothing was ever asked does so before
//! any other, so that clients who only take places keep nobody out.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The connections that are silent, first who gives way first.
#[derive(Default)]
pub(crate) struct Silence(Mutex<Silent>);

#[derive(Default)]
struct Silent {
    next: u64,
    connections: BTreeMap<Since, Arc<Notify>>,
}

/// Whether anything was asked, and since when it is silent: a number that grows.
type Since = (bool, u64);

/// One connection, as the others see it.
pub(crate) struct Presence {
    silence: Arc<Silence>,
    since: Option<Since>,
    has_asked: bool,
    gives_way: Arc<Notify>,
}

impl Silence {
    /// A connection that begins, and is silent.
    pub(crate) fn begin(self: &Arc<Self>) -> Presence {
        let mut presence =
            Presence { silence: Arc::clone(self), since: None, has_asked: false, gives_way: Arc::default() };
        presence.rest();
        presence
    }

    /// Ends the connection that has been silent for longest; `false` where none is silent.
    pub(crate) fn end_longest(&self) -> bool {
        let longest = self.0.lock().connections.pop_first();
        longest.is_some_and(|(_, gives_way)| {
            gives_way.notify_one();
            true
        })
    }
}

impl Presence {
    /// It has nothing to do from now on.
    pub(crate) fn rest(&mut self) {
        if self.since.is_some() {
            return;
        }
        let mut silent = self.silence.0.lock();
        let since = (self.has_asked, silent.next);
        silent.next += 1;
        silent.connections.insert(since, Arc::clone(&self.gives_way));
        self.since = Some(since);
    }

    /// It has something to do from now on.
    pub(crate) fn work(&mut self) {
        self.has_asked = true;
        if let Some(since) = self.since.take() {
            self.silence.0.lock().connections.remove(&since);
        }
    }

    /// Waits until another one needs its place.
    pub(crate) async fn gives_way(&self) {
        self.gives_way.notified().await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.work();
    }
}
