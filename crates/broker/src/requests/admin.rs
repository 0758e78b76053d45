//! `CreateTopics`, `DeleteTopics`, `InitProducerId`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use eventlog::{Topic, TopicSpec};
use kafka_wire::messages::create_topics_request::CreatableTopic;
use kafka_wire::messages::create_topics_response::CreatableTopicResult;
use kafka_wire::messages::delete_topics_request::DeleteTopicState;
use kafka_wire::messages::delete_topics_response::DeletableTopicResult;
use kafka_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, InitProducerIdRequest,
    InitProducerIdResponse, ProducerId, TopicName as WireTopicName,
};
use kafka_wire::{ErrorCode, Frame};
use model::Access;
use uuid::Uuid;

use super::{Call, Refusal, configs, text, topic_name};
use crate::error::{ConnectionError, error_code};

pub(super) const NO_TRANSACTIONS: &str = "transactions are not served; remove transactional.id (idempotence is served)";

pub(super) async fn create_topics(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: CreateTopicsRequest = call.decode()?;
    let mut named: HashMap<&WireTopicName, usize> = HashMap::new();
    request.topics.iter().for_each(|topic| *named.entry(&topic.name).or_default() += 1);
    let mut results = Vec::with_capacity(named.len());
    for topic in &request.topics {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        let created = match named.remove(&topic.name) {
            Some(1) => create_topic(call, topic, request.validate_only).await,
            // As in Kafka: which of them is meant is not known, so it is none of them.
            Some(times) => {
                let message = format!("topic {} stands in the request {times} times", &*topic.name);
                Err((ErrorCode::InvalidRequest, message))
            }
            None => continue,
        };
        results.push(match created {
            Ok(created) => {
                let result = result.with_error_message(None);
                let result = if call.header.version >= 7 { result.with_topic_id(created.id) } else { result };
                if call.header.version >= 5 {
                    result
                        .with_num_partitions(created.partitions)
                        .with_replication_factor(1)
                        .with_configs(Some(configs::of_created_topic(&call.services.settings, &created.settings)))
                } else {
                    result
                }
            }
            Err((code, message)) => result.with_error_code(code.code()).with_error_message(Some(text(message))),
        });
    }
    call.encode(&CreateTopicsResponse::default().with_topics(results))
}

/// A topic that was created, or would have been.
struct Created {
    id: Uuid,
    partitions: i32,
    settings: eventlog::TopicSettings,
}

async fn create_topic(call: &Call<'_>, topic: &CreatableTopic, validate_only: bool) -> Result<Created, Refusal> {
    call.caller.may_use_topic(Access::Alter, &topic.name).map_err(|code| (code, "not allowed".to_owned()))?;
    let name = topic_name(&topic.name).map_err(|code| {
        (code, format!("{:?} is not a topic name: use 1 to 249 letters, digits, '.', '_' or '-'", &*topic.name))
    })?;
    let log = &call.services.log;
    let refuse = |error: eventlog::Error| (error_code(&error), error.to_string());
    // That it exists matters more than what is wrong besides: who creates what should be there asks for nothing else.
    if log.topic(name.as_str()).is_some() {
        return Err(refuse(eventlog::Error::TopicExists(name)));
    }
    let settings = configs::topic_settings(&call.services.settings, &topic.configs)
        .map_err(|message| (ErrorCode::InvalidConfig, message))?;
    let partitions = partition_count(call, topic)?;
    let spec = TopicSpec { name, partitions, settings };
    if validate_only {
        log.check_topic(&spec).map_err(refuse)?;
        return Ok(Created { id: Uuid::nil(), partitions, settings: spec.settings });
    }
    let created = log.create_topic(spec).await.map_err(refuse)?;
    Ok(Created { id: created.id, partitions: created.partitions, settings: created.settings.clone() })
}

