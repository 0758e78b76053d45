//! What the writer knows and decides with: topics, where each partition ends, and its producers.
//!
//! Live appends and the replay of the write-ahead log change it through the same functions, so a recovered log
//! decides as the one that died would have.
//!
//! What it is not: visible to readers. They see [`Catalogue`](crate::catalogue::Catalogue) and partitions, which
//! change when a change is durable.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use model::{Offset, TopicName, TopicPartition};
use uuid::Uuid;

use crate::{
    checkpoint::{Checkpoint, PartitionCheckpoint, TopicCheckpoint},
    groups::Groups,
    log::{Appended, Error, Result, Topic},
    partition::Partition,
    producer_state::{ProducerBefore, ProducerStates, Verdict},
    record::BatchHeader,
};

/// The writer's view of everything.
pub(crate) struct State {
    topics: HashMap<Uuid, TopicState>,
    ids: HashMap<TopicName, Uuid>,
    /// How many partitions all topics have.
    partitions: usize,
    /// The next producer id to give out.
    pub(crate) next_producer_id: i64,
    /// Ids below this are reserved in the write-ahead log.
    pub(crate) reserved_producer_ids: i64,
    producers_max: usize,
}

pub(crate) struct TopicState {
    pub(crate) topic: Arc<Topic>,
    pub(crate) partitions: Vec<PartitionState>,
}

pub(crate) struct PartitionState {
    pub(crate) shared: Arc<Partition>,
    pub(crate) next_offset: Offset,
    pub(crate) last_arrival_ms: i64,
    pub(crate) producers: ProducerStates,
}

/// How to take back a change that could not be made durable.
pub(crate) enum Undo {
    Append { topic: Uuid, partition: i32, before: PlaceBefore },
    CreateTopic(Uuid),
    DeleteTopic(TopicState),
    ProducerIds { next: i64, reserved: i64 },
}

/// A partition as it was before an append.
#[derive(Debug)]
pub(crate) struct PlaceBefore {
    next_offset: Offset,
    last_arrival_ms: i64,
    producer: Option<ProducerBefore>,
}

/// What becomes of an append.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It goes to this place.
    Append { base_offset: Offset, next_offset: Offset, arrival_time_ms: i64, before: PlaceBefore },
    /// It is there already.
    Duplicate(Appended),
}

impl State {
    pub(crate) fn new(next_producer_id: i64, producers_max: usize) -> Self {
        Self {
            topics: HashMap::new(),
            ids: HashMap::new(),
            partitions: 0,
            next_producer_id,
            reserved_producer_ids: next_producer_id,
            producers_max,
        }
    }

    pub(crate) fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.ids.get(name).copied()
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &TopicState> {
        self.topics.values()
    }

    pub(crate) fn topic(&self, id: Uuid) -> Option<&TopicState> {
        self.topics.get(&id)
    }

