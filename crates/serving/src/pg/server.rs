//! The listener: accepts connections up to a limit and ends them when the server stops.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use model::{Error, Principal, Result};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{cancel::Cancels, connection::Connection, conversation::Conversation, settings::PgSettings};
use crate::sql::SqlService;

/// Connections whose client has not said yet who it is, beside those that have a place; one more is dropped without a
/// word.
const STARTING_MAX: usize = 256;

/// How long the door waits after a connection that it could not accept.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A door that is open.
#[derive(Debug)]
pub struct PgServer {
    local_addr: SocketAddr,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

/// Opens the door.
///
/// # Errors
/// [`Unavailable`](model::ErrorKind::Unavailable) when the address cannot be listened on.
pub async fn start(settings: PgSettings, sql: Arc<SqlService>) -> Result<PgServer> {
    let cannot_listen = |e: io::Error| {
        Error::unavailable(format!("cannot listen for PostgreSQL clients on {}", settings.listen()))
            .with_hint("another program may hold the port: choose another one, or stop that program")
            .with_source(e)
    };
    let listener = TcpListener::bind(settings.listen()).await.map_err(cannot_listen)?;
    let local_addr = listener.local_addr().map_err(|e| Error::internal("a listener has no address").with_source(e))?;
    let (stop, stopped) = oneshot::channel();
    let accepting = tokio::spawn(accept(listener, settings, sql, stopped));
    tracing::info!(%local_addr, "listening for PostgreSQL clients");
    Ok(PgServer { local_addr, stop, accepting })
}

impl PgServer {
    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Closes the door and ends all connections, also those with a running query.
    pub async fn stop(self) {
        // The task may have ended by itself; then there is nobody to tell.
        let _ = self.stop.send(());
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the task that accepts PostgreSQL clients failed");
        }
    }
}

enum Event {
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    ConnectionEnded,
    Stop,
}

async fn accept(listener: TcpListener, settings: PgSettings, sql: Arc<SqlService>, mut stopped: oneshot::Receiver<()>) {
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let starting = Arc::new(Semaphore::new(STARTING_MAX));
    let cancels = Arc::new(Cancels::default());
    let mut connections = JoinSet::new();
    loop {
        let event = tokio::select! {
            _ = &mut stopped => Event::Stop,
            accepted = listener.accept() => Event::Accepted(accepted),
            Some(_) = connections.join_next(), if !connections.is_empty() => Event::ConnectionEnded,
        };
        match event {
            Event::Stop => break,
            Event::ConnectionEnded => {}
            Event::Accepted(Err(error)) => {
                // Out of file descriptors, mostly: a pause lets some come back.
                tracing::warn!(%error, "cannot accept a PostgreSQL client");
                if timeout(ACCEPT_RETRY, &mut stopped).await.is_ok() {
                    break;
                }
            }
            Event::Accepted(Ok((stream, peer))) => {
                let Ok(entry) = Arc::clone(&starting).try_acquire_owned() else { continue };
                let (places, cancels) = (Arc::clone(&places), Arc::clone(&cancels));
                let connection = Connection::new(&sql, Principal::anonymous(), cancels, places, &settings);
                let serving = serve(stream, connection, entry, settings.clone());
                connections.spawn(async move {
                    if let Err(error) = serving.await {
                        tracing::debug!(%peer, %error, "a PostgreSQL connection ended");
                    }
                });
            }
        }
    }
    connections.shutdown().await;
}

/// `entry` is given up when the client has its place.
async fn serve(
    stream: TcpStream,
    connection: Connection,
    entry: OwnedSemaphorePermit,
    settings: PgSettings,
) -> io::Result<()> {
    let mut conversation = Conversation::new(stream, connection, settings.write_stall_timeout)?;
    let Ok(begun) = timeout(settings.startup_timeout, conversation.begin()).await else { return Ok(()) };
    if !begun? {
        return Ok(());
    }
    drop(entry);
    conversation.go_on().await
}
