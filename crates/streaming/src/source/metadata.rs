//! The columns that a row gets from its record rather than from its value.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use eventlog::Record;
use model::Offset;
use sql::SourceFormat;

use super::timestamp_text::text_us;

const EVENT_TYPE: &str = "ce_type";
const EVENT_ID: &str = "ce_id";
const EVENT_SUBJECT: &str = "ce_subject";
const EVENT_TIME: &str = "ce_time";
const EVENT_VERSION: &str = "ff_version";

/// A record with the time at which it arrived.
#[derive(Clone, Debug)]
pub(super) struct ArrivedRecord {
    pub(super) record: Record,
    pub(super) arrival_time_ms: i64,
    /// The object that is decoded: the record's value, or what is said in it or in its key of a table's row.
    pub(super) object: Bytes,
    /// Whether it deletes a row of a table.
    pub(super) deletes: bool,
    /// The attributes of an event; `None` for plain JSON.
    pub(super) event: Option<Event>,
}

/// The attributes of an event that are columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    stream_name: String,
    stream_version: Option<i64>,
    event_type: String,
    event_id: Option<String>,
    effective_time_us: Option<i64>,
}

/// Reads the attributes that the format has; the error is the reason to reject the record.
pub(super) fn event(format: SourceFormat, record: &Record) -> Result<Option<Event>, String> {
    if format != SourceFormat::Event {
        return Ok(None);
    }
    let header = |name: &str| {
        let found = record.headers.iter().find(|header| header.name == name.as_bytes());
        let text = found.and_then(|header| header.value.as_deref()).map(std::str::from_utf8);
        text.transpose().map_err(|_| format!("header {name} is not UTF-8"))
    };
    let version = header(EVENT_VERSION)?.map(|text| {
        let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
        number.ok_or_else(|| format!("header {EVENT_VERSION}: {text:?} is not a version"))
    });
    let time = header(EVENT_TIME)?
        .map(|text| text_us(text).map_err(|why| format!("header {EVENT_TIME}: {text:?} is not a timestamp: {why}")));
    let stream = match (header(EVENT_SUBJECT)?, &record.key) {
        (Some(subject), _) => subject.to_owned(),
        (None, Some(key)) => key_text(key),
        (None, None) => return Err(format!("it has neither the header {EVENT_SUBJECT} nor a key")),
    };
    Ok(Some(Event {
        stream_name: stream,
        stream_version: version.transpose()?,
        event_type: header(EVENT_TYPE)?.ok_or_else(|| format!("header {EVENT_TYPE} is missing"))?.to_owned(),
        event_id: header(EVENT_ID)?.map(str::to_owned),
        effective_time_us: time.transpose()?,
    }))
}

/// The metadata columns of some records, in the order of
/// [`metadata_fields`](super::SourceDefinition::metadata_fields).
pub(super) fn columns(
    format: SourceFormat,
    is_table: bool,
    partition: i32,
    records: &[&ArrivedRecord],
) -> Vec<ArrayRef> {
    let times = |times: TimestampMicrosecondArray| -> ArrayRef { Arc::new(times.with_timezone("UTC")) };
    let offsets = records.iter().map(|arrived| -> Offset { arrived.record.offset });
    let keys = records.iter().map(|arrived| arrived.record.key.as_deref().map(key_text));
    let arrivals = records.iter().map(|arrived| arrived.arrival_time_ms.saturating_mul(1_000));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_value(partition, records.len())),
        Arc::new(Int64Array::from_iter_values(offsets)),
        times(TimestampMicrosecondArray::from_iter_values(arrivals)),
        Arc::new(keys.collect::<StringArray>()),
    ];
    if is_table {
        let deletes = records.iter().map(|arrived| Some(arrived.deletes));
        columns.push(Arc::new(deletes.collect::<BooleanArray>()));
    }
    if format == SourceFormat::Event {
        let events = || records.iter().map(|arrived| arrived.event.as_ref());
        columns.extend([
            Arc::new(events().map(|event| Some(event?.stream_name.as_str())).collect::<StringArray>()) as ArrayRef,
            Arc::new(events().map(|event| event?.stream_version).collect::<Int64Array>()),
            Arc::new(events().map(|event| Some(event?.event_type.as_str())).collect::<StringArray>()),
            Arc::new(events().map(|event| event?.event_id.as_deref()).collect::<StringArray>()),
            times(events().map(|event| event?.effective_time_us).collect()),
        ]);
    }
    columns
}

/// A key as text; one that is not UTF-8 in PostgreSQL's form for bytes, `\x` and hexadecimal digits.
fn key_text(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) => text.to_owned(),
        Err(_) => key.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
    }
}
