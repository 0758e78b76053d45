//! One commit in the making: the frames to write, and what follows from each when it is durable, or is not.

use std::{ops::Range, sync::Arc};

use model::TopicName;

use crate::{
    frame::FrameBuffer,
    groups::GroupChange,
    log::{Appended, CommittedOffset, Error, Topic},
    open_log::OpenLog,
    partition::Partition,
    record::BatchHeader,
    request::Reply,
    state::Undo,
};

/// What happens when a commit is durable.
pub(crate) enum Effect {
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
        committed_ms: i64,
        offsets: Vec<(model::TopicPartition, CommittedOffset)>,
        reply: Reply<()>,
    },
    DeleteGroup {
        group: String,
        reply: Reply<()>,
    },
    ChangeGroups {
        changes: Vec<GroupChange>,
        reply: Reply<usize>,
    },
}

/// One commit in the making.
pub(crate) struct Commit {
    pub(crate) frames: FrameBuffer,
    pub(crate) effects: Vec<Effect>,
    /// Appends that are answered when they are written.
    pub(crate) written: Vec<(Reply<Appended>, Appended)>,
    /// How to take back what the writer's state has of it.
    pub(crate) undo: Vec<Undo>,
    pub(crate) checkpoint: bool,
    pub(crate) close: bool,
}

impl Commit {
    pub(crate) fn new(frames: FrameBuffer) -> Self {
        Self { frames, effects: Vec::new(), written: Vec::new(), undo: Vec::new(), checkpoint: false, close: false }
    }
}

impl Effect {
    /// Shows a durable change to readers, and answers. An append is shown by the writer.
    pub(crate) fn apply(self, shared: &OpenLog) {
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
            Self::CommitOffsets { group, committed_ms, offsets, reply } => {
                catalogue.commit_offsets(&group, Some(committed_ms), offsets.into_iter());
                reply.send(Ok(()));
            }
            Self::DeleteGroup { group, reply } => {
                catalogue.delete_group(&group);
                reply.send(Ok(()));
            }
            Self::ChangeGroups { changes, reply } => reply.send(Ok(catalogue.change_groups(&changes))),
        }
    }

    /// Answers with an error.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Append { reply, .. } | Self::Repeat { reply, .. } => reply.send(Err(error)),
            Self::CreateTopic { reply, .. } | Self::RefuseTopic { reply, .. } => reply.send(Err(error)),
            Self::NewProducerId { reply, .. } => reply.send(Err(error)),
            Self::ChangeGroups { reply, .. } => reply.send(Err(error)),
            Self::DeleteTopic { reply, .. } | Self::CommitOffsets { reply, .. } | Self::DeleteGroup { reply, .. } => {
                reply.send(Err(error));
            }
        }
    }
}
