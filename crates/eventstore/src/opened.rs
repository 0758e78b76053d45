//! [`Opened`]: what an opened store consists of, as its door, its writer and its subscriptions share it.
//!
//! It opens the store's topics and reads them into the index: that of the events, and that of the outcomes of commands
//! without events, which is there from the first of them on. What must hold: the index takes in what is durable, in the
//! order of its offsets, and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::{EventLog, Record, Topic, TopicSettings, TopicSpec};
use model::{Clock, Metrics, Offset, TopicName, TopicPartition};
use parking_lot::RwLock;

use crate::{
    AllPage, Damage, Error, EventStoreSettings, Result, StreamName,
    damage::{is_damage, streams_in},
    index::Index,
    outcome::{self, CommandEnd, OUTCOME_BYTES_MAX},
    reader::Reader,
    record,
};

// Who writes the topics, as others are told.
const OWNER: &str = "the event store";
// What the topic of outcomes is called after that of the events.
const OUTCOMES_SUFFIX: &str = ".outcomes";
// What a record batch's header takes, and then some.
const BATCH_OVERHEAD_BYTES: usize = 1024;
// How many reads of the log one page of all events may cost, when many records are foreign.
const PAGE_READS_MAX: usize = 16;
// Outcomes are read one by one, and seldom.
const OUTCOMES_CACHE_BYTES: usize = 1024 * 1024;

/// An opened store.
pub(crate) struct Opened {
    pub(crate) log: Arc<dyn EventLog>,
    /// Where the events are.
    pub(crate) partition: TopicPartition,
    /// Where the outcomes of commands without events are.
    pub(crate) outcomes: TopicPartition,
    pub(crate) settings: EventStoreSettings,
    pub(crate) index: RwLock<Index>,
    pub(crate) reader: Reader,
    outcome_reader: Reader,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    /// `ce_source` of every event.
    pub(crate) source: Bytes,
    /// The largest append, in bytes of records: as the settings and the topic allow it.
    pub(crate) append_bytes_max: usize,
}

