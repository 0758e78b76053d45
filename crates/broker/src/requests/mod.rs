//! What the broker answers: one function an API, chosen in one place.
//!
//! What must hold: every request is authorised for its principal before anything is read or done; what a client sent
//! wrongly is answered with Kafka's code for it, and only bytes that are not a request at all close the connection.

mod admin;
mod configs;
mod fetch;
mod groups;
mod list_offsets;
mod metadata;
mod offsets;
mod produce;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use eventlog::EventLog;
use kafka_wire::{Api, ErrorCode, Frame, RequestHeader, Text, api_versions};
use model::principal::authorise;
use model::{Access, Clock, Metrics, Principal, Resource, TopicName, TopicPartition};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::coordinator::Coordinator;
use crate::error::ConnectionError;
use crate::settings::BrokerSettings;

/// What all connections share.
pub(crate) struct Services {
    pub(crate) settings: BrokerSettings,
    pub(crate) metrics: Metrics,
    pub(crate) in_flight_bytes: Arc<Semaphore>,
    pub(crate) stopping: watch::Receiver<bool>,
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    coordinator: Coordinator,
    host: Text,
    port: i32,
    cluster_id: Text,
    request_counters: BTreeMap<Api, Counter>,
}

impl Services {
    pub(crate) fn new(
        settings: BrokerSettings,
        local_addr: SocketAddr,
        log: Arc<dyn EventLog>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        coordinator: Coordinator,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let host = match &settings.advertised_host {
            Some(host) => host.clone(),
            // "Any address" is nowhere to connect to.
            None if local_addr.ip().is_unspecified() => "127.0.0.1".to_owned(),
            None => local_addr.ip().to_string(),
        };
        let counter = |api: &Api| {
            let counter = metrics.broker_requests.get_or_create(&[("api", api.name().to_owned())]).clone();
            (*api, counter)
        };
        Self {
            host: Text::from_string(host),
            port: i32::from(settings.advertised_port.unwrap_or(local_addr.port())),
            cluster_id: Text::from_string(settings.cluster_id.clone()),
            in_flight_bytes: Arc::new(Semaphore::new(settings.in_flight_bytes_max)),
            request_counters: Api::ALL.iter().map(counter).collect(),
            settings,
            metrics,
            stopping,
            log,
            clock,
            coordinator,
        }
    }

    /// The partition that a client named, if that can be a partition.
    fn partition(&self, topic: &str, index: i32) -> Option<TopicPartition> {
        let topic = self.log.topic(topic)?;
        (0..topic.partitions).contains(&index).then(|| TopicPartition::new(topic.name.clone(), index))
    }
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The address it comes from.
    pub(crate) host: String,
    /// A number that grows with every request of a connection, to rotate who is served first.
    pub(crate) rotation: usize,
}

impl Caller {
    fn may_use_topic(&self, access: Access, topic: &str) -> Result<(), ErrorCode> {
        authorise(&self.principal, access, Resource::Topic(topic)).map_err(|_| ErrorCode::TopicAuthorizationFailed)
    }

    fn may_use_group(&self, access: Access, group: &str) -> Result<(), ErrorCode> {
        authorise(&self.principal, access, Resource::Group(group)).map_err(|_| ErrorCode::GroupAuthorizationFailed)
    }

    fn may_use_server(&self, access: Access) -> Result<(), ErrorCode> {
        authorise(&self.principal, access, Resource::Server).map_err(|_| ErrorCode::ClusterAuthorizationFailed)
    }
}

/// Why something was not done: Kafka's code, and words for people.
type Refusal = (ErrorCode, String);

/// A name as a client sent it, when it can be a topic's.
fn topic_name(name: &str) -> Result<TopicName, ErrorCode> {
    TopicName::new(name).map_err(|_| ErrorCode::InvalidTopicException)
}

/// The code on the wire: zero when all is well.
fn wire_code(result: Result<(), ErrorCode>) -> i16 {
    result.map_or_else(|error| error.code(), |()| 0)
}

fn text(value: impl Into<String>) -> Text {
    Text::from_string(value.into())
}

