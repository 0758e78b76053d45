//! An event as a record of the log, and back: CloudEvents' binary mode for Kafka with the store's own headers.
//!
//! The map is written down in `docs/formats/events.md`. What must hold: [`decode`] gives back what [`encode`] was
//! given, and a record that is anything else is refused with a reason, never with a panic.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use eventlog::{Header, Record};
use uuid::Uuid;

use crate::{
    CommandId, Error, EventStoreSettings, NewEvent, RecordedEvent, Result, StreamName, digest::ContentDigest,
    draft::Command,
};

const SPEC_VERSION: &str = "ce_specversion";
const ID: &str = "ce_id";
const TYPE: &str = "ce_type";
const SOURCE: &str = "ce_source";
const SUBJECT: &str = "ce_subject";
const TIME: &str = "ce_time";
const CONTENT_TYPE: &str = "content-type";
const VERSION: &str = "ff_version";
const RECORDED_MS: &str = "ff_recorded_ms";
const CORRELATION_ID: &str = "ff_correlation_id";
const CAUSATION_ID: &str = "ff_causation_id";
const COMMAND_ID: &str = "ff_command_id";
const COMMAND_DIGEST: &str = "ff_command_digest";
const METADATA: &str = "ff_metadata";

const NAME_BYTES_MAX: usize = 256;

// RFC 3339 writes the years 0000 to 9999.
const TIME_MS_MIN: i64 = -62_167_219_200_000;
const TIME_MS_MAX: i64 = 253_402_300_799_999;

/// Checks everything about an event that does not depend on its stream, but whether its JSON is JSON.
pub(crate) fn check(event: &NewEvent, settings: &EventStoreSettings) -> Result<()> {
    check_name("event type", &event.event_type)?;
    check_ids(event.correlation_id.as_deref(), event.causation_id.as_deref())?;
    let bytes = event.data.len() + event.metadata.as_ref().map_or(0, Bytes::len);
    if bytes > settings.event_bytes_max {
        let what = format!("event {} of type {}", event.event_id, event.event_type);
        return Err(Error::TooLarge { what, actual: bytes, max: settings.event_bytes_max, unit: "bytes" });
    }
    check_time(event.effective_time_ms)
}

/// Checks that an event's JSON is JSON.
pub(crate) fn check_json(event: &NewEvent) -> Result<()> {
    let json = [("data", Some(&event.data)), ("metadata", event.metadata.as_ref())];
    for (what, bytes) in json.into_iter().filter_map(|(what, bytes)| Some((what, bytes?))) {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
            .map_err(|error| Error::Invalid(format!("the {what} of event {} is not JSON: {error}", event.event_id)))?;
    }
    Ok(())
}

/// Checks the ids of what an event, or a command, belongs to.
pub(crate) fn check_ids(correlation_id: Option<&str>, causation_id: Option<&str>) -> Result<()> {
    for (what, id) in [("correlation id", correlation_id), ("causation id", causation_id)] {
        id.map_or(Ok(()), |id| check_name(what, id))?;
    }
    Ok(())
}

/// Checks that a time can be written down.
pub(crate) fn check_time(effective_time_ms: Option<i64>) -> Result<()> {
    match effective_time_ms {
        Some(time_ms) if !(TIME_MS_MIN..=TIME_MS_MAX).contains(&time_ms) => {
            Err(Error::Invalid(format!("the effective time {time_ms} ms is outside the years 0 to 9999")))
        }
        _ => Ok(()),
    }
}

/// Checks a type or an id.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Error::Invalid(format!("the {what} must be 1 to 256 bytes of text without control characters")));
    }
    Ok(())
}

/// What the writer adds to an event.
pub(crate) struct Placement<'a> {
    pub(crate) stream: &'a StreamName,
    pub(crate) version: u64,
    pub(crate) recorded_time_ms: i64,
    pub(crate) command: Option<&'a Command>,
    pub(crate) source: &'a Bytes,
}

/// The record of a checked event.
pub(crate) fn encode(event: &NewEvent, placement: &Placement<'_>) -> Record {
    let stream = Bytes::copy_from_slice(placement.stream.as_str().as_bytes());
    let effective_time_ms = event.effective_time_ms.unwrap_or(placement.recorded_time_ms);
    let mut headers = Vec::with_capacity(14);
    let mut put = |name: &'static str, value: Bytes| {
        headers.push(Header { name: Bytes::from_static(name.as_bytes()), value: Some(value) });
    };
    put(SPEC_VERSION, Bytes::from_static(b"1.0"));
    put(ID, event.event_id.to_string().into());
    put(TYPE, event.event_type.clone().into());
    put(SOURCE, placement.source.clone());
    put(SUBJECT, stream.clone());
    put(TIME, time_text(effective_time_ms).into());
    put(CONTENT_TYPE, Bytes::from_static(b"application/json"));
    put(VERSION, placement.version.to_string().into());
    put(RECORDED_MS, placement.recorded_time_ms.to_string().into());
    let optional = [
        (CORRELATION_ID, event.correlation_id.clone().map(Bytes::from)),
        (CAUSATION_ID, event.causation_id.clone().map(Bytes::from)),
        (COMMAND_ID, placement.command.map(|command| Bytes::copy_from_slice(command.id.as_str().as_bytes()))),
        (COMMAND_DIGEST, placement.command.map(|command| command.digest.to_string().into())),
        (METADATA, event.metadata.clone()),
    ];
    for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        put(name, value);
    }
    let timestamp_ms = placement.recorded_time_ms;
    Record { offset: 0, timestamp_ms, key: Some(stream), value: Some(event.data.clone()), headers }
}

