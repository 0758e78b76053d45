//! Topics: list, create, describe, delete.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use eventlog::{Bounds, EventLog, Topic, TopicSettings, TopicSpec};
use model::{Access, Error, Offset, Positions, Principal, Resource, TopicName, principal::authorise};
use serde::{Deserialize, Serialize};

use super::{
    Server, answer,
    parameters::{Caller, JsonBody, Parameters, Segments},
    problem::Result,
    topic_deletion, waiting,
};

/// A topic to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTopic {
    name: String,
    #[serde(default = "one_partition")]
    partitions: i32,
    retention_ms: Option<i64>,
    retention_bytes: Option<i64>,
    message_bytes_max: Option<u32>,
}

fn one_partition() -> i32 {
    1
}

impl NewTopic {
    fn into_spec(self) -> Result<TopicSpec, Error> {
        let negative = [self.retention_ms, self.retention_bytes].iter().flatten().any(|limit| *limit < 0);
        if negative {
            return Err(Error::invalid("a retention cannot be negative").with_hint("leave it out to keep all records"));
        }
        if self.message_bytes_max == Some(0) {
            return Err(Error::invalid("a topic with message_bytes_max 0 would take no record")
                .with_hint("leave it out for the usual limit"));
        }
        let settings = TopicSettings {
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
            message_bytes_max: self.message_bytes_max.unwrap_or(TopicSettings::default().message_bytes_max),
            ..TopicSettings::default()
        };
        Ok(TopicSpec { name: TopicName::new(&self.name)?, partitions: self.partitions, settings })
    }
}

#[derive(Debug, Serialize)]
struct ShownTopics {
    topics: Vec<ShownTopic>,
}

#[derive(Debug, Serialize)]
struct ShownTopic {
    name: String,
    id: String,
    owner: Option<&'static str>,
    partitions: Vec<ShownPartition>,
    retention_ms: Option<i64>,
    retention_bytes: Option<i64>,
    message_bytes_max: u32,
}

#[derive(Debug, Serialize)]
struct ShownPartition {
    partition: i32,
    log_start_offset: Offset,
    high_watermark: Offset,
}

/// `GET /v1/topics`.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Describe, Resource::Server)?;
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    let log = server.services.log.as_ref();
    waiting::wait_for_log(log, &demand).await?;
    let mut positions = Positions::new();
    let mut topics = Vec::new();
    for topic in log.topics() {
        // Between the list and this look a topic may go away; it is then not in the answer.
        let Ok((described, end)) = describe_topic(log, &topic) else { continue };
        topics.push(described);
        positions.advance_all(&end);
    }
    Ok(answer::json(StatusCode::OK, &ShownTopics { topics }, &positions))
}

/// `POST /v1/topics`.
pub(super) async fn create(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    parameters: Parameters,
    JsonBody(new): JsonBody<NewTopic>,
) -> Result<Response> {
    parameters.finish()?;
    authorise(&caller, Access::Alter, Resource::Topic(&new.name))?;
    let log = server.services.log.as_ref();
    let topic = log.create_topic(new.into_spec()?).await?;
    let (described, positions) = describe_topic(log, &topic)?;
    let mut response = answer::json(StatusCode::CREATED, &described, &positions);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/topics/{}", topic.name)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/topics/{topic}`.
pub(super) async fn describe(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments(name): Segments<String>,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Describe, Resource::Topic(&name))?;
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    let log = server.services.log.as_ref();
    waiting::wait_for_log(log, &demand).await?;
    let (described, positions) = describe_topic(log, &*existing_topic(log, &name)?)?;
    Ok(answer::json(StatusCode::OK, &described, &positions))
}

/// `DELETE /v1/topics/{topic}`.
pub(super) async fn delete(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments(name): Segments<String>,
    mut parameters: Parameters,
) -> Result<Response> {
    let force = parameters.take::<bool>("force")?.unwrap_or(false);
    parameters.finish()?;
    authorise(&caller, Access::Alter, Resource::Topic(&name))?;
    let log = &server.services.log;
    let topic = existing_topic(log.as_ref(), &name)?;
    topic_deletion::refuse_if_owned(&topic.name, topic.owner)?;
    if !force {
        topic_deletion::refuse_if_used(&topic.name, &server.services.sql.definitions().sources())?;
    }
    log.delete_topic(&topic.name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Asks whether the caller may append to a topic, of which it may know only the name.
pub(super) fn authorise_append(server: &Server, caller: &Principal, name: &str) -> Result<(), Error> {
    let topic = server.services.log.topic(name);
    let resource = topic.as_ref().map_or(Resource::Topic(name), |topic| topic.resource());
    authorise(caller, Access::Write, resource).map_err(|error| match &server.services.event_store {
        Some(store) if store.partition().topic.as_str() == name => error.with_hint(
            "append events with POST /v1/streams/{stream}, or send a command with POST /v1/commands/{aggregate}/{id}",
        ),
        _ => error,
    })
}

/// Looks up a topic that has to exist.
pub(super) fn existing_topic(log: &dyn EventLog, name: &str) -> Result<Arc<Topic>, Error> {
    log.topic(name).ok_or_else(|| {
        Error::not_found(format!("topic {name:?} does not exist"))
            .with_hint("GET /v1/topics lists those that there are; POST /v1/topics makes one")
    })
}

fn describe_topic(log: &dyn EventLog, topic: &Topic) -> Result<(ShownTopic, Positions), Error> {
    let mut positions = Positions::new();
    let mut partitions = Vec::new();
    for partition in topic.topic_partitions() {
        let Bounds { log_start_offset, high_watermark } = log.bounds(&partition)?;
        partitions.push(ShownPartition { partition: partition.partition, log_start_offset, high_watermark });
        positions.advance(partition, high_watermark);
    }
    let TopicSettings { retention_ms, retention_bytes, message_bytes_max, .. } = topic.settings.clone();
    let shown = ShownTopic {
        name: topic.name.to_string(),
        id: topic.id.to_string(),
        owner: topic.owner,
        partitions,
        retention_ms,
        retention_bytes,
        message_bytes_max,
    };
    Ok((shown, positions))
}
