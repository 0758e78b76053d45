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
    time::{Duration, Instant},
};

use bytes::Bytes;
use eventlog::{Acks, Compression, EventLog, RecordBatchBuilder, Topic, TopicSettings, TopicSpec};
use model::{Clock, Metrics, Offset, TopicName, TopicPartition};
use sql::SourceDefinition;
use uuid::Uuid;

use super::{
    checked_ranges::CheckedRanges,
    dead_letter::{self, Checked, Mark, RejectedBy, RejectedRecord, Rejecter, dead_letter_topic},
    decoder_hash,
    reason::ReasonClass,
    unmatched::Unmatched,
};
use crate::error::{Error, Result};

const BATCH_BYTES: usize = 512 * 1024;
const READ_BYTES_MAX: usize = 1024 * 1024;
/// A rejected value is stored with its headers, and perhaps no longer compressed: it needs more room than it had.
const MESSAGE_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Beyond this one is forgotten, with the effect that forgetting a range has.
const CHECKED_MAX: usize = 16_384;

/// How often the log says that one who rejects goes on rejecting.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);
/// Sources whose columns are not found are remembered up to this many.
const UNMATCHED_MAX: usize = 4_096;
const TOLD_CHARACTERS_MAX: usize = 300;

/// Where the records go that could not be decoded or evaluated.
pub struct DeadLetters {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    topics: Mutex<HashMap<TopicName, Arc<TopicLetters>>>,
    /// By the name of a source and the hash of its decoder.
    unmatched: Mutex<HashMap<(String, String), Unmatched>>,
}

/// How many letters a topic has from one who rejects, for one class of reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterCount {
    /// Who rejected.
    pub by: RejectedBy,
    /// Why.
    pub class: ReasonClass,
    /// How many records.
    pub records: u64,
}

impl DeadLetters {
    /// The dead-letter topics of `log`.
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { log, clock, metrics, topics: Mutex::default(), unmatched: Mutex::default() })
    }

    /// How many records of a topic were rejected, by whom and why: the letters that its dead-letter topic has, and those
    /// that have expired since they were first counted.
    ///
    /// # Errors
    /// When the dead-letter topic cannot be read.
    pub async fn counts(&self, topic: &TopicName) -> Result<Vec<LetterCount>> {
        let letters = self.letters(topic)?;
        let counts = letters.counts().await?;
        Ok(counts.into_iter().map(|((by, class), records)| LetterCount { by, class, records }).collect())
    }

    /// That a source finds none of its columns in its records, in a sentence, where that is so.
    pub fn warning(&self, source: &SourceDefinition) -> Option<String> {
        let unmatched = self.unmatched.lock().unwrap_or_else(PoisonError::into_inner);
        let unmatched = unmatched.get(&(source.name.clone(), decoder_hash(source)))?;
        unmatched.sentence(&source.columns)
    }

    /// What a reader of a source has found of the source's columns, up to where it stands.
    pub(super) fn found(&self, by: &Rejecter, found: &Unmatched) {
        let Rejecter::Source { name, decoder } = by else { return };
        let mut unmatched = self.unmatched.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.clone(), decoder.clone());
        if found.warning().is_none() {
            unmatched.remove(&key);
        } else if unmatched.len() < UNMATCHED_MAX || unmatched.contains_key(&key) {
            unmatched.insert(key, found.clone());
        }
    }

    /// Writes a letter about each rejected record that has none from this rejecter; durable when it returns. The
    /// records are in order of offset, and all that is rejected from `from` up to the last of them has been given.
    pub(super) async fn keep(&self, checked: Checked, from: Offset, rejected: Vec<RejectedRecord>) -> Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let letters = self.letters(&checked.topic_partition.topic)?;
        let whose = format!("the dead letters of {}", checked.topic_partition.topic);
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
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
            topic_partition: TopicPartition::new(dead_letter_topic(origin)?, 0),
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
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    origin: TopicName,
    topic_partition: TopicPartition,
    known: tokio::sync::Mutex<Slot>,
}

/// What became of the first few of some letters.
struct Appended {
    count: usize,
    /// Whether they are stored.
    kept: bool,
}

/// What is known, and what was said of it.
#[derive(Default)]
struct Slot {
    /// Absent before the first letter and after a failure.
    known: Option<Known>,
    told: BTreeMap<RejectedBy, Told>,
}

/// What the log was told of one who rejects.
struct Told {
    at: Instant,
    /// Records that were rejected since.
    since: u64,
}

/// What the letters of a topic say.
struct Known {
    /// The dead-letter topic's own.
    topic_id: Uuid,
    ranges: BTreeMap<Checked, CheckedRanges>,
    counts: Counts,
}

type Counts = BTreeMap<(RejectedBy, ReasonClass), u64>;