/// At most how many bytes an event takes in a record batch.
pub(crate) fn encoded_bytes_max(stream: &StreamName, event: &NewEvent, command: Option<&Command>) -> usize {
    // The names of all headers, their fixed values, and every length field at its longest come to less than this.
    const FIXED: usize = 1024;
    let texts = [&event.correlation_id, &event.causation_id].into_iter().flatten().map(String::len).sum::<usize>();
    let command = command.map_or(0, |command| command.id.as_str().len());
    let content = event.data.len() + event.metadata.as_ref().map_or(0, Bytes::len);
    FIXED + 2 * stream.as_str().len() + event.event_type.len() + texts + command + content
}

/// The event in a record, or why there is none.
pub(crate) fn decode(record: &Record) -> Result<RecordedEvent, &'static str> {
    let headers = Headers::of(record);
    if headers.text(headers.spec_version) != Some("1.0") {
        return Err("it is not a CloudEvent of version 1.0 in binary mode");
    }
    let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
    let stream = key.and_then(|key| StreamName::new(key).ok()).ok_or("its key is not a stream name")?;
    let event_id = headers.text(headers.id).and_then(|id| Uuid::try_parse(id).ok()).ok_or("ce_id is not a UUID")?;
    let event_type = headers.text(headers.event_type).filter(|text| !text.is_empty()).ok_or("ce_type is missing")?;
    let version = headers.number(headers.version).ok_or("ff_version is not a version")?;
    let recorded_time_ms = headers.number(headers.recorded_ms).ok_or("ff_recorded_ms is not a time")?;
    let effective_time_ms = headers.text(headers.time).and_then(parse_time).ok_or("ce_time is not an RFC 3339 time")?;
    let data = record.value.clone().ok_or("it has no value")?;
    let command_id = match headers.text(headers.command_id) {
        Some(id) => Some(CommandId::new(id).map_err(|_| "ff_command_id is not a command id")?),
        None => None,
    };
    Ok(RecordedEvent {
        stream,
        version,
        event_id,
        event_type: event_type.to_owned(),
        data,
        metadata: headers.metadata.cloned(),
        recorded_time_ms,
        effective_time_ms,
        correlation_id: headers.text(headers.correlation_id).map(str::to_owned),
        causation_id: headers.text(headers.causation_id).map(str::to_owned),
        // One that cannot be read is as one that is not there: the event is the event all the same.
        command_digest: headers.text(headers.command_digest).and_then(ContentDigest::parse),
        command_id,
        offset: record.offset,
    })
}

/// The stream of an event whose record may be damaged: only where key and subject agree on it.
pub(crate) fn stream_told_twice(record: &Record) -> Option<StreamName> {
    let subject = record.headers.iter().rfind(|header| header.name == SUBJECT)?.value.as_ref()?;
    let key = record.key.as_ref().filter(|key| *key == subject)?;
    StreamName::new(std::str::from_utf8(key).ok()?).ok()
}

/// The headers that matter, found in one pass.
#[derive(Default)]
struct Headers<'a> {
    spec_version: Option<&'a Bytes>,
    id: Option<&'a Bytes>,
    event_type: Option<&'a Bytes>,
    time: Option<&'a Bytes>,
    version: Option<&'a Bytes>,
    recorded_ms: Option<&'a Bytes>,
    correlation_id: Option<&'a Bytes>,
    causation_id: Option<&'a Bytes>,
    command_id: Option<&'a Bytes>,
    command_digest: Option<&'a Bytes>,
    metadata: Option<&'a Bytes>,
}

impl<'a> Headers<'a> {
    fn of(record: &'a Record) -> Self {
        let mut found = Self::default();
        for header in &record.headers {
            let Ok(name) = std::str::from_utf8(&header.name) else { continue };
            let place = match name {
                SPEC_VERSION => &mut found.spec_version,
                ID => &mut found.id,
                TYPE => &mut found.event_type,
                TIME => &mut found.time,
                VERSION => &mut found.version,
                RECORDED_MS => &mut found.recorded_ms,
                CORRELATION_ID => &mut found.correlation_id,
                CAUSATION_ID => &mut found.causation_id,
                COMMAND_ID => &mut found.command_id,
                COMMAND_DIGEST => &mut found.command_digest,
                METADATA => &mut found.metadata,
                _ => continue,
            };
            *place = header.value.as_ref();
        }
        found
    }

    fn text(&self, value: Option<&'a Bytes>) -> Option<&'a str> {
        std::str::from_utf8(value?).ok()
    }

    fn number<N: std::str::FromStr>(&self, value: Option<&'a Bytes>) -> Option<N> {
        self.text(value)?.parse().ok()
    }
}

/// A time of the years 0 to 9999 as RFC 3339 text in UTC, with milliseconds; others become the nearest such time.
fn time_text(time_ms: i64) -> String {
    DateTime::from_timestamp_millis(time_ms.clamp(TIME_MS_MIN, TIME_MS_MAX))
        .map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn parse_time(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

#[cfg(test)]
mod tests;
