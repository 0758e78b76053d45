//! [`Server`]: every part of the product in one process, started from the log upwards and stopped from the doors down.
//!
//! What must hold: a door opens only when everything behind it works, so that whoever can connect is answered; after
//! [`Server::stop`] nothing is left to replay but what came after the last checkpoint.

use std::{net::SocketAddr, path::Path, sync::Arc};

use broker::Broker;
use eventlog::{EmbeddedLog, EventLog};
use eventstore::{Aggregates, EventStore};
use lakehouse::{DurableFileSystem, LakeLocation};
use model::{Clock, Error, Metrics, Result, SystemClock};
use object_store::prefix::PrefixStore;
use patterns::{Deployment, Parts, cqrs::CommandSide, cqrs::QuerySide, event_sourcing};
use serving::{
    http::{self, Doors, HttpServer, Part, Readiness},
    pg::{self, PgServer},
    sql::SqlService,
    views::Views,
};
use streaming::DeadLetters;

use crate::{open_files, settings::Settings};

/// A server that runs.
pub(crate) struct Server {
    log: Arc<EmbeddedLog>,
    store: Arc<EventStore>,
    aggregates: Arc<Aggregates>,
    deployment: Arc<Deployment>,
    views: Arc<Views>,
    sql: Arc<SqlService>,
    broker: Broker,
    pg: PgServer,
    http: HttpServer,
}

impl Server {
    /// Starts everything.
    ///
    /// # Errors
    /// The first part that cannot start says why; nothing is left running then.
    pub(crate) async fn start(settings: &Settings) -> Result<Self> {
        open_files::raise_limit();
        let directory = settings.data.directory.as_path();
        std::fs::create_dir_all(directory)
            .map_err(|e| Error::invalid(format!("cannot create {}", directory.display())).with_source(e))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Metrics::default();
        let embedded =
            EmbeddedLog::open(&directory.join("log"), settings.log.clone(), Arc::clone(&clock), metrics.clone())
                .await
                .map_err(|error| named_as_given(error, directory))?;
        let log: Arc<dyn EventLog> = Arc::clone(&embedded) as _;
        let (store, aggregates) = event_sourcing::open(
            Arc::clone(&log),
            settings.events.clone(),
            settings.aggregates.clone(),
            Arc::clone(&clock),
            metrics.clone(),
        )
        .await?;
        let views = Views::new(metrics.clone());
        let parts = Parts {
            log: Arc::clone(&log),
            dead_letters: DeadLetters::new(Arc::clone(&log), metrics.clone()),
            checkpoints: checkpoint_store(&directory.join("checkpoints"))?,
            lake: LakeLocation::directory(directory.join("lake")),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            settings: settings.patterns(),
        };
        let deployment = Deployment::open(&directory.join("catalogue.redb"), parts, Arc::clone(&views)).await?;
        let sql =
            SqlService::new(Arc::clone(&views), Arc::clone(&deployment) as _, settings.sql.clone(), metrics.clone())?;
        let broker =
            Broker::start(settings.kafka.clone(), Arc::clone(&log), Arc::clone(&clock), metrics.clone()).await?;
        let pg = pg::start(settings.pg.clone(), Arc::clone(&sql)).await?;
        let doors = Doors {
            log,
            sql: Arc::clone(&sql),
            views: Arc::clone(&views),
            event_store: Some(Arc::clone(&store)),
            aggregates: Some(Arc::clone(&aggregates)),
            clock,
            metrics,
            readiness: readiness(Arc::clone(&embedded), Arc::clone(&deployment)),
        };
        let http = http::start(settings.http.clone(), doors).await?;
        Ok(Self { log: embedded, store, aggregates, deployment, views, sql, broker, pg, http })
    }

    /// Where Kafka clients connect.
    pub(crate) fn kafka_address(&self) -> SocketAddr {
        self.broker.local_addr()
    }

    /// Where PostgreSQL clients connect.
    pub(crate) fn pg_address(&self) -> SocketAddr {
        self.pg.local_addr()
    }

    /// Where HTTP clients connect.
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http.local_addr
    }

    /// The half that takes commands.
    pub(crate) fn command_side(&self) -> CommandSide {
        CommandSide::new(Arc::clone(&self.aggregates))
    }

    /// The half that answers queries.
    pub(crate) fn query_side(&self) -> QuerySide {
        QuerySide::new(Arc::clone(&self.sql))
    }

    /// The aggregates, for their states.
    pub(crate) fn aggregates(&self) -> &Arc<Aggregates> {
        &self.aggregates
    }

    /// The event store.
    pub(crate) fn event_store(&self) -> &Arc<EventStore> {
        &self.store
    }

    /// What is served by name.
    pub(crate) fn views(&self) -> &Arc<Views> {
        &self.views
    }

    /// Stops everything in order: doors, views, event store, log.
    ///
    /// # Errors
    /// The first thing that failed; everything is stopped all the same.
    pub(crate) async fn stop(self) -> Result<()> {
        self.http.stop().await;
        self.pg.stop().await;
        self.broker.stop().await;
        let views = self.deployment.stop().await;
        self.store.close().await;
        let log = self.log.close().await.map_err(Error::from);
        views.and(log)
    }
}

// The log knows its own folder; who started the server knows the one above it.
fn named_as_given(error: eventlog::Error, directory: &Path) -> Error {
    match error {
        eventlog::Error::DirectoryInUse(_) => eventlog::Error::DirectoryInUse(directory.display().to_string()).into(),
        error => error.into(),
    }
}

// Every part is up before the HTTP door opens; what can still fail on the way are the log and views.
fn readiness(log: Arc<EmbeddedLog>, deployment: Arc<Deployment>) -> Readiness {
    Readiness::new(move || {
        let failure = log.check_running().err().map(|error| error.to_string());
        let log = Part { name: "log".to_owned(), ready: failure.is_none(), note: failure };
        let views = deployment.view_states().into_iter();
        let views = views.map(|(name, state)| Part {
            name: format!("view {name}"),
            ready: !state.starts_with("failed"),
            note: Some(state),
        });
        std::iter::once(log).chain(views).collect()
    })
}

fn checkpoint_store(directory: &Path) -> Result<Arc<dyn object_store::ObjectStore>> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::internal(format!("cannot use {}", directory.display())).with_source(e)
    };
    std::fs::create_dir_all(directory).map_err(|e| failed(e.into()))?;
    let absolute = directory.canonicalize().map_err(|e| failed(e.into()))?;
    let prefix = object_store::path::Path::from_absolute_path(absolute).map_err(|e| failed(e.into()))?;
    Ok(Arc::new(PrefixStore::new(DurableFileSystem::new(), prefix)))
}
