//! The flusher: one thread that copies committed batches from memory into segments, makes checkpoints, and looks at
//! retention.
//!
//! The messages come in the order of the write-ahead log. So when a checkpoint's message is reached, the segments hold
//! exactly what the checkpoint must name; the flusher syncs them, stores the checkpoint, and removes what it made
//! superfluous: files of the write-ahead log, of retired segments, of deleted topics.
//!
//! Where the disk is full or too many files are open it tries again until there is room: what it moves is safe in the
//! write-ahead log. For the same reason it may give up when the log is closed and time is over.
//!
//! What must hold: a file that the stored checkpoint names is never removed, nor is one that is not the log's.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use model::Offset;
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc::Sender;

use crate::{
    checkpoint::Checkpoint,
    checkpoint_turn::CheckpointTurn,
    log::{Error, Result, io_error, sync_error},
    open_log::OpenLog,
    open_segments::OpenSegments,
    partition::Partition,
    partition_directory::remove_partition,
    request::Request,
    shortage::{Backoff, Part},
    tail::TailBatch,
    wal,
};

/// How much is gathered before it is written to segments.
const MOVE_BYTES: usize = 4 << 20;

/// How often the flusher looks up when nothing comes.
const TICK: Duration = Duration::from_millis(500);

type Move = (Arc<Partition>, Vec<TailBatch>);

pub(crate) enum FlusherMessage {
    /// Committed batches.
    Move(Vec<Move>),
    /// Everything before this message belongs to the checkpoint.
    Checkpoint(Box<CheckpointWork>),
}

/// A checkpoint to finish.
pub(crate) struct CheckpointWork {
    checkpoint: Checkpoint,
    /// In the checkpoint's order.
    partitions: Vec<Vec<Arc<Partition>>>,
    /// The partitions of deleted topics, which it does not name.
    deleted: Vec<Arc<Partition>>,
    /// The files of segments that retention took out of it.
    retired: Vec<PathBuf>,
}

impl CheckpointWork {
    pub(crate) fn new(
        checkpoint: Checkpoint,
        partitions: Vec<Vec<Arc<Partition>>>,
        deleted: Vec<Arc<Partition>>,
    ) -> Self {
        Self { checkpoint, partitions, deleted, retired: Vec::new() }
    }
}

/// Why the flusher ends.
enum Halt {
    /// The log is closed, and the rest would take too long.
    GaveUp,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How many committed bytes wait for the flusher.
#[derive(Default)]
pub(crate) struct TailBudget {
    waiting: Mutex<usize>,
    freed: Condvar,
}

impl TailBudget {
    /// Counts `bytes` in, and waits while that is too much, unless the log was stopped, the flusher lacks something, or
    /// time for closing is over.
    pub(crate) fn take(&self, bytes: usize, bytes_max: usize, shared: &OpenLog) {
        let mut waiting = self.waiting.lock();
        let hopes = || shared.check_writable().is_ok() && !shared.is_out_of_time();
        while *waiting > 0 && *waiting + bytes > bytes_max && hopes() {
            self.freed.wait_for(&mut waiting, Duration::from_millis(100));
        }
        *waiting += bytes;
    }

    fn give(&self, bytes: usize) {
        let mut waiting = self.waiting.lock();
        *waiting = waiting.saturating_sub(bytes);
        self.freed.notify_all();
    }
}

pub(crate) struct Flusher {
    shared: Arc<OpenLog>,
    messages: Receiver<FlusherMessage>,
    /// Where a checkpoint is asked for. Weak, so that the flusher does not keep the writer waiting for requests.
    writer: tokio::sync::mpsc::WeakSender<Request>,
    budget: Arc<TailBudget>,
    turn: Arc<CheckpointTurn>,
    open: OpenSegments,
    /// Moved batches that are still in memory, oldest first: up to which offset, and how many bytes.
    cached: VecDeque<(Arc<Partition>, Offset, usize)>,
    cached_bytes: usize,
    /// Whether a checkpoint was asked for because of retention.
    checkpoint_asked: bool,
}

impl Flusher {
    pub(crate) fn new(
        shared: Arc<OpenLog>,
        messages: Receiver<FlusherMessage>,
        writer: &Sender<Request>,
        budget: Arc<TailBudget>,
        turn: Arc<CheckpointTurn>,
        open: OpenSegments,
    ) -> Self {
        let (cached, cached_bytes) = (VecDeque::new(), 0);
        Self {
            shared,
            messages,
            writer: writer.downgrade(),
            budget,
            turn,
            open,
            cached,
            cached_bytes,
            checkpoint_asked: false,
        }
    }

