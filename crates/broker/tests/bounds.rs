//! Little that asks for much, and clients that do not read.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use bytes::Bytes;
use eventlog::{Acks, Compression, EventLog, EventLogSettings, RecordBatchBuilder, TopicSettings};
use kafka_wire::messages as m;
use kafka_wire::{Api, ErrorCode, Text};
use support::{Served, partition, record, topic};
use tokio::time::timeout;
use wire::{Wire, text};

const SOON: Duration = Duration::from_secs(20);
const TIMES: usize = 1_000;

fn name(value: &str) -> m::TopicName {
    m::TopicName(text(value))
}

fn group_id(value: &str) -> m::GroupId {
    m::GroupId(text(value))
}

async fn served_with_topic() -> (Served, Wire) {
    let served = Served::start().await;
    served.client().await.create_topic(&topic("t"), 100, &TopicSettings::default()).await.unwrap();
    let wire = Wire::connect(&served.address()).await;
    (served, wire)
}

#[tokio::test]
async fn a_topic_that_is_named_often_is_described_once() {
    let (served, mut wire) = served_with_topic().await;
    let query = m::metadata_request::MetadataRequestTopic::default().with_name(Some(name("t")));
    let request = m::MetadataRequest::default().with_topics(Some(vec![query.clone(); TIMES]));
    let found: m::MetadataResponse = wire.ask(Api::Metadata, 12, &request).await;
    assert_eq!((found.topics.len(), found.topics[0].partitions.len()), (1, 100));

    let by_id = query.with_name(None).with_topic_id(served.log.topic("t").unwrap().id);
    let request = m::MetadataRequest::default().with_topics(Some(vec![by_id; TIMES]));
    let found: m::MetadataResponse = wire.ask(Api::Metadata, 12, &request).await;
    assert_eq!((found.topics.len(), found.topics[0].partitions.len()), (1, 100));

    let resource = m::describe_configs_request::DescribeConfigsResource::default();
    let resource = resource.with_resource_type(2).with_resource_name(text("t")).with_configuration_keys(None);
    let request = m::DescribeConfigsRequest::default().with_resources(vec![resource; TIMES]);
    let found: m::DescribeConfigsResponse = wire.ask(Api::DescribeConfigs, 4, &request).await;
    assert_eq!(found.results.len(), 1);

    let asked = m::list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    let asked =
        m::list_offsets_request::ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![asked; 9]);
    let request = m::ListOffsetsRequest::default().with_topics(vec![asked; TIMES]);
    let found: m::ListOffsetsResponse = wire.ask(Api::ListOffsets, 7, &request).await;
    assert_eq!(found.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 1);

    let asked = m::fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
    let asked = m::fetch_request::FetchTopic::default().with_topic(name("t")).with_partitions(vec![asked; 9]);
    let request = m::FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![asked; TIMES]);
    let found: m::FetchResponse = wire.ask(Api::Fetch, 12, &request).await;
    assert_eq!(found.responses.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_group_that_is_named_often_is_answered_once() {
    let (_served, mut wire) = served_with_topic().await;
    let request = m::DescribeGroupsRequest::default().with_groups(vec![group_id("g"); TIMES]);
    let found: m::DescribeGroupsResponse = wire.ask(Api::DescribeGroups, 5, &request).await;
    assert_eq!(found.groups.len(), 1);

    let request = m::DeleteGroupsRequest::default().with_groups_names(vec![group_id("g"); TIMES]);
    let found: m::DeleteGroupsResponse = wire.ask(Api::DeleteGroups, 2, &request).await;
    assert_eq!(found.results.len(), 1);

    let request = m::FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"); TIMES]);
    let found: m::FindCoordinatorResponse = wire.ask(Api::FindCoordinator, 4, &request).await;
    assert_eq!(found.coordinators.len(), 1);

    let asked = m::offset_fetch_request::OffsetFetchRequestTopics::default();
    let asked = asked.with_name(name("t")).with_partition_indexes(vec![0; TIMES]);
    let group = m::offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group_id("g"));
    let groups = vec![group.with_topics(Some(vec![asked; 10])); TIMES];
    let request = m::OffsetFetchRequest::default().with_groups(groups[..10].to_vec());
    let found: m::OffsetFetchResponse = wire.ask(Api::OffsetFetch, 8, &request).await;
    let partitions = found.groups[0].topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
    assert_eq!((found.groups.len(), partitions), (1, 1));
}

