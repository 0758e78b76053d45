//! `Metadata` and `DescribeCluster`: one broker that leads everything.

use std::collections::HashMap;
use std::sync::Arc;

use eventlog::TopicSpec;
use kafka_wire::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_wire::metadata::{Broker, Request, Response, Topic, TopicQuery};
use kafka_wire::{ErrorCode, Frame, Text};
use model::Access;
use uuid::Uuid;

use super::{Call, distinct, text, topic_name};
use crate::answer_budget::Answer;
use crate::error::{ConnectionError, error_code};

pub(super) async fn answer(call: &Call<'_>) -> Result<Answer, ConnectionError> {
    let version = call.header.version;
    let request = Request::decode(version, call.body.clone())?;
    let services = call.services;
    let node_id = services.settings.node_id;
    let topics = match &request.topics {
        None => {
            let visible =
                |topic: &Arc<eventlog::Topic>| call.caller.may_use_topic(Access::Describe, topic.name.as_str()).is_ok();
            services.log.topics().iter().filter(|topic| visible(topic)).map(|t| described(t, node_id)).collect()
        }
        Some(queries) => find_topics(call, queries, request.allow_auto_topic_creation).await,
    };
    let share = call.reserve(size(&topics)).await?;
    let response = Response {
        brokers: vec![Broker { node_id, host: call.caller.endpoint.host.clone(), port: call.caller.endpoint.port }],
        cluster_id: services.cluster_id.clone(),
        controller_id: node_id,
        topics,
    };
    let frame = call.header.response(|writer| {
        response.encode(writer, version);
        Ok(())
    })?;
    services.answers.answer(frame, share).await
}

/// About how many bytes an answer takes.
fn size(topics: &[Topic]) -> usize {
    // In version 5 to 8: codes, index, leader and its epoch, and three lists, two of them with a node.
    const PARTITION_BYTES: usize = 34;
    const TOPIC_BYTES: usize = 40;
    let topic = |topic: &Topic| {
        let name = topic.name.as_ref().map_or(0, |name| name.len());
        TOPIC_BYTES + name + PARTITION_BYTES * usize::try_from(topic.partitions).unwrap_or(0)
    };
    512 + topics.iter().map(topic).sum::<usize>()
}

fn described(topic: &eventlog::Topic, leader: i32) -> Topic {
    Topic { error: 0, name: Some(text(topic.name.as_str())), id: topic.id, partitions: topic.partitions, leader }
}

/// The topics asked for, each once: by id where there is one, else by name.
async fn find_topics(call: &Call<'_>, queries: &[TopicQuery], may_create: bool) -> Vec<Topic> {
    let queries = distinct(queries);
    let by_id: HashMap<Uuid, Arc<eventlog::Topic>> = if queries.iter().any(|query| !query.id.is_nil()) {
        call.services.log.topics().into_iter().map(|topic| (topic.id, topic)).collect()
    } else {
        HashMap::new()
    };
    let mut topics = Vec::with_capacity(queries.len());
    for query in queries {
        let found = match &query.name {
            // Clients of Java send an empty name along with the id.
            _ if !query.id.is_nil() => find_by_id(call, by_id.get(&query.id)),
            Some(name) => find_by_name(call, name, may_create).await,
            None => Err(ErrorCode::UnknownTopicId),
        };
        topics.push(match found {
            Ok(topic) => described(&topic, call.services.settings.node_id),
            Err(code) => {
                Topic { error: code.code(), name: query.name.clone(), id: query.id, partitions: 0, leader: -1 }
            }
        });
    }
    topics
}

fn find_by_id(call: &Call<'_>, found: Option<&Arc<eventlog::Topic>>) -> Result<Arc<eventlog::Topic>, ErrorCode> {
    let topic = found.ok_or(ErrorCode::UnknownTopicId)?;
    // Who may not see the topic is not told that there is one of this id.
    call.caller.may_use_topic(Access::Describe, topic.name.as_str()).map_err(|_| ErrorCode::UnknownTopicId)?;
    Ok(Arc::clone(topic))
}

async fn find_by_name(call: &Call<'_>, name: &Text, may_create: bool) -> Result<Arc<eventlog::Topic>, ErrorCode> {
    call.caller.may_use_topic(Access::Describe, name)?;
    let log = &call.services.log;
    if let Some(topic) = log.topic(name) {
        return Ok(topic);
    }
    let name = topic_name(name)?;
    if !may_create || !call.services.settings.auto_create_topics {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    call.caller.may_use_topic(Access::Alter, name.as_str())?;
    let settings = &call.services.settings;
    let (partitions, settings) = (settings.default_partitions, settings.topic_settings());
    match log.create_topic(TopicSpec { name: name.clone(), partitions, settings }).await {
        Ok(topic) => Ok(topic),
        // Another client was faster.
        Err(eventlog::Error::TopicExists(_)) => log.topic(name.as_str()).ok_or(ErrorCode::LeaderNotAvailable),
        Err(error) => Err(error_code(&error)),
    }
}

pub(super) fn describe_cluster(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: DescribeClusterRequest = call.decode()?;
    let services = call.services;
    let response = DescribeClusterResponse::default().with_endpoint_type(request.endpoint_type);
    // There is no separate controller to describe (endpoint type 2).
    if request.endpoint_type != 1 {
        let code = ErrorCode::UnsupportedEndpointType.code();
        return call.encode(&response.with_error_code(code).with_error_message(Some(text("there are only brokers"))));
    }
    if let Err(code) = call.caller.may_use_server(Access::Describe) {
        return call.encode(&response.with_error_code(code.code()));
    }
    let node_id = BrokerId(services.settings.node_id);
    let broker = DescribeClusterBroker::default()
        .with_broker_id(node_id)
        .with_host(call.caller.endpoint.host.clone())
        .with_port(call.caller.endpoint.port);
    call.encode(
        &response.with_cluster_id(services.cluster_id.clone()).with_controller_id(node_id).with_brokers(vec![broker]),
    )
}