impl Known {
    fn count(&mut self, by: RejectedBy, class: ReasonClass) {
        let key = (by, class);
        if self.counts.len() < CHECKED_MAX || self.counts.contains_key(&key) {
            *self.counts.entry(key).or_default() += 1;
        }
    }

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
        let mut known = self.known(slot.known.take(), &topic).await?;
        rejected.retain(|rejected| !known.contains(checked, rejected.offset));
        let by = checked.by.name();
        let mut rest = rejected.as_slice();
        while !rest.is_empty() {
            let appended = self.append(checked, from, rest).await?;
            let (written, later) = rest.split_at(appended.count);
            if let Some(last) = written.last().filter(|_| appended.kept) {
                known.add(checked.clone(), (from, last.offset));
            }
            written.iter().for_each(|rejected| known.count(by.clone(), rejected.reason.class));
            rest = later;
        }
        slot.known = Some(known);
        if let Some(sample) = rejected.first() {
            self.tell(&mut slot.told, by, rejected.len() as u64, sample);
        }
        Ok(())
    }

    /// How many letters there are, by who rejects and why.
    async fn counts(&self) -> Result<Counts> {
        let mut slot = self.known.lock().await;
        let Some(topic) = self.log.topic(self.topic_partition.topic.as_str()) else { return Ok(Counts::new()) };
        let known = self.known(slot.known.take(), &topic).await?;
        Ok(slot.known.insert(known).counts.clone())
    }

    /// What was known, where it is of this topic, or else what the topic holds.
    async fn known(&self, known: Option<Known>, topic: &Topic) -> Result<Known> {
        match known.filter(|known| known.topic_id == topic.id) {
            Some(known) => Ok(known),
            None => self.read_known(topic).await,
        }
    }

    /// Warns in the log, for each who rejects at most once in an interval.
    fn tell(&self, told: &mut BTreeMap<RejectedBy, Told>, by: RejectedBy, records: u64, sample: &RejectedRecord) {
        let now = self.clock.instant();
        let records = match told.get_mut(&by) {
            Some(told) if now.saturating_duration_since(told.at) < TOLD_INTERVAL => {
                told.since += records;
                return;
            }
            Some(told) => records + told.since,
            None => records,
        };
        let (topic, letters, reason) = (&self.origin, &self.topic_partition.topic, shown(&sample.reason.text));
        tracing::warn!(%by, %topic, records, offset = sample.offset, reason, dead_letters = %letters, "records were rejected");
        if told.len() < CHECKED_MAX || told.contains_key(&by) {
            told.insert(by, Told { at: now, since: 0 });
        }
    }

    async fn topic(&self) -> Result<Arc<Topic>> {
        let name = &self.topic_partition.topic;
        if let Some(topic) = self.log.topic(name.as_str()) {
            return Ok(topic);
        }
        let settings = TopicSettings { message_bytes_max: MESSAGE_BYTES_MAX, ..TopicSettings::default() };
        Ok(self.log.create_topic(TopicSpec { name: name.clone(), partitions: 1, settings }).await?)
    }

    async fn read_known(&self, topic: &Topic) -> Result<Known> {
        let mut known = Known { topic_id: topic.id, ranges: BTreeMap::new(), counts: Counts::new() };
        let bounds = self.log.bounds(&self.topic_partition)?;
        let mut next = bounds.log_start_offset;
        while next < bounds.high_watermark {
            let batches = match self.log.read(&self.topic_partition, next, READ_BYTES_MAX).await {
                Ok(read) => read.batches,
                Err(eventlog::Error::OffsetOutOfRange { start, .. }) if start > next => {
                    next = start;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            // What cannot be read was not written here.
            let records = batches.iter().flat_map(|batch| batch.records().unwrap_or_default());
            for letter in records {
                if let Some(mark) = Mark::of(&letter) {
                    known.count(mark.checked.by.name(), dead_letter::class_of(&letter));
                    known.add(mark.checked, mark.offsets);
                }
            }
            let Some(end) = batches.last().map(eventlog::StoredBatch::next_offset).filter(|end| *end > next) else {
                let reason = format!("{} gave no record at or after offset {next}", self.topic_partition);
                return Err(Error::Shape { what: "the log's answer", reason });
            };
            next = end;
        }
        Ok(known)
    }

    /// Appends the first few letters as one batch. A topic that takes no letter at all, since someone has made it so,
    /// stops nobody.
    async fn append(&self, checked: &Checked, from: Offset, rejected: &[RejectedRecord]) -> Result<Appended> {
        let mut bytes = 0;
        let fitting = rejected.iter().take_while(|rejected| {
            bytes += dead_letter::size_bytes(rejected);
            bytes < BATCH_BYTES
        });
        let mut count = fitting.count().max(1);
        let mut forms = dead_letter::FORMS.iter();
        let mut encode = forms.next();
        let kept = loop {
            let Some(form) = encode else {
                let (topic, limit) = (&self.topic_partition.topic, "max.message.bytes");
                tracing::error!(%topic, offset = rejected[0].offset, "a letter is lost: the topic's {limit} is too small");
                break false;
            };
            let letters = batch(rejected[..count].iter().map(|rejected| form(checked, from, rejected)));
            match self.log.append(&self.topic_partition, letters, Acks::Durable).await {
                Err(eventlog::Error::BatchTooLarge { .. }) if count > 1 => count /= 2,
                Err(eventlog::Error::BatchTooLarge { .. }) => encode = forms.next(),
                appended => {
                    appended?;
                    break true;
                }
            }
        };
        for rejected in &rejected[..count] {
            self.metrics.dead_letter_records.get_or_create(&self.labels(checked, rejected)).inc();
        }
        Ok(Appended { count, kept })
    }

    fn labels(&self, checked: &Checked, rejected: &RejectedRecord) -> [(&'static str, String); 3] {
        let class = rejected.reason.class.name().to_owned();
        [("topic", self.origin.to_string()), ("rejecter", checked.by.name().to_string()), ("reason", class)]
    }
}

/// A reason in a line of the log.
fn shown(reason: &str) -> String {
    reason.chars().take(TOLD_CHARACTERS_MAX).collect()
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
