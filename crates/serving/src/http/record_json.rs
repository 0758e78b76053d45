//! Records as JSON, in both directions.
//!
//! What must hold: whatever is stored can be shown, and what was posted is stored byte for byte: a JSON value as its
//! own text (key order, number digits and spaces as sent), a JSON string as its characters. Bytes that are not text
//! travel in base64, in `key_base64` and `value_base64`.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use eventlog::{Header, Record};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::problem::{Problem, Result};

/// A record to append.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewRecord {
    #[serde(deserialize_with = "present")]
    key: Option<Box<RawValue>>,
    key_base64: Option<String>,
    #[serde(deserialize_with = "present")]
    value: Option<Box<RawValue>>,
    value_base64: Option<String>,
    headers: Vec<NewHeader>,
    timestamp_ms: Option<i64>,
    pub(super) partition: Option<i32>,
}

/// A record's header, to append.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHeader {
    name: String,
    #[serde(default, deserialize_with = "present")]
    value: Option<Box<RawValue>>,
    #[serde(default)]
    value_base64: Option<String>,
}

// Serde reads `null` into an `Option` as if it were absent; a record without value is something else than one whose
// value was forgotten.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl NewRecord {
    /// The record; `now_ms` is its timestamp unless it has one.
    pub(super) fn into_record(self, now_ms: i64) -> Result<Record> {
        if self.value.is_none() && self.value_base64.is_none() {
            return Err(Problem::invalid("a record has no value")
                .with_hint("give it a value; null is a tombstone, which deletes the key when the topic is compacted"));
        }
        let headers = self.headers.into_iter().map(|header| {
            let value = bytes_of("header value", header.value.as_deref(), header.value_base64.as_deref())?;
            Ok(Header { name: header.name.into(), value })
        });
        Ok(Record {
            timestamp_ms: self.timestamp_ms.unwrap_or(now_ms),
            key: bytes_of("key", self.key.as_deref(), self.key_base64.as_deref())?,
            value: bytes_of("value", self.value.as_deref(), self.value_base64.as_deref())?,
            headers: headers.collect::<Result<_>>()?,
            ..Record::default()
        })
    }
}

fn bytes_of(what: &str, json: Option<&RawValue>, base64: Option<&str>) -> Result<Option<Bytes>> {
    match (json, base64) {
        (Some(_), Some(_)) => Err(Problem::invalid(format!("a {what} is given both as JSON and in base64"))),
        (None, Some(base64)) => BASE64_STANDARD
            .decode(base64)
            .map(|bytes| Some(bytes.into()))
            .map_err(|error| Problem::invalid(format!("a {what} is not base64: {error}"))),
        (None, None) => Ok(None),
        (Some(json), None) => match json.get() {
            "null" => Ok(None),
            // Parsing cannot fail: the text was checked when the body was read, except for lone surrogates.
            text if text.starts_with('"') => serde_json::from_str::<String>(text)
                .map(|text| Some(text.into()))
                .map_err(|error| Problem::invalid(format!("a {what} is not text: {error}"))),
            text => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
        },
    }
}

/// A record as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct ShownRecord {
    offset: i64,
    timestamp_ms: i64,
    #[serde(flatten)]
    key: ShownKey,
    #[serde(flatten)]
    value: ShownValue,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<ShownHeader>,
}

#[derive(Debug, Serialize)]
struct ShownHeader {
    name: String,
    #[serde(flatten)]
    value: ShownValue,
}

#[derive(Debug, Serialize)]
enum ShownKey {
    #[serde(rename = "key")]
    Text(Option<String>),
    #[serde(rename = "key_base64")]
    Base64(String),
}

#[derive(Debug, Serialize)]
enum ShownValue {
    #[serde(rename = "value")]
    Json(Box<RawValue>),
    #[serde(rename = "value")]
    Text(Option<String>),
    #[serde(rename = "value_base64")]
    Base64(String),
}

impl From<Record> for ShownRecord {
    fn from(record: Record) -> Self {
        let header = |header: Header| ShownHeader {
            name: String::from_utf8_lossy(&header.name).into_owned(),
            value: shown_text(header.value.as_deref()),
        };
        let key = match text_of(record.key.as_deref()) {
            Ok(text) => ShownKey::Text(text),
            Err(base64) => ShownKey::Base64(base64),
        };
        Self {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key,
            value: shown_value(record.value.as_deref()),
            headers: record.headers.into_iter().map(header).collect(),
        }
    }
}

/// Objects and arrays are shown as JSON; `5` or `"a"` stay text, so that a record posted as text comes back as text.
fn shown_value(bytes: Option<&[u8]>) -> ShownValue {
    let structured = bytes.filter(|bytes| matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')));
    match structured.and_then(|bytes| serde_json::from_slice::<Box<RawValue>>(bytes).ok()) {
        Some(json) => ShownValue::Json(json),
        None => shown_text(bytes),
    }
}

fn shown_text(bytes: Option<&[u8]>) -> ShownValue {
    match text_of(bytes) {
        Ok(text) => ShownValue::Text(text),
        Err(base64) => ShownValue::Base64(base64),
    }
}

/// The text, or the base64 of what is not text.
fn text_of(bytes: Option<&[u8]>) -> Result<Option<String>, String> {
    let Some(bytes) = bytes else { return Ok(None) };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(BASE64_STANDARD.encode(bytes)),
    }
}