fn partition_count(call: &Call<'_>, topic: &CreatableTopic) -> Result<i32, Refusal> {
    let settings = &call.services.settings;
    if !topic.assignments.is_empty() {
        let is_here = |broker: &kafka_wire::messages::BrokerId| broker.0 == settings.node_id;
        let mut indices: Vec<i32> = topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
        indices.sort_unstable();
        let count = i32::try_from(indices.len()).unwrap_or(i32::MAX);
        let all_here = topic.assignments.iter().all(|a| a.broker_ids.len() == 1 && a.broker_ids.iter().all(is_here));
        if !all_here || !indices.into_iter().eq(0..count) {
            let message = format!("replicas can only be assigned to broker {}, one a partition", settings.node_id);
            return Err((ErrorCode::InvalidReplicaAssignment, message));
        }
        return Ok(count);
    }
    // Kafka's -1 is "as configured".
    if !matches!(topic.replication_factor, -1 | 1) {
        let message = format!("replication factor {} needs more brokers than there are: 1", topic.replication_factor);
        return Err((ErrorCode::InvalidReplicationFactor, message));
    }
    Ok(if topic.num_partitions == -1 { settings.default_partitions } else { topic.num_partitions })
}

pub(super) async fn delete_topics(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: DeleteTopicsRequest = call.decode()?;
    let by_name = |name: &WireTopicName| DeleteTopicState::default().with_name(Some(name.clone()));
    let targets: Vec<DeleteTopicState> =
        request.topics.iter().cloned().chain(request.topic_names.iter().map(by_name)).collect();
    let by_id: HashMap<Uuid, Arc<Topic>> = if targets.iter().any(|target| target.name.is_none()) {
        call.services.log.topics().into_iter().map(|topic| (topic.id, topic)).collect()
    } else {
        HashMap::new()
    };
    let mut seen = HashSet::new();
    let mut results = Vec::with_capacity(targets.len());
    for target in targets.iter().filter(|target| seen.insert((target.name.as_ref(), target.topic_id))) {
        let deleted = delete_topic(call, target, &by_id).await;
        let (name, outcome) = match deleted {
            Ok(name) => (Some(name), None),
            Err(refusal) => (target.name.clone(), Some(refusal)),
        };
        let mut result = DeletableTopicResult::default().with_name(name);
        if call.header.version >= 6 {
            result = result.with_topic_id(target.topic_id);
        }
        if let Some((code, message)) = outcome {
            result = result.with_error_code(code.code());
            if call.header.version >= 5 {
                result = result.with_error_message(Some(text(message)));
            }
        }
        results.push(result);
    }
    call.encode(&DeleteTopicsResponse::default().with_responses(results))
}

async fn delete_topic(
    call: &Call<'_>,
    target: &DeleteTopicState,
    by_id: &HashMap<Uuid, Arc<Topic>>,
) -> Result<WireTopicName, Refusal> {
    let log = &call.services.log;
    let topic = match &target.name {
        Some(name) => log
            .topic(name)
            .ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, format!("topic {} does not exist", &**name)))?,
        None => by_id
            .get(&target.topic_id)
            .map(Arc::clone)
            .ok_or_else(|| (ErrorCode::UnknownTopicId, format!("there is no topic with id {}", target.topic_id)))?,
    };
    let name = &topic.name;
    call.may_change_topic(Access::Alter, name.as_str())?;
    call.services.topic_deletion.check(name)?;
    log.delete_topic(name).await.map_err(|error| (error_code(&error), error.to_string()))?;
    Ok(WireTopicName(text(name.as_str())))
}

pub(super) async fn init_producer_id(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: InitProducerIdRequest = call.decode()?;
    let refused = |code: ErrorCode| {
        let none = InitProducerIdResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
        call.encode(&none.with_error_code(code.code()))
    };
    if let Some(id) = &request.transactional_id {
        tracing::warn!(transactional_id = %&**id, "{NO_TRANSACTIONS}");
        return refused(ErrorCode::UnsupportedVersion);
    }
    if let Err(code) = call.caller.may_use_server(Access::Write) {
        return refused(code);
    }
    // A producer that asks to bump its epoch (KIP-360) gets a new id instead, which starts its sequences anew.
    match call.services.log.new_producer_id().await {
        Ok(id) => {
            call.encode(&InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0))
        }
        Err(error) => {
            tracing::error!(%error, "cannot give out a producer id");
            refused(error_code(&error))
        }
    }
}
