//! What the broker answers: one function an API, chosen in one place.
//!
//! What must hold: every request is authorised for its principal before anything is read or done; what a client sent
//! wrongly is answered with Kafka's code for it, and only bytes that are not a request at all close the connection; a
//! name that stands in a request twice is answered once, and an answer has room in the budget before it is built where
//! little can ask for much.

mod admin;
mod configs;
mod fetch;
mod groups;
mod list_offsets;
mod metadata;
mod offsets;
mod produce;
mod topic_settings;

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use kafka_wire::{Api, ErrorCode, Frame, RequestHeader, Text, api_versions};
use model::principal::authorise;
use model::{Access, Principal, Resource, TopicName};
use tokio::time::Instant;

use crate::answer_budget::{Answer, Share};
use crate::error::ConnectionError;
use crate::services::{Endpoint, Services};

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// The address it comes from.
    pub(crate) host: String,
    /// Where it is told to connect to.
    pub(crate) endpoint: Endpoint,
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
pub(crate) type Refusal = (ErrorCode, String);

/// An error in words, and what to do about it.
pub(crate) fn reason(error: &model::Error) -> String {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{error}{hint}")
}

/// A name as a client sent it, when it can be a topic's.
fn topic_name(name: &str) -> Result<TopicName, ErrorCode> {
    TopicName::new(name).map_err(|_| ErrorCode::InvalidTopicException)
}

/// The code on the wire: zero when all is well.
fn wire_code(result: Result<(), ErrorCode>) -> i16 {
    result.map_or_else(|error| error.code(), |()| 0)
}

/// The items of a request, each once, in the order in which they stand there first.
fn distinct<'a, T: Hash + Eq>(items: impl IntoIterator<Item = &'a T>) -> Vec<&'a T> {
    let mut seen = HashSet::new();
    items.into_iter().filter(|item| seen.insert(*item)).collect()
}

fn text(value: impl Into<String>) -> Text {
    Text::from_string(value.into())
}

/// An answer to wait for; `None` where the protocol wants no answer.
pub(crate) type PendingAnswer = BoxFuture<'static, Result<Option<Answer>, ConnectionError>>;

/// Begins one request. A produce request has its place in the log when this returns; any other does nothing before its
/// answer is awaited.
pub(crate) async fn begin(
    services: Arc<Services>,
    caller: Caller,
    header: RequestHeader,
    body: Bytes,
) -> PendingAnswer {
    let started = Instant::now();
    if let Some(counter) = services.request_counters.get(&header.api) {
        counter.inc();
    }
    let call = Call { services: &services, caller, header, body };
    if call.header.api != Api::Produce || !Api::Produce.versions().contains(call.header.version) {
        let Call { caller, header, body, .. } = call;
        return async move {
            let waits = matches!(header.api, Api::Fetch | Api::JoinGroup | Api::SyncGroup);
            let answer = Call { services: &services, caller, header, body }.answer().await;
            if !waits {
                services.metrics.broker_request.observe(started.elapsed().as_secs_f64());
            }
            answer
        }
        .boxed();
    }
    let begun = produce::begin(&call).await;
    let header = call.header;
    async move {
        let answer = match begun?.answer(&header).await? {
            Some(frame) => services.answers.answer(frame, Share::uncounted()).await.map(Some),
            None => Ok(None),
        };
        services.metrics.broker_request.observe(started.elapsed().as_secs_f64());
        answer
    }
    .boxed()
}

/// A request on its way to an answer.
struct Call<'a> {
    services: &'a Services,
    caller: Caller,
    header: RequestHeader,
    body: Bytes,
}

impl Call<'_> {
    async fn answer(&self) -> Result<Option<Answer>, ConnectionError> {
        let RequestHeader { api, version, .. } = self.header;
        if !api.versions().contains(version) {
            return self.unsupported_version();
        }
        let frame = match api {
            Api::Fetch => return fetch::answer(self).await.map(Some),
            Api::Metadata => return metadata::answer(self).await.map(Some),
            Api::FindCoordinator => return groups::find_coordinator(self).await.map(Some),
            Api::DescribeGroups => return groups::describe(self).await.map(Some),
            Api::DescribeConfigs => return configs::describe(self).await.map(Some),
            Api::OffsetFetch => return offsets::fetch(self).await.map(Some),
            Api::Produce => match produce::begin(self).await?.answer(&self.header).await? {
                Some(frame) => frame,
                None => return Ok(None),
            },
            Api::ListOffsets => list_offsets::answer(self).await?,
            Api::OffsetCommit => offsets::commit(self).await?,
            Api::JoinGroup => groups::join(self).await?,
            Api::Heartbeat => groups::heartbeat(self).await?,
            Api::LeaveGroup => groups::leave(self).await?,
            Api::SyncGroup => groups::sync(self).await?,
            Api::ListGroups => groups::list(self).await?,
            Api::DeleteGroups => groups::delete(self).await?,
            Api::ApiVersions => self.api_versions()?,
            Api::CreateTopics => admin::create_topics(self).await?,
            Api::DeleteTopics => admin::delete_topics(self).await?,
            Api::InitProducerId => admin::init_producer_id(self).await?,
            Api::DescribeCluster => metadata::describe_cluster(self)?,
        };
        self.services.answers.answer(frame, Share::uncounted()).await.map(Some)
    }

    /// Whether the caller may write or change a topic, of which it may know only the name.
    fn may_change_topic(&self, access: Access, name: &str) -> Result<(), Refusal> {
        let topic = self.services.log.topic(name);
        let resource = topic.as_ref().map_or(Resource::Topic(name), |topic| topic.resource());
        authorise(&self.caller.principal, access, resource)
            .map_err(|error| (ErrorCode::TopicAuthorizationFailed, reason(&error)))
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

    /// Waits for room for an answer of about so many bytes.
    async fn reserve(&self, bytes: usize) -> Result<Share, ConnectionError> {
        self.services.answers.reserve(bytes).await
    }

    /// Writes an answer for which room was taken.
    async fn encode_within<T: kafka_wire::cold::Encodable>(
        &self,
        share: Share,
        response: &T,
    ) -> Result<Answer, ConnectionError> {
        self.services.answers.answer(self.encode(response)?, share).await
    }

    /// A client that speaks a newer `ApiVersions` is told, in version 0, what is spoken here. Any other unknown version
    /// has no answer that the client could read.
    fn unsupported_version(&self) -> Result<Option<Answer>, ConnectionError> {
        let RequestHeader { api, version, .. } = self.header;
        if api != Api::ApiVersions {
            return Err(kafka_wire::WireError::UnsupportedVersion { api: api.name(), version }.into());
        }
        let header = RequestHeader { version: 0, ..self.header.clone() };
        let frame = header.response(|writer| {
            api_versions::encode_response(writer, 0, Some(ErrorCode::UnsupportedVersion));
            Ok(())
        })?;
        Ok(Some(Answer { frame, share: Share::uncounted() }))
    }
}
