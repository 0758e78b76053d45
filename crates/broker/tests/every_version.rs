//! Every API in every version that is advertised, with another implementation's encoder and decoder.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

#[path = "support/wire.rs"]
mod wire;

use bytes::Bytes;
use eventlog::{Compression, RecordBatchBuilder};
use kafka_wire::messages as m;
use kafka_wire::{Api, ErrorCode, Text};
use support::{Served, record};
use wire::{Wire, text};

fn name(value: &str) -> m::TopicName {
    m::TopicName(text(value))
}

fn group_id(value: &str) -> m::GroupId {
    m::GroupId(text(value))
}

fn versions(api: Api) -> std::ops::RangeInclusive<i16> {
    api.versions().min..=api.versions().max
}

fn batch() -> Bytes {
    RecordBatchBuilder::new(Compression::None).push(record("k", "v")).build()
}

async fn create(wire: &mut Wire, topic: &str, version: i16) -> m::create_topics_response::CreatableTopicResult {
    let topic = m::create_topics_request::CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(2)
        .with_replication_factor(1);
    let request = m::CreateTopicsRequest::default().with_topics(vec![topic]);
    let response: m::CreateTopicsResponse = wire.ask(Api::CreateTopics, version, &request).await;
    response.topics[0].clone()
}

#[tokio::test]
async fn topics_come_and_go() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    for version in versions(Api::CreateTopics) {
        let topic = format!("t{version}");
        assert_eq!(create(&mut wire, &topic, version).await.error_code, 0);
        let twice = create(&mut wire, &topic, version).await;
        assert_eq!(twice.error_code, ErrorCode::TopicAlreadyExists.code());
    }
    for version in versions(Api::Metadata) {
        let request = m::MetadataRequest::default().with_topics(None);
        let request = if version == 0 { request.with_topics(Some(vec![])) } else { request };
        let all: m::MetadataResponse = wire.ask(Api::Metadata, version, &request).await;
        assert_eq!((all.topics.len(), all.topics[0].partitions.len()), (6, 2), "version {version}");
        assert_eq!(all.brokers[0].host, text("127.0.0.1"));
        let bad = m::metadata_request::MetadataRequestTopic::default().with_name(Some(name("no/name")));
        let request = m::MetadataRequest::default().with_topics(Some(vec![bad]));
        let none: m::MetadataResponse = wire.ask(Api::Metadata, version, &request).await;
        assert_eq!(none.topics[0].error_code, ErrorCode::InvalidTopicException.code());
    }
    for version in versions(Api::DescribeConfigs) {
        let resource = |kind, name: &str| {
            let resource = m::describe_configs_request::DescribeConfigsResource::default();
            resource.with_resource_type(kind).with_resource_name(text(name)).with_configuration_keys(None)
        };
        let resources =
            vec![resource(2, "t2"), resource(4, "1"), resource(2, "absent"), resource(4, "9"), resource(8, "")];
        let request = m::DescribeConfigsRequest::default().with_resources(resources);
        let response: m::DescribeConfigsResponse = wire.ask(Api::DescribeConfigs, version, &request).await;
        let codes: Vec<i16> = response.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 0, 3, 42, 42]);
        let config = |name: &str| response.results[0].configs.iter().find(|c| *c.name == *name).unwrap().value.clone();
        assert_eq!((config("retention.ms"), config("cleanup.policy")), (Some(text("-1")), Some(text("delete"))));
    }
    for version in versions(Api::DescribeCluster) {
        let request = m::DescribeClusterRequest::default();
        let response: m::DescribeClusterResponse = wire.ask(Api::DescribeCluster, version, &request).await;
        assert_eq!((response.brokers.len(), &*response.cluster_id), (1, "fourfold"));
    }
    for version in versions(Api::DeleteTopics) {
        for expected in [0, ErrorCode::UnknownTopicOrPartition.code()] {
            let topic = name(&format!("t{}", version + 1));
            let request = if version >= 6 {
                let state = m::delete_topics_request::DeleteTopicState::default().with_name(Some(topic));
                m::DeleteTopicsRequest::default().with_topics(vec![state])
            } else {
                m::DeleteTopicsRequest::default().with_topic_names(vec![topic])
            };
            let response: m::DeleteTopicsResponse = wire.ask(Api::DeleteTopics, version, &request).await;
            assert_eq!(response.responses[0].error_code, expected, "version {version}");
        }
    }
}

