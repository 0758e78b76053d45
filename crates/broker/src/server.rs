//! The listening socket and its connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use model::{Error, SystemEntropy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::coordinator::Coordinator;
use crate::error::ConnectionError;
use crate::offset_expiry;
use crate::resources::Resources;
use crate::services::Services;
use crate::settings::BrokerSettings;
use crate::silence::{Presence, Silence};
use crate::stop::stopped;

/// How long a connection that gives way may take to go.
const GIVING_WAY: Duration = Duration::from_secs(1);

/// How long the door waits after a connection that it could not accept.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A running Kafka server.
#[derive(Debug)]
pub struct Broker {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    coordinating: JoinHandle<()>,
    expiring: JoinHandle<()>,
}

impl Broker {
    /// Listens and serves until [`stop`](Self::stop).
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when the address cannot be listened on;
    /// [`Invalid`](model::ErrorKind::Invalid) when the settings contradict one another.
    pub async fn start(settings: BrokerSettings, resources: Resources) -> model::Result<Broker> {
        if settings.in_flight_bytes_max < settings.request_bytes_max {
            return Err(Error::invalid("the bytes in flight must allow for the largest request")
                .with_hint("raise in_flight_bytes_max, or lower request_bytes_max"));
        }
        if settings.answer_bytes_max / 4 < settings.fetch_bytes_max {
            return Err(Error::invalid("the largest fetch has to fit four times into the bytes of waiting answers")
                .with_hint("raise kafka.answer_bytes_max, or lower kafka.fetch_bytes_max"));
        }
        let listener = TcpListener::bind(settings.listen()).await.map_err(|error| {
            Error::conflict(format!("cannot listen for Kafka clients on {}", settings.listen()))
                .with_source(error)
                .with_hint("choose another port, or stop the program that uses this one")
        })?;
        let local_addr = listener
            .local_addr()
            .map_err(|error| Error::internal("a listening socket has no address").with_source(error))?;
        let (stop, stopping) = watch::channel(false);
        let (coordinator, coordinating) =
            Coordinator::start(settings.groups, Arc::new(SystemEntropy), stopping.clone());
        let services = Arc::new(Services::new(settings, local_addr, resources, coordinator, stopping));
        let expiring = tokio::spawn(offset_expiry::run(Arc::clone(&services)));
        let accepting = tokio::spawn(accept(listener, services));
        Ok(Broker { local_addr, stop, accepting, coordinating, expiring })
    }

    /// The address listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops taking requests, answers those in work, closes the connections.
    pub async fn stop(self) {
        // Nobody listening any more means that it stopped before.
        let _ = self.stop.send(true);
        let _ = self.accepting.await;
        let _ = self.coordinating.await;
        let _ = self.expiring.await;
    }
}

async fn accept(listener: TcpListener, services: Arc<Services>) {
    let places = Arc::new(Semaphore::new(services.settings.connections_max));
    let silence = Arc::new(Silence::default());
    let mut connections = JoinSet::new();
    let mut stopping = services.stopping.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match place(&places, &silence).await {
                    Some(place) => {
                        let (services, presence) = (Arc::clone(&services), silence.begin());
                        connections.spawn(async move {
                            serve(services, stream, peer, presence).await;
                            drop(place);
                        });
                    }
                    None => {
                        tracing::warn!(%peer, "too many connections, one more was closed");
                    }
                },
                Err(error) => {
                    // Out of file handles, most likely: wait for some to come back.
                    tracing::warn!(%error, "cannot accept a connection");
                    if timeout(ACCEPT_RETRY, stopped(&mut stopping)).await.is_ok() {
                        break;
                    }
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // A connection gives itself this time; a little more is for the way there.
    if timeout(services.settings.stop_timeout * 2, all).await.is_err() {
        connections.abort_all();
    }
}

/// A place for one more connection, where there is one or a silent one gives way.
async fn place(places: &Arc<Semaphore>, silence: &Silence) -> Option<OwnedSemaphorePermit> {
    if let Ok(free) = Arc::clone(places).try_acquire_owned() {
        return Some(free);
    }
    if !silence.end_longest() {
        return None;
    }
    timeout(GIVING_WAY, Arc::clone(places).acquire_owned()).await.ok()?.ok()
}

async fn serve(services: Arc<Services>, stream: TcpStream, peer: SocketAddr, presence: Presence) {
    // Answers are small and awaited: do not hold them back for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot switch off Nagle's algorithm");
    }
    let connections = services.metrics.broker_connections.clone();
    connections.inc();
    let served = match Connection::new(services, stream, peer, presence) {
        Ok(connection) => connection.run().await,
        Err(error) => Err(error.into()),
    };
    match served {
        Ok(()) => {}
        // What the operator can change, or has to know.
        Err(error @ (ConnectionError::AnswerSize(..) | ConnectionError::AnswersWait(_))) => {
            tracing::warn!(%peer, %error, "closed a connection");
        }
        Err(error) => tracing::debug!(%peer, %error, "closed a connection"),
    }
    connections.dec();
}