    /// How many partitions all topics have.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    pub(crate) fn add_topic(&mut self, topic: Arc<Topic>, partitions: Vec<PartitionState>) {
        self.partitions += partitions.len();
        self.ids.insert(topic.name.clone(), topic.id);
        self.topics.insert(topic.id, TopicState { topic, partitions });
    }

    pub(crate) fn remove_topic(&mut self, id: Uuid) -> Option<TopicState> {
        let removed = self.topics.remove(&id)?;
        self.ids.remove(&removed.topic.name);
        self.partitions -= removed.partitions.len();
        Some(removed)
    }

    pub(crate) fn partition(&mut self, name: &TopicPartition) -> Result<&mut PartitionState> {
        let unknown = || Error::UnknownPartition(name.to_string());
        let id = self.ids.get(&name.topic).ok_or_else(unknown)?;
        let topic = self.topics.get_mut(id).ok_or_else(unknown)?;
        let index = usize::try_from(name.partition).map_err(|_| unknown())?;
        topic.partitions.get_mut(index).ok_or_else(unknown)
    }

    pub(crate) fn partition_by_id(&mut self, topic: Uuid, partition: i32) -> Option<&mut PartitionState> {
        self.topics.get_mut(&topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }

    /// Decides about an append and, if it is to happen, takes its place. `batches` passed the checks at the door.
    pub(crate) fn append(
        &mut self,
        name: &TopicPartition,
        batches: &[(BatchHeader, Bytes)],
        now_ms: i64,
    ) -> Result<(Uuid, Decision)> {
        let producers_max = self.producers_max;
        let id = self.topic_id(name.topic.as_str()).ok_or_else(|| Error::UnknownPartition(name.to_string()))?;
        let partition = self.partition(name)?;
        // An idempotent producer's batch comes alone; the door saw to that.
        if let Some((header, _)) = batches.first().filter(|(header, _)| header.is_idempotent())
            && let Some(duplicate) = partition.judge_producer(name, header)?
        {
            return Ok((id, Decision::Duplicate(duplicate)));
        }
        let arrival_time_ms = now_ms.max(partition.last_arrival_ms);
        let base_offset = partition.next_offset;
        let mut before =
            PlaceBefore { next_offset: base_offset, last_arrival_ms: partition.last_arrival_ms, producer: None };
        let mut next_offset = base_offset;
        for (header, _) in batches {
            let header = BatchHeader { base_offset: next_offset, ..*header };
            before.producer = partition.place(&header, arrival_time_ms, producers_max);
            next_offset = header.next_offset();
        }
        Ok((id, Decision::Append { base_offset, next_offset, arrival_time_ms, before }))
    }

    /// Takes a change back. Changes are taken back from the last one on.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Append { topic, partition, before } => {
                let Some(partition) = self.partition_by_id(topic, partition) else { return };
                partition.next_offset = before.next_offset;
                partition.last_arrival_ms = before.last_arrival_ms;
                if let Some(producer) = before.producer {
                    partition.producers.restore(producer);
                }
            }
            Undo::CreateTopic(id) => drop(self.remove_topic(id)),
            Undo::DeleteTopic(state) => self.add_topic(Arc::clone(&state.topic), state.partitions),
            Undo::ProducerIds { next, reserved } => {
                (self.next_producer_id, self.reserved_producer_ids) = (next, reserved);
            }
        }
    }

    /// Replays an append: `header` is as it was stored.
    pub(crate) fn replay(&mut self, topic: Uuid, partition: i32, header: &BatchHeader, arrival_time_ms: i64) {
        let producers_max = self.producers_max;
        if let Some(partition) = self.partition_by_id(topic, partition) {
            partition.place(header, arrival_time_ms, producers_max);
        }
    }

    /// A checkpoint of this state, still without segments, and the partitions that will fill them in, in its order.
    pub(crate) fn snapshot(
        &mut self,
        sequence: u64,
        groups: Groups,
        producers_since_ms: i64,
    ) -> (Checkpoint, Vec<Vec<Arc<Partition>>>) {
        let (mut topics, mut shared) = (Vec::new(), Vec::new());
        for state in self.topics.values_mut() {
            let mut partitions = Vec::with_capacity(state.partitions.len());
            for partition in &mut state.partitions {
                partition.producers.expire(producers_since_ms);
                partitions.push(PartitionCheckpoint {
                    log_start_offset: 0,
                    next_offset: partition.next_offset,
                    last_arrival_ms: partition.last_arrival_ms,
                    producers: partition.producers.clone(),
                    segments: Vec::new(),
                });
            }
            shared.push(state.partitions.iter().map(|partition| Arc::clone(&partition.shared)).collect());
            topics.push(TopicCheckpoint { topic: (*state.topic).clone(), partitions });
        }
        (Checkpoint { sequence, next_producer_id: self.reserved_producer_ids, topics, groups }, shared)
    }
}

impl PartitionState {
    /// A partition without records.
    pub(crate) fn empty(shared: Arc<Partition>) -> Self {
        Self { shared, next_offset: 0, last_arrival_ms: 0, producers: ProducerStates::default() }
    }

    fn judge_producer(&self, name: &TopicPartition, header: &BatchHeader) -> Result<Option<Appended>> {
        let (producer_id, sequence) = (header.producer_id, header.base_sequence);
        match self.producers.decide(header) {
            Verdict::Append => Ok(None),
            Verdict::Duplicate { base_offset, next_offset, arrival_time_ms } => Ok(Some(Appended {
                base_offset,
                next_offset,
                arrival_time_ms,
                log_start_offset: self.shared.bounds().log_start_offset,
                duplicate: true,
            })),
            Verdict::OutOfOrder { expected } => {
                Err(Error::OutOfOrderSequence { partition: name.clone(), producer_id, sequence, expected })
            }
            Verdict::Fenced { current } => {
                Err(Error::ProducerFenced { producer_id, epoch: header.producer_epoch, current })
            }
        }
    }

    fn place(&mut self, header: &BatchHeader, arrival_time_ms: i64, producers_max: usize) -> Option<ProducerBefore> {
        self.next_offset = header.next_offset();
        self.last_arrival_ms = arrival_time_ms;
        header.is_idempotent().then(|| self.producers.remember(header, arrival_time_ms, producers_max))
    }
}