#[tokio::test]
async fn records_go_in_and_out() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    create(&mut wire, "t", 7).await;
    let mut stored = 0;
    for version in 3..=Api::Produce.versions().max {
        let data = |index, records: Option<Bytes>| {
            m::produce_request::PartitionProduceData::default().with_index(index).with_records(records)
        };
        let partitions = vec![data(0, Some(batch())), data(7, Some(batch())), data(1, None)];
        let topic =
            m::produce_request::TopicProduceData::default().with_name(name("t")).with_partition_data(partitions);
        let request = m::ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic]);
        let response: m::ProduceResponse = wire.ask(Api::Produce, version, &request).await;
        let answers: Vec<(i16, i64)> =
            response.responses[0].partition_responses.iter().map(|p| (p.error_code, p.base_offset)).collect();
        assert_eq!(answers, [(0, stored), (3, -1), (87, -1)], "version {version}");
        stored += 1;
        let refused: m::ProduceResponse = wire.ask(Api::Produce, version, &request.clone().with_acks(2)).await;
        assert_eq!(refused.responses[0].partition_responses[0].error_code, ErrorCode::InvalidRequiredAcks.code());
        let transactional = request.with_transactional_id(Some(m::TransactionalId(text("tx"))));
        let refused: m::ProduceResponse = wire.ask(Api::Produce, version, &transactional).await;
        assert_eq!(refused.responses[0].partition_responses[0].error_code, ErrorCode::UnsupportedVersion.code());
    }
    for version in versions(Api::Fetch) {
        let query = |partition, offset| {
            let query = m::fetch_request::FetchPartition::default().with_partition(partition);
            query.with_fetch_offset(offset).with_partition_max_bytes(1 << 20)
        };
        let partitions = vec![query(0, stored - 1), query(1, 99), query(9, 0)];
        let topic = m::fetch_request::FetchTopic::default().with_topic(name("t")).with_partitions(partitions);
        let request = m::FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
        let response: m::FetchResponse = wire.ask(Api::Fetch, version, &request).await;
        let answers: Vec<(i16, bool)> = response.responses[0]
            .partitions
            .iter()
            .map(|p| (p.error_code, p.records.as_ref().is_some_and(|records| !records.is_empty())))
            .collect();
        assert_eq!(answers, [(0, true), (1, false), (3, false)], "version {version}");
        if version >= 7 {
            assert_eq!(response.session_id, 0);
            let session = request.with_session_id(5).with_session_epoch(1);
            let response: m::FetchResponse = wire.ask(Api::Fetch, version, &session).await;
            assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound.code());
        }
    }
    for version in versions(Api::ListOffsets) {
        let mut offsets = Vec::new();
        for timestamp in [-1, -2, -3, 0, 1_000, 1_001, -9] {
            let partition = m::list_offsets_request::ListOffsetsPartition::default().with_timestamp(timestamp);
            let topic = m::list_offsets_request::ListOffsetsTopic::default().with_name(name("t"));
            let request = m::ListOffsetsRequest::default().with_topics(vec![topic.with_partitions(vec![partition])]);
            let response: m::ListOffsetsResponse = wire.ask(Api::ListOffsets, version, &request).await;
            let found = &response.topics[0].partitions[0];
            offsets.push((found.error_code, found.offset, found.timestamp));
        }
        let expected =
            [(0, stored, -1), (0, 0, -1), (0, 0, 1_000), (0, 0, 1_000), (0, 0, 1_000), (0, -1, -1), (35, -1, -1)];
        assert_eq!(offsets, expected, "version {version}");
    }
    for version in versions(Api::InitProducerId) {
        let request = m::InitProducerIdRequest::default().with_transactional_id(None);
        let response: m::InitProducerIdResponse = wire.ask(Api::InitProducerId, version, &request).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        let request = request.with_transactional_id(Some(m::TransactionalId(text("tx"))));
        let response: m::InitProducerIdResponse = wire.ask(Api::InitProducerId, version, &request).await;
        assert_eq!((response.error_code, response.producer_id.0), (ErrorCode::UnsupportedVersion.code(), -1));
    }
}

fn join_request(group: &str, member: &Text, version: i16) -> m::JoinGroupRequest {
    let protocol = m::join_group_request::JoinGroupRequestProtocol::default();
    let protocol = protocol.with_name(text("range")).with_metadata(Bytes::from_static(b"meta"));
    let request = m::JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(10_000)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 { request.with_rebalance_timeout_ms(10_000) } else { request }
}

