//! [`StreamLocks`]: a lock for each stream, which one at a time holds.
//!
//! They spare commands to the same instance from deciding in vain. Nothing depends on them for being right: the
//! writer checks every version again.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::StreamName;

type Locks = Arc<Mutex<HashMap<StreamName, Arc<AsyncMutex<()>>>>>;

/// One lock for each stream that somebody holds or waits for; no others are kept.
#[derive(Debug, Default)]
pub(crate) struct StreamLocks {
    locks: Locks,
}

/// A stream's lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct StreamLock {
    stream: StreamName,
    locks: Locks,
    // Absent only until the lock is there.
    held: Option<OwnedMutexGuard<()>>,
}

impl StreamLocks {
    /// Waits for the lock of this stream.
    pub(crate) async fn lock(&self, stream: &StreamName) -> StreamLock {
        let lock = Arc::clone(self.locks.lock().entry(stream.clone()).or_default());
        let mut waiting = StreamLock { stream: stream.clone(), locks: Arc::clone(&self.locks), held: None };
        // From here on it cleans up after itself, also if the wait is given up.
        waiting.held = Some(lock.lock_owned().await);
        waiting
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.locks.lock().len()
    }
}

impl Drop for StreamLock {
    fn drop(&mut self) {
        let mut locks = self.locks.lock();
        self.held = None;
        // Only the map has it: nobody waits, and nobody can come while the map is locked.
        if locks.get(&self.stream).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.stream);
        }
    }
}
