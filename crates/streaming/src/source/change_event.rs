//! [`change`]: what a record of change data capture says of a row, in Debezium's envelope, with or without its schema.
//!
//! The row is what stands in `after`. A deletion (`op` is `d`) has the row that was there in `before`, and may have none; then, and
//! in the tombstone that follows it, the record's key says which row it was.
//!
//! What must hold: a change that is not one of a row, such as a truncation, is a reason, and is never passed over.

use std::borrow::Cow;

use bytes::Bytes;
use eventlog::Record;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reason::{Reason, ReasonClass};

/// What stands in the place of a value that did not change and was not sent.
const NOT_SENT: &str = "__debezium_unavailable_value";

/// What becomes of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RowChange {
    /// It is this object.
    Is(Bytes),
    /// It is gone; the object has its key.
    Gone(Bytes),
}

/// The change that a record says.
pub(super) fn change(record: &Record) -> Result<RowChange, Reason> {
    let Some(value) = &record.value else { return Ok(RowChange::Gone(key(record)?)) };
    let envelope: Envelope<'_> = payload(value)?;
    match envelope.op.as_deref() {
        Some("c" | "r" | "u") => {
            let after = envelope.after.ok_or_else(|| reason("the change has no row in \"after\""))?;
            if after.get().contains(NOT_SENT) {
                return Err(reason(
                    "a value that did not change was not sent: REPLICA IDENTITY FULL of the table sends it",
                ));
            }
            Ok(RowChange::Is(value.slice_ref(after.get().as_bytes())))
        }
        Some("d") => match envelope.before {
            Some(before) => Ok(RowChange::Gone(value.slice_ref(before.get().as_bytes()))),
            None => Ok(RowChange::Gone(key(record)?)),
        },
        Some("t") => Err(reason("the table was truncated: which rows that has deleted is not in the record")),
        Some(other) => Err(reason(&format!("a change of the kind {other:?} is none of a row"))),
        None => Err(reason("it has no \"op\", so it is no change in Debezium's envelope")),
    }
}

#[derive(Deserialize)]
struct Envelope<'v> {
    #[serde(borrow, default)]
    op: Option<Cow<'v, str>>,
    #[serde(borrow, default)]
    before: Option<&'v RawValue>,
    #[serde(borrow, default)]
    after: Option<&'v RawValue>,
}

/// A message with its schema beside it.
#[derive(Deserialize)]
struct WithSchema<'v> {
    #[serde(borrow, default)]
    schema: Option<&'v RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'v RawValue>,
}

/// The key's columns, as an object.
fn key(record: &Record) -> Result<Bytes, Reason> {
    let missing = || Reason::new(ReasonClass::NoValue, "it deletes a row, and has no key that says which");
    let key = record.key.as_ref().ok_or_else(missing)?;
    let object: &RawValue = payload(key)?;
    Ok(key.slice_ref(object.get().as_bytes()))
}

/// What stands in a message, without its schema.
fn payload<'v, T: Deserialize<'v>>(message: &'v [u8]) -> Result<T, Reason> {
    match object::<WithSchema<'v>>(message)? {
        WithSchema { schema: Some(_), payload: Some(payload) } => object(payload.get().as_bytes()),
        _ => object(message),
    }
}

fn object<'v, T: Deserialize<'v>>(text: &'v [u8]) -> Result<T, Reason> {
    let syntax = |text: String| Reason::new(ReasonClass::Syntax, text);
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(syntax("it is not a JSON object".to_owned()));
    }
    serde_json::from_slice(text).map_err(|error| syntax(format!("it is not JSON: {error}")))
}

fn reason(text: &str) -> Reason {
    Reason::new(ReasonClass::Value, text)
}

#[cfg(test)]
mod tests;
