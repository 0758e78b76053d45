//! `Produce`: appends, several partitions at once.

use bytes::Bytes;
use eventlog::Acks;
use futures::future::join_all;
use kafka_wire::produce::{PartitionBatches, PartitionResult, Request, TopicResult, encode_response};
use kafka_wire::{ErrorCode, Frame};
use model::Access;

use super::{Call, Refusal};
use crate::error::{ConnectionError, error_code};

/// The lowest version that carries the record batches of today; older ones are advertised, see `kafka_wire::api`.
const VERSION_MIN: i16 = 3;

pub(super) async fn answer(call: &Call<'_>) -> Result<Option<Frame>, ConnectionError> {
    let version = call.header.version;
    let request = Request::decode(version, call.body.clone())?;
    let acks = check(version, &request);
    // Every partition's append starts here, in order, before any is awaited.
    let appends = request.topics.iter().flat_map(|topic| {
        let name = &*topic.name;
        topic.partitions.iter().map(move |batches| append(call, name, batches, acks))
    });
    let mut results = join_all(appends).await.into_iter();
    let topics: Vec<TopicResult> = request
        .topics
        .iter()
        .map(|topic| TopicResult {
            name: topic.name.clone(),
            partitions: results.by_ref().take(topic.partitions.len()).collect(),
        })
        .collect();
    if request.acks == 0 {
        let failed = topics.iter().flat_map(|topic| &topic.partitions).find(|result| result.error != 0);
        return match failed.and_then(|result| result.error_message.clone()) {
            Some(message) => Err(ConnectionError::Unanswered(message)),
            None => Ok(None),
        };
    }
    Ok(Some(call.header.response(|writer| {
        encode_response(writer, version, &topics);
        Ok(())
    })?))
}

/// What a request may ask of every append, or why it is refused whole.
fn check(version: i16, request: &Request) -> Result<Acks, (ErrorCode, &'static str)> {
    if version < VERSION_MIN {
        return Err((ErrorCode::UnsupportedVersion, "produce requests before version 3 are not served"));
    }
    if request.transactional_id.is_some() {
        return Err((ErrorCode::TransactionalIdAuthorizationFailed, super::admin::NO_TRANSACTIONS));
    }
    match request.acks {
        0 => Ok(Acks::Queued),
        1 => Ok(Acks::Written),
        -1 => Ok(Acks::Durable),
        _ => Err((ErrorCode::InvalidRequiredAcks, "acks must be 0, 1 or -1 (all)")),
    }
}

async fn append(
    call: &Call<'_>,
    topic: &str,
    batches: &PartitionBatches,
    acks: Result<Acks, (ErrorCode, &'static str)>,
) -> PartitionResult {
    match append_checked(call, topic, batches, acks).await {
        Ok(result) => result,
        Err((code, message)) => PartitionResult::refused(batches.index, code.code(), Some(message)),
    }
}

async fn append_checked(
    call: &Call<'_>,
    topic: &str,
    batches: &PartitionBatches,
    acks: Result<Acks, (ErrorCode, &'static str)>,
) -> Result<PartitionResult, Refusal> {
    let acks = acks.map_err(|(code, message)| (code, message.to_owned()))?;
    call.may_change_topic(Access::Write, topic)?;
    let partition = call.services.partition(topic, batches.index).ok_or_else(|| {
        (ErrorCode::UnknownTopicOrPartition, format!("partition {topic}/{} does not exist", batches.index))
    })?;
    let records: Bytes = batches
        .records
        .clone()
        .filter(|records| !records.is_empty())
        .ok_or_else(|| (ErrorCode::InvalidRecord, format!("there is no record batch for {partition}")))?;
    let appended = call.services.log.append(&partition, records, acks).await;
    let appended = appended.map_err(|error| (error_code(&error), error.to_string()))?;
    Ok(PartitionResult {
        index: batches.index,
        error: 0,
        base_offset: appended.base_offset,
        log_start_offset: appended.log_start_offset,
        error_message: None,
    })
}
