//! Committed offsets over the wire: how many there may be, and how long they are kept.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, TopicSettings};
use kafka_wire::messages as m;
use kafka_wire::{Api, ErrorCode};
use model::ManualClock;
use support::{Served, topic};
use wire::{Wire, text};

const WEEK_MS: u32 = 7 * 24 * 3_600_000;

fn group_id(value: &str) -> m::GroupId {
    m::GroupId(text(value))
}

/// The code for each partition.
async fn commit(wire: &mut Wire, group: &str, partitions: &[i32], note: &str) -> Vec<i16> {
    let partition = |index: &i32| {
        m::offset_commit_request::OffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(1)
            .with_committed_metadata(Some(text(note)))
    };
    let topic = m::offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(m::TopicName(text("t")))
        .with_partitions(partitions.iter().map(partition).collect());
    let request = m::OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let response: m::OffsetCommitResponse = wire.ask(Api::OffsetCommit, 8, &request).await;
    response.topics[0].partitions.iter().map(|partition| partition.error_code).collect()
}

async fn with_topic(served: &Served) -> Wire {
    served.client().await.create_topic(&topic("t"), 10, &TopicSettings::default()).await.unwrap();
    Wire::connect(&served.address()).await
}

#[tokio::test]
async fn committed_offsets_and_their_notes_are_bounded() {
    let served = Served::start_with(|settings| {
        settings.groups.offsets_max = 4;
        settings.groups.offset_notes_bytes_max = 20;
    })
    .await;
    let mut wire = with_topic(&served).await;
    let full = ErrorCode::PolicyViolation.code();
    assert_eq!(commit(&mut wire, "a", &[0, 1, 2], "12345").await, [0, 0, 0]);
    assert_eq!(commit(&mut wire, "b", &[0, 1], "").await, [full, full], "five offsets");
    assert_eq!(commit(&mut wire, "b", &[0], "123456").await, [full], "twenty-one bytes");
    assert_eq!(commit(&mut wire, "b", &[0], "12345").await, [0]);
    assert_eq!(commit(&mut wire, "c", &[0], "").await, [full]);
    assert_eq!(commit(&mut wire, "a", &[0, 1], "54321").await, [0, 0], "who has committed goes on");
    assert!(served.log.committed_offsets("c").is_empty());
    let request = m::DeleteGroupsRequest::default().with_groups_names(vec![group_id("b")]);
    let deleted: m::DeleteGroupsResponse = wire.ask(Api::DeleteGroups, 2, &request).await;
    assert_eq!(deleted.results[0].error_code, 0);
    assert_eq!(commit(&mut wire, "c", &[0], "").await, [0]);
}

#[tokio::test]
async fn offsets_expire_a_week_after_the_last_member_has_left() {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let served = Served::start_at(Arc::<ManualClock>::clone(&clock), |settings| {
        settings.groups.offsets_check_interval_ms = 5;
    })
    .await;
    let mut wire = with_topic(&served).await;
    for group in ["alone", "joined"] {
        assert_eq!(commit(&mut wire, group, &[0], "").await, [0]);
    }
    let protocol = m::join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let join = m::JoinGroupRequest::default()
        .with_group_id(group_id("joined"))
        .with_session_timeout_ms(600_000)
        .with_rebalance_timeout_ms(600_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let joined: m::JoinGroupResponse = wire.ask(Api::JoinGroup, 3, &join).await;
    assert_eq!(joined.error_code, 0);

    // Both are looked at at the same time, and were committed at the same time.
    clock.advance(WEEK_MS);
    wait_until(|| served.log.groups() == ["joined"]).await;

    let leave = m::LeaveGroupRequest::default().with_group_id(group_id("joined")).with_member_id(joined.member_id);
    let left: m::LeaveGroupResponse = wire.ask(Api::LeaveGroup, 0, &leave).await;
    assert_eq!(left.error_code, 0);
    wait_until(|| {
        clock.advance(WEEK_MS / 7);
        served.log.groups().is_empty()
    })
    .await;
    served.broker.stop().await;
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let soon = Duration::from_secs(20);
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !is_so() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(soon, waiting).await.expect("it does not come about");
}
