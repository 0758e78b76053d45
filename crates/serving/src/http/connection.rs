//! From a listener to served connections: bounded in number, in time, and in how long a client may stall.
//!
//! What must hold: a client that sends nothing, or takes nothing of its answer, loses its connection, and at once where
//! another one waits for its place; a door that is told to stop lets each connection finish the request in work and no
//! further one.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};

use super::{HttpSettings, Server, routes};
use crate::stall_guard::StallGuard;

/// Request heads larger than this are answered 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Accepting can fail for want of file descriptors; try again after this, not at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Accepts connections until told to stop, then waits for them.
pub(super) async fn accept(listener: TcpListener, server: Arc<Server>, mut stopping: watch::Receiver<bool>) {
    let router = routes::router(Arc::clone(&server));
    let places = Arc::new(Semaphore::new(server.settings.connections_max));
    let silent = Arc::new(Silent::default());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if places.available_permits() == 0 {
                        silent.end_oldest();
                    }
                    let place = tokio::select! {
                        // A semaphore that nobody closes always gives a permit in the end.
                        place = Arc::clone(&places).acquire_owned() => place,
                        () = told_to_stop(&mut stopping) => break,
                    };
                    let begun = silent.begin();
                    let connection = serve(stream, begun, router.clone(), Arc::clone(&server), stopping.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    if tokio::time::timeout(ACCEPT_RETRY, told_to_stop(&mut stopping)).await.is_ok() {
                        break;
                    }
                }
            },
            Some(_) = connections.join_next() => {}
            () = told_to_stop(&mut stopping) => break,
        }
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(server.settings.stop_timeout, all_done).await.is_err() {
        tracing::warn!(connections = connections.len(), "ending HTTP connections that did not finish in time");
        connections.shutdown().await;
    }
}

/// Also when the server was dropped instead of stopped.
async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn serve(
    stream: TcpStream,
    begun: Begun,
    router: Router,
    server: Arc<Server>,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are written whole or in large pieces, so there is nothing to gain from waiting for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let HttpSettings { head_timeout, write_stall_timeout, .. } = server.settings;
    let gauge = &server.services.metrics.http_connections;
    gauge.inc();
    let stream = TokioIo::new(StallGuard::new(stream, write_stall_timeout));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_header_size(HEAD_BYTES_MAX);
    let (answering, begun) = (TowerToHyperService::new(router), Arc::new(begun));
    let asked = Arc::clone(&begun);
    let service = service_fn(move |request| {
        asked.has_asked();
        answering.call(request)
    });
    let mut connection = pin!(builder.serve_connection(stream, service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = begun.end.notified() => Ok(()),
        () = told_to_stop(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
    gauge.dec();
}

/// Connections on which nothing was asked yet, in the order in which they were made.
#[derive(Default)]
struct Silent(Mutex<SilentConnections>);

#[derive(Default)]
struct SilentConnections {
    next: u64,
    connections: BTreeMap<u64, Arc<Notify>>,
}

/// A connection, silent until something is asked.
struct Begun {
    silent: Arc<Silent>,
    number: u64,
    end: Arc<Notify>,
}

impl Silent {
    fn begin(self: &Arc<Self>) -> Begun {
        let end = Arc::new(Notify::new());
        let mut silent = self.0.lock();
        let number = silent.next;
        silent.next += 1;
        silent.connections.insert(number, Arc::clone(&end));
        Begun { silent: Arc::clone(self), number, end }
    }

    /// Ends the one that has been silent for longest, where there is one.
    fn end_oldest(&self) {
        if let Some((_, end)) = self.0.lock().connections.pop_first() {
            end.notify_one();
        }
    }
}

impl Begun {
    fn has_asked(&self) {
        self.silent.0.lock().connections.remove(&self.number);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.has_asked();
    }
}
