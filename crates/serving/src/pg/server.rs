//! The listener: accepts connections up to a limit and ends them when the server stops.

use std::{net::SocketAddr, sync::Arc};

use model::{Error, Principal, Result};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::{JoinHandle, JoinSet},
};

use super::{
    cancel::Cancels,
    connection::{Connection, Handlers},
};
use crate::sql::SqlService;

/// Connections that are told that there are too many, rather than dropped without a word.
const REFUSALS_MAX: usize = 16;

/// Where the door is and how many may come in.
#[derive(Clone, Debug)]
pub struct PgSettings {
    /// The address to listen on; port 0 for any that is free.
    pub listen: SocketAddr,
    /// Connections at a time; one more gets an error.
    pub connections_max: usize,
    /// Named prepared statements a connection.
    pub prepared_statements_max: usize,
}

impl Default for PgSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 5433)), connections_max: 100, prepared_statements_max: 1_000 }
    }
}

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
    let cannot_listen = |e: std::io::Error| {
        Error::unavailable(format!("cannot listen for PostgreSQL clients on {}", settings.listen))
            .with_hint("another program may hold the port: choose another one, or stop that program")
            .with_source(e)
    };
    let listener = TcpListener::bind(settings.listen).await.map_err(cannot_listen)?;
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
    Accepted(std::io::Result<(TcpStream, SocketAddr)>),
    ConnectionEnded,
    Stop,
}

async fn accept(listener: TcpListener, settings: PgSettings, sql: Arc<SqlService>, mut stopped: oneshot::Receiver<()>) {
    let places = Arc::new(Semaphore::new(settings.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
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
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Event::Accepted(Ok((stream, peer))) => {
                let (place, refused) = match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => (place, None),
                    Err(_) => match Arc::clone(&refusals).try_acquire_owned() {
                        Ok(place) => (place, Some(settings.connections_max)),
                        Err(_) => continue,
                    },
                };
                let connection =
                    Connection::new(&sql, Principal::anonymous(), Arc::clone(&cancels), refused, &settings);
                connections.spawn(serve(stream, peer, connection, place));
            }
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, connection: Connection, place: OwnedSemaphorePermit) {
    if let Err(error) = pgwire::tokio::process_socket(stream, None, Handlers(Arc::new(connection))).await {
        tracing::debug!(%peer, %error, "a PostgreSQL connection ended");
    }
    drop(place);
}
