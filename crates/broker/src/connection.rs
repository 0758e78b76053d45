//! One connection: requests in, answers out, in order.
//!
//! What must hold: produce requests overlap with one another (each has its place in the log before the next one begins,
//! their answers are awaited later), so that one group commit covers many; any other request starts when everything
//! before it was answered, as in Kafka. While a request may not start yet, or has no place yet, nothing more is read.

use std::{io::IoSlice, net::SocketAddr, sync::Arc};

use bytes::{Buf, Bytes};
use futures::future::{BoxFuture, FutureExt, OptionFuture};
use futures::stream::{FuturesOrdered, StreamExt};
use kafka_wire::{Api, RequestHeader};
use model::Principal;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::answer_budget::{Answer, Share, UNCOUNTED_BYTES_MAX};
use crate::error::ConnectionError;
use crate::request_reader::{FrameLimits, Request, RequestReader};
use crate::requests::{self, Caller, PendingAnswer};
use crate::services::Services;
use crate::silence::Presence;
use crate::stop::stopped;

/// Answers are gathered up to this size before they are sent; there are not more that the budget does not count.
const WRITE_BYTES_MAX: usize = UNCOUNTED_BYTES_MAX;
/// How many pieces one call to the system may take.
const WRITE_PIECES_MAX: usize = 64;

/// A request that was read and has not started.
struct Parked {
    header: RequestHeader,
    body: Bytes,
    permit: OwnedSemaphorePermit,
}

pub(crate) struct Connection {
    services: Arc<Services>,
    caller: Caller,
    reader: RequestReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    pending: FuturesOrdered<PendingAnswer>,
    // Whether what is pending is produce requests alone.
    only_produce_pending: bool,
    parked: Option<Parked>,
    // The request that is beginning.
    beginning: Option<BoxFuture<'static, PendingAnswer>>,
    stopping: watch::Receiver<bool>,
    presence: Presence,
    requests: u64,
}

/// What the loop woke up for.
enum Event {
    Begun(PendingAnswer),
    Answer(Result<Option<Answer>, ConnectionError>),
    Request(Result<Option<Request>, ConnectionError>),
    Idle,
    GivesWay,
    Stopping,
}

impl Connection {
    pub(crate) fn new(
        services: Arc<Services>,
        stream: TcpStream,
        peer: SocketAddr,
        presence: Presence,
    ) -> std::io::Result<Self> {
        let endpoint = services.endpoint(stream.local_addr()?);
        let (read_half, writer) = stream.into_split();
        let in_flight_bytes = Arc::clone(&services.in_flight_bytes);
        let limits = FrameLimits {
            bytes_max: services.settings.request_bytes_max,
            transfer_timeout: services.settings.transfer_timeout,
        };
        let reader = RequestReader::new(read_half, in_flight_bytes, limits);
        let stopping = services.stopping.clone();
        let caller = Caller { principal: Principal::anonymous(), host: peer.ip().to_string(), endpoint, rotation: 0 };
        Ok(Self {
            services,
            caller,
            reader,
            writer,
            pending: FuturesOrdered::new(),
            only_produce_pending: true,
            parked: None,
            beginning: None,
            stopping,
            presence,
            requests: 0,
        })
    }

    /// Serves until the client leaves, fails, or the broker stops.
    pub(crate) async fn run(mut self) -> Result<(), ConnectionError> {
        let mut deadline = Instant::now() + self.services.settings.idle_timeout;
        loop {
            self.start_parked();
            match self.next_event(deadline).await {
                Event::Answer(answer) => self.send(answer?).await?,
                Event::Begun(answer) => {
                    self.beginning = None;
                    self.pending.push_back(answer);
                }
                Event::Request(request) => match request? {
                    Some(request) => self.park(request)?,
                    None => return self.finish().await,
                },
                Event::Idle => return Err(ConnectionError::Slow("nothing came before the idle timeout")),
                Event::GivesWay => return Err(ConnectionError::GaveWay),
                Event::Stopping => return self.finish().await,
            }
            deadline = Instant::now() + self.services.settings.idle_timeout;
        }
    }

