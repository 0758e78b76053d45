//! A valid request of every API in every version, as another implementation writes it, and a decoder to match.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::Encodable;
use uuid::Uuid;

use crate::messages::create_topics_request as ct;
use crate::{Api, Result, Text, api_versions, cold, fetch, metadata, produce};

pub(super) fn text(value: &str) -> Text {
    Text::from_string(value.to_owned())
}

fn name(value: &str) -> m::TopicName {
    m::TopicName(text(value))
}

fn encoded(message: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

/// A request with every array filled.
pub(super) fn request(api: Api, v: i16) -> Bytes {
    let since = |version: i16, value: &'static str| (v >= version).then(|| text(value));
    match api {
        Api::Produce => encoded(&produce_request(), v),
        Api::Fetch => encoded(&fetch_request(v), v),
        Api::Metadata => encoded(&metadata_request(v), v),
        Api::ApiVersions => {
            let request = m::ApiVersionsRequest::default();
            let request = if v >= 3 {
                request.with_client_software_name(text("x")).with_client_software_version(text("1"))
            } else {
                request
            };
            encoded(&request, v)
        }
        Api::ListOffsets => {
            let partition = m::list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
            let topic = m::list_offsets_request::ListOffsetsTopic::default()
                .with_name(name("t"))
                .with_partitions(vec![partition.clone(), partition]);
            encoded(&m::ListOffsetsRequest::default().with_topics(vec![topic]), v)
        }
        Api::OffsetCommit => {
            let partition = m::offset_commit_request::OffsetCommitRequestPartition::default()
                .with_committed_offset(7)
                .with_committed_metadata(Some(text("note")));
            let topic = m::offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(name("t"))
                .with_partitions(vec![partition]);
            let request = m::OffsetCommitRequest::default().with_group_id(m::GroupId(text("g")));
            encoded(&request.with_group_instance_id(since(7, "i")).with_topics(vec![topic]), v)
        }
        Api::OffsetFetch if v >= 8 => {
            let topic = m::offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(name("t"))
                .with_partition_indexes(vec![1, 2]);
            let group = m::offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(m::GroupId(text("g")))
                .with_topics(Some(vec![topic]));
            encoded(&m::OffsetFetchRequest::default().with_groups(vec![group]), v)
        }
        Api::OffsetFetch => {
            let topic = m::offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(name("t"))
                .with_partition_indexes(vec![1, 2]);
            let request = m::OffsetFetchRequest::default().with_group_id(m::GroupId(text("g")));
            encoded(&request.with_topics(Some(vec![topic])), v)
        }
        Api::FindCoordinator if v >= 4 => {
            encoded(&m::FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]), v)
        }
        Api::FindCoordinator => encoded(&m::FindCoordinatorRequest::default().with_key(text("g")), v),
        Api::JoinGroup => {
            let protocol = m::join_group_request::JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"meta"));
            let request = m::JoinGroupRequest::default().with_group_id(m::GroupId(text("g")));
            let request = request.with_protocol_type(text("consumer")).with_protocols(vec![protocol]);
            encoded(&request.with_group_instance_id(since(5, "i")).with_reason(since(8, "why")), v)
        }
        Api::Heartbeat => {
            let request = m::HeartbeatRequest::default().with_group_id(m::GroupId(text("g")));
            encoded(&request.with_member_id(text("m")).with_group_instance_id(since(3, "i")), v)
        }
        Api::LeaveGroup if v >= 3 => {
            let member = m::leave_group_request::MemberIdentity::default()
                .with_member_id(text("m"))
                .with_group_instance_id(Some(text("i")))
                .with_reason(since(5, "why"));
            encoded(&m::LeaveGroupRequest::default().with_members(vec![member]), v)
        }
        Api::LeaveGroup => encoded(&m::LeaveGroupRequest::default().with_member_id(text("m")), v),
        Api::SyncGroup => {
            let assignment = m::sync_group_request::SyncGroupRequestAssignment::default()
                .with_member_id(text("m"))
                .with_assignment(Bytes::from_static(b"work"));
            let request = m::SyncGroupRequest::default().with_member_id(text("m")).with_assignments(vec![assignment]);
            let request = request.with_group_instance_id(since(3, "i"));
            encoded(&request.with_protocol_name(since(5, "range")).with_protocol_type(since(5, "consumer")), v)
        }
        Api::DescribeGroups => {
            encoded(&m::DescribeGroupsRequest::default().with_groups(vec![m::GroupId(text("g"))]), v)
        }
        Api::ListGroups => {
            let states = if v >= 4 { vec![text("Stable")] } else { vec![] };
            encoded(&m::ListGroupsRequest::default().with_states_filter(states), v)
        }
        Api::CreateTopics => {
            let assignment = ct::CreatableReplicaAssignment::default().with_broker_ids(vec![m::BrokerId(1)]);
            let config =
                ct::CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
            let topic = ct::CreatableTopic::default()
                .with_name(name("t"))
                .with_assignments(vec![assignment])
                .with_configs(vec![config]);
            encoded(&m::CreateTopicsRequest::default().with_topics(vec![topic]), v)
        }
        Api::DeleteTopics if v >= 6 => {
            let state = m::delete_topics_request::DeleteTopicState::default().with_topic_id(Uuid::from_u128(7));
            encoded(&m::DeleteTopicsRequest::default().with_topics(vec![state]), v)
        }
        Api::DeleteTopics => encoded(&m::DeleteTopicsRequest::default().with_topic_names(vec![name("t")]), v),
        Api::InitProducerId => encoded(&m::InitProducerIdRequest::default().with_transactional_id(None), v),
        Api::DescribeConfigs => {
            let resource = m::describe_configs_request::DescribeConfigsResource::default()
                .with_resource_name(text("t"))
                .with_configuration_keys(Some(vec![text("retention.ms")]));
            encoded(&m::DescribeConfigsRequest::default().with_resources(vec![resource]), v)
        }
        Api::DeleteGroups => {
            encoded(&m::DeleteGroupsRequest::default().with_groups_names(vec![m::GroupId(text("g"))]), v)
        }
        Api::DescribeCluster => encoded(&m::DescribeClusterRequest::default(), v),
    }
}

