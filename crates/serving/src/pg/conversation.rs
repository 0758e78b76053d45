//! One connection from its first byte to its last: whole messages in, answers out.
//!
//! What must hold: a message is checked before it is decoded; one that is not what its kind says is answered with an
//! error, and the connection goes on with the next message wherever that can be told.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures::SinkExt;
use pgwire::{
    api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState as State, query::ExtendedQueryHandler},
    error::PgWireError,
    messages::{PgWireBackendMessage, PgWireFrontendMessage, response::SslResponse},
    tokio::server::{PgWireMessageServerCodec, process_error, process_message},
};
use sql::SqlError;
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_util::codec::{Decoder, Framed};

use super::{
    connection::Connection,
    error::{complete, fatal_error, wire_error},
    frame,
};
use crate::stall_guard::StallGuard;

/// What is read at least at a time.
const READ_BYTES: usize = 8 * 1024;

/// Requests for encryption that a connection may begin with: one of each kind.
const ENCRYPTION_REQUESTS_MAX: usize = 2;

/// A client and what it is told.
pub(super) struct Conversation {
    socket: Framed<StallGuard, PgWireMessageServerCodec<<Connection as ExtendedQueryHandler>::Statement>>,
    connection: Arc<Connection>,
}

impl Conversation {
    /// Talks to a client from now on.
    pub(super) fn new(stream: TcpStream, connection: Connection, write_stall_timeout: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let client = DefaultClient::new(stream.peer_addr()?, false);
        let stream = StallGuard::new(stream, write_stall_timeout);
        let mut socket = Framed::new(stream, PgWireMessageServerCodec::new(client));
        socket.set_state(State::AwaitingStartup);
        Ok(Self { socket, connection: Arc::new(connection) })
    }

    /// Comes to an agreement with the client. `false`: there will be no more to say.
    pub(super) async fn begin(&mut self) -> io::Result<bool> {
        for _ in 0..=ENCRYPTION_REQUESTS_MAX {
            let Some(opening) = self.receive(frame::opening_length).await? else { return Ok(false) };
            if frame::asks_for_encryption(&opening) {
                self.socket.send(PgWireBackendMessage::SslResponse(SslResponse::Refuse)).await?;
                continue;
            }
            let Some(message) = self.decode(opening)? else { return Ok(false) };
            return Ok(self.answer(message).await? && !matches!(self.socket.state(), State::AwaitingStartup));
        }
        Ok(false)
    }

    /// Answers messages until there are no more.
    pub(super) async fn go_on(&mut self) -> io::Result<()> {
        while let Some(message) = self.next_message().await? {
            if let Err(error) = frame::check(&message) {
                // After an error everything up to the next Sync is passed over; one that is malformed is one too.
                let is_sync = message.first() == Some(&b'S');
                if is_sync || !matches!(self.socket.state(), State::AwaitingSync) {
                    let is_simple = message.first() == Some(&b'Q');
                    process_error(&mut self.socket, wire_error(error), !is_simple && !is_sync).await?;
                }
                continue;
            }
            let Some(message) = self.decode(message)? else { break };
            if !self.answer(message).await? {
                break;
            }
        }
        Ok(())
    }

    /// The next message, for as long as the session's variables let it wait for one.
    async fn next_message(&mut self) -> io::Result<Option<BytesMut>> {
        // Within an exchange, or after an error in one, the client is not idle.
        let is_idle = matches!(self.socket.state(), State::ReadyForQuery);
        let Some((patience, error)) = self.connection.session.idle_timeout().filter(|_| is_idle) else {
            return self.receive(frame::message_length).await;
        };
        match tokio::time::timeout(patience, self.receive(frame::message_length)).await {
            Ok(received) => received,
            Err(_) => {
                process_error(&mut self.socket, fatal_error(error), true).await?;
                Ok(None)
            }
        }
    }

    /// The next whole message; `None` when the client has gone, or was sent away.
    async fn receive(&mut self, length: fn(&[u8]) -> Result<Option<usize>, SqlError>) -> io::Result<Option<BytesMut>> {
        loop {
            match length(self.socket.read_buffer()) {
                Ok(Some(length)) => return Ok(Some(self.socket.read_buffer_mut().split_to(length))),
                Ok(None) => {
                    let mut received = std::mem::take(self.socket.read_buffer_mut());
                    received.reserve(READ_BYTES);
                    let count = self.socket.get_mut().read_buf(&mut received).await?;
                    *self.socket.read_buffer_mut() = received;
                    if count == 0 {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    process_error(&mut self.socket, fatal_error(error), true).await?;
                    return Ok(None);
                }
            }
        }
    }

    fn decode(&mut self, mut message: BytesMut) -> io::Result<Option<PgWireFrontendMessage>> {
        Ok(self.socket.codec_mut().decode(&mut message)?)
    }

    /// Answers one message. `false`: it was the last.
    async fn answer(&mut self, message: PgWireFrontendMessage) -> io::Result<bool> {
        let is_last = matches!(message, PgWireFrontendMessage::CancelRequest(_));
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return Ok(false);
        }
        let is_extended = message.is_extended_query();
        let connection = || Arc::clone(&self.connection);
        let (startup, simple, extended, cancel) = (connection(), connection(), connection(), connection());
        let copy = Arc::new(NoopHandler);
        let answered = process_message(message, &mut self.socket, startup, simple, extended, copy, cancel).await;
        let Err(error) = answered else { return Ok(!is_last) };
        let error = complete(error);
        let is_fatal = matches!(&error, PgWireError::UserError(info) if info.is_fatal());
        // Nothing is ready after what ends the connection.
        process_error(&mut self.socket, error, is_extended || is_fatal).await?;
        Ok(!is_fatal && !is_last)
    }
}
