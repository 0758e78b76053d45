//! `Metadata` and `DescribeCluster`: one broker that leads everything.

use std::sync::Arc;

use eventlog::TopicSpec;
use kafka_wire::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_wire::metadata::{Broker, Request, Response, Topic, TopicQuery};
use kafka_wire::{ErrorCode, Frame, Text};
use model::Access;

use super::{Call, text, topic_name};
use crate::error::{ConnectionError, error_code};

pub(super) async fn answer(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let version = call.header.version;
    let request = Request::decode(version, call.body.clone())?;
    let services = call.services;
    let node_id = services.settings.node_id;
    let mut topics = Vec::new();
    match &request.topics {
        None => {
            let visible =
                |topic: &Arc<eventlog::Topic>| call.caller.may_use_topic(Access::Describe, topic.name.as_str()).is_ok();
            topics.extend(services.log.topics().iter().filter(|topic| visible(topic)).map(|t| described(t, node_id)));
        }
        Some(queries) => {
            for query in queries {
                topics.push(find_topic(call, query, request.allow_auto_topic_creation).await);
            }
        }
    }
    let response = Response {
        brokers: vec![Broker { node_id, host: services.host.clone(), port: services.port }],
        cluster_id: services.cluster_id.clone(),
        controller_id: node_id,
        topics,
    };
    Ok(call.header.response(|writer| {
        response.encode(writer, version);
        Ok(())
    })?)
}

fn described(topic: &eventlog::Topic, leader: i32) -> Topic {
    Topic { error: 0, name: Some(text(topic.name.as_str())), id: topic.id, partitions: topic.partitions, leader }
}

async fn find_topic(call: &Call<'_>, query: &TopicQuery, may_create: bool) -> Topic {
    let found = match &query.name {
        Some(name) => find_by_name(call, name, may_create).await,
        None => call
            .services
            .log
            .topics()
            .into_iter()
            .find(|topic| topic.id == query.id && !query.id.is_nil())
            .ok_or(ErrorCode::UnknownTopicId),
    };
    match found {
        Ok(topic) => described(&topic, call.services.settings.node_id),
        Err(code) => Topic { error: code.code(), name: query.name.clone(), id: query.id, partitions: 0, leader: -1 },
    }
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
    match log.create_topic(TopicSpec::new(name.clone(), call.services.settings.default_partitions)).await {
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
        .with_host(services.host.clone())
        .with_port(services.port);
    call.encode(
        &response.with_cluster_id(services.cluster_id.clone()).with_controller_id(node_id).with_brokers(vec![broker]),
    )
}
