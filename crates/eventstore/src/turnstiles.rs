//! Turnstiles: one at a time for each stream.
//!
//! They spare commands to the same instance from deciding in vain. Nothing depends on them for being right: the
//! writer checks every version again.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::StreamName;

type Gates = Arc<Mutex<HashMap<StreamName, Arc<AsyncMutex<()>>>>>;

/// One gate for each stream that somebody waits for or has passed; no others are kept.
#[derive(Debug, Default)]
pub(crate) struct Turnstiles {
    gates: Gates,
}

/// The right to go on; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    stream: StreamName,
    gates: Gates,
    // Taken only when the turn ends.
    passed: Option<OwnedMutexGuard<()>>,
}

impl Turnstiles {
    /// Waits for the turn of this stream.
    pub(crate) async fn enter(&self, stream: &StreamName) -> Turn {
        let gate = Arc::clone(self.gates.lock().entry(stream.clone()).or_default());
        let mut turn = Turn { stream: stream.clone(), gates: Arc::clone(&self.gates), passed: None };
        // From here on the turn cleans up after itself, also if the wait is given up.
        turn.passed = Some(gate.lock_owned().await);
        turn
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.gates.lock().len()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut gates = self.gates.lock();
        self.passed = None;
        // Only the map holds the gate: nobody waits, and nobody can come while the map is locked.
        if gates.get(&self.stream).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.stream);
        }
    }
}
