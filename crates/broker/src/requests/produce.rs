//! `Produce`: appends, several partitions at once. What was begun has its place in each partition's order; the answer
//! is awaited later.

use bytes::Bytes;
use eventlog::{Acks, Pending};
use kafka_wire::produce::{PartitionBatches, PartitionResult, Request, TopicBatches, TopicResult, encode_response};
use kafka_wire::{ErrorCode, Frame, RequestHeader};
use model::Access;

use super::{Call, Refusal};
use crate::error::{ConnectionError, append_refusal};

/// The lowest version that carries the record batches of today; older ones are advertised, see `kafka_wire::api`.
const VERSION_MIN: i16 = 3;

/// A request whose appends have their places.
pub(super) struct Begun {
    version: i16,
    acks: i16,
    topics: Vec<TopicBatches>,
    /// One for each partition, in the order of the topics.
    appends: Vec<(i32, Result<Pending, Refusal>)>,
}

/// Begins every partition's append, in order.
pub(super) async fn begin(call: &Call<'_>) -> Result<Begun, ConnectionError> {
    let version = call.header.version;
    let request = Request::decode(version, call.body.clone())?;
    let acks = check(version, &request);
    let mut appends = Vec::new();
    for topic in &request.topics {
        for batches in &topic.partitions {
            appends.push((batches.index, enqueue(call, &topic.name, batches, acks).await));
        }
    }
    Ok(Begun { version, acks: request.acks, topics: request.topics, appends })
}

impl Begun {
    /// Waits for the appends and answers.
    pub(super) async fn answer(self, header: &RequestHeader) -> Result<Option<Frame>, ConnectionError> {
        let mut results = Vec::with_capacity(self.appends.len());
        for (index, append) in self.appends {
            results.push(result(index, append).await);
        }
        let mut results = results.into_iter();
        let topic = |topic: &TopicBatches| TopicResult {
            name: topic.name.clone(),
            partitions: results.by_ref().take(topic.partitions.len()).collect(),
        };
        let topics: Vec<TopicResult> = self.topics.iter().map(topic).collect();
        if self.acks == 0 {
            let failed = topics.iter().flat_map(|topic| &topic.partitions).find(|result| result.error != 0);
            return match failed.and_then(|result| result.error_message.clone()) {
                Some(message) => Err(ConnectionError::Unanswered(message)),
                None => Ok(None),
            };
        }
        Ok(Some(header.response(|writer| {
            encode_response(writer, self.version, &topics);
            Ok(())
        })?))
    }
}

/// What a request may ask of every append, or why it is refused whole.
fn check(version: i16, request: &Request) -> Result<Acks, (ErrorCode, &'static str)> {
    if version < VERSION_MIN {
        return Err((ErrorCode::UnsupportedVersion, "produce requests before version 3 are not served"));
    }
    if request.transactional_id.is_some() {
        return Err((ErrorCode::UnsupportedVersion, super::admin::NO_TRANSACTIONS));
    }
    match request.acks {
        0 => Ok(Acks::Queued),
        1 => Ok(Acks::Written),
        -1 => Ok(Acks::Durable),
        _ => Err((ErrorCode::InvalidRequiredAcks, "acks must be 0, 1 or -1 (all)")),
    }
}

async fn result(index: i32, append: Result<Pending, Refusal>) -> PartitionResult {
    let appended = match append {
        Ok(pending) => pending.await.map_err(append_refusal),
        Err(refusal) => Err(refusal),
    };
    match appended {
        Ok(appended) => PartitionResult {
            index,
            error: 0,
            base_offset: appended.base_offset,
            log_start_offset: appended.log_start_offset,
            error_message: None,
        },
        Err((code, message)) => PartitionResult::refused(index, code.code(), Some(message)),
    }
}

async fn enqueue(
    call: &Call<'_>,
    topic: &str,
    batches: &PartitionBatches,
    acks: Result<Acks, (ErrorCode, &'static str)>,
) -> Result<Pending, Refusal> {
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
    let enqueued = call.services.log.enqueue(&partition, records, acks).await;
    enqueued.map_err(append_refusal)
}
