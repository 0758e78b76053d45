//! A broker on a free port over a log in a temporary directory.
#![allow(dead_code, reason = "each test uses a part")]

use std::sync::Arc;
use std::time::Duration;

use broker::client::Client;
use broker::{Broker, BrokerSettings, GroupSettings, Resources, TopicDeletion};
use eventlog::{EmbeddedLog, EventLog, EventLogSettings, Record};
use model::{Clock, Metrics, SystemClock, TopicName, TopicPartition};

pub(crate) struct Served {
    pub(crate) broker: Broker,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) metrics: Metrics,
    _directory: tempfile::TempDir,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut BrokerSettings)) -> Self {
        Self::start_at(Arc::new(SystemClock), change).await
    }

    /// With another clock.
    pub(crate) async fn start_at(clock: Arc<dyn Clock>, change: impl FnOnce(&mut BrokerSettings)) -> Self {
        Self::start_all(change, EventLogSettings::shipped(), clock, |resources| resources).await
    }

    /// With topics that may not be deleted.
    pub(crate) async fn start_keeping(topic_deletion: TopicDeletion) -> Self {
        let clock = Arc::new(SystemClock);
        let keep = |resources| Resources { topic_deletion, ..resources };
        Self::start_all(|_| {}, EventLogSettings::shipped(), clock, keep).await
    }

    /// With a log of these settings, which the broker sees through `wrap`.
    pub(crate) async fn start_over(
        log_settings: EventLogSettings,
        wrap: impl FnOnce(Arc<dyn EventLog>) -> Arc<dyn EventLog>,
    ) -> Self {
        let wrap = |resources: Resources| Resources { log: wrap(resources.log), ..resources };
        Self::start_all(|_| {}, log_settings, Arc::new(SystemClock), wrap).await
    }

    async fn start_all(
        change: impl FnOnce(&mut BrokerSettings),
        log_settings: EventLogSettings,
        clock: Arc<dyn Clock>,
        change_resources: impl FnOnce(Resources) -> Resources,
    ) -> Self {
        let mut settings = BrokerSettings {
            port: 0,
            stop_timeout: Duration::from_secs(1),
            groups: GroupSettings { initial_rebalance_delay_ms: 50, ..GroupSettings::shipped() },
            ..BrokerSettings::shipped()
        };
        change(&mut settings);
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::default();
        let log = EmbeddedLog::open(directory.path(), log_settings, Arc::clone(&clock), metrics.clone());
        let log = log.await.unwrap();
        let resources = Resources {
            log: Arc::<EmbeddedLog>::clone(&log),
            clock,
            metrics: metrics.clone(),
            topic_deletion: TopicDeletion::unrestricted(),
        };
        let broker = Broker::start(settings, change_resources(resources)).await.unwrap();
        Self { broker, log, metrics, _directory: directory }
    }

    pub(crate) fn address(&self) -> String {
        self.broker.local_addr().to_string()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.address()).await.unwrap()
    }
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

pub(crate) fn partition(name: &str, index: i32) -> TopicPartition {
    TopicPartition::new(topic(name), index)
}

pub(crate) fn record(key: &str, value: &str) -> Record {
    Record {
        timestamp_ms: 1_000,
        key: Some(key.to_owned().into()),
        value: Some(value.to_owned().into()),
        ..Record::default()
    }
}
