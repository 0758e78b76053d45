//! `Fetch`: reads, and waits for what is not there yet.
//!
//! What must hold: the answer stays within the client's limits, except that the first batch found is sent however
//! large it is, so that no batch can stop a consumer; it has room in the budget of answers before it is built; which partition is read first rotates from request to request.

use std::collections::HashSet;
use std::time::Duration;

use eventlog::Bounds;
use futures::future::{FutureExt, select_all};
use kafka_wire::fetch::{PartitionQuery, PartitionResult, Request, Response, TopicResult};
use kafka_wire::{ErrorCode, Text};
use model::{Access, Offset, TopicPartition};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Call;
use crate::answer_budget::{Answer, Share};
use crate::error::{ConnectionError, error_code};
use crate::stop::stopped;

/// One partition asked for, with what was found so far.
struct Query {
    partition: Result<TopicPartition, ErrorCode>,
    offset: Offset,
    bytes_max: usize,
    index: i32,
}

/// What a partition of a request takes in memory besides its records, in the answer and while the request waits.
const PARTITION_BYTES: usize = 512;

pub(super) async fn answer(call: &Call<'_>) -> Result<Answer, ConnectionError> {
    let version = call.header.version;
    let request = Request::decode(version, call.body.clone())?;
    let (response, share) = if request.session_id == 0 {
        respond(call, &request).await?
    } else {
        let refused = Response { error: ErrorCode::FetchSessionIdNotFound.code(), topics: Vec::new() };
        (refused, Share::uncounted())
    };
    let frame = call.header.response(|writer| {
        response.encode(writer, version);
        Ok(())
    })?;
    call.services.answers.answer(frame, share).await
}

async fn respond(call: &Call<'_>, request: &Request) -> Result<(Response, Share), ConnectionError> {
    let topics = topics(request);
    let queries: Vec<Query> = topics
        .iter()
        .flat_map(|(topic, partitions)| partitions.iter().map(|partition| query(call, topic, partition)))
        .collect();
    let bytes_min = usize::try_from(request.bytes_min).unwrap_or(0);
    let wait = Duration::from_millis(u64::try_from(request.wait_ms_max).unwrap_or(0));
    let deadline = Instant::now() + wait.min(call.services.settings.fetch_wait_max);
    let (results, share) = loop {
        // Watched before it is read, so that what is appended in between is not missed.
        let watched = watch_all(call, &queries);
        let (results, share) = read_within_budget(call, request, &queries).await?;
        let is_enough = record_bytes(&results) >= bytes_min || results.iter().any(|result| result.error != 0);
        if is_enough {
            break (results, share);
        }
        // Nothing is held while it waits but the request itself; where there is no room for that, it does not wait.
        drop(share);
        let request_bytes = queries.len() * PARTITION_BYTES;
        let held = call.services.answers.take_some(request_bytes);
        if held.bytes() < request_bytes || !wait_for_more(call, watched, deadline).await {
            let share = call.services.answers.reserve(record_bytes(&results) + request_bytes).await?;
            break (results, share);
        }
    };
    let mut results = results.into_iter();
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| TopicResult { name, partitions: results.by_ref().take(partitions.len()).collect() });
    Ok((Response { error: 0, topics: topics.collect() }, share))
}

/// What is asked for, each partition once.
fn topics(request: &Request) -> Vec<(Text, Vec<&PartitionQuery>)> {
    let mut seen = HashSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let is_new = |partition: &&PartitionQuery| seen.insert((&*topic.name, partition.index));
        topics.push((topic.name.clone(), topic.partitions.iter().filter(is_new).collect()));
    }
    topics
}

fn record_bytes(results: &[PartitionResult]) -> usize {
    results.iter().flat_map(|result| &result.batches).map(bytes::Bytes::len).sum()
}

