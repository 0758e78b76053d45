//! The dead-letter topics of a log: what was rejected, each record once for each who rejects it.
//!
//! What it is: [`DeadLetters`], one object for a log, shared by all who read it. A source that cannot decode a record
//! and a view that cannot evaluate it are two who reject, each with its own letter; two views and a capture that read
//! one source are one, for they all decode alike.
//!
//! What is known is what the topic holds. Each letter says from which offset on its rejecter had looked, without a gap,
//! up to the record it is about; so a letter stands for a *checked range*: all that its rejecter rejects in there has
//! its letter. A mere highest offset would not do. Readers of one source stand at different places and may begin in
//! the middle (a capture goes on where its table ends, a view where its checkpoint is); a record below the highest
//! letter was perhaps seen by none of them.
//!
//! What must hold:
//! - a letter is on disk before its record counts as read: [`keep`](DeadLetters::keep) is durable when it returns;
//! - a record in a checked range of its rejecter has its letter. Hence: letters are appended in order of offset, one
//!   writer at a time, and a reader gives all that is rejected from where it began to where it stands;
//! - a record outside of all its rejecter's ranges has none. Hence: a range is known exactly when its letter is
//!   stored. After an append that failed, and when the topic is another one, what is known is read from the topic again;
//!   a writer is never interrupted half-way, whoever waits for it;
//! - who rejects is told apart by what decides: the decoder's definition or the view's plan, and the id of the topic,
//!   which is another one when it is deleted and created again.
//!
//! It is exact for one process over a log. Several would each write their own letters; none would be lost.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use eventlog::{Acks, Compression, EventLog, RecordBatchBuilder, Topic, TopicSettings, TopicSpec};
use model::{Metrics, Offset, TopicName, TopicPartition};
use uuid::Uuid;

use super::{
    checked_ranges::CheckedRanges,
    dead_letter::{self, Checked, Mark, RejectedRecord, dead_letter_topic},
};
use crate::error::{Error, Result};

const BATCH_BYTES: usize = 512 * 1024;
const READ_BYTES_MAX: usize = 1024 * 1024;
/// A rejected value is stored with its headers, and perhaps no longer compressed: it needs more room than it had.
const MESSAGE_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Beyond this one is forgotten, with the effect that forgetting a range has.
const CHECKED_MAX: usize = 16_384;

/// Where the records go that could not be decoded or evaluated.
pub struct DeadLetters {
    log: Arc<dyn EventLog>,
    metrics: Metrics,
    topics: Mutex<HashMap<TopicName, Arc<TopicLetters>>>,
}

impl DeadLetters {
    /// The dead-letter topics of `log`.
    pub fn new(log: Arc<dyn EventLog>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { log, metrics, topics: Mutex::default() })
    }

    /// Writes a letter about each rejected record that has none from this rejecter; durable when it returns. The
    /// records are in order of offset, and all that is rejected from `from` up to the last of them has been given.
    pub(super) async fn keep(&self, checked: Checked, from: Offset, rejected: Vec<RejectedRecord>) -> Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let letters = self.letters(&checked.place.topic)?;
        let whose = format!("the dead letters of {}", checked.place.topic);
        // In a task of its own: whoever waits here may be interrupted, and a letter that was stored must be known.
        let keeping = tokio::spawn(async move { letters.keep(&checked, from, rejected).await });
        keeping.await.unwrap_or_else(|error| {
            tracing::error!(whose, %error, "a task ended abnormally");
            Err(Error::TaskLost(whose))
        })
    }

    fn letters(&self, origin: &TopicName) -> Result<Arc<TopicLetters>> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(letters) = topics.get(origin) {
            return Ok(Arc::clone(letters));
        }
        let letters = Arc::new(TopicLetters {
            log: Arc::clone(&self.log),
            metrics: self.metrics.clone(),
            place: TopicPartition::new(dead_letter_topic(origin)?, 0),
            origin: origin.clone(),
            known: tokio::sync::Mutex::default(),
        });
        topics.insert(origin.clone(), Arc::clone(&letters));
        Ok(letters)
    }
}

/// The dead letters of one topic.
struct TopicLetters {
    log: Arc<dyn EventLog>,
    metrics: Metrics,
    origin: TopicName,
    place: TopicPartition,
    /// Absent before the first letter and after a failure.
    known: tokio::sync::Mutex<Option<Known>>,
}