    /// Works until the writer is gone and everything it sent is done.
    pub(crate) fn run(mut self) {
        let interval = Duration::from_millis(self.shared.settings.retention_check_interval_ms.max(1));
        let tick = interval.min(TICK);
        let mut idle = Duration::ZERO;
        loop {
            let done = match self.messages.recv_timeout(tick) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {
                    idle += tick;
                    if idle >= interval {
                        idle = Duration::ZERO;
                        self.look_at_retention();
                    }
                    self.look_after_writer();
                    Ok(())
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match done {
                Ok(()) => {}
                Err(Halt::GaveUp) => {
                    tracing::warn!("the log ends without a checkpoint: the next start reads its write-ahead log");
                    return;
                }
                Err(Halt::Failed(error)) => {
                    // What was committed is safe in the write-ahead log; opening the log again moves it.
                    self.shared.stop(&format!("moving committed records into segments failed: {error}"));
                    return;
                }
            }
        }
    }

    fn handle(&mut self, message: FlusherMessage) -> Result<(), Halt> {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            match message {
                FlusherMessage::Move(mut moves) => {
                    next = self.gather(&mut moves);
                    self.move_batches(moves)?;
                }
                FlusherMessage::Checkpoint(mut work) => {
                    self.persevere(|flusher| flusher.checkpoint(&mut work))?;
                    if self.turn.give() {
                        self.ask_for(Request::Checkpoint);
                    }
                }
            }
        }
        Ok(())
    }

    /// Attempts something until it does not lack room any more.
    fn persevere(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<(), Halt>) -> Result<(), Halt> {
        let shared = Arc::clone(&self.shared);
        let mut backoff = Backoff::new(shared.settings.retry_delay_ms_max);
        loop {
            let done = if shared.is_out_of_time() { Err(Halt::GaveUp) } else { attempt(self) };
            match done {
                Err(Halt::Failed(error)) if shared.shortage.begin(Part::Flusher, &error, shared.clock.instant()) => {
                    if shared.is_ending() {
                        return Err(Halt::GaveUp);
                    }
                    if matches!(error, Error::TooManyOpenFiles { .. }) {
                        self.open.close_all()?;
                    }
                    shared.shortage.pause(backoff.delay(), || shared.is_ending());
                }
                done => {
                    shared.shortage.end(Part::Flusher);
                    return done;
                }
            }
        }
    }

    /// Adds what waits, up to a checkpoint or enough bytes.
    fn gather(&self, moves: &mut Vec<Move>) -> Option<FlusherMessage> {
        let size = |moves: &[Move]| -> usize { moves.iter().map(|(_, batches)| bytes_of(batches)).sum() };
        let mut bytes = size(moves);
        while bytes < MOVE_BYTES {
            match self.messages.try_recv().ok()? {
                FlusherMessage::Move(more) => {
                    bytes += size(&more);
                    moves.extend(more);
                }
                other => return Some(other),
            }
        }
        None
    }

