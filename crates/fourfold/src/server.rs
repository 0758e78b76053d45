//! [`Server`]: every part of the product in one process, started from the log upwards and stopped from the doors down.
//!
//! What must hold: a door opens only when everything behind it works, so that whoever can connect is answered; after
//! [`Server::stop`] nothing is left to replay but what came after the last checkpoint.

use std::{net::SocketAddr, path::Path, sync::Arc};

use broker::{Broker, TopicDeletion};
use eventlog::{EmbeddedLog, EventLog};
use eventstore::{Aggregates, EventStore};
use lakehouse::{DurableFileSystem, LakeLocation};
use model::{Clock, Error, MemoryBudget, Metrics, Result, SystemClock, SystemEntropy};
use object_store::prefix::PrefixStore;
use patterns::{Deployment, Resources, event_sourcing};
use serving::{
    http::{self, Backups, HttpServer, Services},
    pg::{self, PgServer},
    sql::SqlService,
    topic_use::TopicUse,
    views::Views,
};
use streaming::{DeadLetters, FoldThreads};

use crate::{
    backup::Backup,
    identity::{self, Identity},
    machine_memory, open_files, readiness,
    settings::Settings,
};

/// A server that runs.
pub(crate) struct Server {
    identity: Identity,
    log: Arc<EmbeddedLog>,
    store: Arc<EventStore>,
    aggregates: Arc<Aggregates>,
    deployment: Arc<Deployment>,
    views: Arc<Views>,
    sql: Arc<SqlService>,
    broker: Broker,
    pg: PgServer,
    http: HttpServer,
    /// Where views fold; dropped after all that is on them was stopped.
    _threads: FoldThreads,
}

impl Server {
    /// Starts everything.
    ///
    /// # Errors
    /// The first part that cannot start says why; nothing is left running then.
    pub(crate) async fn start(settings: &Settings) -> Result<Self> {
        Self::start_parts(settings).await.map_err(unstarted)
    }

    async fn start_parts(settings: &Settings) -> Result<Self> {
        open_files::raise_limit();
        let directory = settings.data.directory.as_path();
        std::fs::create_dir_all(directory)
            .map_err(|e| Error::invalid(format!("cannot create {}", directory.display())).with_source(e))?;
        identity::refuse_unfinished(directory)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Metrics::default();
        let embedded =
            EmbeddedLog::open(&directory.join("log"), settings.log.clone(), Arc::clone(&clock), metrics.clone())
                .await
                .map_err(|error| named_as_given(error, directory))?;
        let log: Arc<dyn EventLog> = Arc::clone(&embedded) as _;
        // Nobody else has the folder open.
        let identity = Identity::of(directory, &SystemEntropy, clock.as_ref())?;
        let catalogue = directory.join("catalogue.redb");
        // Before anything creates a topic: a new log is told from one whose catalogue is gone.
        Deployment::require_catalogue(&catalogue, log.as_ref(), settings.data.begin_without_catalogue)?;
        let (store, aggregates) = event_sourcing::open(
            Arc::clone(&log),
            settings.events.clone(),
            settings.aggregates.clone(),
            Arc::clone(&clock),
            metrics.clone(),
        )
        .await?;
        let views = Views::new(metrics.clone());
        let memory = MemoryBudget::new(machine_memory::budget_bytes(settings.memory.budget_bytes));
        let patterns = settings.patterns();
        let threads = FoldThreads::start()?;
        let resources = Resources {
            state_memory: memory.part(machine_memory::for_views(memory.bytes_max())),
            log: Arc::clone(&log),
            dead_letters: DeadLetters::new(Arc::clone(&log), Arc::clone(&clock), metrics.clone()),
            checkpoints: checkpoint_store(&directory.join("checkpoints"))?,
            lake: LakeLocation::directory(directory.join("lake")),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            settings: patterns,
            threads: threads.handle(),
        };
        let deployment = Deployment::open(&catalogue, resources, Arc::clone(&views)).await?;
        let definitions = Arc::clone(&deployment) as _;
        let sql =
            SqlService::with_memory(memory, Arc::clone(&views), definitions, settings.sql.clone(), metrics.clone())?;
        let behind_broker = broker::Resources {
            log: Arc::clone(&log),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            topic_deletion: topic_deletion(Arc::clone(&deployment)),
        };
        let broker = Broker::start(settings.kafka.clone(), behind_broker).await?;
        let pg = pg::start(settings.pg.clone(), Arc::clone(&sql)).await?;
        let services = Services {
            log,
            sql: Arc::clone(&sql),
            views: Arc::clone(&views),
            event_store: Some(Arc::clone(&store)),
            aggregates: Some(Arc::clone(&aggregates)),
            clock,
            entropy: Arc::new(SystemEntropy),
            metrics,
            readiness: readiness::of(Arc::clone(&embedded), Arc::clone(&store), Arc::clone(&deployment)),
            backups: Some(backups(settings, identity, Arc::clone(&embedded), Arc::clone(&deployment))),
        };
        let http = http::start(settings.http.clone(), services).await?;
        Ok(Self {
            identity,
            log: embedded,
            store,
            aggregates,
            deployment,
            views,
            sql,
            broker,
            pg,
            http,
            _threads: threads,
        })
    }

    /// Which data folder it has open.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
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

    /// What answers queries: the query side.
    pub(crate) fn sql(&self) -> &Arc<SqlService> {
        &self.sql
    }

    /// What takes commands, the command side, and tells the aggregates' states.
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

// What to do about a full disk is said of a log that is open. Of a server that did not start, nothing goes on by itself.
fn unstarted(error: Error) -> Error {
    match error.hint() {
        Some(eventlog::DISK_FULL_HINT) => error.with_hint("free space on it, then start again"),
        _ => error,
    }
}

// The log knows its own folder; who started the server knows the one above it.
fn named_as_given(error: eventlog::Error, directory: &Path) -> Error {
    match error {
        eventlog::Error::DirectoryInUse(_) => eventlog::Error::DirectoryInUse(directory.display().to_string()).into(),
        error => error.into(),
    }
}

// Kafka clients too are kept from deleting what a source needs.
fn topic_deletion(deployment: Arc<Deployment>) -> TopicDeletion {
    TopicDeletion::new(move |topic| match TopicUse::find(topic, &deployment.sources()) {
        Some(used) => Err(used.into()),
        None => Ok(()),
    })
}

// A copy of what this server has open, made while it goes on.
fn backups(settings: &Settings, identity: Identity, log: Arc<EmbeddedLog>, deployment: Arc<Deployment>) -> Backups {
    let (data, log_settings) = (settings.data.directory.clone(), settings.log.clone());
    Backups::new(move |target| {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let (data, log_settings, known_damage) = (data.clone(), log_settings.clone(), log.damage().len());
        let deployment = Arc::clone(&deployment);
        let backup = Backup { data, identity, log: log_settings, clock, entropy, known_damage };
        backup.make(target, move |file| deployment.copy_catalogue(file))
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

#[cfg(test)]
mod tests;