fn produce_request() -> m::ProduceRequest {
    let partition = m::produce_request::PartitionProduceData::default()
        .with_index(3)
        .with_records(Some(Bytes::from_static(b"batches")));
    let topic =
        m::produce_request::TopicProduceData::default().with_name(name("t")).with_partition_data(vec![partition]);
    m::ProduceRequest::default().with_acks(-1).with_timeout_ms(9).with_topic_data(vec![topic])
}

fn fetch_request(version: i16) -> m::FetchRequest {
    let partition = m::fetch_request::FetchPartition::default()
        .with_partition(3)
        .with_fetch_offset(11)
        .with_partition_max_bytes(13);
    let topic = m::fetch_request::FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    let request = m::FetchRequest::default().with_max_wait_ms(5).with_min_bytes(6).with_max_bytes(7);
    let request = request.with_topics(vec![topic]);
    if version >= 7 {
        let forgotten = m::fetch_request::ForgottenTopic::default().with_topic(name("f")).with_partitions(vec![1, 2]);
        return request.with_forgotten_topics_data(vec![forgotten]);
    }
    request
}

fn metadata_request(version: i16) -> m::MetadataRequest {
    let topic = m::metadata_request::MetadataRequestTopic::default().with_name(Some(name("t")));
    let request = m::MetadataRequest::default().with_topics(Some(vec![topic]));
    if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
}

/// Decodes a request as the broker would.
pub(super) fn decode(api: Api, version: i16, body: Bytes) -> Result<()> {
    macro_rules! cold {
        ($message:ident) => {
            cold::decode_request::<m::$message>(api, version, body).map(drop)
        };
    }
    match api {
        Api::Produce => produce::Request::decode(version, body).map(drop),
        Api::Fetch => fetch::Request::decode(version, body).map(drop),
        Api::Metadata => metadata::Request::decode(version, body).map(drop),
        Api::ApiVersions => api_versions::decode_request(version, body),
        Api::ListOffsets => cold!(ListOffsetsRequest),
        Api::OffsetCommit => cold!(OffsetCommitRequest),
        Api::OffsetFetch => cold!(OffsetFetchRequest),
        Api::FindCoordinator => cold!(FindCoordinatorRequest),
        Api::JoinGroup => cold!(JoinGroupRequest),
        Api::Heartbeat => cold!(HeartbeatRequest),
        Api::LeaveGroup => cold!(LeaveGroupRequest),
        Api::SyncGroup => cold!(SyncGroupRequest),
        Api::DescribeGroups => cold!(DescribeGroupsRequest),
        Api::ListGroups => cold!(ListGroupsRequest),
        Api::CreateTopics => cold!(CreateTopicsRequest),
        Api::DeleteTopics => cold!(DeleteTopicsRequest),
        Api::InitProducerId => cold!(InitProducerIdRequest),
        Api::DescribeConfigs => cold!(DescribeConfigsRequest),
        Api::DeleteGroups => cold!(DeleteGroupsRequest),
        Api::DescribeCluster => cold!(DescribeClusterRequest),
    }
}

/// Every API with every version that `kafka-protocol` can write.
pub(super) fn all() -> impl Iterator<Item = (Api, i16)> {
    Api::ALL.iter().flat_map(|api| {
        // That crate knows neither the Produce versions before 3, nor the fourth of ApiVersions' body as different.
        let min = if *api == Api::Produce { 3 } else { api.versions().min };
        (min..=api.versions().max).map(move |version| (*api, version))
    })
}
