//! The writer: one thread that turns requests into frames, and frames into promises.
//!
//! It takes everything that waits, decides about each request, writes the frames of all of them in one go, syncs once,
//! shows the changes to readers and answers. There is no timer: while one sync runs the next commit's requests
//! gather, so the busier the log, the more each sync carries.
//!
//! What must hold: nothing is shown to readers, and nothing but [`Acks::Written`] is answered, before the sync; after
//! a failed write or sync every request is answered with [`Error::Stopped`], and nothing is tried again, because
//! after a failed sync nobody knows what is on disk.

use std::{
    ops::Range,
    sync::{Arc, mpsc::SyncSender},
    time::Instant,
};

use bytes::Bytes;
use model::{Offset, TopicName};
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use crate::{
    frame::{Change, FrameBuffer, NewAppend},
    log::{Acks, Appended, CommittedOffset, Error, Result, Topic, TopicSpec},
    mover::{MoverMessage, TailBudget},
    open_log::OpenLog,
    partition::Partition,
    record::BatchHeader,
    request::{AppendRequest, Reply, Request},
    state::{Decision, PartitionState, State},
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
    pub(crate) mover: SyncSender<MoverMessage>,
    pub(crate) budget: Arc<TailBudget>,
    /// How much was written ahead since the last checkpoint began.
    pub(crate) wal_bytes_since_checkpoint: u64,
}

/// What happens when a commit is durable.
enum Effect {
    Append {
        partition: Arc<Partition>,
        batches: Vec<(BatchHeader, Range<usize>)>,
        reply: Reply<Appended>,
        answer: Appended,
    },
    /// An answer that had to wait for the commit it repeats.
    Repeat {
        reply: Reply<Appended>,
        answer: Appended,
    },
    CreateTopic {
        topic: Arc<Topic>,
        partitions: Vec<Arc<Partition>>,
        reply: Reply<Arc<Topic>>,
    },
    /// Refusing a name that is taken waits for the commit that took it: who is refused finds the topic.
    RefuseTopic {
        name: TopicName,
        reply: Reply<Arc<Topic>>,
    },
    DeleteTopic {
        topic: Arc<Topic>,
        partitions: Vec<Arc<Partition>>,
        reply: Reply<()>,
    },
    NewProducerId {
        id: i64,
        reply: Reply<i64>,
    },
    CommitOffsets {
        group: String,
        offsets: Vec<(model::TopicPartition, CommittedOffset)>,
        reply: Reply<()>,
    },
    DeleteGroup {
        group: String,
        reply: Reply<()>,
    },
}

/// One commit in the making.
struct Commit {
    frames: FrameBuffer,
    effects: Vec<Effect>,
    /// Appends that are answered when they are written.
    written: Vec<(Reply<Appended>, Appended)>,
    checkpoint: bool,
    close: bool,
}

impl Writer {
    /// Works until the log is closed or dropped.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let (requests, bytes) = self.gather(first);
            if let Err(stopped) = self.shared.check_running() {
                for request in requests {
                    if matches!(request, Request::Close) {
                        return;
                    }
                    request.fail(Error::Stopped(stopped.to_string()));
                }
                continue;
            }
            match self.commit(requests, bytes) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.shared.stop(&error.to_string()),
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

    /// Makes requests durable and answers them. Returns whether that was the last commit.
    fn commit(&mut self, requests: Vec<Request>, bytes: usize) -> Result<bool> {
        let mut rotated = Ok(());
        if !self.wal.has_room(bytes as u64) {
            rotated = self.wal.rotate(bytes as u64);
        }
        let frames = self.wal.begin();
        let mut commit = Commit { frames, effects: Vec::new(), written: Vec::new(), checkpoint: false, close: false };
        for request in requests {
            self.stage(request, &mut commit);
        }
        let Commit { frames, effects, written, checkpoint, close } = commit;
        let frame_bytes = frames.len() as u64;
        let stored = rotated.and_then(|()| self.store(frames, written));
        match stored {
            Ok(bytes) => self.finish(effects, &bytes)?,
            Err(error) => {
                let reason = format!("the write-ahead log failed, and what was not acknowledged may be lost: {error}");
                self.shared.stop(&reason);
                effects.into_iter().for_each(|effect| effect.fail(&reason));
                return Err(error);
            }
        }
        self.wal_bytes_since_checkpoint += frame_bytes;
        let due = self.wal_bytes_since_checkpoint >= self.shared.settings.checkpoint_wal_bytes;
        if due || checkpoint || close {
            self.begin_checkpoint()?;
        }
        Ok(close)
    }