#[tokio::test]
async fn a_consumer_group_lives_its_life_in_every_version() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    create(&mut wire, "t", 7).await;
    for version in versions(Api::JoinGroup) {
        let at = |api: Api| version.clamp(api.versions().min, api.versions().max);
        let group = format!("g{version}");
        let found: m::FindCoordinatorResponse = {
            let v = at(Api::FindCoordinator);
            let request = m::FindCoordinatorRequest::default();
            let request =
                if v >= 4 { request.with_coordinator_keys(vec![text(&group)]) } else { request.with_key(text(&group)) };
            wire.ask(Api::FindCoordinator, v, &request).await
        };
        let here = (0, text("127.0.0.1"), i32::from(served.broker.local_addr().port()));
        let ours = (found.error_code, found.host.clone(), found.port);
        let listed: Vec<_> = found.coordinators.iter().map(|c| (c.error_code, c.host.clone(), c.port)).collect();
        // From version 4 on the answers are a list, one a key.
        let expected = if at(Api::FindCoordinator) >= 4 { (Vec::new(), vec![here]) } else { (vec![here], Vec::new()) };
        let ours = if found.port == 0 { Vec::new() } else { vec![ours] };
        assert_eq!((ours, listed), expected, "version {version}");

        let mut joined: m::JoinGroupResponse =
            wire.ask(Api::JoinGroup, version, &join_request(&group, &Text::new(), version)).await;
        if version >= 4 {
            assert_eq!(joined.error_code, ErrorCode::MemberIdRequired.code());
            joined = wire.ask(Api::JoinGroup, version, &join_request(&group, &joined.member_id, version)).await;
        }
        assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 1, 1), "version {version}");
        let member = joined.member_id.clone();
        let unknown: m::JoinGroupResponse =
            wire.ask(Api::JoinGroup, version, &join_request(&group, &text("who"), version)).await;
        assert_eq!(unknown.error_code, ErrorCode::UnknownMemberId.code());

        let v = at(Api::SyncGroup);
        let work = m::sync_group_request::SyncGroupRequestAssignment::default();
        let work = work.with_member_id(member.clone()).with_assignment(Bytes::from_static(b"work"));
        let request = m::SyncGroupRequest::default().with_group_id(group_id(&group)).with_generation_id(1);
        let request = request.with_member_id(member.clone()).with_assignments(vec![work]);
        let synced: m::SyncGroupResponse = wire.ask(Api::SyncGroup, v, &request).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"work"[..]));
        let synced: m::SyncGroupResponse = wire.ask(Api::SyncGroup, v, &request.with_generation_id(5)).await;
        assert_eq!(synced.error_code, ErrorCode::IllegalGeneration.code());

        let v = at(Api::Heartbeat);
        let request = m::HeartbeatRequest::default().with_group_id(group_id(&group)).with_generation_id(1);
        let alive: m::HeartbeatResponse = wire.ask(Api::Heartbeat, v, &request.with_member_id(member.clone())).await;
        assert_eq!(alive.error_code, 0);

        commit_and_fetch(&mut wire, &group, &member, version).await;
        describe_and_list(&mut wire, &group, version).await;
        leave_and_delete(&mut wire, &group, &member, version).await;
    }
}

async fn commit_and_fetch(wire: &mut Wire, group: &str, member: &Text, version: i16) {
    let v = version.clamp(2, Api::OffsetCommit.versions().max);
    let partition = |index| {
        let partition = m::offset_commit_request::OffsetCommitRequestPartition::default().with_partition_index(index);
        partition.with_committed_offset(42).with_committed_metadata(Some(text("note")))
    };
    let topic = m::offset_commit_request::OffsetCommitRequestTopic::default().with_name(name("t"));
    let request = m::OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(1)
        .with_member_id(member.clone())
        .with_topics(vec![topic.with_partitions(vec![partition(1), partition(5)])]);
    let committed: m::OffsetCommitResponse = wire.ask(Api::OffsetCommit, v, &request).await;
    let codes: Vec<i16> = committed.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(codes, [0, 3]);

    let v = version.clamp(1, Api::OffsetFetch.versions().max);
    let found = if v >= 8 {
        let topic = m::offset_fetch_request::OffsetFetchRequestTopics::default();
        let topic = topic.with_name(name("t")).with_partition_indexes(vec![0, 1]);
        let one = m::offset_fetch_request::OffsetFetchRequestGroup::default().with_group_id(group_id(group));
        let all = m::OffsetFetchRequest::default().with_groups(vec![one.clone().with_topics(None)]);
        let response: m::OffsetFetchResponse = wire.ask(Api::OffsetFetch, v, &all).await;
        assert_eq!(response.groups[0].topics[0].partitions.len(), 1);
        let request = m::OffsetFetchRequest::default().with_groups(vec![one.with_topics(Some(vec![topic]))]);
        let response: m::OffsetFetchResponse = wire.ask(Api::OffsetFetch, v, &request).await;
        let partitions = &response.groups[0].topics[0].partitions;
        partitions.iter().map(|p| (p.committed_offset, p.metadata.clone())).collect::<Vec<_>>()
    } else {
        let topic = m::offset_fetch_request::OffsetFetchRequestTopic::default();
        let topic = topic.with_name(name("t")).with_partition_indexes(vec![0, 1]);
        let request = m::OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(Some(vec![topic]));
        let response: m::OffsetFetchResponse = wire.ask(Api::OffsetFetch, v, &request).await;
        let partitions = &response.topics[0].partitions;
        partitions.iter().map(|p| (p.committed_offset, p.metadata.clone())).collect()
    };
    assert_eq!(found, [(-1, Some(text(""))), (42, Some(text("note")))]);
}

