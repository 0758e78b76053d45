//! The state that a checkpoint speaks of, made of what is on disk.

use std::{collections::HashMap, sync::Arc};

use model::{Offset, TopicPartition};
use uuid::Uuid;

use super::{plan::PartitionPlan, survey::PartitionId};
use crate::{
    checkpoint::Checkpoint,
    log::{Result, Topic, io_error},
    open_log::OpenLog,
    partition::Partition,
    segment::Segment,
    state::{PartitionState, State},
};

/// Takes over what the checkpoint names, and removes what is superfluous beside it.
pub(super) fn restore(
    shared: &OpenLog,
    checkpoint: Checkpoint,
    plans: &mut HashMap<PartitionId, PartitionPlan>,
) -> Result<State> {
    let mut state = State::new(checkpoint.next_producer_id, shared.settings.producers_max);
    for entry in checkpoint.topics {
        let topic = Arc::new(entry.topic);
        let mut partitions = Vec::with_capacity(entry.partitions.len());
        for (name, from) in topic.topic_partitions().zip(entry.partitions) {
            let bounds = (from.log_start_offset, from.next_offset);
            let plan = plans.get_mut(&(topic.id, name.partition)).map(std::mem::take).unwrap_or_default();
            let partition = recover_partition(shared, (name, topic.id), bounds, &plan)?;
            partitions.push(PartitionState {
                shared: Arc::new(partition),
                next_offset: from.next_offset,
                last_arrival_ms: from.last_arrival_ms,
                producers: from.producers,
            });
        }
        add_topic(shared, &mut state, topic, partitions);
    }
    shared.catalogue.set_groups(checkpoint.groups);
    Ok(state)
}

/// Takes over a partition.
pub(super) fn recover_partition(
    shared: &OpenLog,
    (name, topic_id): (TopicPartition, Uuid),
    bounds: (Offset, Offset),
    plan: &PartitionPlan,
) -> Result<Partition> {
    for path in &plan.removed {
        shared.disk.remove_file(path).map_err(io_error("remove", path))?;
    }
    let topics = shared.topics_directory();
    let directory = topics.join(crate::partition_directory::directory_name(&name, topic_id));
    let mut segments = Vec::with_capacity(plan.segments.len());
    for segment in &plan.segments {
        let disk = Arc::clone(&shared.disk);
        segments.push(Arc::new(match &segment.unsound {
            Some(unsound) => {
                let (base_offset, reason) = (segment.extent.base_offset, &unsound.reason);
                tracing::error!(
                    partition = %name, base_offset, reason,
                    "records are missing: the partition takes no writes until they are put back and the log is restarted"
                );
                Segment::unsound(disk, &directory, &segment.extent, unsound.clone())
            }
            None => Segment::recover(disk, &directory, &segment.extent, segment.kept_bytes)?,
        }));
    }
    Ok(Partition::with_segments(Arc::clone(&shared.disk), &topics, (name, topic_id), bounds, segments))
}

pub(super) fn add_topic(shared: &OpenLog, state: &mut State, topic: Arc<Topic>, partitions: Vec<PartitionState>) {
    let of_catalogue = partitions.iter().map(|partition| Arc::clone(&partition.shared)).collect();
    shared.catalogue.add_topic(Arc::clone(&topic), of_catalogue);
    state.add_topic(topic, partitions);
}
