//! Settings as Kafka names them: read when a topic is created, shown by `DescribeConfigs`.

use std::collections::HashSet;

use eventlog::TopicSettings;
use kafka_wire::ErrorCode;
use kafka_wire::messages::create_topics_request::CreatableTopicConfig;
use kafka_wire::messages::create_topics_response::CreatableTopicConfigs;
use kafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use kafka_wire::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use model::Access;

use super::{Call, text};
use crate::answer_budget::Answer;
use crate::error::ConnectionError;
use crate::services::Endpoint;
use crate::settings::BrokerSettings;

/// Kinds of resources on the wire.
const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;
/// Where a value comes from, on the wire.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// Settings that exist in Kafka and have one value here; asking for that value is fine.
const FIXED: &[(&str, &str, ValueType)] = &[
    ("cleanup.policy", "delete", ValueType::List),
    ("compression.type", "producer", ValueType::String),
    ("message.timestamp.type", "CreateTime", ValueType::String),
    ("min.insync.replicas", "1", ValueType::Int),
    ("unclean.leader.election.enable", "false", ValueType::Boolean),
];

/// The types of values, as numbered on the wire.
#[derive(Clone, Copy)]
enum ValueType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    List = 7,
}

struct Config {
    name: &'static str,
    value: String,
    value_type: ValueType,
    source: i8,
}

/// The settings that a client asks for when it creates a topic.
pub(super) fn topic_settings(configs: &[CreatableTopicConfig]) -> Result<TopicSettings, String> {
    let mut settings = TopicSettings::default();
    for config in configs {
        // A null value is the default.
        let Some(value) = config.value.as_deref() else { continue };
        match &*config.name {
            "retention.ms" => settings.retention_ms = limit("retention.ms", value)?,
            "retention.bytes" => settings.retention_bytes = limit("retention.bytes", value)?,
            "max.message.bytes" => {
                settings.message_bytes_max =
                    value.parse().map_err(|_| format!("max.message.bytes={value} is not a number of bytes"))?;
            }
            name => match FIXED.iter().find(|(fixed, _, _)| *fixed == name) {
                Some((_, only, _)) if *only == value => {}
                Some((_, only, _)) => return Err(format!("{name}={value} is not served; only {only} is")),
                None => return Err(format!("the topic setting {name} is not served")),
            },
        }
    }
    Ok(settings)
}

fn limit(name: &str, value: &str) -> Result<Option<i64>, String> {
    match value.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(limit) if limit >= 0 => Ok(Some(limit)),
        _ => Err(format!("{name}={value} is neither a number from 0 nor -1 for no limit")),
    }
}

fn topic_configs(settings: &TopicSettings) -> Vec<Config> {
    let default = TopicSettings::default();
    let unlimited = |limit: Option<i64>| limit.unwrap_or(-1).to_string();
    let source = |is_default| if is_default { SOURCE_DEFAULT } else { SOURCE_TOPIC };
    let mut configs = vec![
        Config {
            name: "retention.ms",
            value: unlimited(settings.retention_ms),
            value_type: ValueType::Long,
            source: source(settings.retention_ms == default.retention_ms),
        },
        Config {
            name: "retention.bytes",
            value: unlimited(settings.retention_bytes),
            value_type: ValueType::Long,
            source: source(settings.retention_bytes == default.retention_bytes),
        },
        Config {
            name: "max.message.bytes",
            value: settings.message_bytes_max.to_string(),
            value_type: ValueType::Int,
            source: source(settings.message_bytes_max == default.message_bytes_max),
        },
    ];
    configs.extend(FIXED.iter().map(|(name, value, value_type)| Config {
        name,
        value: (*value).to_owned(),
        value_type: *value_type,
        source: SOURCE_DEFAULT,
    }));
    configs
}

fn broker_configs(settings: &BrokerSettings, endpoint: &Endpoint) -> Vec<Config> {
    let Endpoint { host, port } = endpoint;
    let config = |name, value: String, value_type| Config { name, value, value_type, source: SOURCE_STATIC_BROKER };
    let groups = &settings.groups;
    vec![
        config("node.id", settings.node_id.to_string(), ValueType::Int),
        config("listeners", format!("PLAINTEXT://{}", settings.listen()), ValueType::List),
        config("advertised.listeners", format!("PLAINTEXT://{}:{port}", &**host), ValueType::List),
        config("auto.create.topics.enable", settings.auto_create_topics.to_string(), ValueType::Boolean),
        config("num.partitions", settings.default_partitions.to_string(), ValueType::Int),
        config("default.replication.factor", "1".to_owned(), ValueType::Int),
        config("max.connections", settings.connections_max.to_string(), ValueType::Int),
        config("socket.request.max.bytes", settings.request_bytes_max.to_string(), ValueType::Int),
        config("message.max.bytes", TopicSettings::default().message_bytes_max.to_string(), ValueType::Int),
        config("fetch.max.bytes", settings.fetch_bytes_max.to_string(), ValueType::Int),
        config("connections.max.idle.ms", settings.idle_timeout.as_millis().to_string(), ValueType::Long),
        config("group.min.session.timeout.ms", groups.session_timeout_ms_min.to_string(), ValueType::Int),
        config("group.max.session.timeout.ms", groups.session_timeout_ms_max.to_string(), ValueType::Int),
        config("group.initial.rebalance.delay.ms", groups.initial_rebalance_delay_ms.to_string(), ValueType::Int),
        config("group.max.size", groups.members_max.to_string(), ValueType::Int),
        config("offset.metadata.max.bytes", groups.offset_metadata_bytes_max.to_string(), ValueType::Int),
    ]
}

