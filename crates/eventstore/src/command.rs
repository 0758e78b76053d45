//! Commands: what is sent to an aggregate, and what comes back.

use model::{ErrorKind, Positions, Principal};
use serde_json::value::RawValue;

use crate::{CommandId, Error, ExpectedVersion, RecordedEvent, Rejection, StreamName};

/// A command to an aggregate.
#[derive(Clone, Debug)]
pub struct CommandRequest {
    /// Its id: the same command sent again to the same aggregate instance gives the first result. Another one under the
    /// same id is refused; everything that follows here but the principal makes it another.
    pub command_id: CommandId,
    /// What is asked for, for example `depart`.
    pub command_type: String,
    /// Its content: JSON as it was sent; `null` or `{}` for a command without content.
    pub data: Box<RawValue>,
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
    pub metadata: Option<Box<RawValue>>,
    /// Who sends it. Whether they may is asked at the door, before.
    pub principal: Principal,
}

impl CommandRequest {
    /// A command with nothing but id, type and content.
    pub fn new(command_id: CommandId, command_type: impl Into<String>, data: Box<RawValue>) -> Self {
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
    #[error("there is no aggregate {name}")]
    UnknownAggregate {
        /// The name.
        name: String,
        /// The aggregates that there are.
        known: Vec<String>,
    },
    /// The aggregate has no command of this type.
    #[error("aggregate {aggregate} has no command {command_type}")]
    UnknownCommand {
        /// The aggregate.
        aggregate: String,
        /// The type.
        command_type: String,
        /// The types that it has.
        known: &'static [&'static str],
    },
    /// The command's content is not what the aggregate understands.
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
    /// As many commands as may be are being handled.
    #[error("{0} commands are being handled, which is the limit")]
    Overloaded(usize),
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

    /// What can be done about it.
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownAggregate { known, .. } if known.is_empty() => Some("none is registered".to_owned()),
            Self::UnknownAggregate { name, known } => Some(choice("the aggregates are", name, known)),
            Self::UnknownCommand { command_type, known, .. } => Some(choice("its commands are", command_type, known)),
            Self::Contended { .. } | Self::Overloaded(_) => Some("send it again in a moment".to_owned()),
            _ => None,
        }
    }
}

/// The names that there are, after the one that was probably meant.
fn choice<S: AsRef<str>>(there_are: &str, given: &str, known: &[S]) -> String {
    // How alike a name must be to be what was meant; 1 is the same.
    const NEAR: f64 = 0.5;
    let scored = known.iter().map(|name| (strsim::normalized_levenshtein(given, name.as_ref()), name.as_ref()));
    let nearest = scored.max_by(|(left, _), (right, _)| left.total_cmp(right)).filter(|(score, _)| *score >= NEAR);
    let meant = nearest.map_or_else(String::new, |(_, name)| format!("perhaps you meant {name}; "));
    let names: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    format!("{meant}{there_are} {}", names.join(", "))
}

impl From<CommandError> for model::Error {
    fn from(error: CommandError) -> Self {
        let kind = match error {
            CommandError::Store(error) => return error.into(),
            CommandError::Rejected(_) => ErrorKind::Rejected,
            CommandError::UnknownAggregate { .. } => ErrorKind::NotFound,
            CommandError::UnknownCommand { .. } | CommandError::InvalidCommand { .. } => ErrorKind::Invalid,
            CommandError::InvalidEvent(_) => ErrorKind::Internal,
            CommandError::Contended { .. } | CommandError::Overloaded(_) => ErrorKind::Unavailable,
        };
        let mapped = Self::new(kind, error.to_string());
        match error.hint() {
            Some(hint) => mapped.with_hint(hint),
            None => mapped,
        }
    }
}
