//! `ListOffsets`: offsets at the ends and by time.

use std::collections::HashSet;

use eventlog::TimedOffset;
use kafka_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use kafka_wire::{ErrorCode, Frame};
use model::Access;

use super::Call;
use crate::error::{ConnectionError, error_code};

/// Timestamps with a meaning of their own.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LARGEST_TIMESTAMP: i64 = -3;

/// The leader epoch of every batch: there is one broker, so leadership never moved.
const LEADER_EPOCH: i32 = 0;

pub(super) async fn answer(call: &Call<'_>) -> Result<Frame, ConnectionError> {
    let request: ListOffsetsRequest = call.decode()?;
    let mut topics = Vec::with_capacity(request.topics.len());
    // A partition is looked up once, however often it stands there.
    let mut seen = HashSet::new();
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let index = partition.partition_index;
            if !seen.insert((&topic.name, index)) {
                continue;
            }
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
            partitions.push(match find(call, &topic.name, index, partition.timestamp).await {
                Ok(found) => {
                    let epoch = if call.header.version >= 4 { LEADER_EPOCH } else { -1 };
                    answer.with_offset(found.offset).with_timestamp(found.timestamp_ms).with_leader_epoch(epoch)
                }
                Err(code) => answer.with_error_code(code.code()).with_offset(-1).with_timestamp(-1),
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    call.encode(&ListOffsetsResponse::default().with_topics(topics))
}

async fn find(call: &Call<'_>, topic: &str, index: i32, timestamp_ms: i64) -> Result<TimedOffset, ErrorCode> {
    call.caller.may_use_topic(Access::Describe, topic)?;
    let partition = call.services.partition(topic, index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let log = &call.services.log;
    let bounds = log.bounds(&partition).map_err(|error| error_code(&error))?;
    // Kafka's answer when there is no such record.
    let nothing = TimedOffset { offset: -1, timestamp_ms: -1 };
    match timestamp_ms {
        LATEST => Ok(TimedOffset { offset: bounds.high_watermark, timestamp_ms: -1 }),
        EARLIEST => Ok(TimedOffset { offset: bounds.log_start_offset, timestamp_ms: -1 }),
        LARGEST_TIMESTAMP => largest_timestamp(call, &partition).await.map(|found| found.unwrap_or(nothing)),
        timestamp_ms if timestamp_ms >= 0 => {
            let found = log.offset_at_time(&partition, timestamp_ms).await.map_err(|error| error_code(&error))?;
            Ok(found.unwrap_or(nothing))
        }
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

/// The first record with the largest timestamp, found by halving the range of times: the log answers "the first at or
/// after", which is nothing above the largest.
async fn largest_timestamp(
    call: &Call<'_>,
    partition: &model::TopicPartition,
) -> Result<Option<TimedOffset>, ErrorCode> {
    let find = |at: i64| async move {
        call.services.log.offset_at_time(partition, at).await.map_err(|error| error_code(&error))
    };
    let Some(mut best) = find(0).await? else { return Ok(None) };
    // Invariant: a record at or after `best.timestamp_ms` exists, none at or after `above`.
    let mut above = i64::MAX;
    let now_ms = call.services.clock.now_ms();
    if let Some(found) = find(now_ms).await? {
        best = found;
    } else {
        above = now_ms;
    }
    while let Some(middle) =
        above.checked_sub(best.timestamp_ms).filter(|gap| *gap > 1).map(|gap| best.timestamp_ms + gap / 2)
    {
        match find(middle).await? {
            Some(found) => best = found,
            None => above = middle,
        }
    }
    // `best` may stand behind an earlier record of the same time.
    Ok(find(best.timestamp_ms).await?.or(Some(best)))
}
