//! The writer: one thread that turns requests into frames, and frames into promises.
//!
//! It takes everything that waits, decides about each request, writes the frames of all of them in one go, syncs once,
//! shows the changes to readers and answers. There is no timer: while one sync runs the next commit's requests
//! gather, so the busier the log, the more each sync carries.
//!
//! What must hold: nothing is shown to readers, and nothing but [`Acks::Written`] is answered, before the sync; after
//! a failed sync every request is answered with [`Error::Stopped`], and nothing is tried again, because nobody knows
//! what is on disk. A commit for which there was no room is taken back as a whole: from the file, and from the state.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::Instant,
};

use bytes::Bytes;
use model::Offset;
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use crate::{
    admission::check_topic,
    checkpoint_turn::CheckpointTurn,
    commit::{Commit, Effect},
    flusher::{CheckpointWork, FlusherMessage, TailBudget},
    frame::{Change, NewAppend},
    log::{Acks, Appended, CommittedOffset, Error, Result, Topic, TopicSpec},
    open_log::OpenLog,
    partition::Partition,
    record::BatchHeader,
    request::{AppendRequest, Reply, Request},
    shortage::{Backoff, Part},
    state::{Decision, PartitionState, State, Undo},
    tail::TailBatch,
    wal::Wal,
};

/// How many producer ids one frame reserves.
const PRODUCER_IDS_RESERVED: i64 = 1000;

pub(crate) struct Writer {
    pub(crate) shared: Arc<OpenLog>,
    pub(crate) state: State,
    pub(crate) wal: Wal,
    pub(crate) requests: Receiver<Request>,
    pub(crate) flusher: SyncSender<FlusherMessage>,
    pub(crate) budget: Arc<TailBudget>,
    pub(crate) turn: Arc<CheckpointTurn>,
    /// How much was written ahead since the last checkpoint began.
    pub(crate) wal_bytes_since_checkpoint: u64,
    /// The partitions of topics that were deleted since then.
    pub(crate) deleted: Vec<Arc<Partition>>,
    /// What was lacking, since something was written last.
    pub(crate) lacking: Option<Lacking>,
}

/// Room that was not there.
#[derive(Clone, Copy)]
pub(crate) struct Lacking {
    /// Until when nothing is tried.
    until: Instant,
    /// How long to wait the next time.
    backoff: Backoff,
    /// For how many bytes there was no room.
    bytes: usize,
}