/// Reads what there is room for: less than was asked for when much waits to be read by others already.
async fn read_within_budget(
    call: &Call<'_>,
    request: &Request,
    queries: &[Query],
) -> Result<(Vec<PartitionResult>, Share), ConnectionError> {
    let rest = queries.len() * PARTITION_BYTES;
    let asked = usize::try_from(request.bytes_max).unwrap_or(0).min(call.services.settings.fetch_bytes_max);
    let share = call.services.answers.take_some(asked.saturating_add(rest));
    let results = read_all(call, queries, asked.min(share.bytes().saturating_sub(rest))).await;
    let taken = record_bytes(&results) + rest;
    if taken <= share.bytes() {
        return Ok((results, share));
    }
    // The first batch is larger than the room, or the partitions are many. It is not kept while it waits.
    drop((results, share));
    let share = call.services.answers.reserve(taken).await?;
    let results = read_all(call, queries, asked.min(share.bytes().saturating_sub(rest))).await;
    Ok((results, share))
}

fn query(call: &Call<'_>, topic: &str, query: &PartitionQuery) -> Query {
    let partition = call
        .caller
        .may_use_topic(Access::Read, topic)
        .and_then(|()| call.services.partition(topic, query.index).ok_or(ErrorCode::UnknownTopicOrPartition));
    let bytes_max = usize::try_from(query.bytes_max).unwrap_or(0);
    Query { partition, offset: query.offset, bytes_max, index: query.index }
}

async fn read_all(call: &Call<'_>, queries: &[Query], mut room: usize) -> Vec<PartitionResult> {
    let mut found_any = false;
    let mut results: Vec<Option<PartitionResult>> = queries.iter().map(|_| None).collect();
    for step in 0..queries.len() {
        let at = (call.caller.rotation + step) % queries.len();
        let (Some(query), Some(slot)) = (queries.get(at), results.get_mut(at)) else { continue };
        let result = match read(call, query, room, found_any).await {
            Ok(result) => result,
            Err(code) => PartitionResult::refused(query.index, code.code()),
        };
        let bytes: usize = result.batches.iter().map(bytes::Bytes::len).sum();
        found_any |= bytes > 0;
        room = room.saturating_sub(bytes);
        *slot = Some(result);
    }
    results.into_iter().flatten().collect()
}

/// Reads one partition; beyond `room` only when nothing was found before.
async fn read(call: &Call<'_>, query: &Query, room: usize, found_any: bool) -> Result<PartitionResult, ErrorCode> {
    let partition = query.partition.as_ref().map_err(|code| *code)?;
    let log = &call.services.log;
    let found = |bounds: Bounds, batches| PartitionResult {
        index: query.index,
        error: 0,
        high_watermark: bounds.high_watermark,
        log_start_offset: bounds.log_start_offset,
        batches,
    };
    let bounds = log.bounds(partition).map_err(|error| error_code(&error))?;
    if query.offset < bounds.log_start_offset || query.offset > bounds.high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let bytes_max = query.bytes_max.min(room);
    if query.offset == bounds.high_watermark || (found_any && bytes_max == 0) {
        return Ok(found(bounds, Vec::new()));
    }
    let read = log.read(partition, query.offset, bytes_max).await.map_err(|error| {
        call.services.damage_reports.report(partition, query.offset, &error);
        error_code(&error)
    })?;
    let mut batches: Vec<_> = read.batches.into_iter().map(|batch| batch.bytes).collect();
    if found_any && batches.first().is_some_and(|first| first.len() > bytes_max) {
        batches.clear();
    }
    Ok(found(read.bounds, batches))
}

fn watch_all(call: &Call<'_>, queries: &[Query]) -> Vec<watch::Receiver<Offset>> {
    let watched = queries.iter().filter_map(|query| {
        let mut receiver = call.services.log.watch(query.partition.as_ref().ok()?).ok()?;
        receiver.mark_unchanged();
        Some(receiver)
    });
    watched.collect()
}

/// Waits until a partition grew; `false` when the time is over.
async fn wait_for_more(call: &Call<'_>, mut watched: Vec<watch::Receiver<Offset>>, deadline: Instant) -> bool {
    let mut stopping = call.services.stopping.clone();
    let stop = async {
        stopped(&mut stopping).await;
        false
    };
    // A watch that ends says that the topic was deleted, which the next read answers.
    let grown = watched.iter_mut().map(|receiver| receiver.changed().map(|_| true).boxed());
    let woken = select_all(grown.chain([stop.boxed()]));
    timeout_at(deadline, woken).await.is_ok_and(|(grew, _, _)| grew)
}
