//! The mover: one thread that copies committed batches from memory into segments, makes checkpoints, and looks at
//! retention.
//!
//! The messages come in the order of the write-ahead log. So when a checkpoint's message is reached, the segments hold
//! exactly what the checkpoint must name; the mover syncs them, stores the checkpoint, and removes what it made
//! superfluous: files of the write-ahead log, of retired segments, of deleted topics.
//!
//! What must hold: a file that the stored checkpoint names is never removed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
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
    log::{Result, io_error},
    open_log::OpenLog,
    open_segments::OpenSegments,
    partition::Partition,
    request::Request,
    tail::TailBatch,
    wal,
};

/// How much is gathered before it is written to segments.
const MOVE_BYTES: usize = 4 << 20;

type Move = (Arc<Partition>, Vec<TailBatch>);

pub(crate) enum MoverMessage {
    /// Committed batches.
    Move(Vec<Move>),
    /// Everything before this message belongs to the checkpoint; the partitions are in its order.
    Checkpoint(Box<Checkpoint>, Vec<Vec<Arc<Partition>>>),
}

/// How many committed bytes wait for the mover.
#[derive(Default)]
pub(crate) struct TailBudget {
    waiting: Mutex<usize>,
    freed: Condvar,
}

impl TailBudget {
    /// Counts `bytes` in, and waits while that is too much, unless the log was stopped.
    pub(crate) fn take(&self, bytes: usize, bytes_max: usize, shared: &OpenLog) {
        let mut waiting = self.waiting.lock();
        while *waiting > 0 && *waiting + bytes > bytes_max && shared.check_running().is_ok() {
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

pub(crate) struct Mover {
    shared: Arc<OpenLog>,
    messages: Receiver<MoverMessage>,
    /// Where a checkpoint is asked for. Weak, so that the mover does not keep the writer waiting for requests.
    writer: tokio::sync::mpsc::WeakSender<Request>,
    budget: Arc<TailBudget>,
    open: OpenSegments,
    /// Moved batches that are still in memory, oldest first: up to which offset, and how many bytes.
    cached: VecDeque<(Arc<Partition>, Offset, usize)>,
    cached_bytes: usize,
    /// Whether a checkpoint was asked for because of retention.
    checkpoint_asked: bool,
}

impl Mover {
    pub(crate) fn new(
        shared: Arc<OpenLog>,
        messages: Receiver<MoverMessage>,
        writer: &Sender<Request>,
        budget: Arc<TailBudget>,
        open: OpenSegments,
    ) -> Self {
        let (cached, cached_bytes) = (VecDeque::new(), 0);
        Self {
            shared,
            messages,
            writer: writer.downgrade(),
            budget,
            open,
            cached,
            cached_bytes,
            checkpoint_asked: false,
        }
    }

    /// Works until the writer is gone and everything it sent is done.
    pub(crate) fn run(mut self) {
        let interval = Duration::from_millis(self.shared.settings.retention_check_interval_ms.max(1));
        loop {
            let done = match self.messages.recv_timeout(interval) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {
                    self.look_at_retention();
                    Ok(())
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(error) = done {
                // What was committed is safe in the write-ahead log; opening the log again moves it.
                self.shared.stop(&format!("moving committed records into segments failed: {error}"));
                return;
            }
        }
    }

    fn handle(&mut self, message: MoverMessage) -> Result<()> {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            match message {
                MoverMessage::Move(mut moves) => {
                    next = self.gather(&mut moves);
                    self.move_batches(moves)?;
                }
                MoverMessage::Checkpoint(checkpoint, partitions) => self.checkpoint(*checkpoint, &partitions)?,
            }
        }
        Ok(())
    }

    /// Adds what waits, up to a checkpoint or enough bytes.
    fn gather(&self, moves: &mut Vec<Move>) -> Option<MoverMessage> {
        let size = |moves: &[Move]| -> usize { moves.iter().map(|(_, batches)| bytes_of(batches)).sum() };
        let mut bytes = size(moves);
        while bytes < MOVE_BYTES {
            match self.messages.try_recv().ok()? {
                MoverMessage::Move(more) => {
                    bytes += size(&more);
                    moves.extend(more);
                }
                other => return Some(other),
            }
        }
        None
    }

    fn move_batches(&mut self, moves: Vec<Move>) -> Result<()> {
        let mut by_partition: HashMap<*const Partition, Move> = HashMap::new();
        for (partition, batches) in moves {
            let key = Arc::as_ptr(&partition);
            by_partition.entry(key).or_insert_with(|| (partition, Vec::new())).1.extend(batches);
        }
        for (partition, batches) in by_partition.into_values() {
            let bytes = bytes_of(&batches);
            if !partition.is_deleted() {
                partition.move_to_segments(&batches, &self.shared.settings, &mut self.open)?;
            }
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

    fn checkpoint(&mut self, mut checkpoint: Checkpoint, partitions: &[Vec<Arc<Partition>>]) -> Result<()> {
        let (shared, now_ms) = (Arc::clone(&self.shared), self.shared.clock.now_ms());
        let mut retired: Vec<PathBuf> = Vec::new();
        for (topic, partitions) in checkpoint.topics.iter_mut().zip(partitions) {
            for (entry, partition) in topic.partitions.iter_mut().zip(partitions) {
                retired.extend(partition.retire(&topic.topic.settings, now_ms));
                entry.segments = partition.persist()?;
                entry.log_start_offset = partition.bounds().log_start_offset;
            }
        }
        let topics = shared.topics_directory();
        shared.disk.sync_directory(&topics).map_err(io_error("sync", &topics))?;
        checkpoint.store(&*shared.disk, &shared.directory)?;
        self.checkpoint_asked = false;
        for path in retired {
            shared.disk.remove_file(&path).map_err(io_error("remove", &path))?;
        }
        remove_wal_before(&shared, checkpoint.sequence + 1)?;
        remove_unnamed_topics(&shared, partitions.iter().flatten())
    }

    /// Asks for a checkpoint when there is something to delete: deleting is part of it.
    fn look_at_retention(&mut self) {
        let now_ms = self.shared.clock.now_ms();
        let partitions = self.shared.catalogue.partitions();
        let expired = partitions.iter().any(|(topic, partition)| partition.has_expired(&topic.settings, now_ms));
        if expired
            && !self.checkpoint_asked
            && let Some(writer) = self.writer.upgrade()
        {
            // If the queue is full there is another round.
            self.checkpoint_asked = writer.try_send(Request::Checkpoint).is_ok();
        }
    }
}

fn bytes_of(batches: &[TailBatch]) -> usize {
    batches.iter().map(|batch| batch.bytes.len()).sum()
}

/// Removes files of the write-ahead log that hold only frames before `sequence`.
fn remove_wal_before(shared: &OpenLog, sequence: u64) -> Result<()> {
    let directory = shared.wal_directory();
    let names = shared.disk.list(&directory).map_err(io_error("list", &directory))?;
    for name in names {
        if wal::sequence_of(&name).is_some_and(|first| first < sequence) {
            let path = directory.join(name);
            shared.disk.remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

/// Removes the directories of topics that are gone. `named` are the partitions of the stored checkpoint.
fn remove_unnamed_topics<'a>(shared: &OpenLog, named: impl Iterator<Item = &'a Arc<Partition>>) -> Result<()> {
    // A topic may have been created after the checkpoint: only a deleted one is gone.
    let mut kept: HashSet<PathBuf> = named.map(|partition| partition.directory().to_owned()).collect();
    kept.extend(shared.catalogue.partitions().iter().map(|(_, partition)| partition.directory().to_owned()));
    let topics = shared.topics_directory();
    for name in shared.disk.list(&topics).map_err(io_error("list", &topics))? {
        let path = topics.join(name);
        if !kept.contains(&path) {
            shared.disk.remove_directory(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}
