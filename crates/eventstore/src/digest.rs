//! The digest of a command's content, by which the same command sent twice is told from another one under its id.
//!
//! It is SHA-256 over a canonical JSON array of all that the sender says (`docs/formats/events.md`). It is stored, so
//! what goes into it can only change together with [`FORMAT`].

use std::fmt;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::{CommandError, CommandRequest, ExpectedVersion, StreamName, canonical::canonical};

/// The first element of the array.
const FORMAT: &str = "1";

/// A digest of a command's content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// The digest of a command to a stream. Who sends it is no part of it: whoever repeats it asks for the same.
    ///
    /// # Errors
    /// [`CommandError::InvalidCommand`] when its JSON is nested too deep.
    pub(crate) fn of(stream: &StreamName, request: &CommandRequest) -> Result<Self, CommandError> {
        let form = |what: &str, json: &RawValue| {
            canonical(json).ok_or_else(|| CommandError::InvalidCommand {
                command_type: request.command_type.clone(),
                reason: format!("its {what} is nested more than 128 deep"),
            })
        };
        let data = match form("data", &request.data)? {
            // Two ways to say that a command has no content.
            data if data == "{}" => "null".to_owned(),
            data => data,
        };
        let metadata = match &request.metadata {
            Some(metadata) => form("metadata", metadata)?,
            None => "null".to_owned(),
        };
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let optional = |id: &Option<String>| id.as_deref().map_or_else(|| "null".to_owned(), text);
        let parts = [
            text(FORMAT),
            text(stream.as_str()),
            text(&request.command_type),
            data,
            expected_text(request.expected),
            request.effective_time_ms.map_or_else(|| "null".to_owned(), |time_ms| time_ms.to_string()),
            optional(&request.correlation_id),
            optional(&request.causation_id),
            metadata,
        ];
        Ok(Self(Sha256::digest(format!("[{}]", parts.join(","))).into()))
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    pub(crate) fn parse(hex: &str) -> Option<Self> {
        let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        Some(Self(bytes?.try_into().ok()?))
    }
}

fn expected_text(expected: Option<ExpectedVersion>) -> String {
    match expected {
        None => "null".to_owned(),
        Some(ExpectedVersion::Any) => "\"any\"".to_owned(),
        Some(ExpectedVersion::NoStream) => "\"no_stream\"".to_owned(),
        Some(ExpectedVersion::StreamExists) => "\"stream_exists\"".to_owned(),
        Some(ExpectedVersion::Exact(version)) => version.to_string(),
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
