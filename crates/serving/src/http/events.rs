//! Events as JSON, in both directions, and what an append may expect.

use bytes::Bytes;
use eventstore::{ExpectedVersion, NewEvent, RecordedEvent};
use model::{Entropy, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::instants::{self, Instant};

/// An event to append.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PostedEvent {
    #[serde(rename = "type")]
    event_type: String,
    data: Box<RawValue>,
    id: Option<Uuid>,
    metadata: Option<Box<RawValue>>,
    effective_time: Option<Instant>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
}

impl PostedEvent {
    /// The event, with an id of its own where none is given.
    pub(super) fn into_event(self, entropy: &dyn Entropy) -> NewEvent {
        // The text itself is stored: key order and digits as they were sent.
        let bytes = |json: &RawValue| Bytes::copy_from_slice(json.get().as_bytes());
        let event_id = self.id.unwrap_or_else(|| entropy.uuid());
        NewEvent {
            metadata: self.metadata.as_deref().map(bytes),
            effective_time_ms: self.effective_time.map(|time| time.0),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            ..NewEvent::new(event_id, self.event_type, bytes(&self.data))
        }
    }
}

/// `"any"`, `"no_stream"`, `"stream_exists"`, or the version of the last event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected(pub(super) ExpectedVersion);

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "\"any\", \"no_stream\", \"stream_exists\" or a version, which counts from 0")]
        enum Form {
            Version(u64),
            Word(Word),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Word {
            Any,
            NoStream,
            StreamExists,
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Version(version) => ExpectedVersion::Exact(version),
            Form::Word(Word::Any) => ExpectedVersion::Any,
            Form::Word(Word::NoStream) => ExpectedVersion::NoStream,
            Form::Word(Word::StreamExists) => ExpectedVersion::StreamExists,
        }))
    }
}

/// An event as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct ShownEvent {
    stream: String,
    version: u64,
    id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    data: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    recorded_time: String,
    effective_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_id: Option<String>,
    offset: i64,
}

impl TryFrom<RecordedEvent> for ShownEvent {
    type Error = Error;

    fn try_from(event: RecordedEvent) -> Result<Self, Error> {
        let json = |bytes: &Bytes| {
            serde_json::from_slice::<Box<RawValue>>(bytes).map_err(|error| {
                let what = format!("event {} of stream {} is not JSON", event.version, event.stream);
                Error::corrupt(what).with_source(error)
            })
        };
        Ok(Self {
            data: json(&event.data)?,
            metadata: event.metadata.as_ref().map(json).transpose()?,
            stream: event.stream.to_string(),
            version: event.version,
            id: event.event_id,
            recorded_time: instants::shown(event.recorded_time_ms),
            effective_time: instants::shown(event.effective_time_ms),
            command_id: event.command_id.as_ref().map(ToString::to_string),
            event_type: event.event_type,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            offset: event.offset,
        })
    }
}

/// Events as they are shown.
pub(super) fn shown(events: Vec<RecordedEvent>) -> Result<Vec<ShownEvent>, Error> {
    events.into_iter().map(ShownEvent::try_from).collect()
}