    /// Writes and syncs frames; none at all need neither.
    fn store(&mut self, frames: FrameBuffer, written: Vec<(Reply<Appended>, Appended)>) -> Result<Bytes> {
        if frames.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes = self.wal.write(frames)?;
        for (reply, answer) in written {
            reply.send(Ok(answer));
        }
        let begun = Instant::now();
        self.wal.sync()?;
        self.shared.metrics.log_commit.observe(begun.elapsed().as_secs_f64());
        Ok(bytes)
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
                let id = self.state.next_producer_id;
                self.state.next_producer_id += 1;
                if id >= self.state.reserved_producer_ids {
                    self.state.reserved_producer_ids = id + PRODUCER_IDS_RESERVED;
                    commit.frames.push(&Change::ProducerIds(self.state.reserved_producer_ids));
                }
                commit.effects.push(Effect::NewProducerId { id, reply });
            }
            Request::CommitOffsets { group, offsets, reply } => match self.offsets_by_id(&offsets) {
                Ok(by_id) => {
                    commit.frames.push(&Change::CommitOffsets { group: group.clone(), offsets: by_id });
                    commit.effects.push(Effect::CommitOffsets { group, offsets, reply });
                }
                Err(error) => reply.send(Err(error)),
            },
            Request::DeleteGroup { group, reply } => {
                commit.frames.push(&Change::DeleteGroup(group.clone()));
                commit.effects.push(Effect::DeleteGroup { group, reply });
            }
            Request::Checkpoint => commit.checkpoint = true,
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
            Decision::Append { base_offset, next_offset, arrival_time_ms } => {
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
        let TopicSpec { name, partitions: count, settings } = spec;
        if !(1..=self.shared.settings.partitions_max).contains(&count) {
            return reply.send(Err(Error::PartitionCount(count)));
        }
        if self.state.topic_id(name.as_str()).is_some() {
            return commit.effects.push(Effect::RefuseTopic { name, reply });
        }
        let topic = Arc::new(Topic { name, id: Uuid::new_v4(), partitions: count, settings, owner: None });
        let directory = self.shared.topics_directory();
        let partition = |name| Arc::new(Partition::new(Arc::clone(&self.shared.disk), &directory, name, topic.id));
        let partitions: Vec<_> = topic.topic_partitions().map(partition).collect();
        commit.frames.push(&Change::CreateTopic((*topic).clone()));
        let states = partitions.iter().map(|partition| PartitionState::empty(Arc::clone(partition))).collect();
        self.state.add_topic(Arc::clone(&topic), states);
        commit.effects.push(Effect::CreateTopic { topic, partitions, reply });
    }

    fn stage_delete_topic(&mut self, id: Uuid, reply: Reply<()>, commit: &mut Commit) {
        let Some(removed) = self.state.remove_topic(id) else {
            return reply.send(Err(Error::UnknownPartition(id.to_string())));
        };
        commit.frames.push(&Change::DeleteTopic(id));
        let partitions = removed.partitions.into_iter().map(|partition| partition.shared).collect();
        commit.effects.push(Effect::DeleteTopic { topic: removed.topic, partitions, reply });
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

    /// Shows a durable commit to readers, answers, and hands the batches to the mover.
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
                other => other.apply(&self.shared),
            }
        }
        if moves.is_empty() {
            return Ok(());
        }
        self.budget.take(moved_bytes, self.shared.settings.tail_bytes_max, &self.shared);
        self.tell_mover(MoverMessage::Move(moves))
    }

    /// Begins a checkpoint of everything so far: the mover finishes it when it has moved everything so far.
    fn begin_checkpoint(&mut self) -> Result<()> {
        let settings = &self.shared.settings;
        let producers_since_ms = self.shared.clock.now_ms().saturating_sub(settings.producer_expiry_ms);
        let sequence = self.wal.last_sequence();
        self.wal.rotate(0)?;
        self.wal_bytes_since_checkpoint = 0;
        let groups = self.shared.catalogue.all_groups();
        let (checkpoint, partitions) = self.state.snapshot(sequence, groups, producers_since_ms);
        self.tell_mover(MoverMessage::Checkpoint(Box::new(checkpoint), partitions))
    }

    fn tell_mover(&self, message: MoverMessage) -> Result<()> {
        self.mover.send(message).map_err(|_| Error::Stopped("the mover ended".to_owned()))
    }
}

impl Effect {
    /// Everything but an append.
    fn apply(self, shared: &OpenLog) {
        let catalogue = &shared.catalogue;
        match self {
            Self::Append { reply, answer, .. } | Self::Repeat { reply, answer } => reply.send(Ok(answer)),
            Self::CreateTopic { topic, partitions, reply } => {
                catalogue.add_topic(Arc::clone(&topic), partitions);
                reply.send(Ok(topic));
            }
            Self::RefuseTopic { name, reply } => reply.send(Err(Error::TopicExists(name))),
            Self::DeleteTopic { topic, partitions, reply } => {
                catalogue.remove_topic(&topic.name);
                partitions.iter().for_each(|partition| partition.delete());
                reply.send(Ok(()));
            }
            Self::NewProducerId { id, reply } => reply.send(Ok(id)),
            Self::CommitOffsets { group, offsets, reply } => {
                catalogue.commit_offsets(&group, offsets.into_iter());
                reply.send(Ok(()));
            }
            Self::DeleteGroup { group, reply } => {
                catalogue.delete_group(&group);
                reply.send(Ok(()));
            }
        }
    }

    fn fail(self, reason: &str) {
        let stopped = Error::Stopped(reason.to_owned());
        match self {
            Self::Append { reply, .. } | Self::Repeat { reply, .. } => reply.send(Err(stopped)),
            Self::CreateTopic { reply, .. } | Self::RefuseTopic { reply, .. } => reply.send(Err(stopped)),
            Self::NewProducerId { reply, .. } => reply.send(Err(stopped)),
            Self::DeleteTopic { reply, .. } | Self::CommitOffsets { reply, .. } | Self::DeleteGroup { reply, .. } => {
                reply.send(Err(stopped));
            }
        }
    }
}