/// Answers one request; `None` where the protocol wants no answer.
pub(crate) async fn answer(
    services: Arc<Services>,
    caller: Caller,
    header: RequestHeader,
    body: Bytes,
) -> Result<Option<Frame>, ConnectionError> {
    let started = Instant::now();
    if let Some(counter) = services.request_counters.get(&header.api) {
        counter.inc();
    }
    let call = Call { services: &services, caller, header, body };
    let waits = matches!(call.header.api, Api::Fetch | Api::JoinGroup | Api::SyncGroup);
    let answer = call.answer().await;
    if !waits {
        services.metrics.broker_request.observe(started.elapsed().as_secs_f64());
    }
    answer
}

/// A request on its way to an answer.
struct Call<'a> {
    services: &'a Services,
    caller: Caller,
    header: RequestHeader,
    body: Bytes,
}

impl Call<'_> {
    async fn answer(&self) -> Result<Option<Frame>, ConnectionError> {
        let RequestHeader { api, version, .. } = self.header;
        if !api.versions().contains(version) {
            return self.unsupported_version();
        }
        match api {
            Api::Produce => return produce::answer(self).await,
            Api::Fetch => fetch::answer(self).await,
            Api::ListOffsets => list_offsets::answer(self).await,
            Api::Metadata => metadata::answer(self).await,
            Api::OffsetCommit => offsets::commit(self).await,
            Api::OffsetFetch => offsets::fetch(self),
            Api::FindCoordinator => groups::find_coordinator(self),
            Api::JoinGroup => groups::join(self).await,
            Api::Heartbeat => groups::heartbeat(self).await,
            Api::LeaveGroup => groups::leave(self).await,
            Api::SyncGroup => groups::sync(self).await,
            Api::DescribeGroups => groups::describe(self).await,
            Api::ListGroups => groups::list(self).await,
            Api::DeleteGroups => groups::delete(self).await,
            Api::ApiVersions => self.api_versions(),
            Api::CreateTopics => admin::create_topics(self).await,
            Api::DeleteTopics => admin::delete_topics(self).await,
            Api::InitProducerId => admin::init_producer_id(self).await,
            Api::DescribeConfigs => configs::describe(self),
            Api::DescribeCluster => metadata::describe_cluster(self),
        }
        .map(Some)
    }

    /// Whether the caller may write or change a topic, of which it may know only the name.
    fn may_change_topic(&self, access: Access, name: &str) -> Result<(), Refusal> {
        let topic = self.services.log.topic(name);
        let resource = topic.as_ref().map_or(Resource::Topic(name), |topic| topic.resource());
        authorise(&self.caller.principal, access, resource).map_err(|error| {
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            (ErrorCode::TopicAuthorizationFailed, format!("{error}{hint}"))
        })
    }

    /// Reads the body of a request off the hot path.
    fn decode<T: kafka_wire::cold::Decodable>(&self) -> Result<T, ConnectionError> {
        Ok(kafka_wire::cold::decode_request(self.header.api, self.header.version, self.body.clone())?)
    }

    /// Writes the answer of a request off the hot path.
    fn encode<T: kafka_wire::cold::Encodable>(&self, response: &T) -> Result<Frame, ConnectionError> {
        let RequestHeader { api, version, .. } = self.header;
        Ok(self.header.response(|writer| kafka_wire::cold::encode(writer, api, version, response))?)
    }

    fn api_versions(&self) -> Result<Frame, ConnectionError> {
        let version = self.header.version;
        api_versions::decode_request(version, self.body.clone())?;
        Ok(self.header.response(|writer| {
            api_versions::encode_response(writer, version, None);
            Ok(())
        })?)
    }

    /// A client that speaks a newer `ApiVersions` is told, in version 0, what is spoken here. Any other unknown version
    /// has no answer that the client could read.
    fn unsupported_version(&self) -> Result<Option<Frame>, ConnectionError> {
        let RequestHeader { api, version, .. } = self.header;
        if api != Api::ApiVersions {
            return Err(kafka_wire::WireError::UnsupportedVersion { api: api.name(), version }.into());
        }
        let header = RequestHeader { version: 0, ..self.header.clone() };
        let frame = header.response(|writer| {
            api_versions::encode_response(writer, 0, Some(ErrorCode::UnsupportedVersion));
            Ok(())
        })?;
        Ok(Some(frame))
    }
}
