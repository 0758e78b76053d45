//! Settings as Kafka names them: read when a topic is created, shown by `DescribeConfigs`.

use std::collections::HashSet;

use eventlog::TopicSettings;
use kafka_wire::ErrorCode;
use kafka_wire::messages::create_topics_request::CreatableTopicConfig;
use kafka_wire::messages::create_topics_response::CreatableTopicConfigs;
use kafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use kafka_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use model::Access;

use super::topic_settings::{self, KEPT, ValueType};
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

/// What is said of a setting that is kept and changes nothing.
const WITHOUT_EFFECT: &str = "Kept for Kafka's clients; it changes nothing here.";

/// A setting as it is shown.
struct Config {
    name: &'static str,
    value: String,
    value_type: ValueType,
    source: i8,
    /// The broker's setting that is its default, with its value.
    default: Option<(&'static str, String)>,
    documentation: Option<&'static str>,
}

/// The settings that a client asks for when it creates a topic. A null value is the default.
pub(super) fn topic_settings(
    settings: &BrokerSettings,
    configs: &[CreatableTopicConfig],
) -> Result<TopicSettings, String> {
    let asked = configs.iter().filter_map(|config| Some((&*config.name, config.value.as_deref()?)));
    topic_settings::read(asked, settings.topic_settings())
}

fn topic_configs(defaults: &TopicSettings, settings: &TopicSettings) -> Vec<Config> {
    let unlimited = |limit: Option<i64>| limit.unwrap_or(-1).to_string();
    let config = |name, broker_name, value: String, value_type, default: String| Config {
        name,
        source: if value == default { SOURCE_DEFAULT } else { SOURCE_TOPIC },
        value,
        value_type,
        default: Some((broker_name, default)),
        documentation: None,
    };
    let (ms, bytes) = (unlimited(settings.retention_ms), unlimited(settings.retention_bytes));
    let (default_ms, default_bytes) = (unlimited(defaults.retention_ms), unlimited(defaults.retention_bytes));
    let (largest, default_largest) = (settings.message_bytes_max.to_string(), defaults.message_bytes_max.to_string());
    let mut configs = vec![
        config("retention.ms", "log.retention.ms", ms, ValueType::Long, default_ms),
        config("retention.bytes", "log.retention.bytes", bytes, ValueType::Long, default_bytes),
        config("max.message.bytes", "message.max.bytes", largest, ValueType::Int, default_largest),
    ];
    configs.extend(KEPT.iter().map(|kept| {
        let asked = settings.others.get(kept.name);
        Config {
            name: kept.name,
            value: asked.cloned().unwrap_or_else(|| kept.default.to_owned()),
            value_type: kept.value_type,
            source: if asked.is_some() { SOURCE_TOPIC } else { SOURCE_DEFAULT },
            default: Some((kept.broker_name, kept.default.to_owned())).filter(|(name, _)| !name.is_empty()),
            documentation: Some(WITHOUT_EFFECT),
        }
    }));
    configs
}

fn broker_configs(settings: &BrokerSettings, endpoint: &Endpoint) -> Vec<Config> {
    let Endpoint { host, port } = endpoint;
    let config = |name, value: String, value_type| Config {
        name,
        value,
        value_type,
        source: SOURCE_STATIC_BROKER,
        default: None,
        documentation: None,
    };
    let topic = settings.topic_settings();
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
        config("message.max.bytes", topic.message_bytes_max.to_string(), ValueType::Int),
        config("log.retention.ms", topic.retention_ms.unwrap_or(-1).to_string(), ValueType::Long),
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
pub(super) fn of_created_topic(broker: &BrokerSettings, settings: &TopicSettings) -> Vec<CreatableTopicConfigs> {
    let wire = |config: Config| {
        CreatableTopicConfigs::default()
            .with_name(text(config.name))
            .with_value(Some(text(config.value)))
            .with_config_source(config.source)
    };
    topic_configs(&broker.topic_settings(), settings).into_iter().map(wire).collect()
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
            Ok(configs) => result.with_error_message(None).with_configs(shown(call, &request, resource, configs)),
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
        let value = config.value.as_ref().map_or(0, |value| value.len());
        let documentation = config.documentation.as_ref().map_or(0, |documentation| documentation.len());
        // A synonym is about as long as what it is a synonym of.
        let synonyms = config.synonyms.len() * (ITEM_BYTES + config.name.len() + value);
        ITEM_BYTES + config.name.len() + value + documentation + synonyms
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
            Ok(topic_configs(&services.settings.topic_settings(), &topic.settings))
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
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    configs: Vec<Config>,
) -> Vec<DescribeConfigsResourceResult> {
    // A null list of names asks for all; so does an empty one in practice.
    let names: HashSet<&str> = resource.configuration_keys.iter().flatten().map(|name| &**name).collect();
    let is_wanted = |config: &Config| names.is_empty() || names.contains(config.name);
    let wire = |config: Config| {
        let synonyms = if request.include_synonyms { synonyms(&config) } else { Vec::new() };
        let shown = DescribeConfigsResourceResult::default()
            .with_name(text(config.name))
            .with_value(Some(text(config.value)))
            // Nothing can be changed after creation yet.
            .with_read_only(true)
            .with_config_source(config.source)
            .with_synonyms(synonyms)
            .with_documentation(None);
        if call.header.version < 3 {
            return shown;
        }
        let documentation = config.documentation.filter(|_| request.include_documentation).map(text);
        shown.with_config_type(config.value_type as i8).with_documentation(documentation)
    };
    configs.into_iter().filter(is_wanted).map(wire).collect()
}

/// Where a value comes from and would come from, the nearest first.
fn synonyms(config: &Config) -> Vec<DescribeConfigsSynonym> {
    let synonym = |name: &'static str, value: &str, source| {
        let synonym = DescribeConfigsSynonym::default().with_name(text(name)).with_value(Some(text(value)));
        synonym.with_source(source)
    };
    let own = (config.source != SOURCE_DEFAULT).then(|| synonym(config.name, &config.value, config.source));
    let default = config.default.as_ref().map(|(name, value)| synonym(name, value, SOURCE_DEFAULT));
    own.into_iter().chain(default).collect()
}
