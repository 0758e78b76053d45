//! The store: its door for appends and reads, and its opening.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::{EventLog, Topic, TopicSettings, TopicSpec};
use model::{Clock, Metrics, Offset, Positions, TopicPartition};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    CommandId, Direction, Error, EventStoreSettings, ExpectedVersion, ForeignRecords, NewEvent, RecordedEvent, Result,
    StreamName, StreamSummary, Subscription,
    draft::Proposal,
    index::Index,
    reader::Reader,
    record,
    writer::{Append, Committed, Request, Writer, recorded},
};

// Who writes the topic, as others are told.
const OWNER: &str = "the event store";
// What a record batch's header takes, and then some.
const BATCH_OVERHEAD_BYTES: usize = 1024;
// How many reads of the log one page of all events may cost, when many records are foreign.
const PAGE_READS_MAX: usize = 16;

/// Streams of events over one partition of a log.
pub struct EventStore {
    pub(crate) shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    indexed: watch::Receiver<Offset>,
    append_bytes_max: usize,
}

/// The answer to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The version of the first event.
    pub first_version: u64,
    /// The version of the last event.
    pub last_version: u64,
    /// The position after the last event: a reader that has reached it has seen the append.
    pub positions: Positions,
    /// Whether the events were there already, from the same append sent before.
    pub duplicate: bool,
}

/// A page of all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllPage {
    /// The events, in order. There may be none although more follow, where others have written into the topic.
    pub events: Vec<RecordedEvent>,
    /// Where to read on.
    pub next_offset: Offset,
    /// The end of the store when the page was read: when `next_offset` has reached it, everything was read.
    pub end_offset: Offset,
}

/// What the store's tasks share.
pub(crate) struct Shared {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) partition: TopicPartition,
    pub(crate) settings: EventStoreSettings,
    pub(crate) index: RwLock<Index>,
    pub(crate) reader: Reader,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    /// `ce_source` of every event.
    pub(crate) source: Bytes,
}