impl Writer {
    /// Works until the log is closed or dropped.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let (requests, bytes) = self.gather(first);
            let close = requests.iter().any(|request| matches!(request, Request::Close));
            let done = match self.shared.check_running() {
                Ok(()) => self.commit(requests, bytes),
                Err(stopped) => {
                    requests.into_iter().for_each(|request| request.fail(stopped.repeated()));
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.shared.stop(&error.to_string());
            }
            if close {
                return;
            }
        }
    }

    /// Everything that waits, up to the size of a commit.
    fn gather(&mut self, first: Request) -> (Vec<Request>, usize) {
        let mut bytes = first.wal_bytes();
        let mut requests = vec![first];
        while bytes < self.shared.settings.commit_bytes_max {
            let Ok(request) = self.requests.try_recv() else { break };
            bytes += request.wal_bytes();
            requests.push(request);
        }
        (requests, bytes)
    }

    /// Makes requests durable and answers them.
    fn commit(&mut self, requests: Vec<Request>, bytes: usize) -> Result<()> {
        let requests = match self.make_room(bytes) {
            Ok(()) => self.refuse(requests, Part::Flusher, |request| request.is_change() && !request.frees()),
            Err(error) if error.is_shortage() => self.refuse(requests, Part::Writer, Request::is_change),
            Err(error) => {
                let reason = format!("the write-ahead log failed: {error}");
                self.shared.stop(&reason);
                requests.into_iter().for_each(|request| request.fail(Error::Stopped(reason.clone())));
                return Err(error);
            }
        };
        let mut commit = Commit::new(self.wal.begin());
        for request in requests {
            self.stage(request, &mut commit);
        }
        let Commit { frames, effects, written, undo, checkpoint, close } = commit;
        let frame_bytes = frames.len() as u64;
        let stored = if frames.is_empty() { Ok(Bytes::new()) } else { self.wal.write(frames) };
        let stored = stored.and_then(|frames| self.answer_written(written, frame_bytes).map(|()| frames));
        match stored {
            Ok(frames) => self.finish(effects, &frames)?,
            Err(error) if error.is_shortage() => self.take_back(effects, undo, &error, bytes)?,
            Err(error) => {
                let reason = format!("the write-ahead log failed, and what was not acknowledged may be lost: {error}");
                self.shared.stop(&reason);
                effects.into_iter().for_each(|effect| effect.fail(Error::Stopped(reason.clone())));
                return Err(error);
            }
        }
        self.wal_bytes_since_checkpoint += frame_bytes;
        self.look_at_checkpoint(checkpoint, close)
    }

    /// Makes room in the write-ahead log, but not too often when there was none.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        let now = self.shared.clock.instant();
        if self.lacking.is_some_and(|lacking| now < lacking.until)
            && let Some(error) = self.shared.shortage.error(Part::Writer, now)
        {
            return Err(error);
        }
        // There is always room for nothing: who only looks whether there is some looks for what was lacking.
        let bytes = self.lacking.filter(|_| bytes == 0).map_or(bytes, |lacking| lacking.bytes);
        let room = self.wal.make_room(bytes as u64);
        match &room {
            Ok(()) => self.shared.shortage.end(Part::Writer),
            Err(error) => self.note_shortage(error, bytes),
        }
        room
    }

    fn note_shortage(&mut self, error: &Error, bytes: usize) {
        let now = self.shared.clock.instant();
        if self.shared.shortage.begin(Part::Writer, error, now) {
            let fresh = Backoff::new(self.shared.settings.retry_delay_ms_max);
            let mut backoff = self.lacking.map_or(fresh, |lacking| lacking.backoff);
            self.lacking = Some(Lacking { until: now + backoff.delay(), backoff, bytes });
        }
    }

    /// Answers those requests that `needs` what a part lacks, if it does; the others are left.
    fn refuse(&self, mut requests: Vec<Request>, part: Part, needs: impl Fn(&Request) -> bool) -> Vec<Request> {
        let Some(error) = self.shared.shortage.error(part, self.shared.clock.instant()) else { return requests };
        requests.extract_if(.., |request| needs(request)).for_each(|request| request.fail(error.repeated()));
        requests
    }

    /// Answers what need not be durable, and makes it durable; where nothing was written, neither.
    fn answer_written(&mut self, written: Vec<(Reply<Appended>, Appended)>, frame_bytes: u64) -> Result<()> {
        if frame_bytes == 0 {
            return Ok(());
        }
        self.lacking = None;
        for (reply, answer) in written {
            reply.send(Ok(answer));
        }
        let begun = self.shared.clock.instant();
        self.wal.sync()?;
        let took = self.shared.clock.instant().saturating_duration_since(begun);
        self.shared.metrics.log_commit.observe(took.as_secs_f64());
        Ok(())
    }

    /// Undoes a commit of which not all could be written.
    fn take_back(&mut self, effects: Vec<Effect>, undo: Vec<Undo>, error: &Error, bytes: usize) -> Result<()> {
        self.note_shortage(error, bytes);
        undo.into_iter().rev().for_each(|undo| self.state.undo(undo));
        let taken = self.wal.take_back();
        let error = taken.as_ref().err().unwrap_or(error);
        effects.into_iter().for_each(|effect| effect.fail(error.repeated()));
        taken
    }

    /// Decides about one request: an answer at once, or a frame and what follows from it.
    fn stage(&mut self, request: Request, commit: &mut Commit) {
        match request {
            Request::Append(append) => self.stage_append(append, commit),
            Request::CreateTopic { spec, reply } => self.stage_create_topic(spec, reply, commit),
            Request::DeleteTopic { name, reply } => match self.state.topic_id(name.as_str()) {
                Some(id) => self.stage_delete_topic(id, reply, commit),
                None => reply.send(Err(Error::UnknownPartition(name.to_string()))),
            },
            Request::NewProducerId { reply } => {
                let (id, reserved) = (self.state.next_producer_id, self.state.reserved_producer_ids);
                commit.undo.push(Undo::ProducerIds { next: id, reserved });
                self.state.next_producer_id += 1;
                if id >= self.state.reserved_producer_ids {
                    self.state.reserved_producer_ids = id + PRODUCER_IDS_RESERVED;
                    commit.frames.push(&Change::ProducerIds(self.state.reserved_producer_ids));
                }
                commit.effects.push(Effect::NewProducerId { id, reply });
            }
            Request::CommitOffsets { group, offsets, reply } => match self.offsets_by_id(&offsets) {
                Ok(by_id) => {
                    let committed_ms = self.shared.clock.now_ms();
                    let (group_name, time) = (group.clone(), Some(committed_ms));
                    let change = Change::CommitOffsets { group: group_name, committed_ms: time, offsets: by_id };
                    commit.frames.push(&change);
                    commit.effects.push(Effect::CommitOffsets { group, committed_ms, offsets, reply });
                }
                Err(error) => reply.send(Err(error)),
            },
            Request::DeleteGroup { group, reply } => {
                commit.frames.push(&Change::DeleteGroup(group.clone()));
                commit.effects.push(Effect::DeleteGroup { group, reply });
            }
            Request::ChangeGroups { changes, reply } => {
                changes.iter().for_each(|change| commit.frames.push(&Change::Group(change.clone())));
                commit.effects.push(Effect::ChangeGroups { changes, reply });
            }
            Request::Checkpoint => commit.checkpoint = true,
            Request::Retry => {}
            Request::Close => commit.close = true,
        }
    }

    fn stage_append(&mut self, append: AppendRequest, commit: &mut Commit) {
        let AppendRequest { partition: name, batches, acks, reply, _permit } = append;
        let now_ms = self.shared.clock.now_ms();
        let (topic, decision) = match self.state.append(&name, &batches, now_ms) {
            Ok(decided) => decided,
            Err(error) => return reply.send(Err(error)),
        };
        let (base_offset, next_offset, arrival_time_ms) = match decision {
            Decision::Append { base_offset, next_offset, arrival_time_ms, before } => {
                commit.undo.push(Undo::Append { topic, partition: name.partition, before });
                (base_offset, next_offset, arrival_time_ms)
            }
            Decision::Duplicate(answer) => return commit.effects.push(Effect::Repeat { reply, answer }),
        };
        let Some(state) = self.state.partition_by_id(topic, name.partition) else {
            return reply.send(Err(Error::UnknownPartition(name.to_string())));
        };
        let partition = Arc::clone(&state.shared);
        let new = NewAppend { topic, partition: name.partition, arrival_time_ms, base_offset, batches: &batches };
        let ranges = commit.frames.push_append(&new);
        let mut offset: Offset = base_offset;
        let placed = batches.iter().zip(ranges).map(|((header, _), range)| {
            let header = BatchHeader { base_offset: offset, leader_epoch: 0, ..*header };
            offset = header.next_offset();
            (header, range)
        });
        let batches = placed.collect();
        let log_start_offset = partition.bounds().log_start_offset;
        let answer = Appended { base_offset, next_offset, arrival_time_ms, log_start_offset, duplicate: false };
        let reply = if acks == Acks::Written {
            commit.written.push((reply, answer));
            Reply::unheard()
        } else {
            reply
        };
        commit.effects.push(Effect::Append { partition, batches, reply, answer });
    }

    fn stage_create_topic(&mut self, spec: TopicSpec, reply: Reply<Arc<Topic>>, commit: &mut Commit) {
        if let Err(error) = check_topic(&spec, &self.shared.settings, self.state.partitions()) {
            return reply.send(Err(error));
        }
        let TopicSpec { name, partitions: count, settings } = spec;
        if self.state.topic_id(name.as_str()).is_some() {
            return commit.effects.push(Effect::RefuseTopic { name, reply });
        }
        let id = self.shared.entropy.uuid();
        let topic = Arc::new(Topic { name, id, partitions: count, settings, owner: None });
        let directory = self.shared.topics_directory();
        let partition = |name| Arc::new(Partition::new(Arc::clone(&self.shared.disk), &directory, name, topic.id));
        let partitions: Vec<_> = topic.topic_partitions().map(partition).collect();
        commit.frames.push(&Change::CreateTopic((*topic).clone()));
        let states = partitions.iter().map(|partition| PartitionState::empty(Arc::clone(partition))).collect();
        self.state.add_topic(Arc::clone(&topic), states);
        commit.undo.push(Undo::CreateTopic(topic.id));
        commit.effects.push(Effect::CreateTopic { topic, partitions, reply });
    }

    fn stage_delete_topic(&mut self, id: Uuid, reply: Reply<()>, commit: &mut Commit) {
        let Some(removed) = self.state.remove_topic(id) else {
            return reply.send(Err(Error::UnknownPartition(id.to_string())));
        };
        commit.frames.push(&Change::DeleteTopic(id));
        let partitions = removed.partitions.iter().map(|partition| Arc::clone(&partition.shared)).collect();
        commit.effects.push(Effect::DeleteTopic { topic: Arc::clone(&removed.topic), partitions, reply });
        commit.undo.push(Undo::DeleteTopic(removed));
        // Its files may go when a checkpoint no longer names them.
        commit.checkpoint = true;
    }

    fn offsets_by_id(
        &mut self,
        offsets: &[(model::TopicPartition, CommittedOffset)],
    ) -> Result<Vec<(Uuid, i32, CommittedOffset)>> {
        let by_id = |(name, committed): &(model::TopicPartition, CommittedOffset)| {
            self.state.partition(name)?;
            let unknown = || Error::UnknownPartition(name.to_string());
            let id = self.state.topic_id(name.topic.as_str()).ok_or_else(unknown)?;
            Ok((id, name.partition, committed.clone()))
        };
        offsets.iter().map(by_id).collect()
    }

    /// Shows a durable commit to readers, answers, and hands the batches to the flusher.
    fn finish(&mut self, effects: Vec<Effect>, bytes: &Bytes) -> Result<()> {
        let (mut moves, mut moved_bytes) = (Vec::new(), 0);
        for effect in effects {
            match effect {
                Effect::Append { partition, batches, reply, answer } => {
                    let arrival_time_ms = answer.arrival_time_ms;
                    let tail = |(header, range)| TailBatch { header, arrival_time_ms, bytes: bytes.slice(range) };
                    let batches: Vec<TailBatch> = batches.into_iter().map(tail).collect();
                    let records: i64 = batches.iter().map(|batch| i64::from(batch.header.record_count)).sum();
                    let size: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
                    self.shared.metrics.log_appended_records.inc_by(records.unsigned_abs());
                    self.shared.metrics.log_appended.inc_by(size as u64);
                    partition.commit(batches.iter().cloned(), answer.next_offset);
                    moved_bytes += size;
                    moves.push((partition, batches));
                    reply.send(Ok(answer));
                }
                Effect::DeleteTopic { topic, partitions, reply } => {
                    self.deleted.extend(partitions.iter().map(Arc::clone));
                    Effect::DeleteTopic { topic, partitions, reply }.apply(&self.shared);
                }
                other => other.apply(&self.shared),
            }
        }
        if moves.is_empty() {
            return Ok(());
        }
        self.budget.take(moved_bytes, self.shared.settings.tail_bytes_max, &self.shared);
        self.tell_flusher(FlusherMessage::Move(moves))
    }

    /// Begins a checkpoint when one is due, asked for, or the log is closed. While one is being made those that are
    /// asked for become one together; and far too much is not written ahead before it is done.
    fn look_at_checkpoint(&mut self, asked: bool, close: bool) -> Result<()> {
        let due_bytes = self.shared.settings.checkpoint_wal_bytes;
        let due = self.wal_bytes_since_checkpoint >= due_bytes;
        if close {
            return self.begin_checkpoint(true);
        }
        if (due || asked || self.turn.is_wanted()) && self.turn.take() {
            return self.begin_checkpoint(false);
        }
        if self.wal_bytes_since_checkpoint >= due_bytes.saturating_mul(2) {
            self.turn.wait(&self.shared);
        }
        Ok(())
    }

    /// Begins a checkpoint of everything so far: the flusher finishes it when it has moved everything so far.
    fn begin_checkpoint(&mut self, close: bool) -> Result<()> {
        let settings = &self.shared.settings;
        let producers_since_ms = self.shared.clock.now_ms().saturating_sub(settings.producer_expiry_ms);
        let sequence = self.wal.last_sequence();
        if !close {
            match self.wal.turn_over() {
                // The file is kept for longer; the checkpoint is what frees space.
                Err(error) if error.is_shortage() => {}
                turned => turned?,
            }
        }
        self.wal_bytes_since_checkpoint = 0;
        let groups = self.shared.catalogue.all_groups();
        let (checkpoint, partitions) = self.state.snapshot(sequence, groups, producers_since_ms);
        let deleted = std::mem::take(&mut self.deleted);
        self.tell_flusher(FlusherMessage::Checkpoint(Box::new(CheckpointWork::new(checkpoint, partitions, deleted))))
    }

    fn tell_flusher(&self, message: FlusherMessage) -> Result<()> {
        match self.flusher.send(message) {
            // What it left is in the write-ahead log.
            Err(_) if self.shared.is_ending() => Ok(()),
            sent => sent.map_err(|_| Error::Stopped("the flusher ended".to_owned())),
        }
    }
}
