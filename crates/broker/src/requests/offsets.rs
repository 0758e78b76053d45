//! `OffsetCommit` and `OffsetFetch`: positions of consumer groups, kept by the log.

use std::collections::{BTreeMap, HashSet};

use eventlog::CommittedOffset;
use kafka_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_wire::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_wire::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName as WireTopicName,
};
use kafka_wire::{ErrorCode, Frame, Text};
use model::{Access, TopicPartition};

use super::groups::check_group;
use super::{Call, text, wire_code};
use crate::answer_budget::Answer;
use crate::coordinator::Identity;
use crate::error::ConnectionError;

pub(super) async fn commit(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: OffsetCommitRequest = call.decode()?;
    let allowed = may_commit(call, &request).await;
    let mut accepted = Vec::new();
    // Every partition's own verdict, before anything is stored.
    let verdicts: Vec<Vec<Result<(), ErrorCode>>> = request
        .topics
        .iter()
        .map(|topic| {
            let check = |partition: &OffsetCommitRequestPartition| {
                allowed?;
                accepted.push(check_partition(call, topic, partition)?);
                Ok(())
            };
            topic.partitions.iter().map(check).collect()
        })
        .collect();
    let stored = if accepted.is_empty() {
        Ok(())
    } else {
        call.services.offset_room.commit(&*call.services.log, &request.group_id, accepted).await
    };
    let topics = request.topics.iter().zip(verdicts).map(|(topic, verdicts)| {
        let partitions = topic.partitions.iter().zip(verdicts).map(|(partition, verdict)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(wire_code(verdict.and(stored)))
        });
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    call.encode(&OffsetCommitResponse::default().with_topics(topics.collect()))
}

async fn may_commit(call: &Call<'_>, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
    check_group(call, Access::Read, &request.group_id)?;
    let identity = Identity {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
    };
    let generation = request.generation_id_or_member_epoch;
    call.services.coordinator.check_commit(&request.group_id, identity, generation).await
}

fn check_partition(
    call: &Call<'_>,
    topic: &OffsetCommitRequestTopic,
    partition: &OffsetCommitRequestPartition,
) -> Result<(TopicPartition, CommittedOffset), ErrorCode> {
    call.caller.may_use_topic(Access::Read, &topic.name)?;
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    if metadata.len() > call.services.settings.groups.offset_metadata_bytes_max {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    if partition.committed_offset < 0 {
        return Err(ErrorCode::InvalidCommitOffsetSize);
    }
    let name =
        call.services.partition(&topic.name, partition.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let committed = CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: metadata.to_owned(),
    };
    Ok((name, committed))
}

/// What a group committed for a topic's partitions, as the wire shows it.
struct Found {
    partition: i32,
    offset: CommittedOffset,
}

/// A topic's name, and the partitions asked about.
type TopicQuery = (WireTopicName, Vec<i32>);

pub(super) async fn fetch(call: &Call<'_>) -> Result<Answer, ConnectionError> {
    let request: OffsetFetchRequest = call.decode()?;
    let mut room = Room { bytes: 0, bytes_max: call.services.answers.answer_bytes_max() / 2 };
    let response = if call.header.version >= 8 {
        let mut seen = HashSet::new();
        let mut groups = Vec::new();
        for group in request.groups.iter().filter(|group| seen.insert(&group.group_id)) {
            let topics = group.topics.as_ref().map(|topics| {
                topics.iter().map(|topic| (topic.name.clone(), topic.partition_indexes.clone())).collect()
            });
            let result = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
            groups.push(match find(call, &group.group_id, topics, &mut room) {
                Ok(found) => result.with_topics(found.into_iter().map(topic_of_group).collect()),
                Err(code) => result.with_error_code(code.code()),
            });
        }
        OffsetFetchResponse::default().with_groups(groups)
    } else {
        let topics: Option<Vec<TopicQuery>> = request
            .topics
            .as_ref()
            .map(|topics| topics.iter().map(|topic| (topic.name.clone(), topic.partition_indexes.clone())).collect());
        match find(call, &request.group_id, topics, &mut room) {
            Ok(found) => {
                let topic = |found| topic_alone(found, call.header.version);
                OffsetFetchResponse::default().with_topics(found.into_iter().map(topic).collect())
            }
            Err(code) if call.header.version >= 2 => OffsetFetchResponse::default().with_error_code(code.code()),
            Err(_) => OffsetFetchResponse::default(),
        }
    };
    let share = call.reserve(room.bytes).await?;
    call.encode_within(share, &response).await
}

/// What an answer takes so far, and may take.
struct Room {
    bytes: usize,
    bytes_max: usize,
}

impl Room {
    /// Counts a group's offsets, if they fit.
    fn take(&mut self, found: &[(WireTopicName, Vec<Found>)]) -> Result<(), ErrorCode> {
        const ITEM_BYTES: usize = 32;
        let partition = |found: &Found| ITEM_BYTES + found.offset.metadata.len();
        let topic = |(name, found): &(WireTopicName, Vec<Found>)| {
            ITEM_BYTES + name.len() + found.iter().map(partition).sum::<usize>()
        };
        let bytes = self.bytes + ITEM_BYTES + found.iter().map(topic).sum::<usize>();
        if bytes > self.bytes_max {
            return Err(ErrorCode::PolicyViolation);
        }
        self.bytes = bytes;
        Ok(())
    }
}

fn find(
    call: &Call<'_>,
    group: &str,
    topics: Option<Vec<TopicQuery>>,
    room: &mut Room,
) -> Result<Vec<(WireTopicName, Vec<Found>)>, ErrorCode> {
    check_group(call, Access::Describe, group)?;
    let mut committed = call.services.log.committed_offsets(group);
    let answers = match topics {
        // No list asks for everything that the group committed.
        None => {
            let mut all: BTreeMap<String, Vec<Found>> = BTreeMap::new();
            for (partition, offset) in committed {
                let found = Found { partition: partition.partition, offset };
                all.entry(partition.topic.as_str().to_owned()).or_default().push(found);
            }
            all.into_iter().map(|(name, found)| (WireTopicName(text(name)), found)).collect()
        }
        Some(topics) => {
            let mut seen = HashSet::new();
            let mut answers: Vec<(WireTopicName, Vec<Found>)> = Vec::with_capacity(topics.len());
            for (name, partitions) in topics {
                let topic = super::topic_name(&name).ok();
                // A partition that stands there twice is answered once.
                let partitions = partitions.into_iter().filter(|partition| seen.insert((name.clone(), *partition)));
                let found = partitions.map(|partition| {
                    let key = topic.clone().map(|topic| TopicPartition::new(topic, partition));
                    let offset = key.and_then(|key| committed.remove(&key)).unwrap_or_else(nothing_committed);
                    Found { partition, offset }
                });
                let found = found.collect();
                answers.push((name, found));
            }
            answers
        }
    };
    room.take(&answers)?;
    Ok(answers)
}

/// Kafka's answer for a partition without a committed offset.
fn nothing_committed() -> CommittedOffset {
    CommittedOffset { offset: -1, leader_epoch: -1, metadata: String::new() }
}

fn topic_of_group((name, found): (WireTopicName, Vec<Found>)) -> OffsetFetchResponseTopics {
    let partition = |found: Found| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(found.partition)
            .with_committed_offset(found.offset.offset)
            .with_committed_leader_epoch(found.offset.leader_epoch)
            .with_metadata(Some(Text::from_string(found.offset.metadata)))
    };
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(found.into_iter().map(partition).collect())
}

fn topic_alone((name, found): (WireTopicName, Vec<Found>), version: i16) -> OffsetFetchResponseTopic {
    let partition = |found: Found| {
        let partition = OffsetFetchResponsePartition::default()
            .with_partition_index(found.partition)
            .with_committed_offset(found.offset.offset)
            .with_metadata(Some(Text::from_string(found.offset.metadata)));
        if version >= 5 { partition.with_committed_leader_epoch(found.offset.leader_epoch) } else { partition }
    };
    OffsetFetchResponseTopic::default().with_name(name).with_partitions(found.into_iter().map(partition).collect())
}
