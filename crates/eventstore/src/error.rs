//! What can go wrong in the store, in detail; mapped once to [`model::Error`].

use std::sync::Arc;

use model::{Offset, TopicPartition};
use uuid::Uuid;

use crate::{CommandId, ExpectedVersion, StreamName};

/// `Result` with the store's own [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The stream is not as the append expected; nothing was appended.
    #[error("stream {stream} is at {}, the append expected {expected}", version_text(*.actual))]
    WrongVersion {
        /// The stream.
        stream: StreamName,
        /// What the append demanded.
        expected: ExpectedVersion,
        /// The version of the stream's last event; `None` when it has none.
        actual: Option<u64>,
    },
    /// Some of the append's event ids are in the stream already, but it is not the same append.
    #[error("event id {event_id} is already used by event {version} of stream {stream}")]
    EventIdReused {
        /// The stream.
        stream: StreamName,
        /// The id.
        event_id: Uuid,
        /// The event that has it.
        version: u64,
    },
    /// Another command was handled under the same id for the same stream.
    #[error("command id {command_id} was used for stream {stream} by a command that said something else")]
    CommandIdReused {
        /// The stream of the aggregate instance.
        stream: StreamName,
        /// The id.
        command_id: CommandId,
    },
    /// The stream would be one more than there may be.
    #[error("stream {stream} cannot begin: the store has {max} streams, which is the limit")]
    TooManyStreams {
        /// The stream.
        stream: StreamName,
        /// The limit.
        max: usize,
    },
    /// The stream has no events.
    #[error("stream {0} does not exist")]
    StreamNotFound(StreamName),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// An event, or an append, is over a limit.
    #[error("{what} has {actual} {unit}, over the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it is.
        actual: usize,
        /// The limit.
        max: usize,
        /// In what.
        unit: &'static str,
    },
    /// Something else appends events to the same topic: the events were stored, but their versions were taken.
    #[error("events for stream {stream} were stored at offset {offset}, but another writer had taken their versions")]
    ForeignWriter {
        /// The stream.
        stream: StreamName,
        /// Where the ignored events are.
        offset: i64,
    },
    /// The store was closed.
    #[error("the event store is closed")]
    Closed,
    /// Stored events are damaged, and this needs them.
    #[error("{refused}: {partition} is damaged at offsets {first} to {last} ({reason})")]
    Damaged {
        /// What cannot be done.
        refused: String,
        /// The partition of the events.
        partition: TopicPartition,
        /// The first offset that cannot be read.
        first: Offset,
        /// The last one.
        last: Offset,
        /// What is wrong there.
        reason: String,
    },
    /// Stored bytes are not what they should be.
    #[error("{0}")]
    Corrupt(String),
    /// The log failed. After an append, nothing is known about the events but that they were not acknowledged.
    #[error(transparent)]
    Log(Arc<eventlog::Error>),
}

/// A version, or its absence, in words.
pub(crate) fn version_text(version: Option<u64>) -> String {
    version.map_or_else(|| "no stream".to_owned(), |version| format!("version {version}"))
}

impl From<eventlog::Error> for Error {
    fn from(error: eventlog::Error) -> Self {
        Self::Log(Arc::new(error))
    }
}

impl From<Error> for model::Error {
    fn from(error: Error) -> Self {
        use model::ErrorKind as Kind;
        let (kind, hint) = match &error {
            Error::WrongVersion { .. } => (Kind::Conflict, Some("read the stream again, then decide again")),
            Error::EventIdReused { .. } => (Kind::Conflict, Some("give every new event an id of its own")),
            Error::CommandIdReused { .. } => {
                (Kind::Conflict, Some("give every new command an id of its own; repeat one with the same content"))
            }
            Error::TooManyStreams { .. } => (Kind::Unavailable, Some("raise the setting events.streams_max")),
            Error::StreamNotFound(_) => (Kind::NotFound, None),
            Error::Invalid(_) => (Kind::Invalid, None),
            Error::TooLarge { .. } => (Kind::Invalid, Some("split it, or raise the store's limit")),
            Error::ForeignWriter { .. } => (Kind::Conflict, Some("let only one event store write to a topic")),
            Error::Closed => (Kind::Unavailable, None),
            Error::Corrupt(_) => (Kind::Corrupt, None),
            Error::Damaged { last, .. } => {
                let hint = format!(
                    "stop the server and put the damaged file back from a copy; the events behind it can be read from \
                     offset {} on (GET /v1/streams/$all?from={0})",
                    last + 1
                );
                return Self::new(Kind::Corrupt, error.to_string()).with_hint(hint);
            }
            Error::Log(inner) => return log_error(inner),
        };
        let mapped = Self::new(kind, error.to_string());
        match hint {
            Some(hint) => mapped.with_hint(hint),
            None => mapped,
        }
    }
}

// A log error that many appends share cannot be moved out, and it cannot be cloned: the kind is told here.
fn log_error(error: &eventlog::Error) -> model::Error {
    use eventlog::Error as Log;
    use model::ErrorKind as Kind;
    let kind = match error {
        Log::UnknownPartition(_) => Kind::NotFound,
        Log::TopicExists(_) | Log::DirectoryInUse(_) => Kind::Conflict,
        Log::OutOfOrderSequence { .. } | Log::ProducerFenced { .. } => Kind::Conflict,
        Log::Stopped(_) | Log::DiskFull { .. } | Log::TooManyOpenFiles { .. } => Kind::Unavailable,
        Log::Corrupt { .. } | Log::Quarantined { .. } => Kind::Corrupt,
        Log::Io { .. } => Kind::Internal,
        _ => Kind::Invalid,
    };
    model::Error::new(kind, error.to_string())
}