async fn describe_and_list(wire: &mut Wire, group: &str, version: i16) {
    let v = version.min(Api::DescribeGroups.versions().max);
    let request = m::DescribeGroupsRequest::default().with_groups(vec![group_id(group), group_id("none")]);
    let response: m::DescribeGroupsResponse = wire.ask(Api::DescribeGroups, v, &request).await;
    let shown = &response.groups[0];
    assert_eq!((&*shown.group_state, &*shown.protocol_data, shown.members.len()), ("Stable", "range", 1));
    assert_eq!(&*response.groups[1].group_state, "Dead");
    let v = version.min(Api::ListGroups.versions().max);
    let response: m::ListGroupsResponse = wire.ask(Api::ListGroups, v, &m::ListGroupsRequest::default()).await;
    assert!(response.groups.iter().any(|listed| *listed.group_id == *text(group)));
}

async fn leave_and_delete(wire: &mut Wire, group: &str, member: &Text, version: i16) {
    let v = version.min(Api::DeleteGroups.versions().max);
    let request = m::DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
    let response: m::DeleteGroupsResponse = wire.ask(Api::DeleteGroups, v, &request).await;
    assert_eq!(response.results[0].error_code, ErrorCode::NonEmptyGroup.code());

    let leave = version.min(Api::LeaveGroup.versions().max);
    let request_leave = m::LeaveGroupRequest::default().with_group_id(group_id(group));
    let request_leave = if leave >= 3 {
        let identity = m::leave_group_request::MemberIdentity::default().with_member_id(member.clone());
        request_leave.with_members(vec![identity])
    } else {
        request_leave.with_member_id(member.clone())
    };
    for expected in [0, ErrorCode::UnknownMemberId.code()] {
        let left: m::LeaveGroupResponse = wire.ask(Api::LeaveGroup, leave, &request_leave).await;
        let code = left.members.first().map_or(left.error_code, |member| member.error_code);
        assert_eq!(code, expected, "version {leave}");
    }
    for expected in [0, ErrorCode::GroupIdNotFound.code()] {
        let response: m::DeleteGroupsResponse = wire.ask(Api::DeleteGroups, v, &request).await;
        assert_eq!(response.results[0].error_code, expected);
    }
}

#[tokio::test]
async fn there_is_no_coordinator_for_transactions_or_nameless_groups() {
    let served = Served::start().await;
    let mut wire = Wire::connect(&served.address()).await;
    for version in 1..=4 {
        let request = m::FindCoordinatorRequest::default().with_key_type(1);
        let request =
            if version >= 4 { request.with_coordinator_keys(vec![text("tx")]) } else { request.with_key(text("tx")) };
        let response: m::FindCoordinatorResponse = wire.ask(Api::FindCoordinator, version, &request).await;
        let (code, message) = match response.coordinators.first() {
            Some(coordinator) => (coordinator.error_code, coordinator.error_message.clone()),
            None => (response.error_code, response.error_message),
        };
        let expected = if version <= 2 { 53 } else { ErrorCode::UnsupportedVersion.code() };
        assert_eq!(code, expected, "version {version}");
        assert!(message.unwrap().contains("transactions are not served"));
    }
    for version in versions(Api::JoinGroup) {
        let request = join_request("", &Text::new(), version);
        let response: m::JoinGroupResponse = wire.ask(Api::JoinGroup, version, &request).await;
        assert_eq!(response.error_code, ErrorCode::InvalidGroupId.code());
    }
    for version in versions(Api::LeaveGroup) {
        let request = m::LeaveGroupRequest::default();
        let response: m::LeaveGroupResponse = wire.ask(Api::LeaveGroup, version, &request).await;
        assert_eq!(response.error_code, ErrorCode::InvalidGroupId.code());
    }
}
