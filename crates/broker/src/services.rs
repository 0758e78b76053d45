//! What all connections of a broker share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use eventlog::EventLog;
use kafka_wire::{Api, Text};
use model::{Clock, Metrics, TopicPartition};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Semaphore, watch};

use crate::answer_budget::AnswerBudget;
use crate::coordinator::Coordinator;
use crate::damage_reports::DamageReports;
use crate::offset_room::OffsetRoom;
use crate::resources::Resources;
use crate::settings::BrokerSettings;
use crate::topic_deletion::TopicDeletion;

pub(crate) struct Services {
    pub(crate) settings: BrokerSettings,
    pub(crate) metrics: Metrics,
    pub(crate) in_flight_bytes: Arc<Semaphore>,
    pub(crate) answers: AnswerBudget,
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) topic_deletion: TopicDeletion,
    pub(crate) coordinator: Coordinator,
    pub(crate) offset_room: OffsetRoom,
    pub(crate) damage_reports: DamageReports,
    pub(crate) cluster_id: Text,
    pub(crate) request_counters: BTreeMap<Api, Counter>,
    listening: SocketAddr,
}

/// Where clients are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Text,
    pub(crate) port: i32,
}

impl Services {
    pub(crate) fn new(
        settings: BrokerSettings,
        listening: SocketAddr,
        resources: Resources,
        coordinator: Coordinator,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let Resources { log, clock, metrics, topic_deletion } = resources;
        let counter = |api: &Api| {
            let counter = metrics.broker_requests.get_or_create(&[("api", api.name().to_owned())]).clone();
            (*api, counter)
        };
        Self {
            cluster_id: Text::from_string(settings.cluster_id.clone()),
            in_flight_bytes: Arc::new(Semaphore::new(settings.in_flight_bytes_max)),
            answers: AnswerBudget::new(settings.answer_bytes_max, settings.transfer_timeout),
            damage_reports: DamageReports::default(),
            offset_room: OffsetRoom::new(&settings.groups),
            request_counters: Api::ALL.iter().map(counter).collect(),
            settings,
            metrics,
            stopping,
            log,
            clock,
            topic_deletion,
            coordinator,
            listening,
        }
    }

    /// What a client that connected to `reached` is told to connect to: what the settings say, else the address listened
    /// on; and where that is every address of the machine, the one that the client reached.
    pub(crate) fn endpoint(&self, reached: SocketAddr) -> Endpoint {
        let listening = self.listening.ip();
        let host = match &self.settings.advertised_host {
            Some(host) => host.clone(),
            None if listening.is_unspecified() => reached.ip().to_canonical().to_string(),
            None => listening.to_string(),
        };
        let port = self.settings.advertised_port.unwrap_or(self.listening.port());
        Endpoint { host: Text::from_string(host), port: i32::from(port) }
    }

    /// The partition that a client named, if that can be a partition.
    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<TopicPartition> {
        let topic = self.log.topic(topic)?;
        (0..topic.partitions).contains(&index).then(|| TopicPartition::new(topic.name.clone(), index))
    }
}