    fn move_batches(&mut self, moves: Vec<Move>) -> Result<(), Halt> {
        let mut by_partition: HashMap<*const Partition, Move> = HashMap::new();
        for (partition, batches) in moves {
            let key = Arc::as_ptr(&partition);
            by_partition.entry(key).or_insert_with(|| (partition, Vec::new())).1.extend(batches);
        }
        for (partition, batches) in by_partition.into_values() {
            let bytes = bytes_of(&batches);
            self.persevere(|flusher| {
                if !partition.is_deleted() {
                    partition.move_to_segments(&batches, &flusher.shared.settings, &mut flusher.open)?;
                }
                Ok(())
            })?;
            if let Some(last) = batches.last() {
                self.cached.push_back((partition, last.header.next_offset(), bytes));
                self.cached_bytes += bytes;
            }
            self.budget.give(bytes);
        }
        while self.cached_bytes > self.shared.settings.tail_cache_bytes_max {
            let Some((partition, next_offset, bytes)) = self.cached.pop_front() else { break };
            partition.evict_tail(next_offset);
            self.cached_bytes -= bytes;
        }
        Ok(())
    }

    /// Makes a checkpoint; an attempt that lacked room can be repeated from its beginning.
    fn checkpoint(&mut self, work: &mut CheckpointWork) -> Result<(), Halt> {
        let (shared, now_ms) = (Arc::clone(&self.shared), self.shared.clock.now_ms());
        let CheckpointWork { checkpoint, partitions, deleted, retired } = work;
        for (topic, partitions) in checkpoint.topics.iter_mut().zip(partitions) {
            for (entry, partition) in topic.partitions.iter_mut().zip(partitions) {
                if shared.is_out_of_time() {
                    return Err(Halt::GaveUp);
                }
                retired.extend(partition.retire(&topic.topic.settings, now_ms));
                entry.segments = partition.persist()?;
                entry.log_start_offset = partition.bounds().log_start_offset;
            }
        }
        let topics = shared.topics_directory();
        shared.disk.sync_directory(&topics).map_err(sync_error(&topics))?;
        checkpoint.store(&*shared.disk, &shared.directory)?;
        self.checkpoint_asked = false;
        for path in retired {
            shared.disk.remove_file(path).map_err(io_error("remove", path))?;
        }
        for partition in deleted {
            remove_partition(&*shared.disk, partition.directory())?;
        }
        Ok(remove_wal_before(&shared, checkpoint.sequence + 1)?)
    }

    /// Asks for a checkpoint when there is something to delete: deleting is part of it.
    fn look_at_retention(&mut self) {
        let now_ms = self.shared.clock.now_ms();
        let partitions = self.shared.catalogue.partitions();
        let expired = partitions.iter().any(|(topic, partition)| partition.has_expired(&topic.settings, now_ms));
        if expired && !self.checkpoint_asked {
            // If the queue is full there is another round.
            self.checkpoint_asked = self.ask_for(Request::Checkpoint);
        }
    }

    /// Lets the writer look whether what it lacked is there: nobody else may ask it for anything.
    fn look_after_writer(&self) {
        if self.shared.shortage.error(Part::Writer, self.shared.clock.instant()).is_some() {
            self.ask_for(Request::Retry);
        }
    }

    fn ask_for(&self, request: Request) -> bool {
        self.writer.upgrade().is_some_and(|writer| writer.try_send(request).is_ok())
    }
}

fn bytes_of(batches: &[TailBatch]) -> usize {
    batches.iter().map(|batch| batch.bytes.len()).sum()
}

/// Removes files of the write-ahead log that hold only frames before `sequence`.
fn remove_wal_before(shared: &OpenLog, sequence: u64) -> Result<()> {
    let directory = shared.wal_directory();
    let names = shared.disk.list(&directory).map_err(io_error("list", &directory))?;
    let mut files: Vec<_> = names.iter().filter_map(|name| Some((wal::sequence_of(name)?, name))).collect();
    files.sort_unstable();
    // The last one that begins at or before the frame may hold it, and frames after it.
    let kept = files.iter().rposition(|(first, _)| *first <= sequence).unwrap_or(0);
    for (_, name) in files.iter().take(kept) {
        let path = directory.join(name);
        shared.disk.remove_file(&path).map_err(io_error("remove", &path))?;
    }
    Ok(())
}
