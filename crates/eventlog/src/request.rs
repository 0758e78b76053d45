//! What the writer can be asked for: one closed list.

use bytes::Bytes;
use model::{TopicName, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use std::sync::Arc;

use crate::{
    groups::GroupChange,
    log::{Acks, Appended, CommittedOffset, Error, Result, Topic, TopicSpec},
    record::BatchHeader,
};

/// Where an answer goes. Whoever asked may have gone away; then nobody is told.
pub(crate) struct Reply<T>(Option<oneshot::Sender<Result<T>>>);

impl<T> Reply<T> {
    /// A reply and where it arrives.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// A reply that nobody waits for.
    pub(crate) fn unheard() -> Self {
        Self(None)
    }

    pub(crate) fn send(self, answer: Result<T>) {
        if let Some(sender) = self.0 {
            // The receiver is gone when the caller gave up: the change stands all the same.
            let _ = sender.send(answer);
        }
    }
}

pub(crate) enum Request {
    Append(AppendRequest),
    CreateTopic {
        spec: TopicSpec,
        reply: Reply<Arc<Topic>>,
    },
    DeleteTopic {
        name: TopicName,
        reply: Reply<()>,
    },
    NewProducerId {
        reply: Reply<i64>,
    },
    CommitOffsets {
        group: String,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        reply: Reply<()>,
    },
    DeleteGroup {
        group: String,
        reply: Reply<()>,
    },
    /// Answered with how many offsets went.
    ChangeGroups {
        changes: Vec<GroupChange>,
        reply: Reply<usize>,
    },
    /// The flusher found something to do that needs a checkpoint.
    Checkpoint,
    /// The writer lacked something; it may look whether it is there.
    Retry,
    /// The last request: a checkpoint, and the end.
    Close,
}

pub(crate) struct AppendRequest {
    pub(crate) partition: TopicPartition,
    /// They passed the checks at the door.
    pub(crate) batches: Vec<(BatchHeader, Bytes)>,
    pub(crate) acks: Acks,
    pub(crate) reply: Reply<Appended>,
    /// Its share of the bytes that may wait; free again when the request is dropped.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

impl Request {
    /// About how many bytes of the write-ahead log it will take.
    pub(crate) fn wal_bytes(&self) -> usize {
        const FRAME_BYTES: usize = 128;
        match self {
            Self::Append(append) => append.batches.iter().map(|(_, batch)| batch.len()).sum::<usize>() + FRAME_BYTES,
            Self::CommitOffsets { group, offsets, .. } => {
                let each = |(_, committed): &(_, CommittedOffset)| committed.metadata.len() + FRAME_BYTES;
                group.len() + offsets.iter().map(each).sum::<usize>() + FRAME_BYTES
            }
            Self::CreateTopic { .. } => 4 * FRAME_BYTES,
            Self::DeleteGroup { group, .. } => group.len() + FRAME_BYTES,
            Self::ChangeGroups { changes, .. } => {
                changes.iter().map(|change| change.group().len() + FRAME_BYTES).sum::<usize>()
            }
            Self::DeleteTopic { .. } | Self::NewProducerId { .. } => FRAME_BYTES,
            Self::Checkpoint | Self::Retry | Self::Close => 0,
        }
    }

    /// Answers with an error.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Append(append) => append.reply.send(Err(error)),
            Self::CreateTopic { reply, .. } => reply.send(Err(error)),
            Self::NewProducerId { reply } => reply.send(Err(error)),
            Self::ChangeGroups { reply, .. } => reply.send(Err(error)),
            Self::DeleteTopic { reply, .. } | Self::CommitOffsets { reply, .. } | Self::DeleteGroup { reply, .. } => {
                reply.send(Err(error));
            }
            Self::Checkpoint | Self::Retry | Self::Close => {}
        }
    }

    /// Whether it needs room for itself and is answered.
    pub(crate) fn is_change(&self) -> bool {
        !matches!(self, Self::Checkpoint | Self::Retry | Self::Close)
    }

    /// Whether what is stored becomes less by it.
    pub(crate) fn frees(&self) -> bool {
        matches!(self, Self::DeleteTopic { .. } | Self::DeleteGroup { .. })
    }
}