/// A topic's settings for the answer to its creation.
pub(super) fn of_created_topic(settings: &TopicSettings) -> Vec<CreatableTopicConfigs> {
    let wire = |config: Config| {
        CreatableTopicConfigs::default()
            .with_name(text(config.name))
            .with_value(Some(text(config.value)))
            .with_config_source(config.source)
    };
    topic_configs(settings).into_iter().map(wire).collect()
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, ConnectionError> {
    let request: DescribeConfigsRequest = call.decode()?;
    let room = call.services.answers.answer_bytes_max() / 2;
    let mut bytes = 0;
    let mut seen = HashSet::new();
    let mut results = Vec::new();
    for resource in &request.resources {
        if !seen.insert((resource.resource_type, &resource.resource_name)) {
            continue;
        }
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let found = if bytes < room { find(call, resource) } else { Err(too_much(room)) };
        let result = match found {
            Ok(configs) => result.with_error_message(None).with_configs(shown(call, resource, configs)),
            Err((code, message)) => result.with_error_code(code.code()).with_error_message(Some(text(message))),
        };
        bytes += size(&result);
        results.push(result);
    }
    let share = call.reserve(bytes).await?;
    call.encode_within(share, &DescribeConfigsResponse::default().with_results(results)).await
}

fn too_much(room: usize) -> (ErrorCode, String) {
    (ErrorCode::PolicyViolation, format!("the answer has over {room} bytes without this: ask for less at once"))
}

/// About how many bytes a resource takes in an answer.
fn size(result: &DescribeConfigsResult) -> usize {
    const ITEM_BYTES: usize = 24;
    let config = |config: &DescribeConfigsResourceResult| {
        ITEM_BYTES + config.name.len() + config.value.as_ref().map_or(0, |value| value.len())
    };
    let message = result.error_message.as_ref().map_or(0, |message| message.len());
    ITEM_BYTES + result.resource_name.len() + message + result.configs.iter().map(config).sum::<usize>()
}

fn find(call: &Call<'_>, resource: &DescribeConfigsResource) -> Result<Vec<Config>, (ErrorCode, String)> {
    let services = call.services;
    let name = &*resource.resource_name;
    match resource.resource_type {
        RESOURCE_TOPIC => {
            let refused = |code| (code, format!("topic {name} may not be described"));
            call.caller.may_use_topic(Access::Describe, name).map_err(refused)?;
            let topic = services.log.topic(name);
            let topic =
                topic.ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, format!("topic {name} does not exist")))?;
            Ok(topic_configs(&topic.settings))
        }
        RESOURCE_BROKER if name.is_empty() || name == services.settings.node_id.to_string() => {
            let refused = |code| (code, "the broker may not be described".to_owned());
            call.caller.may_use_server(Access::Describe).map_err(refused)?;
            Ok(broker_configs(&services.settings, &call.caller.endpoint))
        }
        RESOURCE_BROKER => Err((ErrorCode::InvalidRequest, format!("there is no broker {name}"))),
        kind => Err((ErrorCode::InvalidRequest, format!("resources of kind {kind} have no settings here"))),
    }
}

fn shown(
    call: &Call<'_>,
    resource: &DescribeConfigsResource,
    configs: Vec<Config>,
) -> Vec<DescribeConfigsResourceResult> {
    // A null list of names asks for all; so does an empty one in practice.
    let names = resource.configuration_keys.as_deref().unwrap_or_default();
    let is_wanted = |config: &Config| names.is_empty() || names.iter().any(|name| &**name == config.name);
    let wire = |config: Config| {
        let shown = DescribeConfigsResourceResult::default()
            .with_name(text(config.name))
            .with_value(Some(text(config.value)))
            // Nothing can be changed after creation yet.
            .with_read_only(true)
            .with_config_source(config.source)
            .with_documentation(None);
        if call.header.version >= 3 { shown.with_config_type(config.value_type as i8) } else { shown }
    };
    configs.into_iter().filter(is_wanted).map(wire).collect()
}
