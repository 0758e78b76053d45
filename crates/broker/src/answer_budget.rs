//! What the answers of all connections may take while they are built and wait to be written.
//!
//! What must hold: the answers that exist at one time take at most the budget, and for each connection
//! [`UNCOUNTED_BYTES_MAX`] besides, so that clients that ask for much and read nothing neither use up the memory nor keep
//! others from small answers. Room is taken before an answer is built, where its size can be told.

use std::{sync::Arc, time::Duration};

use kafka_wire::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::ConnectionError;

/// An answer of at most so many bytes is not counted: the number of connections bounds those.
pub(crate) const UNCOUNTED_BYTES_MAX: usize = 64 * 1024;
/// One answer takes at most this part of the budget.
const LARGEST_PART: usize = 4;

/// The budget.
#[derive(Clone, Debug)]
pub(crate) struct AnswerBudget {
    free: Arc<Semaphore>,
    bytes_max: usize,
    patience: Duration,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

/// An answer, with the part of the budget that it takes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) frame: Frame,
    pub(crate) share: Share,
}

impl AnswerBudget {
    /// A budget of `bytes_max`, for which an answer waits at most for `patience`.
    pub(crate) fn new(bytes_max: usize, patience: Duration) -> Self {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(bytes_max)), bytes_max, patience }
    }

    /// The largest answer that is given.
    pub(crate) fn answer_bytes_max(&self) -> usize {
        (self.bytes_max / LARGEST_PART).max(UNCOUNTED_BYTES_MAX)
    }

    /// Room for an answer of so many bytes, as soon as there is some.
    ///
    /// # Errors
    /// [`ConnectionError::AnswerSize`] when there can never be, [`ConnectionError::AnswersWait`] when others do not let
    /// go of it.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Share, ConnectionError> {
        if bytes <= UNCOUNTED_BYTES_MAX {
            return Ok(Share::uncounted());
        }
        if bytes > self.answer_bytes_max() {
            return Err(ConnectionError::AnswerSize(bytes, self.answer_bytes_max()));
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = timeout(self.patience, Arc::clone(&self.free).acquire_many_owned(permits)).await;
        let permit = permit.map_err(|_| ConnectionError::AnswersWait(self.bytes_max))?;
        Ok(Share { permit: Some(permit.map_err(|_| ConnectionError::Stopping)?), bytes })
    }

    /// Room for up to `wanted` bytes, at once: never more than a part of what is free, so that something stays for
    /// whoever comes next, and never less than what is not counted.
    pub(crate) fn take_some(&self, wanted: usize) -> Share {
        let bytes = wanted.min(self.free.available_permits() / LARGEST_PART).min(self.answer_bytes_max());
        if bytes <= UNCOUNTED_BYTES_MAX {
            return Share::uncounted();
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        match Arc::clone(&self.free).try_acquire_many_owned(permits) {
            Ok(permit) => Share { permit: Some(permit), bytes },
            Err(_) => Share::uncounted(),
        }
    }

    /// Puts a frame together with its share, of which it keeps what it needs.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), when the frame is larger than its share.
    pub(crate) async fn answer(&self, frame: Frame, mut share: Share) -> Result<Answer, ConnectionError> {
        let bytes = frame.length();
        if bytes <= share.bytes {
            share.shrink(bytes);
        } else {
            // Given back first, so that no two wait for what the other one has.
            drop(share);
            share = self.reserve(bytes).await?;
        }
        Ok(Answer { frame, share })
    }
}

impl Share {
    /// What need not be counted.
    pub(crate) fn uncounted() -> Self {
        Self { permit: None, bytes: UNCOUNTED_BYTES_MAX }
    }

    /// How many bytes it allows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is over `bytes`.
    fn shrink(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit {
            drop(permit.split(self.bytes - bytes));
            self.bytes = bytes;
        }
    }
}

#[cfg(test)]
mod tests;
