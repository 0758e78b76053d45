//! Topics as Kafka's clients create and describe them.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

#[path = "support/wire.rs"]
mod wire;

use eventlog::EventLog;
use kafka_wire::messages as m;
use kafka_wire::{Api, ErrorCode};
use support::{Served, topic};
use wire::{Wire, text};

fn creatable(name: &str, configs: &[(&str, &str)]) -> m::create_topics_request::CreatableTopic {
    let config = |(name, value): &(&str, &str)| {
        let config = m::create_topics_request::CreatableTopicConfig::default();
        config.with_name(text(name)).with_value(Some(text(value)))
    };
    m::create_topics_request::CreatableTopic::default()
        .with_name(m::TopicName(text(name)))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(configs.iter().map(config).collect())
}

async fn create(wire: &mut Wire, name: &str, configs: &[(&str, &str)], validate_only: bool) -> (i16, String) {
    let request = m::CreateTopicsRequest::default().with_topics(vec![creatable(name, configs)]);
    let request = request.with_validate_only(validate_only);
    let response: m::CreateTopicsResponse = wire.ask(Api::CreateTopics, 7, &request).await;
    let topic = &response.topics[0];
    (topic.error_code, topic.error_message.as_ref().map(ToString::to_string).unwrap_or_default())
}

async fn described(wire: &mut Wire, name: &str) -> Vec<m::describe_configs_response::DescribeConfigsResourceResult> {
    let resource = m::describe_configs_request::DescribeConfigsResource::default();
    let resource = resource.with_resource_type(2).with_resource_name(text(name)).with_configuration_keys(None);
    let request = m::DescribeConfigsRequest::default().with_resources(vec![resource]);
    let request = request.with_include_synonyms(true).with_include_documentation(true);
    let response: m::DescribeConfigsResponse = wire.ask(Api::DescribeConfigs, 4, &request).await;
    assert_eq!(response.results[0].error_code, 0);
    response.results[0].configs.clone()
}

#[tokio::test]
async fn settings_that_change_nothing_are_accepted_and_shown_again() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    let asked = [("segment.bytes", "52428800"), ("min.insync.replicas", "2"), ("retention.ms", "1000")];
    for validate_only in [true, false] {
        assert_eq!(create(&mut wire, "t", &asked, validate_only).await, (0, String::new()));
    }
    let configs = described(&mut wire, "t").await;
    let config = |name: &str| configs.iter().find(|config| *config.name == *name).unwrap();
    for (name, value) in asked {
        let config = config(name);
        assert_eq!((config.value.clone(), config.config_source), (Some(text(value)), 1), "{name}");
        let sources: Vec<i8> = config.synonyms.iter().map(|synonym| synonym.source).collect();
        assert_eq!(sources, [1, 5], "{name}: as asked for, then the default");
    }
    assert!(config("segment.bytes").documentation.as_ref().unwrap().contains("changes nothing here"));
    assert!(config("retention.ms").documentation.is_none());
    let default = config("segment.ms");
    assert_eq!((default.value.clone(), default.config_source), (Some(text("604800000")), 5));
    assert_eq!(default.synonyms[0].name, text("log.roll.ms"));
}

#[tokio::test]
async fn what_would_change_something_is_refused_by_name() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    for (name, value, reason) in [
        ("cleanup.policy", "compact", "cleanup.policy=compact is not served"),
        ("message.timestamp.type", "LogAppendTime", "message.timestamp.type=LogAppendTime is not served"),
        ("segment.bytes", "1", "segment.bytes=1 is not a whole number from"),
        ("no.such.setting", "1", "there is no topic setting no.such.setting"),
        ("max.message.bytes", "60000000", "60000000 bytes (max.message.bytes) are more than the log takes at once"),
    ] {
        for validate_only in [true, false] {
            let (code, message) = create(&mut wire, "t", &[(name, value)], validate_only).await;
            assert_eq!(code, ErrorCode::InvalidConfig.code(), "{name}: {message}");
            assert!(message.contains(reason), "{name}: {message}");
        }
    }
    assert!(served.log.topic("t").is_none());
}

/// Tools that create what they need ask first, and go on when it is there: whatever they asked for besides.
#[tokio::test]
async fn that_a_topic_exists_is_said_before_anything_else() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    assert_eq!(create(&mut wire, "t", &[], false).await.0, 0);
    for validate_only in [true, false] {
        let (code, _) = create(&mut wire, "t", &[("cleanup.policy", "compact")], validate_only).await;
        assert_eq!(code, ErrorCode::TopicAlreadyExists.code());
    }
}

#[tokio::test]
async fn a_topic_has_what_the_settings_say_when_nobody_asks() {
    let served = Served::start_with(|settings| {
        settings.default_partitions = 4;
        settings.default_retention_ms = 86_400_000;
    })
    .await;
    let mut wire = Wire::connect(&served.address()).await;
    assert_eq!(create(&mut wire, "created", &[], false).await.0, 0);
    served.client().await.topic(&topic("asked-for"), true).await.unwrap();
    for name in ["created", "asked-for"] {
        let topic = served.log.topic(name).unwrap();
        assert_eq!((topic.partitions, topic.settings.retention_ms), (4, Some(86_400_000)), "{name}");
    }
    assert_eq!(create(&mut wire, "kept", &[("retention.ms", "-1")], false).await.0, 0);
    assert_eq!(served.log.topic("kept").unwrap().settings.retention_ms, None);
}
