//! Commands: what is sent to an aggregate, and what comes back.

use model::{ErrorKind, Positions, Principal};
use serde_json::Value;

use crate::{CommandId, Error, ExpectedVersion, RecordedEvent, Rejection, StreamName};

/// A command to an aggregate.
#[derive(Clone, Debug)]
pub struct CommandRequest {
    /// Its id: the same id sent again to the same aggregate instance gives the first result, whatever else the
    /// request says.
    pub command_id: CommandId,
    /// What is asked for, for example `depart`.
    pub command_type: String,
    /// Its content; `null` or `{}` for a command without content.
    pub data: Value,
    /// What the sender knows about the stream. When absent, the command is decided again if another append comes
    /// between; when stated, a stream that is not so is a conflict.
    pub expected: Option<ExpectedVersion>,
    /// When it takes effect in the world, in milliseconds since the epoch; now when absent.
    pub effective_time_ms: Option<i64>,
    /// The conversation that it belongs to.
    pub correlation_id: Option<String>,
    /// What caused the command. Its events name the command itself as their cause when this is absent.
    pub causation_id: Option<String>,
    /// To be remembered with each event.
    pub metadata: Option<Value>,
    /// Who sends it. Whether they may is asked at the door, before.
    pub principal: Principal,
}

impl CommandRequest {
    /// A command with nothing but id, type and content.
    pub fn new(command_id: CommandId, command_type: impl Into<String>, data: Value) -> Self {
        Self {
            command_id,
            command_type: command_type.into(),
            data,
            expected: None,
            effective_time_ms: None,
            correlation_id: None,
            causation_id: None,
            metadata: None,
            principal: Principal::anonymous(),
        }
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutcome {
    /// The stream of the aggregate instance.
    pub stream: StreamName,
    /// The version of the stream after the command; `None` when it has no events even now.
    pub version: Option<u64>,
    /// The events that the command led to; none when there was nothing to do.
    pub events: Vec<RecordedEvent>,
    /// A reader that has reached this position has seen what the command did.
    pub positions: Positions,
    /// Whether this is the stored result of the same command sent before.
    pub duplicate: bool,
}

/// Why a command came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommandError {
    /// A business rule said no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// No aggregate of this name is registered.
    #[error("there is no aggregate {0}")]
    UnknownAggregate(String),
    /// The command is not one that the aggregate understands.
    #[error("the command {command_type} cannot be understood: {reason}")]
    InvalidCommand {
        /// Its type.
        command_type: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The decider made an event that cannot be stored.
    #[error("the decider's event cannot be stored: {0}")]
    InvalidEvent(String),
    /// Other appends came between every time.
    #[error("stream {stream} changed during each of {attempts} attempts to decide")]
    Contended {
        /// The stream.
        stream: StreamName,
        /// How often it was tried.
        attempts: usize,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] Error),
}

impl CommandError {
    /// The name of the business rule, when one said no.
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Rejected(rejection) => Some(&rejection.rule),
            _ => None,
        }
    }
}

impl From<CommandError> for model::Error {
    fn from(error: CommandError) -> Self {
        let kind = match error {
            CommandError::Store(error) => return error.into(),
            CommandError::Rejected(_) => ErrorKind::Rejected,
            CommandError::UnknownAggregate(_) => ErrorKind::NotFound,
            CommandError::InvalidCommand { .. } => ErrorKind::Invalid,
            CommandError::InvalidEvent(_) => ErrorKind::Internal,
            CommandError::Contended { .. } => ErrorKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}
