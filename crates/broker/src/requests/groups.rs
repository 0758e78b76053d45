//! The requests of consumer groups: between the wire and the coordinator.

use std::collections::{BTreeMap, HashSet};

use kafka_wire::messages::delete_groups_response::DeletableGroupResult;
use kafka_wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_wire::messages::find_coordinator_response::Coordinator as WireCoordinator;
use kafka_wire::messages::join_group_response::JoinGroupResponseMember;
use kafka_wire::messages::leave_group_response::MemberResponse;
use kafka_wire::messages::list_groups_response::ListedGroup;
use kafka_wire::messages::{
    BrokerId, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_wire::{ErrorCode, Frame, Text};
use model::Access;

use super::{Call, distinct, text, wire_code};
use crate::answer_budget::Answer;
use crate::coordinator::{Description, Identity, Join, Joined, Protocol, Reply, Sync};
use crate::error::{ConnectionError, error_code};
use crate::services::Endpoint;

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;

/// The longest group id, in bytes.
const GROUP_ID_BYTES_MAX: usize = 255;
/// How many protocols a member may speak.
const PROTOCOLS_MAX: usize = 100;
/// About how much a group, a member or a coordinator takes in an answer besides its texts.
const ITEM_BYTES: usize = 40;

pub(super) async fn find_coordinator(call: &Call<'_>) -> Result<Answer, ConnectionError> {
    let request: FindCoordinatorRequest = call.decode()?;
    let refusal = match request.key_type {
        KEY_TYPE_GROUP => None,
        // librdkafka, which asks up to version 2, shows the reason with this code alone and repeats any other in silence.
        KEY_TYPE_TRANSACTION if call.header.version <= 2 => {
            Some((ErrorCode::TransactionalIdAuthorizationFailed, super::admin::NO_TRANSACTIONS.to_owned()))
        }
        KEY_TYPE_TRANSACTION => Some((ErrorCode::UnsupportedVersion, super::admin::NO_TRANSACTIONS.to_owned())),
        kind => Some((ErrorCode::InvalidRequest, format!("there is no coordinator of kind {kind}"))),
    };
    let node_id = BrokerId(if refusal.is_some() { -1 } else { call.services.settings.node_id });
    let Endpoint { host, port } =
        if refusal.is_some() { Endpoint { host: Text::new(), port: -1 } } else { call.caller.endpoint.clone() };
    let code = refusal.as_ref().map_or(0, |(code, _)| code.code());
    let message = refusal.map(|(_, message)| text(message));
    let keys = distinct(&request.coordinator_keys);
    let bytes_each = ITEM_BYTES + host.len() + message.as_ref().map_or(0, |message| message.len());
    let bytes = keys.iter().map(|key| bytes_each + key.len()).sum::<usize>() + bytes_each;
    let share = call.reserve(bytes).await?;
    if call.header.version >= 4 {
        let coordinator = |key: &Text| {
            WireCoordinator::default()
                .with_key(key.clone())
                .with_node_id(node_id)
                .with_host(host.clone())
                .with_port(port)
                .with_error_code(code)
                .with_error_message(message.clone())
        };
        let coordinators = keys.into_iter().map(coordinator).collect();
        return call.encode_within(share, &FindCoordinatorResponse::default().with_coordinators(coordinators)).await;
    }
    let mut response =
        FindCoordinatorResponse::default().with_node_id(node_id).with_host(host).with_port(port).with_error_code(code);
    if call.header.version >= 1 {
        response = response.with_error_message(message);
    }
    call.encode_within(share, &response).await
}

/// Whether a group may be used, and has a name.
pub(super) fn check_group(call: &Call<'_>, access: Access, group: &str) -> Result<(), ErrorCode> {
    if group.is_empty() || group.len() > GROUP_ID_BYTES_MAX {
        return Err(ErrorCode::InvalidGroupId);
    }
    call.caller.may_use_group(access, group)
}

fn identity(member_id: &Text, instance_id: Option<&Text>) -> Identity {
    Identity { member_id: member_id.to_string(), instance_id: instance_id.map(ToString::to_string) }
}

pub(super) async fn join(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: JoinGroupRequest = call.decode()?;
    let version = call.header.version;
    let (group, member_id) = (request.group_id.clone(), request.member_id.clone());
    let reply = match check_group(call, Access::Read, &group) {
        Err(code) => Reply::Failed(code),
        Ok(()) if request.protocols.len() > PROTOCOLS_MAX => Reply::Failed(ErrorCode::InvalidRequest),
        Ok(()) => {
            let protocol = |protocol: &kafka_wire::messages::join_group_request::JoinGroupRequestProtocol| Protocol {
                name: protocol.name.to_string(),
                metadata: protocol.metadata.clone(),
            };
            let join = Join {
                identity: identity(&request.member_id, request.group_instance_id.as_ref()),
                client_id: call.header.client_id.as_deref().unwrap_or_default().to_owned(),
                client_host: call.caller.host.clone(),
                session_timeout_ms: request.session_timeout_ms,
                // Version 0 has one timeout for both.
                rebalance_timeout_ms: if version >= 1 {
                    request.rebalance_timeout_ms
                } else {
                    request.session_timeout_ms
                },
                protocol_type: request.protocol_type.to_string(),
                protocols: request.protocols.iter().map(protocol).collect(),
                takes_id_first: version >= 4,
                may_skip_assignment: version >= 9,
            };
            // It may wait for long, with what it has to keep alone.
            drop(request);
            call.services.coordinator.join(&group, join).await
        }
    };
    let failed = |code: ErrorCode| {
        let none = JoinGroupResponse::default().with_error_code(code.code()).with_generation_id(-1);
        // The protocol's name may not be null before version 7.
        if version >= 7 { none.with_protocol_name(None) } else { none.with_protocol_name(Some(Text::new())) }
    };
    let response = match reply {
        Reply::Joined(joined) => joined_response(joined, version),
        Reply::MemberIdRequired(id) => failed(ErrorCode::MemberIdRequired).with_member_id(text(id)),
        Reply::Failed(code) => failed(code).with_member_id(member_id),
        Reply::Synced(_) => failed(ErrorCode::UnknownServerError),
    };
    call.encode(&response)
}

fn joined_response(joined: Joined, version: i16) -> JoinGroupResponse {
    let member = |(identity, metadata): (Identity, bytes::Bytes)| {
        let member =
            JoinGroupResponseMember::default().with_member_id(text(identity.member_id)).with_metadata(metadata);
        if version >= 5 { member.with_group_instance_id(identity.instance_id.map(text)) } else { member }
    };
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(joined.members.into_iter().map(member).collect());
    let response = if version >= 7 { response.with_protocol_type(Some(text(joined.protocol_type))) } else { response };
    if version >= 9 { response.with_skip_assignment(joined.skip_assignment) } else { response }
}

pub(super) async fn sync(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: SyncGroupRequest = call.decode()?;
    let group = request.group_id.clone();
    let reply = match check_group(call, Access::Read, &group) {
        Err(code) => Reply::Failed(code),
        Ok(()) if request.assignments.len() > call.services.settings.groups.members_max => {
            Reply::Failed(ErrorCode::InvalidRequest)
        }
        Ok(()) => {
            let assignments = request.assignments.iter().map(|a| (a.member_id.to_string(), a.assignment.clone()));
            let sync = Sync {
                identity: identity(&request.member_id, request.group_instance_id.as_ref()),
                generation: request.generation_id,
                protocol_type: request.protocol_type.as_ref().map(ToString::to_string),
                protocol: request.protocol_name.as_ref().map(ToString::to_string),
                assignments: assignments.collect(),
            };
            drop(request);
            call.services.coordinator.sync(&group, sync).await
        }
    };
    let response = match reply {
        Reply::Synced(synced) => {
            let response = SyncGroupResponse::default().with_assignment(synced.assignment);
            if call.header.version >= 5 {
                response
                    .with_protocol_type(Some(text(synced.protocol_type)))
                    .with_protocol_name(Some(text(synced.protocol)))
            } else {
                response
            }
        }
        Reply::Failed(code) => SyncGroupResponse::default().with_error_code(code.code()),
        Reply::Joined(_) | Reply::MemberIdRequired(_) => {
            SyncGroupResponse::default().with_error_code(ErrorCode::UnknownServerError.code())
        }
    };
    call.encode(&response)
}

pub(super) async fn heartbeat(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: HeartbeatRequest = call.decode()?;
    let identity = identity(&request.member_id, request.group_instance_id.as_ref());
    let result = match check_group(call, Access::Read, &request.group_id) {
        Ok(()) => call.services.coordinator.heartbeat(&request.group_id, identity, request.generation_id).await,
        Err(code) => Err(code),
    };
    call.encode(&HeartbeatResponse::default().with_error_code(wire_code(result)))
}

pub(super) async fn leave(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: LeaveGroupRequest = call.decode()?;
    let version = call.header.version;
    let members = if version >= 3 {
        request.members.iter().map(|member| identity(&member.member_id, member.group_instance_id.as_ref())).collect()
    } else {
        vec![identity(&request.member_id, None)]
    };
    let left = match check_group(call, Access::Read, &request.group_id) {
        Ok(()) => call.services.coordinator.leave(&request.group_id, members).await,
        Err(code) => Err(code),
    };
    let response = match left {
        Err(code) => LeaveGroupResponse::default().with_error_code(code.code()),
        Ok(results) if version < 3 => {
            let code = results.into_iter().next().map_or(0, |(_, result)| wire_code(result));
            LeaveGroupResponse::default().with_error_code(code)
        }
        Ok(results) => {
            let member = |(identity, result): (Identity, Result<(), ErrorCode>)| {
                MemberResponse::default()
                    .with_member_id(text(identity.member_id))
                    .with_group_instance_id(identity.instance_id.map(text))
                    .with_error_code(wire_code(result))
            };
            LeaveGroupResponse::default().with_members(results.into_iter().map(member).collect())
        }
    };
    call.encode(&response)
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, ConnectionError> {
    let request: DescribeGroupsRequest = call.decode()?;
    let room = call.services.answers.answer_bytes_max() / 2;
    let mut bytes = 0;
    let mut groups = Vec::new();
    for group in distinct(&request.groups) {
        let described = match check_group(call, Access::Describe, group) {
            Ok(()) => call.services.coordinator.describe(group).await,
            Err(code) => Err(code),
        };
        let result = DescribedGroup::default().with_group_id(group.clone());
        let group_bytes = ITEM_BYTES + group.len() + described.as_ref().map_or(0, |group| size(group.as_ref()));
        if bytes + group_bytes > room {
            // Kafka has no code for an answer that grows too large; this one ends, and does not blame the group.
            bytes += ITEM_BYTES + group.len();
            groups.push(result.with_error_code(ErrorCode::PolicyViolation.code()));
            continue;
        }
        bytes += group_bytes;
        let has_members = described.as_ref().is_ok_and(|group| group.as_ref().is_some_and(|g| !g.members.is_empty()));
        groups.push(match described {
            Err(code) => result.with_error_code(code.code()),
            // A group without members is what its committed offsets say; without those it is dead, in Kafka's word.
            _ if !has_members && call.services.log.committed_offsets(group).is_empty() => {
                result.with_group_state(Text::from_static_str("Dead"))
            }
            Ok(Some(description)) => described_group(result, description, call.header.version),
            Ok(None) => result.with_group_state(Text::from_static_str("Empty")),
        });
    }
    let share = call.reserve(bytes).await?;
    call.encode_within(share, &DescribeGroupsResponse::default().with_groups(groups)).await
}

/// About how many bytes a group takes in an answer.
fn size(group: Option<&Description>) -> usize {
    let member = |member: &crate::coordinator::MemberDescription| {
        let instance_id = member.identity.instance_id.as_ref().map_or(0, String::len);
        let texts = member.identity.member_id.len() + instance_id + member.client_id.len() + member.client_host.len();
        ITEM_BYTES + texts + member.metadata.len() + member.assignment.len()
    };
    group.map_or(0, |group| group.protocol.len() + group.members.iter().map(member).sum::<usize>())
}

fn described_group(result: DescribedGroup, description: Description, version: i16) -> DescribedGroup {
    let member = |member: crate::coordinator::MemberDescription| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(member.identity.member_id))
            .with_client_id(text(member.client_id))
            .with_client_host(text(format!("/{}", member.client_host)))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment);
        if version >= 4 { described.with_group_instance_id(member.identity.instance_id.map(text)) } else { described }
    };
    result
        .with_group_state(Text::from_static_str(description.state))
        .with_protocol_type(text(description.protocol_type))
        .with_protocol_data(text(description.protocol))
        .with_members(description.members.into_iter().map(member).collect())
}