    async fn next_event(&mut self, deadline: Instant) -> Event {
        let begins = self.beginning.is_some();
        let reads =
            !begins && self.parked.is_none() && self.pending.len() < self.services.settings.in_flight_requests_max;
        let idle = !begins && self.pending.is_empty();
        if idle {
            self.presence.rest();
        } else {
            self.presence.work();
        }
        tokio::select! {
            biased;
            Some(answer) = self.pending.next(), if !self.pending.is_empty() => Event::Answer(answer),
            Some(answer) = OptionFuture::from(self.beginning.as_mut()), if begins => Event::Begun(answer),
            request = self.reader.next(), if reads => Event::Request(request),
            // A client that waits for an answer may be silent for as long as that takes.
            () = sleep_until(deadline), if idle => Event::Idle,
            () = self.presence.gives_way(), if idle => Event::GivesWay,
            () = stopped(&mut self.stopping) => Event::Stopping,
        }
    }

    fn park(&mut self, request: Request) -> Result<(), ConnectionError> {
        let (header, body) = RequestHeader::decode(request.bytes)?;
        self.parked = Some(Parked { header, body, permit: request.permit });
        Ok(())
    }

    fn start_parked(&mut self) {
        let Some(parked) = self.parked.as_ref().filter(|_| self.beginning.is_none()) else { return };
        let is_produce = parked.header.api == Api::Produce;
        let may_overlap = is_produce && self.only_produce_pending;
        if !may_overlap && !self.pending.is_empty() {
            return;
        }
        self.only_produce_pending = is_produce;
        let Some(Parked { header, body, permit }) = self.parked.take() else { return };
        self.requests = self.requests.wrapping_add(1);
        let caller = Caller { rotation: self.requests as usize, ..self.caller.clone() };
        let begin = requests::begin(Arc::clone(&self.services), caller, header, body);
        let begin = begin.map(|answer| {
            let answer = answer.map(|answer| {
                drop(permit);
                answer
            });
            answer.boxed()
        });
        self.beginning = Some(begin.boxed());
    }

    /// Sends an answer, together with those that are ready behind it.
    async fn send(&mut self, first: Option<Answer>) -> Result<(), ConnectionError> {
        let mut pieces: Vec<Bytes> = Vec::new();
        // Given back when everything is written, or given up.
        let mut shares: Vec<Share> = Vec::new();
        let mut bytes = 0;
        let mut gather = |answer: Option<Answer>| {
            if let Some(Answer { frame, share }) = answer {
                bytes += frame.length();
                pieces.extend(frame.pieces);
                shares.push(share);
            }
            bytes < WRITE_BYTES_MAX
        };
        let mut goes_on = gather(first);
        while goes_on && let Some(Some(answer)) = self.pending.next().now_or_never() {
            goes_on = gather(answer?);
        }
        // The time is for the whole of it, so a client that takes one byte a minute does not hold the connection.
        let patience = self.services.settings.transfer_timeout;
        timeout(patience, write_pieces(&mut self.writer, pieces))
            .await
            .map_err(|_| ConnectionError::Slow("it does not take its answers"))??;
        Ok(())
    }

    /// Reads no more; answers what is in work.
    async fn finish(mut self) -> Result<(), ConnectionError> {
        let deadline = Instant::now() + self.services.settings.stop_timeout;
        if let Some(beginning) = self.beginning.take()
            && let Ok(answer) = timeout_at(deadline, beginning).await
        {
            self.pending.push_back(answer);
        }
        while let Ok(Some(answer)) = timeout_at(deadline, self.pending.next()).await {
            self.send(answer?).await?;
        }
        self.writer.shutdown().await?;
        Ok(())
    }
}

/// Writes all pieces, many with one call to the system.
pub(crate) async fn write_pieces<W: AsyncWrite + Unpin>(writer: &mut W, mut pieces: Vec<Bytes>) -> std::io::Result<()> {
    let mut first = 0;
    while first < pieces.len() {
        let slices: Vec<IoSlice<'_>> =
            pieces[first..].iter().take(WRITE_PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
        let mut written = writer.write_vectored(&slices).await?;
        if written == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        while let Some(piece) = pieces.get_mut(first) {
            if written < piece.len() {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            first += 1;
        }
    }
    Ok(())
}
