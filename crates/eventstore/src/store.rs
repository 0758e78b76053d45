//! The store: its door for appends and reads, and its opening.

use std::sync::Arc;

use eventlog::EventLog;
use futures::future::OptionFuture;
use model::{Clock, Metrics, Offset, Positions, TopicPartition};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    AllPage, CommandId, Damage, Direction, Error, EventStoreSettings, ExpectedVersion, ForeignRecords, NewEvent,
    RecordedEvent, Result, StreamName, StreamSummary, Subscription,
    draft::{Append, Proposal},
    index::{HandledCommand, Versions},
    opened::{Opened, no_events},
    outcome::{CommandEnd, OUTCOME_BYTES_MAX},
    record,
    writer::{Done, Request, Waiting, Writer},
};

/// Streams of events over one partition of a log.
pub struct EventStore {
    pub(crate) opened: Arc<Opened>,
    requests: mpsc::Sender<Request>,
    indexed: watch::Receiver<Offset>,
    /// The writer's task, until the store is closed.
    writer: Mutex<Option<JoinHandle<()>>>,
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
        let opened = Arc::new(Opened::open(log, settings, clock, metrics).await?);
        let (requests, receiver) = mpsc::channel(opened.settings.queue_requests);
        let (indexed, watcher) = watch::channel(opened.index.read().next_offset());
        let writer = Writer { opened: Arc::clone(&opened), requests: receiver, indexed };
        let writer = Mutex::new(Some(tokio::spawn(writer.run())));
        Ok(Arc::new(Self { opened, requests, indexed: watcher, writer }))
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
        events.iter().try_for_each(record::check_json)?;
        let append = Append { stream: stream.clone(), expected, events, command: None };
        match self.propose(Proposal::Append(append)).await? {
            Done::Events { versions, next_offset, recorded } => Ok(Appended {
                first_version: versions.first,
                last_version: versions.last,
                positions: self.positions_at(next_offset),
                duplicate: recorded.is_none(),
            }),
            Done::Nothing { .. } => unreachable!("an append ends with events"),
        }
    }

    /// Reads a page of a stream from the version `from` on; going backward, `u64::MAX` is the end. A page may be
    /// shorter than `count_max`; an empty page means that there is no more.
    ///
    /// # Errors
    /// [`Error::StreamNotFound`] when the stream has no events, [`Error::Damaged`] when it has lost some.
    pub async fn read_stream(
        &self,
        stream: &StreamName,
        from: u64,
        direction: Direction,
        count_max: usize,
    ) -> Result<Vec<RecordedEvent>> {
        self.check_readable(stream)?;
        let count = count_max.min(self.opened.settings.page_events_max) as u64;
        let offsets = {
            let index = self.opened.index.read();
            let last = index.version(stream).ok_or_else(|| Error::StreamNotFound(stream.clone()))?;
            match direction {
                Direction::Forward => index.offsets(stream, from..from.saturating_add(count)),
                Direction::Backward => {
                    let end = from.min(last) + 1;
                    index.offsets(stream, end.saturating_sub(count)..end)
                }
            }
        };
        let bytes_max = self.opened.settings.page_bytes_max;
        match direction {
            Direction::Forward => self.opened.reader.events(&offsets, bytes_max).await,
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
            let mut read = self.opened.reader.events(chunk, usize::MAX).await?;
            bytes += read.iter().map(RecordedEvent::weight_bytes).sum::<usize>();
            read.reverse();
            events.append(&mut read);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(events)
    }

    /// Reads a page of all events, in the order in which they were recorded, from an offset on. It ends before damage.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the event at the offset is damaged; otherwise whatever the log says.
    pub async fn read_all(&self, from: Offset, count_max: usize) -> Result<AllPage> {
        let settings = &self.opened.settings;
        self.opened.page(from, count_max.min(settings.page_events_max), settings.page_bytes_max).await
    }

    /// Every event from an offset on: those that are there, then each new one once it is on disk.
    pub fn subscribe_all(&self, from: Offset) -> Subscription {
        Subscription::new(Arc::clone(&self.opened), self.indexed.clone(), from)
    }

    /// The version of a stream's last event.
    pub fn version(&self, stream: &StreamName) -> Option<u64> {
        self.opened.index.read().version(stream)
    }

    /// The streams whose names begin with `prefix` and come after `after`, in order of their names: at most
    /// `count_max` of them.
    pub fn streams(&self, prefix: &str, after: Option<&StreamName>, count_max: usize) -> Vec<StreamSummary> {
        self.opened.index.read().streams(prefix, after, count_max)
    }

    /// How far the store reaches: every event before it can be read.
    pub fn positions(&self) -> Positions {
        self.positions_at(self.opened.index.read().next_offset())
    }

    /// Waits until everything before the demanded position of the store's own partition can be read; other partitions
    /// are not looked at. It waits for as long as that takes.
    ///
    /// # Errors
    /// [`Error::Closed`] when the store was closed before it got there.
    pub async fn wait_for(&self, demanded: &Positions) -> Result<()> {
        let offset = demanded.next_offset(&self.opened.partition);
        let mut indexed = self.indexed.clone();
        indexed.wait_for(|indexed| *indexed >= offset).await.map(drop).map_err(|_| Error::Closed)
    }

    /// The partition that holds the events.
    pub fn partition(&self) -> &TopicPartition {
        &self.opened.partition
    }

    /// The records in the topic that are no events of this store, as far as the store has read; it reads on when
    /// it opens and with every append.
    pub fn foreign_records(&self) -> ForeignRecords {
        self.opened.index.read().foreign().clone()
    }

    /// What of the store cannot be read, as it was found when it opened. Streams that lost events are refused.
    pub fn damage(&self) -> Vec<Damage> {
        self.opened.index.read().damage().to_vec()
    }

    /// Finishes the appends that wait and stops the writer; later appends are refused, reads go on.
    pub async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.requests.send(Request::Close(closed)).await.is_ok() {
            // An error means that the writer had stopped before.
            let _ = done.await;
        }
        let writer = self.writer.lock().take();
        if let Some(Err(error)) = OptionFuture::from(writer).await {
            tracing::error!(%error, "the event store's writer failed");
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.opened.clock
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.opened.metrics
    }

    pub(crate) fn settings(&self) -> &EventStoreSettings {
        &self.opened.settings
    }

    /// How far the store reaches.
    pub(crate) fn next_offset(&self) -> Offset {
        self.opened.index.read().next_offset()
    }

    pub(crate) fn positions_at(&self, next_offset: Offset) -> Positions {
        Positions::from([(self.opened.partition.clone(), next_offset)])
    }

    /// Checks that no event of a stream is lost in damage; for a stream that is not there, that none can be.
    pub(crate) fn check_readable(&self, stream: &StreamName) -> Result<()> {
        match self.opened.index.read().damage_of(stream) {
            Some(damage) => Err(self.opened.damaged(format!("stream {stream} cannot be read"), damage)),
            None => Ok(()),
        }
    }

    /// Checks that no event of a stream can be lost in damage.
    pub(crate) fn check_sound(&self, stream: &StreamName) -> Result<()> {
        match self.opened.index.read().doubt_of(stream) {
            Some(damage) => Err(self.opened.damaged(no_events(stream), damage)),
            None => Ok(()),
        }
    }

    /// What came of a command that is among the latest ones.
    pub(crate) fn handled(&self, stream: &StreamName, command_id: &CommandId) -> Option<HandledCommand> {
        self.opened.index.read().command(&command_id.key(stream))
    }

    /// Some events of a stream.
    pub(crate) async fn events(&self, stream: &StreamName, versions: Versions) -> Result<Vec<RecordedEvent>> {
        let offsets = self.opened.index.read().offsets(stream, versions.first..versions.last + 1);
        self.opened.reader.events(&offsets, usize::MAX).await
    }

    /// How a command ended that led to no events, as it was kept at this offset.
    pub(crate) async fn command_end(&self, offset: Offset) -> Result<CommandEnd> {
        self.opened.command_end(offset).await
    }

    /// Asks the writer for something, and waits until it is on disk.
    pub(crate) async fn propose(&self, proposal: Proposal) -> Result<Done> {
        let bytes_max = match &proposal {
            Proposal::Append(append) => self.check(append)?,
            Proposal::Keep(_) => OUTCOME_BYTES_MAX,
        };
        let (answer, done) = oneshot::channel();
        let waiting = Waiting { proposal, bytes_max, answer };
        self.requests.send(Request::Propose(waiting)).await.map_err(|_| Error::Closed)?;
        done.await.map_err(|_| Error::Closed)?
    }

    /// The events of a stream with these versions, as far as they fill a page.
    pub(crate) async fn read_versions(&self, stream: &StreamName, versions: &[u64]) -> Result<Vec<RecordedEvent>> {
        let mut offsets: Vec<Offset> = {
            let index = self.opened.index.read();
            versions.iter().filter_map(|version| index.offset(stream, *version)).collect()
        };
        offsets.sort_unstable();
        self.opened.reader.events(&offsets, usize::MAX).await
    }

    /// Checks everything that does not need the stream's state; gives the most bytes that the records take.
    fn check(&self, append: &Append) -> Result<usize> {
        let Append { stream, events, command, .. } = append;
        let settings = &self.opened.settings;
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
        let size = |event| record::encoded_bytes_max(stream, event, command.as_ref());
        let bytes = events.iter().map(size).sum();
        if bytes > self.opened.append_bytes_max {
            let what = format!("an append to stream {stream}");
            return Err(Error::TooLarge { what, actual: bytes, max: self.opened.append_bytes_max, unit: "bytes" });
        }
        Ok(bytes)
    }
}
