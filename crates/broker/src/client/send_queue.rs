//! What a producer's senders and its task share.

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::accumulator::Accumulator;

/// What the senders put records into, and the task takes batches from.
#[derive(Debug)]
pub(super) struct SendQueue {
    pub(super) accumulator: Mutex<Accumulator>,
    /// The task has something to look at.
    pub(super) wake: Notify,
    /// Batches not confirmed yet.
    pub(super) unconfirmed: watch::Sender<usize>,
}
