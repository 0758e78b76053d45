//! [`EmbeddedLog`]: the log on local disk, put together.
//!
//! ```text
//! append ─> admission ─> queue ─> writer ──> write-ahead log (write, one sync) ─> tail, high watermark, answers
//!                                                                                  │
//! read <─ tail in memory, or segments on disk <───────────── flusher <───────────────┘
//! ```
//!
//! Two threads do the work: the writer commits, the flusher keeps segments, checkpoints and retention. Reads happen where
//! they are asked: from memory at once; small ones from segments at once too, because they mostly find their pages in
//! the page cache and a thread's switch would cost more; large ones on a blocking thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    sync::{Arc, mpsc::sync_channel},
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use bytes::Bytes;
use model::{Clock, Entropy, Metrics, Offset, SystemEntropy, TopicName, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{
    admission::{Admission, check_topic},
    checkpoint_turn::CheckpointTurn,
    damage::Damage,
    directory_lock::DirectoryLock,
    disk::{Disk, FileSystem},
    flusher::{Flusher, TailBudget},
    log::{
        Acks, Appended, Bounds, CommittedOffset, Error, EventLog, OffsetTotals, Pending, ReadResult, Result,
        TimedOffset, Topic, TopicSpec, io_error,
    },
    open_log::OpenLog,
    record::BatchHeader,
    recovery::{Recovered, recover},
    request::{AppendRequest, Reply, Request},
    settings::EventLogSettings,
    writer::Writer,
};

/// A read of at most so many bytes is done where it is asked.
const DIRECT_READ_BYTES_MAX: usize = 64 * 1024;
/// How many commits may wait for the flusher; the bytes in them are bounded separately.
const MOVER_MESSAGES_MAX: usize = 1024;
/// How many groups one commit takes note of, so that appends need not wait for all of them.
const GROUP_CHANGES_AT_ONCE: usize = 1000;

/// The log on local disk.
///
/// Dropping it stops it without a checkpoint, as if the process had died, but without losing what was queued; use
/// [`close`](Self::close) for a quick next start.
pub struct EmbeddedLog {
    pub(crate) shared: Arc<OpenLog>,
    /// Gone when the log is closed.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    queue_bytes: Arc<Semaphore>,
    /// How many compressed appends are unfolded at a time.
    unfolding: Semaphore,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held while the log is open.
    lock: Mutex<Option<DirectoryLock>>,
    /// What was found damaged when it was opened.
    damage: Vec<Damage>,
}

impl EmbeddedLog {
    /// Opens the log in `directory`, which is made if it does not exist, and recovers what is there.
    ///
    /// # Errors
    /// [`Error::DirectoryInUse`] when another process (or another `EmbeddedLog`) holds it, [`Error::Corrupt`] when
    /// what is there cannot be trusted, [`Error::Io`].
    pub async fn open(
        directory: &Path,
        settings: EventLogSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Arc<Self>> {
        let directory = directory.to_owned();
        blocking(move || {
            std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
            let lock = DirectoryLock::take(&directory)?;
            let (disk, entropy) = (Arc::new(FileSystem), Arc::new(SystemEntropy));
            let log = Self::open_on(disk, &directory, settings, clock, entropy, metrics, Some(lock))?;
            log.lock.lock().as_mut().map_or(Ok(()), DirectoryLock::complete)?;
            Ok(log)
        })
        .await
    }

    /// Opens a log on any disk. `entropy` must not repeat what it gave to those who had it open before.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        directory: &Path,
        settings: EventLogSettings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
        lock: Option<DirectoryLock>,
    ) -> Result<Arc<Self>> {
        let shared = Arc::new(OpenLog::new(directory.to_owned(), settings, disk, clock, entropy, metrics));
        let Recovered { state, wal, wal_bytes, open, deleted, damage } = recover(&shared)?;
        let (requests, receiver) = mpsc::channel(shared.settings.queue_requests_max.max(1));
        let (messages, flusher_messages) = sync_channel(MOVER_MESSAGES_MAX);
        let budget = Arc::new(TailBudget::default());
        let turn = Arc::new(CheckpointTurn::default());
        let (turns, budgets) = (Arc::clone(&turn), Arc::clone(&budget));
        let flusher = Flusher::new(Arc::clone(&shared), flusher_messages, &requests, budgets, turns, open);
        let writer = Writer {
            shared: Arc::clone(&shared),
            state,
            wal,
            requests: receiver,
            flusher: messages,
            budget,
            turn,
            wal_bytes_since_checkpoint: wal_bytes,
            deleted,
            lacking: None,
        };
        let threads = vec![spawn("log-flusher", || flusher.run())?, spawn("log-writer", || writer.run())?];
        let queue_bytes = shared.settings.queue_bytes_max.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Arc::new(Self {
            shared,
            requests: Mutex::new(Some(requests)),
            queue_bytes: Arc::new(Semaphore::new(queue_bytes)),
            unfolding: Semaphore::new(thread::available_parallelism().map_or(1, usize::from)),
            threads: Mutex::new(threads),
            lock: Mutex::new(lock),
            damage,
        }))
    }

    /// Finishes what is queued, makes a checkpoint, stops, and lets go of the directory. Everything asked for
    /// afterwards is answered with [`Error::Stopped`], except reads, which go on until another log takes the
    /// directory. Closing twice is fine. Where a checkpoint would take longer than
    /// [`close_ms_max`](EventLogSettings::close_ms_max), or the disk has no room for it, there is none, and the next
    /// start recovers: what was acknowledged is durable all the same.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the log had stopped before, or stopped while closing: then there is no new checkpoint
    /// either.
    pub async fn close(&self) -> Result<()> {
        self.shared.begin_end();
        let requests = self.requests.lock().take();
        if let Some(requests) = requests {
            // Fails only if the writer is gone already.
            let _ = requests.send(Request::Close).await;
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        blocking(move || join(threads)).await;
        for (_, partition) in self.shared.catalogue.partitions() {
            partition.end_watch();
        }
        self.lock.lock().take();
        self.shared.check_running()
    }

    /// Whether the log takes writes.
    ///
    /// # Errors
    /// [`Error::Stopped`], with the reason, when it was stopped by a failure; only a new start recovers.
    /// [`Error::DiskFull`] or [`Error::TooManyOpenFiles`], with how long that has been so, when it waits for room and
    /// then goes on by itself.
    pub fn check_running(&self) -> Result<()> {
        self.shared.check_writable()
    }

    /// What was found damaged since the log was opened, or when it was.
    pub fn damage(&self) -> Vec<Damage> {
        let partitions = self.shared.catalogue.partitions();
        let of_partitions = partitions.iter().flat_map(|(_, partition)| partition.damage());
        self.damage.iter().cloned().chain(of_partitions).collect()
    }

    /// The offsets of a partition whose arrival times were lost and are estimates, in order.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`], [`Error::Io`].
    pub async fn estimated_arrivals(&self, partition: &TopicPartition) -> Result<Vec<Range<Offset>>> {
        let (_, partition) = self.shared.catalogue.partition(partition)?;
        blocking(move || partition.estimated_arrivals()).await
    }

    /// Sends a request to the writer and waits for its answer.
    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let (reply, answer) = Reply::new();
        self.send(request(reply)).await?;
        answered(&self.shared, answer).await
    }

    /// Looks at the records of an append: compressed ones where it holds nobody up, and not too many at a time.
    async fn check_records(&self, admission: Admission) -> Result<Vec<(BatchHeader, Bytes)>> {
        if !admission.is_compressed() {
            return admission.check_records();
        }
        let _turn = self.unfolding.acquire().await.map_err(|_| closed())?;
        blocking(move || admission.check_records()).await
    }

    async fn send(&self, request: Request) -> Result<()> {
        self.shared.check_running()?;
        let requests = self.requests.lock().clone().ok_or_else(closed)?;
        requests.send(request).await.map_err(|_| closed())
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn create_topic(&self, spec: TopicSpec) -> Result<Arc<Topic>> {
        self.ask(|reply| Request::CreateTopic { spec, reply }).await
    }

    fn check_topic(&self, spec: &TopicSpec) -> Result<()> {
        if self.topic(spec.name.as_str()).is_some() {
            return Err(Error::TopicExists(spec.name.clone()));
        }
        check_topic(spec, &self.shared.settings, self.shared.catalogue.partition_count())
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<()> {
        self.ask(|reply| Request::DeleteTopic { name: name.clone(), reply }).await
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.shared.catalogue.topic(name)
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        self.shared.catalogue.topics()
    }

    fn claim_topic(&self, name: &TopicName, owner: &'static str) -> Result<()> {
        self.shared.catalogue.claim_topic(name, owner)
    }

    async fn enqueue(&self, partition: &TopicPartition, batches: Bytes, acks: Acks) -> Result<Pending> {
        self.shared.check_running()?;
        let (topic, found) = self.shared.catalogue.partition(partition)?;
        found.check_writable()?;
        let share = batches.len().min(self.shared.settings.queue_bytes_max.max(1));
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let admission = Admission::new(partition, batches, &topic.settings, &self.shared.settings)?;
        let batches = self.check_records(admission).await?;
        let (reply, answer) = if acks == Acks::Queued {
            (Reply::unheard(), None)
        } else {
            let (reply, answer) = Reply::new();
            (reply, Some(answer))
        };
        let partition = partition.clone();
        let permit = Arc::clone(&self.queue_bytes).acquire_many_owned(share).await.map_err(|_| closed())?;
        self.send(Request::Append(AppendRequest { partition, batches, acks, reply, _permit: Some(permit) })).await?;
        let shared = Arc::clone(&self.shared);
        Ok(match answer {
            Some(answer) => Pending::new(async move { answered(&shared, answer).await }),
            None => Pending::ready(Appended {
                base_offset: -1,
                next_offset: -1,
                arrival_time_ms: shared.clock.now_ms(),
                log_start_offset: found.bounds().log_start_offset,
                duplicate: false,
            }),
        })
    }

    async fn read(&self, partition: &TopicPartition, from: Offset, bytes_max: usize) -> Result<ReadResult> {
        let (_, partition) = self.shared.catalogue.partition(partition)?;
        let bytes_max = bytes_max.min(self.shared.settings.read_bytes_max);
        if let Some(found) = partition.read_from_memory(from, bytes_max) {
            return Ok(found);
        }
        if bytes_max <= DIRECT_READ_BYTES_MAX {
            return partition.read(from, bytes_max);
        }
        blocking(move || partition.read(from, bytes_max)).await
    }

    async fn read_damaged(&self, partition: &TopicPartition, offset: Offset) -> Result<Option<Bytes>> {
        let (_, partition) = self.shared.catalogue.partition(partition)?;
        blocking(move || partition.read_damaged(offset)).await
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Bounds> {
        self.shared.catalogue.partition(partition).map(|(_, partition)| partition.bounds())
    }

    fn watch(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>> {
        let (_, found) = self.shared.catalogue.partition(partition)?;
        found.watch().ok_or_else(closed)
    }

    async fn offset_at_time(&self, partition: &TopicPartition, timestamp_ms: i64) -> Result<Option<TimedOffset>> {
        let (_, partition) = self.shared.catalogue.partition(partition)?;
        blocking(move || partition.offset_at_time(timestamp_ms)).await
    }

    async fn new_producer_id(&self) -> Result<i64> {
        self.ask(|reply| Request::NewProducerId { reply }).await
    }

    async fn commit_offsets(&self, group: &str, offsets: Vec<(TopicPartition, CommittedOffset)>) -> Result<()> {
        self.ask(|reply| Request::CommitOffsets { group: group.to_owned(), offsets, reply }).await
    }

    fn committed_offsets(&self, group: &str) -> BTreeMap<TopicPartition, CommittedOffset> {
        self.shared.catalogue.committed_offsets(group)
    }

    fn groups(&self) -> Vec<String> {
        self.shared.catalogue.groups()
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        self.ask(|reply| Request::DeleteGroup { group: group.to_owned(), reply }).await
    }

    fn offset_totals(&self) -> OffsetTotals {
        self.shared.catalogue.offset_totals()
    }

    async fn expire_offsets(&self, with_members: &BTreeSet<String>, retention_ms: i64) -> Result<usize> {
        let changes = self.shared.catalogue.review_groups(with_members, self.shared.clock.now_ms(), retention_ms);
        let mut expired = 0;
        for changes in changes.chunks(GROUP_CHANGES_AT_ONCE) {
            let changes = changes.to_vec();
            expired += self.ask(|reply| Request::ChangeGroups { changes, reply }).await?;
        }
        Ok(expired)
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.shared.begin_end();
        // The threads end when nobody can ask any more; the directory's lock must outlive them.
        self.requests.get_mut().take();
        join(std::mem::take(self.threads.get_mut()));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|source| Error::Io { doing: format!("start thread {name}"), source })
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the log panicked; what was committed is recovered at the next start");
        }
    }
}

async fn answered<T>(shared: &OpenLog, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    answer.await.unwrap_or_else(|_| Err(shared.check_running().err().unwrap_or_else(closed)))
}

fn closed() -> Error {
    Error::Stopped("it is closed".to_owned())
}

/// Runs what may wait for the disk where it holds nobody up; without a runtime, here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        },
        Err(_) => work(),
    }
}
