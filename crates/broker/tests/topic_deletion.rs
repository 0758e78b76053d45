//! Topics that somebody besides the broker needs, and clients that want to delete them.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

#[path = "support/wire.rs"]
mod wire;

use broker::TopicDeletion;
use eventlog::{EventLog as _, TopicSettings};
use kafka_wire::messages as m;
use kafka_wire::{Api, ErrorCode};
use model::Error;
use support::{Served, topic};
use wire::{Wire, text};

fn named(name: &str) -> m::delete_topics_request::DeleteTopicState {
    m::delete_topics_request::DeleteTopicState::default().with_name(Some(m::TopicName(text(name))))
}

#[tokio::test]
async fn a_topic_that_is_needed_is_not_deleted_in_any_version_nor_by_its_id() {
    let needed = TopicDeletion::new(|topic| match topic.as_str() {
        "needed" => Err(Error::conflict("topic needed is read by source s").with_hint("drop source s")),
        _ => Ok(()),
    });
    let served = Served::start_keeping(needed).await;
    let client = served.client().await;
    for name in ["needed", "idle"] {
        client.create_topic(&topic(name), 1, &TopicSettings::default()).await.unwrap();
    }
    let id = served.log.topic("needed").unwrap().id;
    let mut wire = Wire::connect(&served.address()).await;
    for version in 1..=6 {
        let requests = if version >= 6 {
            let by_id = m::delete_topics_request::DeleteTopicState::default().with_name(None).with_topic_id(id);
            [named("needed"), by_id].map(|state| m::DeleteTopicsRequest::default().with_topics(vec![state])).to_vec()
        } else {
            vec![m::DeleteTopicsRequest::default().with_topic_names(vec![m::TopicName(text("needed"))])]
        };
        for request in requests {
            let response: m::DeleteTopicsResponse = wire.ask(Api::DeleteTopics, version, &request).await;
            let refused = &response.responses[0];
            assert_eq!(refused.error_code, ErrorCode::PolicyViolation.code(), "version {version}");
            let reason = (version >= 5).then(|| text("topic needed is read by source s (drop source s)"));
            assert_eq!(refused.error_message, reason, "version {version}");
        }
    }
    assert!(served.log.topic("needed").is_some());
    let both = m::DeleteTopicsRequest::default().with_topics(vec![named("needed"), named("idle")]);
    let response: m::DeleteTopicsResponse = wire.ask(Api::DeleteTopics, 6, &both).await;
    let codes: Vec<i16> = response.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ErrorCode::PolicyViolation.code(), 0]);
    assert!(served.log.topic("needed").is_some() && served.log.topic("idle").is_none());
}
