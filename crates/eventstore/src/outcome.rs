//! What came of a command that led to no events, as a record of the topic beside the events', and back.
//!
//! Events tell by themselves that a command was done. A rejection, or a command that had nothing to do, is kept here,
//! so that the same command sent again is answered as it was, whatever has happened since. The form is written down in
//! `docs/formats/events.md`. What must hold: [`decode`] gives back what [`encode`] was given, and a record that is
//! anything else is refused with a reason, never with a panic.

use bytes::Bytes;
use eventlog::{Header, Record};
use model::Offset;
use serde::{Deserialize, Serialize};

use crate::{CommandId, Rejection, StreamName, digest::ContentDigest};

/// At most how many bytes an outcome takes in its topic.
pub(crate) const OUTCOME_BYTES_MAX: usize = 12 * 1024;

const FORMAT: u32 = 1;
const CONTENT_TYPE: &str = "content-type";

/// How a command ended that led to no events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandEnd {
    /// The rule that said no; `None` when there was nothing to do.
    pub(crate) rejection: Option<Rejection>,
    /// The version that it was decided on.
    pub(crate) version: Option<u64>,
    /// How far the events reached then.
    pub(crate) next_offset: Offset,
}

/// A command and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stream: StreamName,
    pub(crate) command_id: CommandId,
    pub(crate) command_type: String,
    pub(crate) digest: ContentDigest,
    pub(crate) end: CommandEnd,
}

/// The value of the record.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    outcome: Kind,
    stream: String,
    command_id: String,
    command_type: String,
    command_digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    next_offset: Offset,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Rejected,
    NothingToDo,
}

/// The record of an outcome, without an offset.
pub(crate) fn encode(outcome: &Outcome, recorded_time_ms: i64) -> Record {
    let Outcome { stream, command_id, command_type, digest, end } = outcome;
    let (rule, reason) = match &end.rejection {
        Some(Rejection { rule, reason }) => (Some(rule.to_string()), Some(reason.clone())),
        None => (None, None),
    };
    let stored = Stored {
        format: FORMAT,
        outcome: if end.rejection.is_some() { Kind::Rejected } else { Kind::NothingToDo },
        stream: stream.to_string(),
        command_id: command_id.to_string(),
        command_type: command_type.clone(),
        command_digest: digest.to_string(),
        rule,
        reason,
        version: end.version,
        next_offset: end.next_offset,
    };
    let value = serde_json::to_vec(&stored).expect("texts and numbers are JSON");
    let content_type = Header {
        name: Bytes::from_static(CONTENT_TYPE.as_bytes()),
        value: Some(Bytes::from_static(b"application/json")),
    };
    Record {
        offset: 0,
        timestamp_ms: recorded_time_ms,
        key: Some(Bytes::copy_from_slice(stream.as_str().as_bytes())),
        value: Some(value.into()),
        headers: vec![content_type],
    }
}

/// The outcome in a record, or why there is none.
pub(crate) fn decode(record: &Record) -> Result<Outcome, &'static str> {
    let value = record.value.as_deref().ok_or("it has no value")?;
    let stored: Stored = serde_json::from_slice(value).map_err(|_| "its value is not the JSON of an outcome")?;
    if stored.format != FORMAT {
        return Err("its format is unknown");
    }
    let rejection = match (stored.outcome, stored.rule, stored.reason) {
        (Kind::Rejected, Some(rule), Some(reason)) => Some(Rejection::new(rule, reason)),
        (Kind::Rejected, ..) => return Err("a rejection needs rule and reason"),
        (Kind::NothingToDo, ..) => None,
    };
    Ok(Outcome {
        stream: StreamName::new(&stored.stream).map_err(|_| "its stream is not a stream name")?,
        command_id: CommandId::new(&stored.command_id).map_err(|_| "its command_id is not a command id")?,
        command_type: stored.command_type,
        digest: ContentDigest::parse(&stored.command_digest).ok_or("its command_digest is not a digest")?,
        end: CommandEnd { rejection, version: stored.version, next_offset: stored.next_offset },
    })
}
