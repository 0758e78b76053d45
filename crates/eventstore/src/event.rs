//! Events: as they are handed in, and as they are recorded.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use model::{Entropy, Offset};
use uuid::Uuid;

use crate::{Error, Result, StreamName, digest::ContentDigest};

const COMMAND_ID_BYTES_MAX: usize = 256;

/// An event to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id, unique in the store. Appending the same ids again with the same expected version gives the first
    /// append's answer.
    pub event_id: Uuid,
    /// What happened, for example `departed`.
    pub event_type: String,
    /// Its content: JSON.
    pub data: Bytes,
    /// Whatever else is to be remembered: JSON.
    pub metadata: Option<Bytes>,
    /// When it happened in the world, in milliseconds since the epoch; the recorded time when absent.
    pub effective_time_ms: Option<i64>,
    /// The conversation that it belongs to.
    pub correlation_id: Option<String>,
    /// The event or command that caused it.
    pub causation_id: Option<String>,
}

impl NewEvent {
    /// An event with nothing but id, type and content; `data` is JSON.
    pub fn new(event_id: Uuid, event_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self {
            event_id,
            event_type: event_type.into(),
            data: data.into(),
            metadata: None,
            effective_time_ms: None,
            correlation_id: None,
            causation_id: None,
        }
    }
}

/// An event as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its place in the stream, from 0.
    pub version: u64,
    /// Its id.
    pub event_id: Uuid,
    /// What happened.
    pub event_type: String,
    /// Its content: JSON.
    pub data: Bytes,
    /// Whatever else was remembered: JSON.
    pub metadata: Option<Bytes>,
    /// When the store took it, in milliseconds since the epoch; never decreasing along the store.
    pub recorded_time_ms: i64,
    /// When it happened in the world, in milliseconds since the epoch.
    pub effective_time_ms: i64,
    /// The conversation that it belongs to.
    pub correlation_id: Option<String>,
    /// The event or command that caused it.
    pub causation_id: Option<String>,
    /// The command that decided it.
    pub command_id: Option<CommandId>,
    /// What that command said; events from before it was kept have none.
    pub(crate) command_digest: Option<ContentDigest>,
    /// Its place among all events of the store: the offset of its record.
    pub offset: Offset,
}

impl RecordedEvent {
    /// The content as a JSON value.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is not JSON, which the store does not take in.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.data).map_err(|error| {
            Error::Corrupt(format!("event {} of stream {} is not JSON: {error}", self.version, self.stream))
        })
    }

    /// About how much memory it holds, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.data.len() + self.metadata.as_ref().map_or(0, Bytes::len) + size_of::<Self>()
    }
}

/// The name that a client gives to one command, so that sending it twice does it once; cheap to clone.
///
/// It is 1 to 256 bytes of text without control characters. Its scope is the aggregate instance it is sent to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(Arc<str>);

impl CommandId {
    /// Checks an id.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the id is not legal.
    pub fn new(id: &str) -> Result<Self> {
        if id.is_empty() || id.len() > COMMAND_ID_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(Error::Invalid("a command id is 1 to 256 bytes of text without control characters".to_owned()));
        }
        Ok(Self(id.into()))
    }

    /// An id that nobody used before.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.uuid().to_string().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The command's key in the idempotence window: a hash of stream and id, of fixed size.
    pub(crate) fn key(&self, stream: &StreamName) -> Uuid {
        // Neither part can contain the separator.
        Uuid::new_v5(&COMMANDS, format!("{stream}\0{self}").as_bytes())
    }

    /// The id of the event that this command decides as number `ordinal`: the same command gives the same ids.
    pub(crate) fn event_id(&self, stream: &StreamName, ordinal: usize) -> Uuid {
        Uuid::new_v5(&COMMANDS, format!("{stream}\0{self}\0{ordinal}").as_bytes())
    }
}

// The name space of the ids that are derived from commands. Changing it breaks idempotence over an upgrade.
const COMMANDS: Uuid = Uuid::from_u128(0x6f0d_1c84_5d5f_4d0b_9a51_6a2f_31c7_88e2);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