impl Opened {
    /// Opens the topics, creates those that are missing, and reads them.
    pub(crate) async fn open(
        log: Arc<dyn EventLog>,
        settings: EventStoreSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self> {
        check_settings(&settings)?;
        let topic = events_topic(&*log, &settings).await?;
        let partition = TopicPartition::new(topic.name.clone(), 0);
        let bounds = log.bounds(&partition)?;
        if bounds.log_start_offset > 0 {
            return Err(Error::Invalid(format!(
                "topic {} begins at offset {}: an event store needs all of its events",
                topic.name, bounds.log_start_offset
            )));
        }
        let outcomes = TopicPartition::new(outcomes_name(&settings)?, 0);
        log.claim_topic(&topic.name, OWNER)?;
        let message_bytes_max = usize::try_from(topic.settings.message_bytes_max).unwrap_or(usize::MAX);
        let read_bytes = settings.read_bytes;
        let reader = |partition: &TopicPartition, cache_bytes| {
            Reader::new(Arc::clone(&log), partition.clone(), read_bytes, cache_bytes)
        };
        let append_bytes_max = settings.append_bytes_max.min(message_bytes_max.saturating_sub(BATCH_OVERHEAD_BYTES));
        let opened = Self {
            index: RwLock::new(Index::new(&settings)),
            reader: reader(&partition, settings.cache_bytes),
            outcome_reader: reader(&outcomes, OUTCOMES_CACHE_BYTES),
            source: format!("/fourfold/{}", topic.name).into(),
            append_bytes_max,
            log: Arc::clone(&log),
            partition,
            outcomes,
            settings: EventStoreSettings { batch_bytes: settings.batch_bytes.min(append_bytes_max), ..settings },
            clock,
            metrics,
        };
        opened.take_in(bounds.high_watermark).await?;
        if log.topic(opened.outcomes.topic.as_str()).is_some() {
            opened.ready_outcomes().await?;
            opened.take_in_outcomes(opened.outcomes_end()).await?;
        }
        Ok(opened)
    }

    /// Makes sure that outcomes have their topic, and that nobody else writes it.
    pub(crate) async fn ready_outcomes(&self) -> Result<()> {
        let topic = outcomes_topic(&*self.log, &self.settings).await?;
        if topic.owner.is_none() {
            self.log.claim_topic(&topic.name, OWNER)?;
        }
        Ok(())
    }

    /// How far the outcomes reach; 0 before the first.
    pub(crate) fn outcomes_end(&self) -> Offset {
        self.log.bounds(&self.outcomes).map_or(0, |bounds| bounds.high_watermark)
    }

    /// Takes the records up to `end` into the index.
    pub(crate) async fn take_in(&self, end: Offset) -> Result<()> {
        let mut next = self.index.read().next_offset();
        while next < end {
            let batches = match self.reader.batches(next).await {
                Err(error) if is_damage(&error) => {
                    next = self.pass_damage(next, end, &error).await?;
                    continue;
                }
                batches => batches?,
            };
            let mut index = self.index.write();
            let before = next;
            for batch in batches.iter().take_while(|batch| batch.base_offset < end) {
                match &batch.records {
                    Ok(records) => {
                        for record in records.iter().filter(|record| (next..end).contains(&record.offset)) {
                            match record::decode(record) {
                                Ok(event) => drop(index.apply(&event)),
                                Err(reason) => index.skip(record.offset, reason),
                            }
                        }
                    }
                    Err(reason) => index.skip(batch.base_offset.max(next), reason),
                }
                next = next.max(batch.next_offset.min(end));
            }
            if next == before {
                let error = format!("{} ends at offset {next}, but {end} was announced", self.partition);
                return Err(Error::Corrupt(error));
            }
            index.advance(next);
        }
        Ok(())
    }

    /// Takes damage at `from` into the index; returns where reading goes on.
    async fn pass_damage(&self, from: Offset, end: Offset, error: &Error) -> Result<Offset> {
        let offsets = from..self.reader.readable_after(from, end).await?;
        let left = self.log.read_damaged(&self.partition, from).await?;
        let streams = left.and_then(|bytes| streams_in(bytes, &offsets));
        let damage = Damage { reason: error.to_string(), streams, offsets };
        tracing::error!(
            partition = %self.partition, first = damage.offsets.start, last = damage.offsets.end - 1,
            reason = damage.reason, streams = ?damage.streams,
            "events are damaged; their streams are refused, everything else goes on"
        );
        let next = damage.offsets.end;
        self.index.write().pass_damage(damage);
        Ok(next)
    }

    /// The error of what needs events that are damaged.
    pub(crate) fn damaged(&self, refused: String, damage: &Damage) -> Error {
        Error::Damaged {
            refused,
            partition: self.partition.clone(),
            first: damage.offsets.start,
            last: damage.offsets.end - 1,
            reason: damage.reason.clone(),
        }
    }

    /// Takes the outcomes up to `end` into the index.
    pub(crate) async fn take_in_outcomes(&self, end: Offset) -> Result<()> {
        // Retention takes the oldest away, which left the window before.
        let start = self.log.bounds(&self.outcomes)?.log_start_offset;
        let mut next = self.index.read().outcomes_next_offset().max(start);
        while next < end {
            let batches = match self.outcome_reader.batches(next).await {
                Err(error) if is_damage(&error) => {
                    let resume = self.outcome_reader.readable_after(next, end).await?;
                    tracing::error!(
                        partition = %self.outcomes, first = next, last = resume - 1, %error,
                        "outcomes are damaged; their commands are decided again if they are sent again"
                    );
                    next = resume;
                    self.index.write().advance_outcomes(next);
                    continue;
                }
                batches => batches?,
            };
            let before = next;
            let mut index = self.index.write();
            for batch in batches.iter().take_while(|batch| batch.base_offset < end) {
                let records = batch.records.iter().flatten();
                for record in records.filter(|record| (next..end).contains(&record.offset)) {
                    self.take_in_outcome(record, &mut index);
                }
                next = next.max(batch.next_offset.min(end));
            }
            if next == before {
                let error = format!("{} ends at offset {next}, but {end} was announced", self.outcomes);
                return Err(Error::Corrupt(error));
            }
            index.advance_outcomes(next);
        }
        Ok(())
    }

    fn take_in_outcome(&self, record: &Record, index: &mut Index) {
        match outcome::decode(record) {
            Ok(outcome) => index.apply_outcome(&outcome, record.offset),
            // Its command is decided again if it is sent again: no event depends on it.
            Err(reason) => {
                tracing::warn!(reason, offset = record.offset, partition = %self.outcomes, "a record is no outcome");
            }
        }
    }

    /// How a command ended, as it was kept at this offset.
    pub(crate) async fn command_end(&self, offset: Offset) -> Result<CommandEnd> {
        let record = self.outcome_reader.record(offset).await?;
        let outcome = outcome::decode(&record).map_err(|reason| {
            Error::Corrupt(format!("the outcome at offset {offset} of {} cannot be read: {reason}", self.outcomes))
        })?;
        Ok(outcome.end)
    }

    /// A page of all events.
    pub(crate) async fn page(&self, from: Offset, count_max: usize, bytes_max: usize) -> Result<AllPage> {
        let end = self.index.read().next_offset();
        let mut page = AllPage { events: Vec::new(), next_offset: from.max(0), end_offset: end };
        let mut bytes = 0;
        for _ in 0..PAGE_READS_MAX {
            let room = |page: &AllPage, bytes| page.events.len() < count_max && bytes < bytes_max;
            if page.next_offset >= end || !room(&page, bytes) {
                break;
            }
            if let Some(damage) = self.index.read().damage_at(page.next_offset) {
                if page.events.is_empty() {
                    return Err(
                        self.damaged(format!("all events cannot be read from offset {}", page.next_offset), damage)
                    );
                }
                break;
            }
            for batch in self.reader.batches(page.next_offset).await? {
                // A batch that cannot be read was counted as foreign when it was taken in.
                for record in batch.records.iter().flatten() {
                    if record.offset < page.next_offset || record.offset >= end {
                        continue;
                    }
                    if !room(&page, bytes) {
                        return Ok(page);
                    }
                    page.next_offset = record.offset + 1;
                    let Ok(event) = record::decode(record) else { continue };
                    if self.index.read().offset(&event.stream, event.version) == Some(event.offset) {
                        bytes += event.weight_bytes();
                        page.events.push(event);
                    }
                }
                page.next_offset = page.next_offset.max(batch.next_offset.min(end));
            }
        }
        Ok(page)
    }
}

fn check_settings(settings: &EventStoreSettings) -> Result<()> {
    let counts = [
        ("queue_requests", settings.queue_requests),
        ("streams_max", settings.streams_max),
        ("events_per_append_max", settings.events_per_append_max),
        ("page_events_max", settings.page_events_max),
        ("subscription_queue_events", settings.subscription_queue_events),
        ("subscription_queue_bytes", settings.subscription_queue_bytes),
    ];
    match counts.into_iter().find(|(_, count)| *count == 0) {
        Some((name, _)) => Err(Error::Invalid(format!("the event store's setting {name} must be at least 1"))),
        None => Ok(()),
    }
}

/// The topic of the events, which keeps them all.
async fn events_topic(log: &dyn EventLog, settings: &EventStoreSettings) -> Result<Arc<Topic>> {
    let topic = topic(log, settings.topic.clone(), settings.append_bytes_max, None).await?;
    if topic.settings.retention_ms.is_some() || topic.settings.retention_bytes.is_some() {
        return Err(Error::Invalid(format!("topic {} has a retention: an event store keeps its events", topic.name)));
    }
    Ok(topic)
}

fn outcomes_name(settings: &EventStoreSettings) -> Result<TopicName> {
    TopicName::new(&format!("{}{OUTCOMES_SUFFIX}", settings.topic)).map_err(|_| {
        let reason = format!("topic {} cannot hold an event store: its name is too long", settings.topic);
        Error::Invalid(format!("{reason} for that of {}{OUTCOMES_SUFFIX} beside it", settings.topic))
    })
}

/// The topic of the outcomes, which keeps at least those that are remembered.
async fn outcomes_topic(log: &dyn EventLog, settings: &EventStoreSettings) -> Result<Arc<Topic>> {
    let retention_bytes = settings.idempotence_window_commands.saturating_mul(OUTCOME_BYTES_MAX);
    let retention_bytes = i64::try_from(retention_bytes).unwrap_or(i64::MAX);
    // Outcomes that wait share a batch as appends do; the first may be all of it.
    let batch_bytes = settings.batch_bytes.max(OUTCOME_BYTES_MAX);
    topic(log, outcomes_name(settings)?, batch_bytes, Some(retention_bytes)).await
}

/// A topic of one partition, created if it is missing.
async fn topic(
    log: &dyn EventLog,
    name: TopicName,
    batch_bytes: usize,
    retention_bytes: Option<i64>,
) -> Result<Arc<Topic>> {
    let topic = match log.topic(name.as_str()) {
        Some(topic) => topic,
        None => {
            let bytes = batch_bytes.saturating_add(BATCH_OVERHEAD_BYTES);
            let message_bytes_max = u32::try_from(bytes).unwrap_or(u32::MAX);
            let settings = TopicSettings { message_bytes_max, retention_bytes, ..TopicSettings::default() };
            log.create_topic(TopicSpec { name, partitions: 1, settings }).await?
        }
    };
    if topic.partitions != 1 {
        return Err(Error::Invalid(format!(
            "topic {} has {} partitions: an event store is one partition",
            topic.name, topic.partitions
        )));
    }
    Ok(topic)
}

/// What is said of a stream whose version cannot be known.
pub(crate) fn no_events(stream: &StreamName) -> String {
    format!("stream {stream} takes no events, because its version cannot be known")
}