/// As in Kafka: which of them was meant is not known.
#[tokio::test]
async fn a_topic_that_is_to_be_created_twice_is_not_created() {
    let (served, mut wire) = served_with_topic().await;
    let twice = m::create_topics_request::CreatableTopic::default().with_name(name("twice"));
    let twice = twice.with_num_partitions(1).with_replication_factor(1);
    let once = twice.clone().with_name(name("once"));
    let request = m::CreateTopicsRequest::default().with_topics(vec![twice.clone(), once, twice]);
    let response: m::CreateTopicsResponse = wire.ask(Api::CreateTopics, 7, &request).await;
    let codes: Vec<(&str, i16)> = response.topics.iter().map(|topic| (&**topic.name, topic.error_code)).collect();
    assert_eq!(codes, [("twice", ErrorCode::InvalidRequest.code()), ("once", 0)]);
    assert!(served.log.topic("twice").is_none());

    let named = m::delete_topics_request::DeleteTopicState::default().with_name(Some(name("once")));
    let request = m::DeleteTopicsRequest::default().with_topics(vec![named; TIMES]);
    let response: m::DeleteTopicsResponse = wire.ask(Api::DeleteTopics, 6, &request).await;
    let codes: Vec<i16> = response.responses.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0]);
}

#[tokio::test]
async fn a_topic_for_whose_partitions_there_is_no_room_is_refused() {
    let log_settings = EventLogSettings { partitions_max: 3, ..EventLogSettings::shipped() };
    let served = Served::start_over(log_settings, |log| log).await;
    let mut wire = Wire::connect(&served.address()).await;
    let asked = m::create_topics_request::CreatableTopic::default().with_replication_factor(1).with_num_partitions(2);
    let topics = ["a", "b"].map(|topic| asked.clone().with_name(name(topic))).to_vec();
    for validate_only in [false, true] {
        let request = m::CreateTopicsRequest::default().with_topics(topics.clone()).with_validate_only(validate_only);
        let response: m::CreateTopicsResponse = wire.ask(Api::CreateTopics, 7, &request).await;
        let refused = &response.topics[1];
        assert_eq!(refused.error_code, ErrorCode::PolicyViolation.code());
        let message = refused.error_message.as_deref().unwrap();
        assert!(message.contains("log.partitions_max"), "{message}");
    }
    assert!(served.log.topic("a").is_some() && served.log.topic("b").is_none());
    // One more partition fits, by being asked for; then none does.
    for (topic, code) in [("c", 0), ("d", ErrorCode::PolicyViolation.code())] {
        let query = m::metadata_request::MetadataRequestTopic::default().with_name(Some(name(topic)));
        let request = m::MetadataRequest::default().with_topics(Some(vec![query])).with_allow_auto_topic_creation(true);
        let found: m::MetadataResponse = wire.ask(Api::Metadata, 12, &request).await;
        assert_eq!(found.topics[0].error_code, code, "{topic}");
    }
}

/// Clients of Java send the id together with an empty name.
#[tokio::test]
async fn a_topic_is_found_by_its_id() {
    let (served, mut wire) = served_with_topic().await;
    let id = served.log.topic("t").unwrap().id;
    for version in 10..=12 {
        for empty in [Some(name("")), None] {
            let asked = m::metadata_request::MetadataRequestTopic::default().with_topic_id(id).with_name(empty);
            let unknown = asked.clone().with_topic_id(uuid::Uuid::from_u128(7));
            let request = m::MetadataRequest::default().with_topics(Some(vec![asked, unknown]));
            let found: m::MetadataResponse = wire.ask(Api::Metadata, version, &request).await;
            let codes: Vec<i16> = found.topics.iter().map(|topic| topic.error_code).collect();
            assert_eq!(codes, [0, ErrorCode::UnknownTopicId.code()], "version {version}");
            assert_eq!((found.topics[0].name.clone(), found.topics[0].partitions.len()), (Some(name("t")), 100));
            assert_eq!(found.topics[1].topic_id, uuid::Uuid::from_u128(7));
        }
    }
}

