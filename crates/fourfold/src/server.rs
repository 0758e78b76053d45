//! [`Server`]: every part of the product in one process, started from the log upwards and stopped from the doors down.
//!
//! What must hold: a door opens only when everything behind it works, so that whoever can connect is answered; after
//! [`Server::stop`] nothing is left to replay but what came after the last checkpoint.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use broker::{Broker, BrokerSettings};
use eventlog::{EmbeddedLog, EventLog, EventLogSettings};
use eventstore::{Aggregates, EventStore, EventStoreSettings};
use lakehouse::{CaptureSettings, DurableFileSystem, LakeLocation};
use model::{Clock, Error, Metrics, Result, SystemClock, TopicName};
use object_store::prefix::PrefixStore;
use patterns::{Deployment, Parts, PatternSettings, cqrs::CommandSide, cqrs::QuerySide, event_sourcing};
use serving::{
    http::{self, Doors, HttpServer, HttpSettings, Part, Readiness},
    pg::{self, PgServer, PgSettings},
    sql::{SqlService, SqlSettings},
    views::Views,
};
use streaming::{DeadLetters, ReaderSettings, ViewTaskSettings};

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
            EmbeddedLog::open(&directory.join("log"), log_settings(settings)?, Arc::clone(&clock), metrics.clone())
                .await
                .map_err(|error| named_as_given(error, directory))?;
        let log: Arc<dyn EventLog> = Arc::clone(&embedded) as _;
        let (store, aggregates) =
            event_sourcing::open(Arc::clone(&log), event_settings(settings)?, Arc::clone(&clock), metrics.clone())
                .await?;
        let views = Views::new(metrics.clone());
        let parts = Parts {
            log: Arc::clone(&log),
            dead_letters: DeadLetters::new(Arc::clone(&log), metrics.clone()),
            checkpoints: checkpoint_store(&directory.join("checkpoints"))?,
            lake: LakeLocation::directory(directory.join("lake")),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            settings: pattern_settings(settings),
        };
        let deployment = Deployment::open(&directory.join("catalogue.redb"), parts, Arc::clone(&views)).await?;
        let sql =
            SqlService::new(Arc::clone(&views), Arc::clone(&deployment) as _, sql_settings(settings), metrics.clone())?;
        let broker =
            Broker::start(broker_settings(settings)?, Arc::clone(&log), Arc::clone(&clock), metrics.clone()).await?;
        let pg = pg::start(pg_settings(settings)?, Arc::clone(&sql)).await?;
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
        let http = http::start(http_settings(settings)?, doors).await?;
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

fn address(host: &str, port: u16) -> Result<SocketAddr> {
    let ip: IpAddr = host.parse().map_err(|e| {
        Error::invalid(format!("{host:?} is not an IP address"))
            .with_source(e)
            .with_hint("write 127.0.0.1 for this machine")
    })?;
    Ok(SocketAddr::new(ip, port))
}

fn log_settings(settings: &Settings) -> Result<EventLogSettings> {
    let segment_bytes = u32::try_from(settings.log.segment_bytes)
        .map_err(|_| Error::invalid("log.segment_bytes is over 4 GiB").with_hint("Kafka's segments end at 2 GiB"))?;
    Ok(EventLogSettings {
        segment_bytes,
        wal_file_bytes: settings.log.wal_file_bytes,
        checkpoint_wal_bytes: settings.log.checkpoint_wal_bytes,
        ..EventLogSettings::default()
    })
}

fn event_settings(settings: &Settings) -> Result<EventStoreSettings> {
    Ok(EventStoreSettings { topic: TopicName::new(&settings.events.topic)?, ..EventStoreSettings::default() })
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

fn pattern_settings(settings: &Settings) -> PatternSettings {
    PatternSettings {
        view_task: ViewTaskSettings {
            checkpoint_interval: Duration::from_millis(settings.views.checkpoint_interval_ms),
            reader: ReaderSettings { read_bytes_max: settings.views.read_bytes },
        },
        capture: CaptureSettings {
            commit_interval: Duration::from_millis(settings.lake.commit_interval_ms),
            commit_rows_max: settings.lake.commit_rows,
            ..CaptureSettings::default()
        },
        epoch_interval: Duration::from_millis(settings.lambda.epoch_interval_ms),
    }
}

fn sql_settings(settings: &Settings) -> SqlSettings {
    SqlSettings { statement_timeout: Duration::from_millis(settings.pg.statement_timeout_ms), ..SqlSettings::default() }
}

fn broker_settings(settings: &Settings) -> Result<BrokerSettings> {
    Ok(BrokerSettings {
        listen: address(&settings.kafka.host, settings.kafka.port)?,
        connections_max: settings.kafka.connections_max,
        request_bytes_max: settings.kafka.request_bytes_max,
        ..BrokerSettings::default()
    })
}

fn pg_settings(settings: &Settings) -> Result<PgSettings> {
    Ok(PgSettings {
        listen: address(&settings.pg.host, settings.pg.port)?,
        connections_max: settings.pg.connections_max,
        ..PgSettings::default()
    })
}

fn http_settings(settings: &Settings) -> Result<HttpSettings> {
    Ok(HttpSettings {
        listen: address(&settings.http.host, settings.http.port)?,
        connections_max: settings.http.connections_max,
        request_bytes_max: settings.http.body_bytes_max,
        ..HttpSettings::default()
    })
}