impl EventStore {
    /// Opens the store of a topic, creates the topic if it is missing, and reads it once to build the index.
    ///
    /// Must be called within a Tokio runtime. One process at a time may open a store on a topic.
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) when the topic cannot hold a store (more than one partition, a
    /// retention, or events missing at its beginning), and whatever the log says.
    pub async fn open(
        log: Arc<dyn EventLog>,
        settings: EventStoreSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> model::Result<Arc<Self>> {
        Ok(Self::open_inner(log, settings, clock, metrics).await?)
    }

    async fn open_inner(
        log: Arc<dyn EventLog>,
        settings: EventStoreSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Arc<Self>> {
        check_settings(&settings)?;
        let topic = topic(&*log, &settings).await?;
        let partition = TopicPartition::new(topic.name.clone(), 0);
        let bounds = log.bounds(&partition)?;
        if bounds.log_start_offset > 0 {
            return Err(Error::Invalid(format!(
                "topic {} begins at offset {}: an event store needs all of its events",
                topic.name, bounds.log_start_offset
            )));
        }
        let message_bytes_max = usize::try_from(topic.settings.message_bytes_max).unwrap_or(usize::MAX);
        let append_bytes_max = settings.append_bytes_max.min(message_bytes_max.saturating_sub(BATCH_OVERHEAD_BYTES));
        let settings = EventStoreSettings { batch_bytes: settings.batch_bytes.min(append_bytes_max), ..settings };
        let shared = Arc::new(Shared {
            reader: Reader::new(Arc::clone(&log), partition.clone(), settings.read_bytes, settings.cache_bytes),
            log,
            source: format!("/fourfold/{}", topic.name).into(),
            partition,
            index: RwLock::new(Index::new(&settings)),
            clock,
            metrics,
            settings,
        });
        shared.take_in(bounds.high_watermark).await?;
        shared.log.claim_topic(&shared.partition.topic, OWNER)?;
        let (requests, receiver) = mpsc::channel(shared.settings.queue_requests);
        let (indexed, watcher) = watch::channel(bounds.high_watermark);
        tokio::spawn(Writer { shared: Arc::clone(&shared), requests: receiver, indexed }.run());
        Ok(Arc::new(Self { shared, requests, indexed: watcher, append_bytes_max }))
    }

    /// Appends events to a stream, all of them or none, and returns when they are on disk.
    ///
    /// The same events (by id, in the same order) appended again with the same expected version give the first
    /// append's answer, as long as they are among the latest
    /// [`idempotence_window_events`](EventStoreSettings::idempotence_window_events) events. Older ones are refused
    /// when the expected version is exact, and appended again when it is [`ExpectedVersion::Any`].
    ///
    /// # Errors
    /// [`Error::WrongVersion`] when the stream is not as expected; [`Error::Log`] when the log failed: then the same
    /// append may be sent again.
    pub async fn append(
        &self,
        stream: &StreamName,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
    ) -> Result<Appended> {
        let proposal = Proposal { stream: stream.clone(), expected, events, command_id: None };
        let committed = self.commit(proposal).await?;
        Ok(Appended {
            first_version: committed.versions.first,
            last_version: committed.versions.last,
            positions: self.positions_at(committed.next_offset),
            duplicate: committed.recorded_time_ms.is_none(),
        })
    }

    /// Reads a page of a stream from the version `from` on; going backward, `u64::MAX` is the end. A page may be
    /// shorter than `count_max`; an empty page means that there is no more.
    ///
    /// # Errors
    /// [`Error::StreamNotFound`] when the stream has no events.
    pub async fn read_stream(
        &self,
        stream: &StreamName,
        from: u64,
        direction: Direction,
        count_max: usize,
    ) -> Result<Vec<RecordedEvent>> {
        let count = count_max.min(self.shared.settings.page_events_max) as u64;
        let offsets = {
            let index = self.shared.index.read();
            let last = index.version(stream).ok_or_else(|| Error::StreamNotFound(stream.clone()))?;
            match direction {
                Direction::Forward => index.offsets(stream, from..from.saturating_add(count)),
                Direction::Backward => {
                    let end = from.min(last) + 1;
                    index.offsets(stream, end.saturating_sub(count)..end)
                }
            }
        };
        let bytes_max = self.shared.settings.page_bytes_max;
        match direction {
            Direction::Forward => self.shared.reader.events(&offsets, bytes_max).await,
            Direction::Backward => self.read_backward(&offsets, bytes_max).await,
        }
    }

    // Events are read forward even so: in chunks from the end, so that the byte limit cuts the oldest.
    async fn read_backward(&self, offsets: &[Offset], bytes_max: usize) -> Result<Vec<RecordedEvent>> {
        const CHUNK: usize = 64;
        let mut events: Vec<RecordedEvent> = Vec::with_capacity(offsets.len());
        let mut bytes = 0;
        for chunk in offsets.rchunks(CHUNK) {
            // A chunk is read whole, or the newest of it would be missing.
            let mut read = self.shared.reader.events(chunk, usize::MAX).await?;
            bytes += read.iter().map(RecordedEvent::weight_bytes).sum::<usize>();
            read.reverse();
            events.append(&mut read);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(events)
    }

    /// Reads a page of all events, in the order in which they were recorded, from an offset on.
    ///
    /// # Errors
    /// Whatever the log says.
    pub async fn read_all(&self, from: Offset, count_max: usize) -> Result<AllPage> {
        self.shared.page(from, count_max).await
    }

    /// Every event from an offset on: those that are there, then each new one once it is on disk.
    pub fn subscribe_all(&self, from: Offset) -> Subscription {
        Subscription::start(Arc::clone(&self.shared), self.indexed.clone(), from)
    }

    /// The version of a stream's last event.
    pub fn version(&self, stream: &StreamName) -> Option<u64> {
        self.shared.index.read().version(stream)
    }

    /// The streams whose names begin with `prefix` and come after `after`, in order of their names: at most
    /// `count_max` of them.
    pub fn streams(&self, prefix: &str, after: Option<&StreamName>, count_max: usize) -> Vec<StreamSummary> {
        self.shared.index.read().streams(prefix, after, count_max)
    }

    /// How far the store reaches: every event before it can be read.
    pub fn positions(&self) -> Positions {
        self.positions_at(self.shared.index.read().next_offset())
    }

    /// Waits until everything before the demanded position of the store's own partition can be read; other partitions
    /// are not looked at. It waits for as long as that takes.
    ///
    /// # Errors
    /// [`Error::Closed`] when the store was closed before it got there.
    pub async fn wait_for(&self, demanded: &Positions) -> Result<()> {
        let offset = demanded.next_offset(&self.shared.partition);
        let mut indexed = self.indexed.clone();
        indexed.wait_for(|indexed| *indexed >= offset).await.map(drop).map_err(|_| Error::Closed)
    }

    /// The partition that holds the events.
    pub fn partition(&self) -> &TopicPartition {
        &self.shared.partition
    }

    /// The records in the topic that are no events of this store, as far as the store has read; it reads on when
    /// it opens and with every append.
    pub fn foreign_records(&self) -> ForeignRecords {
        self.shared.index.read().foreign().clone()
    }

    /// Finishes the appends that wait and stops the writer; later appends are refused, reads go on.
    pub async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.requests.send(Request::Close(closed)).await.is_ok() {
            // An error means that the writer had stopped before.
            let _ = done.await;
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn positions_at(&self, next_offset: Offset) -> Positions {
        Positions::from([(self.shared.partition.clone(), next_offset)])
    }

    /// The events that a command led to, if it is among the latest ones.
    pub(crate) async fn command_events(
        &self,
        stream: &StreamName,
        command_id: &CommandId,
    ) -> Result<Option<Vec<RecordedEvent>>> {
        let offsets = {
            let index = self.shared.index.read();
            let Some(versions) = index.command(&command_id.key(stream)) else { return Ok(None) };
            index.offsets(stream, versions.first..versions.last + 1)
        };
        self.shared.reader.events(&offsets, usize::MAX).await.map(Some)
    }

    /// Appends what a command decided: the recorded events, and whether they were there before.
    pub(crate) async fn append_command(
        &self,
        stream: &StreamName,
        expected: ExpectedVersion,
        events: Vec<NewEvent>,
        command_id: &CommandId,
    ) -> Result<(Vec<RecordedEvent>, bool)> {
        let proposal = Proposal { stream: stream.clone(), expected, events, command_id: Some(command_id.clone()) };
        let Committed { versions, base_offset, recorded_time_ms, .. } = self.commit(proposal.clone()).await?;
        if let Some(time_ms) = recorded_time_ms {
            return Ok((recorded(proposal, versions, base_offset, time_ms), false));
        }
        let offsets = self.shared.index.read().offsets(stream, versions.first..versions.last + 1);
        Ok((self.shared.reader.events(&offsets, usize::MAX).await?, true))
    }

    /// The events of a stream with these versions, as far as they fill a page.
    pub(crate) async fn read_versions(&self, stream: &StreamName, versions: &[u64]) -> Result<Vec<RecordedEvent>> {
        let mut offsets: Vec<Offset> = {
            let index = self.shared.index.read();
            versions.iter().filter_map(|version| index.offset(stream, *version)).collect()
        };
        offsets.sort_unstable();
        self.shared.reader.events(&offsets, usize::MAX).await
    }

    async fn commit(&self, proposal: Proposal) -> Result<Committed> {
        let bytes_max = self.check(&proposal)?;
        let (answer, committed) = oneshot::channel();
        let append = Append { proposal, bytes_max, answer };
        self.requests.send(Request::Append(append)).await.map_err(|_| Error::Closed)?;
        committed.await.map_err(|_| Error::Closed)?
    }

    /// Checks everything that does not need the stream's state; gives the most bytes that the records take.
    fn check(&self, proposal: &Proposal) -> Result<usize> {
        let Proposal { stream, events, command_id, .. } = proposal;
        let settings = &self.shared.settings;
        if events.is_empty() {
            return Err(Error::Invalid(format!("an append to stream {stream} needs at least one event")));
        }
        if events.len() > settings.events_per_append_max {
            let what = format!("an append to stream {stream}");
            let (actual, max) = (events.len(), settings.events_per_append_max);
            return Err(Error::TooLarge { what, actual, max, unit: "events" });
        }
        events.iter().try_for_each(|event| record::check(event, settings))?;
        let mut ids: Vec<_> = events.iter().map(|event| event.event_id).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Invalid(format!("an append to stream {stream} has event id {} twice", pair[0])));
        }
        let size = |event| record::encoded_bytes_max(stream, event, command_id.as_ref());
        let bytes = events.iter().map(size).sum();
        if bytes > self.append_bytes_max {
            let what = format!("an append to stream {stream}");
            return Err(Error::TooLarge { what, actual: bytes, max: self.append_bytes_max, unit: "bytes" });
        }
        Ok(bytes)
    }
}

impl Shared {
    /// Takes the records up to `end` into the index.
    pub(crate) async fn take_in(&self, end: Offset) -> Result<()> {
        let mut next = self.index.read().next_offset();
        while next < end {
            let batches = self.reader.batches(next).await?;
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

    /// A page of all events.
    pub(crate) async fn page(&self, from: Offset, count_max: usize) -> Result<AllPage> {
        let end = self.index.read().next_offset();
        let count_max = count_max.min(self.settings.page_events_max);
        let mut page = AllPage { events: Vec::new(), next_offset: from.max(0), end_offset: end };
        let mut bytes = 0;
        for _ in 0..PAGE_READS_MAX {
            let room = |page: &AllPage, bytes| page.events.len() < count_max && bytes < self.settings.page_bytes_max;
            if page.next_offset >= end || !room(&page, bytes) {
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
        ("events_per_append_max", settings.events_per_append_max),
        ("page_events_max", settings.page_events_max),
        ("subscription_queue_events", settings.subscription_queue_events),
    ];
    match counts.into_iter().find(|(_, count)| *count == 0) {
        Some((name, _)) => Err(Error::Invalid(format!("the event store's setting {name} must be at least 1"))),
        None => Ok(()),
    }
}

/// The store's topic, created if it is missing.
async fn topic(log: &dyn EventLog, settings: &EventStoreSettings) -> Result<Arc<Topic>> {
    let topic = match log.topic(settings.topic.as_str()) {
        Some(topic) => topic,
        None => {
            let bytes = settings.append_bytes_max.saturating_add(BATCH_OVERHEAD_BYTES);
            let message_bytes_max = u32::try_from(bytes).unwrap_or(u32::MAX);
            let topic_settings = TopicSettings { message_bytes_max, ..TopicSettings::default() };
            let spec = TopicSpec { name: settings.topic.clone(), partitions: 1, settings: topic_settings };
            log.create_topic(spec).await?
        }
    };
    if topic.partitions != 1 {
        return Err(Error::Invalid(format!(
            "topic {} has {} partitions: an event store is one partition",
            topic.name, topic.partitions
        )));
    }
    if topic.settings.retention_ms.is_some() || topic.settings.retention_bytes.is_some() {
        return Err(Error::Invalid(format!("topic {} has a retention: an event store keeps its events", topic.name)));
    }
    Ok(topic)
}
