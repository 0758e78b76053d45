//! Messages with a length in front, out of a byte stream: a broker's requests, a client's answers.
//!
//! What must hold: a request's length is checked before room is made for it; room is made only as its bytes arrive, never
//! for more than as much again; what is large is counted against the broker's limit before its bulk is read, and nothing of
//! its room is kept once it is done. A
//! connection's small requests have a little room of their own, which the number of connections bounds: clients that
//! announce much and send little must not keep others from asking.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::error::ConnectionError;

const LENGTH_BYTES: usize = 4;
const READ_BYTES_MIN: usize = 16 * 1024;
const READ_BYTES_MAX: usize = 1024 * 1024;
/// The room of a connection's own. Of a larger request so many bytes have to arrive before it is counted.
const OWN_BYTES_MAX: usize = 64 * 1024;

/// One request, and its share of the bytes in flight.
pub(crate) struct Request {
    pub(crate) bytes: Bytes,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What a message may be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameLimits {
    /// How large.
    pub(crate) bytes_max: usize,
    /// How long it may take once it has begun.
    pub(crate) transfer_timeout: Duration,
}

pub(crate) struct RequestReader<S> {
    stream: S,
    buffer: BytesMut,
    length: Option<usize>,
    permit: Option<OwnedSemaphorePermit>,
    own_bytes: Arc<Semaphore>,
    in_flight_bytes: Arc<Semaphore>,
    limits: FrameLimits,
    // When the request that has begun must have arrived.
    deadline: Option<Instant>,
}

impl<S: AsyncRead + Unpin> RequestReader<S> {
    pub(crate) fn new(stream: S, in_flight_bytes: Arc<Semaphore>, limits: FrameLimits) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            length: None,
            permit: None,
            own_bytes: Arc::new(Semaphore::new(OWN_BYTES_MAX)),
            in_flight_bytes,
            limits,
            deadline: None,
        }
    }

    /// The next request; `None` when the client closed the connection between two. May be dropped and called again
    /// without losing anything.
    pub(crate) async fn next(&mut self) -> Result<Option<Request>, ConnectionError> {
        loop {
            let wanted = match self.request_length()? {
                None => LENGTH_BYTES,
                Some(length) => {
                    if self.permit.is_none() && self.buffer.len() >= length.min(OWN_BYTES_MAX) {
                        self.permit = Some(self.count(length).await?);
                        // The time spent waiting for our own limit is not the client's.
                        self.deadline = None;
                    }
                    if self.buffer.len() >= length
                        && let Some(permit) = self.permit.take()
                    {
                        self.length = None;
                        self.deadline = None;
                        let bytes = self.buffer.split_to(length).freeze();
                        if length > OWN_BYTES_MAX {
                            // What came behind it, without the room that it had: that goes with the request.
                            self.buffer = BytesMut::from(self.buffer.as_ref());
                        }
                        return Ok(Some(Request { bytes, permit }));
                    }
                    length - self.buffer.len()
                }
            };
            // As much again as has arrived: whoever announces a lot has to send it before it takes memory.
            let more = self.buffer.len().clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            self.buffer.reserve(wanted.clamp(READ_BYTES_MIN, more));
            let begun = self.length.is_some() || !self.buffer.is_empty();
            let read = self.stream.read_buf(&mut self.buffer);
            let read = if begun {
                let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.limits.transfer_timeout);
                timeout_at(deadline, read).await.map_err(|_| ConnectionError::Slow("a request did not arrive whole"))?
            } else {
                read.await
            };
            match read? {
                0 if begun => return Err(ConnectionError::Io(std::io::ErrorKind::UnexpectedEof.into())),
                0 => return Ok(None),
                _ => {}
            }
        }
    }

    async fn count(&self, length: usize) -> Result<OwnedSemaphorePermit, ConnectionError> {
        let count = u32::try_from(length).unwrap_or(u32::MAX);
        if length <= OWN_BYTES_MAX
            && let Ok(permit) = Arc::clone(&self.own_bytes).try_acquire_many_owned(count)
        {
            return Ok(permit);
        }
        let permit = Arc::clone(&self.in_flight_bytes).acquire_many_owned(count).await;
        permit.map_err(|_| ConnectionError::Stopping)
    }

    fn request_length(&mut self) -> Result<Option<usize>, ConnectionError> {
        if self.length.is_none()
            && let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>()
        {
            let length = i32::from_be_bytes(*prefix);
            match usize::try_from(length) {
                Ok(length) if length <= self.limits.bytes_max => {
                    let _ = self.buffer.split_to(LENGTH_BYTES);
                    self.length = Some(length);
                }
                _ => return Err(ConnectionError::RequestSize(length.into(), self.limits.bytes_max)),
            }
        }
        Ok(self.length)
    }
}

#[cfg(test)]
mod tests;
