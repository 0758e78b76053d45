//! The records of a topic: append and read.

use std::{
    collections::BTreeMap,
    str::FromStr,
    sync::{Arc, atomic::Ordering},
};

use axum::{extract::State, http::StatusCode, response::Response};
use bytes::Bytes;
use eventlog::{
    Acks, Bounds, ReadResult, Record, StoredBatch, Topic,
    record::{batches_of, partition_of_key},
};
use futures::future::join_all;
use model::{Access, Error, Offset, Positions, Resource, TopicPartition, principal::authorise};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{
    Server, answer,
    parameters::{Caller, JsonBody, Parameters, Segments},
    problem::{Problem, Result},
    record_json::{NewRecord, ShownRecord},
    topics::{authorise_append, existing_topic},
    waiting,
};

/// How many records a read returns when it does not say.
const LIMIT_DEFAULT: usize = 100;

/// How many requests unfold records at a time, each on a thread of its own: compressed ones can take seconds.
pub(super) const UNFOLDING_MAX: usize = 2;

/// How much is read from the log at a time, in bytes.
const READ_BYTES: usize = 1 << 20;

/// One record, or `{"records": [...]}`.
#[derive(Debug)]
pub(super) struct NewRecords(Vec<NewRecord>);

impl<'de> Deserialize<'de> for NewRecords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        // Not serde's `untagged`: that would answer a misspelt member with "did not match any variant".
        let members = BTreeMap::<String, Box<RawValue>>::deserialize(deserializer)?;
        let whole = |error: serde_json::Error| D::Error::custom(without_place(&error));
        if let Some(records) = members.get("records") {
            if members.len() > 1 {
                return Err(D::Error::custom("beside \"records\" there can be nothing else"));
            }
            return serde_json::from_str(records.get()).map(Self).map_err(whole);
        }
        let text = serde_json::to_string(&members).map_err(whole)?;
        serde_json::from_str(&text).map(|record| Self(vec![record])).map_err(whole)
    }
}

/// The place is one in a part of the body, which nobody sent as a text of its own.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// `POST /v1/topics/{topic}/records`: on disk before the answer.
pub(super) async fn append(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments(name): Segments<String>,
    parameters: Parameters,
    JsonBody(NewRecords(records)): JsonBody<NewRecords>,
) -> Result<Response> {
    parameters.finish()?;
    authorise_append(&server, &caller, &name)?;
    let log = server.services.log.as_ref();
    let topic = existing_topic(log, &name)?;
    let (assigned, parts) = distribute(&server, &topic, records)?;
    let appends = parts.iter().map(|(partition, records)| async {
        let partition = TopicPartition::new(topic.name.clone(), *partition);
        let batches = batches_of(records, topic.settings.message_bytes_max);
        log.append(&partition, batches, Acks::Durable).await.map(|appended| (partition, appended))
    });
    let mut positions = Positions::new();
    let mut next_offsets = BTreeMap::new();
    let mut failure = None;
    for outcome in join_all(appends).await {
        match outcome {
            Ok((partition, appended)) => {
                next_offsets.insert(partition.partition, appended.base_offset);
                positions.advance(partition, appended.next_offset);
            }
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure {
        let hint = "the records of the partitions in positions are stored, the others are not";
        let problem = Problem::from(error);
        return Err(if positions.is_empty() { problem } else { problem.with_hint(hint).at(positions) });
    }
    let offsets: Vec<_> = assigned
        .into_iter()
        .map(|partition| {
            let next = next_offsets.entry(partition).or_insert(0);
            *next += 1;
            AppendedRecord { partition, offset: *next - 1 }
        })
        .collect();
    Ok(answer::json(StatusCode::OK, &AppendedRecords { topic: name, offsets }, &positions))
}

#[derive(Debug, Serialize)]
struct AppendedRecords {
    topic: String,
    offsets: Vec<AppendedRecord>,
}

#[derive(Debug, Serialize)]
struct AppendedRecord {
    partition: i32,
    offset: Offset,
}

/// The partition of each record, and the records of each partition.
type Distributed = (Vec<i32>, BTreeMap<i32, Vec<Record>>);

fn distribute(server: &Server, topic: &Topic, records: Vec<NewRecord>) -> Result<Distributed> {
    if records.is_empty() {
        return Err(Problem::invalid("there is no record to append"));
    }
    let now_ms = server.services.clock.now_ms();
    // Records without key go to one partition a request, and to the next one with the next request: few large
    // batches instead of many small ones.
    let turn = server.next_partition.fetch_add(1, Ordering::Relaxed) % topic.partitions.max(1).unsigned_abs() as usize;
    let keyless = i32::try_from(turn).unwrap_or(0);
    let mut assigned = Vec::with_capacity(records.len());
    let mut parts: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    for (index, new) in records.into_iter().enumerate() {
        let chosen = new.partition;
        if let Some(partition) = chosen.filter(|partition| !(0..topic.partitions).contains(partition)) {
            let error = format!("topic {} has partitions 0 to {}, not {partition}", topic.name, topic.partitions - 1);
            return Err(Problem::invalid(error).with_member("record", index));
        }
        let record = new.into_record(now_ms).map_err(|problem| problem.with_member("record", index))?;
        let by_key = || record.key.as_deref().map(|key| partition_of_key(key, topic.partitions));
        let partition = chosen.or_else(by_key).unwrap_or(keyless);
        assigned.push(partition);
        parts.entry(partition).or_default().push(record);
    }
    Ok((assigned, parts))
}

/// Where a read begins.
#[derive(Clone, Copy, Debug)]
enum From {
    Earliest,
    Latest,
    Offset(Offset),
}

impl FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            number => number
                .parse()
                .ok()
                .filter(|offset| *offset >= 0)
                .map(Self::Offset)
                .ok_or("not an offset; write a number, earliest or latest"),
        }
    }
}