pub(super) async fn list(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: ListGroupsRequest = call.decode()?;
    let active = match call.services.coordinator.list().await {
        Ok(active) => active,
        Err(code) => return call.encode(&ListGroupsResponse::default().with_error_code(code.code())),
    };
    // A group that has offsets, and as far as is known never had a member, has no type.
    let mut groups: BTreeMap<String, (String, &'static str)> =
        call.services.log.groups().into_iter().map(|name| (name, (String::new(), "Empty"))).collect();
    for group in active {
        // One without members is there as long as its offsets are.
        if group.has_members || groups.contains_key(&group.name) {
            groups.insert(group.name, (group.protocol_type, group.state));
        }
    }
    let is_wanted = |state: &str| {
        request.states_filter.is_empty()
            || request.states_filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(state))
    };
    let listed = groups
        .into_iter()
        .filter(|(name, (_, state))| is_wanted(state) && check_group(call, Access::Describe, name).is_ok())
        .map(|(name, (protocol_type, state))| {
            let group =
                ListedGroup::default().with_group_id(GroupId(text(name))).with_protocol_type(text(protocol_type));
            if call.header.version >= 4 { group.with_group_state(Text::from_static_str(state)) } else { group }
        });
    call.encode(&ListGroupsResponse::default().with_groups(listed.collect()))
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: DeleteGroupsRequest = call.decode()?;
    let stored: HashSet<String> = call.services.log.groups().into_iter().collect();
    let mut results = Vec::new();
    for group in distinct(&request.groups_names) {
        let code = wire_code(delete_group(call, group, &stored).await);
        results.push(DeletableGroupResult::default().with_group_id(group.clone()).with_error_code(code));
    }
    call.encode(&DeleteGroupsResponse::default().with_results(results))
}

async fn delete_group(call: &Call<'_>, group: &str, stored: &HashSet<String>) -> Result<(), ErrorCode> {
    check_group(call, Access::Alter, group)?;
    if call.services.coordinator.describe(group).await?.is_some_and(|group| !group.members.is_empty()) {
        return Err(ErrorCode::NonEmptyGroup);
    }
    if !stored.contains(group) {
        return Err(ErrorCode::GroupIdNotFound);
    }
    call.services.log.delete_group(group).await.map_err(|error| error_code(&error))
}