fn join(group: &str, metadata: usize, protocols: usize) -> m::JoinGroupRequest {
    let protocol = |number: usize| {
        let protocol = m::join_group_request::JoinGroupRequestProtocol::default().with_name(text(&number.to_string()));
        protocol.with_metadata(Bytes::from(vec![0; metadata]))
    };
    m::JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols((0..protocols).map(protocol).collect())
}

#[tokio::test]
async fn groups_and_their_members_are_bounded() {
    let served = Served::start_with(|settings| {
        settings.groups.group_bytes_max = 30_000;
        settings.groups.groups_bytes_max = 100_000;
    })
    .await;
    let mut wire = Wire::connect(&served.address()).await;
    let mut joined = async |request: m::JoinGroupRequest| {
        let response: m::JoinGroupResponse = wire.ask(Api::JoinGroup, 3, &request).await;
        response.error_code
    };
    assert_eq!(joined(join("large", 40_000, 1)).await, ErrorCode::GroupMaxSizeReached.code());
    assert_eq!(joined(join("many", 1, 101)).await, ErrorCode::InvalidRequest.code());
    assert_eq!(joined(join(&"g".repeat(256), 1, 1)).await, ErrorCode::InvalidGroupId.code());
    for group in ["a", "b", "c", "d"] {
        assert_eq!(joined(join(group, 20_000, 1)).await, 0, "{group}");
    }
    assert_eq!(joined(join("e", 20_000, 1)).await, ErrorCode::CoordinatorNotAvailable.code());
    // Who leaves makes room.
    let members = m::DescribeGroupsRequest::default().with_groups(vec![group_id("a")]);
    let members: m::DescribeGroupsResponse = wire.ask(Api::DescribeGroups, 0, &members).await;
    let member = members.groups[0].members[0].member_id.clone();
    let leave = m::LeaveGroupRequest::default().with_group_id(group_id("a")).with_member_id(member);
    let left: m::LeaveGroupResponse = wire.ask(Api::LeaveGroup, 0, &leave).await;
    assert_eq!(left.error_code, 0);
    let response: m::JoinGroupResponse = wire.ask(Api::JoinGroup, 3, &join("e", 20_000, 1)).await;
    assert_eq!(response.error_code, 0);
}

#[tokio::test]
async fn assignments_are_bounded_with_their_group() {
    let served = Served::start_with(|settings| settings.groups.group_bytes_max = 30_000).await;
    let mut wire = Wire::connect(&served.address()).await;
    let joined: m::JoinGroupResponse = wire.ask(Api::JoinGroup, 3, &join("g", 100, 1)).await;
    let assignment = |bytes: usize| {
        let work = m::sync_group_request::SyncGroupRequestAssignment::default();
        let work = work.with_member_id(joined.member_id.clone()).with_assignment(Bytes::from(vec![0; bytes]));
        let request = m::SyncGroupRequest::default().with_group_id(group_id("g")).with_assignments(vec![work]);
        request.with_generation_id(1).with_member_id(joined.member_id.clone())
    };
    let refused: m::SyncGroupResponse = wire.ask(Api::SyncGroup, 3, &assignment(40_000)).await;
    assert_eq!(refused.error_code, ErrorCode::GroupMaxSizeReached.code());
    let synced: m::SyncGroupResponse = wire.ask(Api::SyncGroup, 3, &assignment(20_000)).await;
    assert_eq!((synced.error_code, synced.assignment.len()), (0, 20_000));
}

/// A group that has offsets and never had a member is of no type; one whose members have left is what it was.
#[tokio::test]
async fn an_empty_group_is_of_the_type_that_its_members_were() {
    let (served, mut wire) = served_with_topic().await;
    let joined: m::JoinGroupResponse = wire.ask(Api::JoinGroup, 3, &join("had members", 1, 1)).await;
    let leave = m::LeaveGroupRequest::default();
    let leave = leave.with_group_id(group_id("had members")).with_member_id(joined.member_id);
    let _: m::LeaveGroupResponse = wire.ask(Api::LeaveGroup, 0, &leave).await;
    let offset = eventlog::CommittedOffset { offset: 1, leader_epoch: -1, metadata: String::new() };
    for group in ["had members", "had none"] {
        served.log.commit_offsets(group, vec![(partition("t", 0), offset.clone())]).await.unwrap();
    }
    let listed: m::ListGroupsResponse = wire.ask(Api::ListGroups, 4, &m::ListGroupsRequest::default()).await;
    let listed: Vec<(&str, &str, &str)> =
        listed.groups.iter().map(|group| (&**group.group_id, &*group.protocol_type, &*group.group_state)).collect();
    assert_eq!(listed, [("had members", "consumer", "Empty"), ("had none", "", "Empty")]);
    let request = m::DescribeGroupsRequest::default().with_groups(vec![group_id("had members"), group_id("had none")]);
    let shown: m::DescribeGroupsResponse = wire.ask(Api::DescribeGroups, 5, &request).await;
    let shown: Vec<(&str, &str)> =
        shown.groups.iter().map(|group| (&*group.protocol_type, &*group.group_state)).collect();
    assert_eq!(shown, [("consumer", "Empty"), ("", "Empty")]);
}