/// `GET /v1/topics/{topic}/partitions/{partition}/records`.
pub(super) async fn read(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments((name, partition)): Segments<(String, i32)>,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Read, Resource::Topic(&name))?;
    let from = parameters.take("offset")?.unwrap_or(From::Earliest);
    let limit = parameters.take_limit(LIMIT_DEFAULT, server.settings.answer_rows_max)?;
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    let log = server.services.log.as_ref();
    waiting::wait_for_log(log, &demand).await?;
    let partition = TopicPartition::new(existing_topic(log, &name)?.name.clone(), partition);
    let bounds = log.bounds(&partition)?;
    let from = match from {
        From::Earliest => bounds.log_start_offset,
        From::Latest => bounds.high_watermark,
        From::Offset(offset) => offset,
    };
    let read = read_records(&server, &partition, from, limit).await?;
    let positions = Positions::from([(partition.clone(), read.next_offset)]);
    let Bounds { log_start_offset, high_watermark } = bounds;
    let ReadRecords { records, next_offset } = read;
    let partition = partition.partition;
    let body = ShownRecords { topic: name, partition, records, next_offset, log_start_offset, high_watermark };
    Ok(answer::json(StatusCode::OK, &body, &positions))
}

#[derive(Debug, Serialize)]
struct ShownRecords {
    topic: String,
    partition: i32,
    records: Vec<ShownRecord>,
    next_offset: Offset,
    log_start_offset: Offset,
    high_watermark: Offset,
}

struct ReadRecords {
    records: Vec<ShownRecord>,
    next_offset: Offset,
}

/// A read on its way: what was taken, and how much more may be.
struct Reading {
    from: Offset,
    limit: usize,
    bytes_left: usize,
    read: ReadRecords,
}

/// Reads up to `limit` records, and stops early (at a record, with a `next_offset` to go on from) at `bytes_max`.
async fn read_records(server: &Server, partition: &TopicPartition, from: Offset, limit: usize) -> Result<ReadRecords> {
    let read = ReadRecords { records: Vec::new(), next_offset: from };
    let mut reading = Reading { from, limit, bytes_left: server.settings.answer_bytes_max, read };
    loop {
        let next_offset = reading.read.next_offset;
        let ReadResult { batches, .. } = server.services.log.read(partition, next_offset, READ_BYTES).await?;
        if batches.is_empty() {
            return Ok(reading.read);
        }
        // Nobody closes it, so there is a permit in the end.
        let _place = server.unfolding.acquire().await;
        let unfolding = tokio::task::spawn_blocking(move || {
            let goes_on = reading.take_all(&batches)?;
            Ok::<_, Problem>((reading, goes_on))
        });
        let unfolded = unfolding.await.map_err(|error| Error::internal("records cannot be read").with_source(error))?;
        let goes_on;
        (reading, goes_on) = unfolded?;
        if !goes_on {
            return Ok(reading.read);
        }
    }
}

impl Reading {
    /// Takes what it may of some batches; whether it may take more.
    fn take_all(&mut self, batches: &[StoredBatch]) -> Result<bool> {
        for batch in batches {
            // The log does not look inside a producer's batch, so there can be one that no reader can open.
            let records = match batch.records() {
                Ok(records) => records,
                Err(_) if !self.read.records.is_empty() => return Ok(false),
                Err(error) => return Err(unreadable(error, batch.next_offset())),
            };
            for record in records.into_iter().filter(|record| record.offset >= self.from) {
                let bytes = [&record.key, &record.value].into_iter().flatten().map(Bytes::len).sum::<usize>();
                if self.read.records.len() == self.limit || (bytes > self.bytes_left && !self.read.records.is_empty()) {
                    return Ok(false);
                }
                self.bytes_left = self.bytes_left.saturating_sub(bytes);
                self.read.next_offset = record.offset + 1;
                self.read.records.push(record.into());
            }
            // Past the records that compaction took out of the end of a batch.
            self.read.next_offset = self.read.next_offset.max(batch.next_offset());
        }
        Ok(true)
    }
}

fn unreadable(error: eventlog::Error, next_offset: Offset) -> Problem {
    Problem::from(error).with_hint(format!("read on from offset {next_offset}")).with_member("next_offset", next_offset)
}