/// What the letters of a topic say.
struct Known {
    /// The dead-letter topic's own.
    topic_id: Uuid,
    ranges: BTreeMap<Checked, CheckedRanges>,
}

impl Known {
    fn contains(&self, checked: &Checked, offset: Offset) -> bool {
        self.ranges.get(checked).is_some_and(|ranges| ranges.contains(offset))
    }

    fn add(&mut self, checked: Checked, (first, last): (Offset, Offset)) {
        if self.ranges.len() >= CHECKED_MAX && !self.ranges.contains_key(&checked) {
            self.ranges.pop_first();
        }
        self.ranges.entry(checked).or_default().add(first, last);
    }
}

impl TopicLetters {
    async fn keep(&self, checked: &Checked, from: Offset, mut rejected: Vec<RejectedRecord>) -> Result<()> {
        let mut slot = self.known.lock().await;
        let topic = self.topic().await?;
        let mut known = match slot.take().filter(|known| known.topic_id == topic.id) {
            Some(known) => known,
            None => self.read_known(&topic).await?,
        };
        rejected.retain(|rejected| !known.contains(checked, rejected.offset));
        let mut rest = rejected.as_slice();
        while !rest.is_empty() {
            let (written, later) = rest.split_at(self.append(checked, from, rest).await?);
            if let Some(last) = written.last() {
                known.add(checked.clone(), (from, last.offset));
            }
            rest = later;
        }
        *slot = Some(known);
        Ok(())
    }

    async fn topic(&self) -> Result<Arc<Topic>> {
        let name = &self.place.topic;
        if let Some(topic) = self.log.topic(name.as_str()) {
            return Ok(topic);
        }
        let settings = TopicSettings { message_bytes_max: MESSAGE_BYTES_MAX, ..TopicSettings::default() };
        Ok(self.log.create_topic(TopicSpec { name: name.clone(), partitions: 1, settings }).await?)
    }

    async fn read_known(&self, topic: &Topic) -> Result<Known> {
        let mut known = Known { topic_id: topic.id, ranges: BTreeMap::new() };
        let bounds = self.log.bounds(&self.place)?;
        let mut next = bounds.log_start_offset;
        while next < bounds.high_watermark {
            let batches = match self.log.read(&self.place, next, READ_BYTES_MAX).await {
                Ok(read) => read.batches,
                Err(eventlog::Error::OffsetOutOfRange { start, .. }) if start > next => {
                    next = start;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // What cannot be read was not written here.
            let records = batches.iter().flat_map(|batch| batch.records().unwrap_or_default());
            for mark in records.filter_map(|record| Mark::of(&record)) {
                known.add(mark.checked, mark.offsets);
            }
            let Some(end) = batches.last().map(eventlog::StoredBatch::next_offset).filter(|end| *end > next) else {
                let reason = format!("{} gave no record at or after offset {next}", self.place);
                return Err(Error::Shape { what: "the log's answer", reason });
            };
            next = end;
        }
        Ok(known)
    }

    /// Appends the first few letters as one batch; answers how many.
    async fn append(&self, checked: &Checked, from: Offset, rejected: &[RejectedRecord]) -> Result<usize> {
        let mut bytes = 0;
        let fitting = rejected.iter().take_while(|rejected| {
            bytes += dead_letter::size_bytes(rejected);
            bytes < BATCH_BYTES
        });
        let mut count = fitting.count().max(1);
        let mut whole = true;
        loop {
            let encode = if whole { dead_letter::encode } else { dead_letter::encode_without_value };
            let letters = batch(rejected[..count].iter().map(|rejected| encode(checked, from, rejected)));
            match self.log.append(&self.place, letters, Acks::Durable).await {
                Err(eventlog::Error::BatchTooLarge { .. }) if count > 1 => count /= 2,
                Err(eventlog::Error::BatchTooLarge { .. }) if whole => whole = false,
                appended => {
                    appended?;
                    let topic = [("topic", self.origin.to_string())];
                    self.metrics.dead_letter_records.get_or_create(&topic).inc_by(count as u64);
                    return Ok(count);
                }
            }
        }
    }
}

fn batch(letters: impl Iterator<Item = eventlog::Record>) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    letters.for_each(|letter| {
        builder.push(letter);
    });
    builder.build()
}

#[cfg(test)]
mod tests;