fn fetch_all(bytes_max: i32) -> m::FetchRequest {
    let query = m::fetch_request::FetchPartition::default().with_partition_max_bytes(bytes_max);
    let queried = m::fetch_request::FetchTopic::default().with_topic(name("t")).with_partitions(vec![query]);
    m::FetchRequest::default().with_max_bytes(bytes_max).with_topics(vec![queried])
}

/// Clients that ask for all there is and read nothing: their answers take what the budget has, no more; others are
/// answered meanwhile, with less; and those who do not read are closed.
#[tokio::test]
async fn clients_that_do_not_read_are_closed_and_others_are_answered() {
    const CLIENTS: i64 = 40;
    let served = Served::start_with(|settings| {
        settings.answer_bytes_max = 32 * 1024 * 1024;
        settings.fetch_bytes_max = 8 * 1024 * 1024;
        settings.transfer_timeout = Duration::from_secs(2);
    })
    .await;
    served.client().await.create_topic(&topic("t"), 1, &TopicSettings::default()).await.unwrap();
    for _ in 0..16 {
        let mut batch = RecordBatchBuilder::new(Compression::None);
        batch.push(record("k", &"v".repeat(500_000)));
        served.log.append(&partition("t", 0), batch.build(), Acks::Durable).await.unwrap();
    }
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        let mut wire = Wire::connect(&served.address()).await;
        // More than the buffers on the way hold.
        for id in 0..40 {
            wire.send(Api::Fetch, 12, id, &fetch_all(i32::MAX)).await;
        }
        silent.push(wire);
    }
    let mut reading = Wire::connect(&served.address()).await;
    let request = fetch_all(i32::MAX);
    let asked = reading.ask(Api::Fetch, 12, &request);
    let answer: m::FetchResponse = timeout(SOON, asked).await.expect("who reads is answered");
    let records = answer.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len);
    assert!(records >= 500_000, "{records} bytes of records came");
    let closed = async {
        while served.metrics.broker_connections.get() > 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, closed).await.expect("who does not read is closed");
    drop(silent);
}

#[tokio::test]
async fn who_reaches_the_broker_by_any_address_is_told_that_one() {
    let served = Served::start_with(|settings| settings.host = std::net::Ipv4Addr::UNSPECIFIED.into()).await;
    let port = served.broker.local_addr().port();
    for host in ["127.0.0.1", "127.0.0.2"] {
        let mut wire = Wire::connect(&format!("{host}:{port}")).await;
        let request = m::MetadataRequest::default().with_topics(None);
        let found: m::MetadataResponse = wire.ask(Api::Metadata, 12, &request).await;
        assert_eq!((&*found.brokers[0].host, found.brokers[0].port), (host, i32::from(port)));
        let request = m::FindCoordinatorRequest::default().with_key(Text::from_static_str("g"));
        let found: m::FindCoordinatorResponse = wire.ask(Api::FindCoordinator, 2, &request).await;
        assert_eq!(&*found.host, host);
    }
}

#[tokio::test]
async fn what_is_advertised_is_what_the_settings_say() {
    let served = Served::start_with(|settings| {
        settings.advertised_host = Some("broker.example".to_owned());
        settings.advertised_port = Some(1234);
    })
    .await;
    let mut wire = Wire::connect(&served.address()).await;
    let found: m::DescribeClusterResponse =
        wire.ask(Api::DescribeCluster, 0, &m::DescribeClusterRequest::default()).await;
    assert_eq!((&*found.brokers[0].host, found.brokers[0].port), ("broker.example", 1234));
}
