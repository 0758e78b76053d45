//! Whose turn it is to begin a checkpoint: one is made at a time, and those asked for meanwhile become one.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::open_log::OpenLog;

/// How long to wait before looking again whether waiting is still of use.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Turn {
    /// One is being made.
    is_taken: bool,
    /// Another was asked for meanwhile.
    is_wanted: bool,
}

#[derive(Default)]
pub(crate) struct CheckpointTurn {
    turn: Mutex<Turn>,
    given: Condvar,
}

impl CheckpointTurn {
    /// Takes the turn; or, when it is taken, notes that another is wanted.
    pub(crate) fn take(&self) -> bool {
        let mut turn = self.turn.lock();
        turn.is_wanted = turn.is_taken;
        !std::mem::replace(&mut turn.is_taken, true)
    }

    /// Whether one was asked for that has not begun.
    pub(crate) fn is_wanted(&self) -> bool {
        self.turn.lock().is_wanted
    }

    /// The checkpoint is made. Returns whether another is wanted.
    pub(crate) fn give(&self) -> bool {
        let mut turn = self.turn.lock();
        turn.is_taken = false;
        self.given.notify_all();
        turn.is_wanted
    }

    /// Waits for the checkpoint that is being made, as long as one can hope for it.
    pub(crate) fn wait(&self, shared: &OpenLog) {
        let mut turn = self.turn.lock();
        while turn.is_taken && shared.check_writable().is_ok() && !shared.is_ending() {
            self.given.wait_for(&mut turn, LOOK_AGAIN);
        }
    }
}
