//! Times in requests and answers: RFC 3339 text, and milliseconds since the epoch where they come in.

use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Deserializer};

/// A moment, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant(pub(super) i64);

impl FromStr for Instant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(milliseconds) = text.parse() {
            return Ok(Self(milliseconds));
        }
        // A `+` that was not encoded arrives as a space.
        DateTime::parse_from_rfc3339(&text.replace(' ', "+"))
            .map(|time| Self(time.timestamp_millis()))
            .map_err(|_| "not a time; write RFC 3339, as 2013-01-31T18:00:00Z, or milliseconds since the epoch")
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a time: RFC 3339 text or milliseconds since the epoch")]
        enum Form {
            Milliseconds(i64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Milliseconds(milliseconds) => Ok(Self(milliseconds)),
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A moment as RFC 3339 text; as a number where it lies outside of what the text can say.
pub(super) fn shown(milliseconds: i64) -> String {
    match DateTime::from_timestamp_millis(milliseconds) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => milliseconds.to_string(),
    }
}
