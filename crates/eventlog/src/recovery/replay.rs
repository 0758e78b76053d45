//! The frames after the checkpoint, applied to the state that it speaks of.
//!
//! What must hold: batches go to segments in the order of their offsets, each once; those that stand there already and
//! have no frame are counted in where they belong.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use model::{Offset, TopicPartition};
use uuid::Uuid;

use super::{
    plan::{Adoption, PartitionPlan},
    restore::{add_topic, recover_partition},
    survey::PartitionId,
};
use crate::{
    frame::{Change, Frame},
    log::{Error, Result, Topic, io_error},
    open_log::OpenLog,
    open_segments::OpenSegments,
    partition::Partition,
    record::{BatchHeader, split_batches},
    segment::Arrival,
    state::{PartitionState, State},
    tail::TailBatch,
};

/// How much is replayed before it is written to segments.
const REPLAY_BYTES: usize = 8 << 20;

pub(super) struct Replay<'a> {
    shared: &'a OpenLog,
    pub(super) state: State,
    pub(super) open: OpenSegments,
    /// Partitions of topics that are created on the way.
    partitions: HashMap<PartitionId, PartitionPlan>,
    adoptions: HashMap<PartitionId, Adoption>,
    /// Batches that wait to be written to segments.
    batches: HashMap<PartitionId, Vec<TailBatch>>,
    /// How much of the write-ahead log they may keep in memory: all that was read since the last were written.
    waiting_bytes: usize,
    pub(super) wal_bytes: u64,
    pub(super) deleted: Vec<Arc<Partition>>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        shared: &'a OpenLog,
        state: State,
        open: OpenSegments,
        partitions: HashMap<PartitionId, PartitionPlan>,
        adoptions: HashMap<PartitionId, Adoption>,
    ) -> Self {
        let (batches, deleted) = (HashMap::new(), Vec::new());
        Self { shared, state, open, partitions, adoptions, batches, waiting_bytes: 0, wal_bytes: 0, deleted }
    }

    /// Applies a frame.
    pub(super) fn apply(&mut self, frame: &Frame) -> Result<()> {
        self.wal_bytes += frame.size_bytes as u64;
        if self.waiting_bytes >= REPLAY_BYTES {
            self.flush()?;
        }
        self.waiting_bytes += frame.size_bytes;
        let corrupt = |reason| {
            let directory = self.shared.wal_directory();
            Error::corrupt(&directory, 0, format!("frame {}: {reason}", frame.sequence))
        };
        let catalogue = &self.shared.catalogue;
        match frame.change().map_err(corrupt)? {
            Change::Append { topic, partition, arrival_time_ms, batches } => {
                return self.append((topic, partition), arrival_time_ms, batches).map_err(corrupt);
            }
            Change::CreateTopic(topic) => return self.create_topic(topic),
            Change::DeleteTopic(id) => {
                self.batches.retain(|(topic, _), _| *topic != id);
                self.adoptions.retain(|(topic, _), _| *topic != id);
                if let Some(removed) = self.state.remove_topic(id) {
                    catalogue.remove_topic(&removed.topic.name);
                    self.deleted.extend(removed.partitions.into_iter().map(|partition| partition.shared));
                }
            }
            Change::CommitOffsets { group, committed_ms, offsets } => {
                let name = |topic: Uuid| self.state.topic(topic).map(|state| state.topic.name.clone());
                let named = offsets.into_iter().filter_map(|(topic, partition, committed)| {
                    Some((TopicPartition::new(name(topic)?, partition), committed))
                });
                catalogue.commit_offsets(&group, committed_ms, named);
            }
            Change::DeleteGroup(group) => catalogue.delete_group(&group),
            Change::Group(change) => drop(catalogue.change_groups(&[change])),
            Change::ProducerIds(next) => {
                self.state.next_producer_id = self.state.next_producer_id.max(next);
                self.state.reserved_producer_ids = self.state.next_producer_id;
            }
        }
        Ok(())
    }

    fn create_topic(&mut self, topic: Topic) -> Result<()> {
        let topic = Arc::new(topic);
        let directory = self.shared.topics_directory();
        let mut partitions = Vec::new();
        for name in topic.topic_partitions() {
            let partition = match self.partitions.remove(&(topic.id, name.partition)) {
                Some(plan) => recover_partition(self.shared, (name, topic.id), (0, 0), &plan)?,
                // It is deleted later on.
                None => Partition::new(Arc::clone(&self.shared.disk), &directory, name, topic.id),
            };
            partitions.push(PartitionState::empty(Arc::new(partition)));
        }
        add_topic(self.shared, &mut self.state, topic, partitions);
        Ok(())
    }

    fn append(&mut self, id: PartitionId, arrival_time_ms: i64, batches: Bytes) -> Result<(), String> {
        let (topic, partition) = id;
        let Some(found) = self.state.partition_by_id(topic, partition) else {
            tracing::error!(%topic, partition, "records of a topic whose creation was lost to damage are lost too");
            return Ok(());
        };
        let shared = Arc::clone(&found.shared);
        for (header, bytes) in split_batches(batches)? {
            self.adopt(id, Some((header.base_offset, arrival_time_ms)));
            let next_offset = self.state.partition_by_id(topic, partition).map_or(0, |found| found.next_offset);
            if header.base_offset < next_offset {
                return Err(format!("offset {} of {} is there already", header.base_offset, shared.name));
            }
            if header.base_offset > next_offset {
                let to = header.base_offset;
                tracing::error!(partition = %shared.name, from = next_offset, to, "records were lost to damage");
            }
            self.state.replay(topic, partition, &header, arrival_time_ms);
            if self.adoptions.get(&id).is_some_and(|adoption| header.base_offset < adoption.end) {
                self.count_in(&shared, &header, Arrival::known(arrival_time_ms));
            } else {
                let batch = TailBatch { header, arrival_time_ms, bytes };
                self.batches.entry(id).or_default().push(batch);
            }
        }
        Ok(())
    }

    /// Counts in batches without frames, up to the offset and the arrival time of the next one that has a frame.
    fn adopt(&mut self, id: PartitionId, next: Option<(Offset, i64)>) {
        let Some(adoption) = self.adoptions.get_mut(&id) else { return };
        let (until, latest_ms) = next.unwrap_or((Offset::MAX, self.shared.clock.now_ms()));
        let behind = adoption.missing.partition_point(|header| header.base_offset < until);
        let missing: Vec<BatchHeader> = adoption.missing.drain(..behind).collect();
        for header in missing {
            let Some(state) = self.state.partition_by_id(id.0, id.1) else { return };
            let partition = Arc::clone(&state.shared);
            let earliest_ms = state.last_arrival_ms;
            // When they arrived stood in the frames alone.
            let time_ms = header.max_timestamp_ms.clamp(earliest_ms, latest_ms.max(earliest_ms));
            tracing::warn!(partition = %partition.name, offset = header.base_offset, "records were kept from a segment");
            self.state.replay(id.0, id.1, &header, time_ms);
            self.count_in(&partition, &header, Arrival { time_ms, is_estimate: true });
        }
    }

    fn count_in(&self, partition: &Partition, header: &BatchHeader, arrival: Arrival) {
        partition.adopt(header, arrival, self.shared.settings.index_interval_bytes);
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting_bytes = 0;
        for ((topic, partition), batches) in self.batches.drain() {
            if let Some(partition) = self.state.partition_by_id(topic, partition) {
                partition.shared.move_to_segments(&batches, &self.shared.settings, &mut self.open)?;
            }
        }
        Ok(())
    }

    /// Does what is left when there are no more frames.
    pub(super) fn end(&mut self) -> Result<()> {
        let adopted: Vec<(PartitionId, Offset)> =
            self.adoptions.iter().map(|(id, adoption)| (*id, adoption.begin)).collect();
        for (id, begin) in adopted {
            self.adopt(id, None);
            if let Some(partition) = self.state.partition_by_id(id.0, id.1) {
                partition.shared.end_adoption(begin)?;
            }
        }
        if !self.adoptions.is_empty() {
            let topics = self.shared.topics_directory();
            self.shared.disk.sync_directory(&topics).map_err(io_error("sync", &topics))?;
        }
        self.flush()
    }
}
