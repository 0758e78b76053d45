//! How values are written that TOML has no type for; for `#[serde(deserialize_with = "...")]`.

use std::net::IpAddr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A duration, written as a whole number of milliseconds.
///
/// # Errors
/// For what is no such number.
pub fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// An IP address, written as text.
///
/// # Errors
/// For a name or anything else that is none.
pub fn ip_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| D::Error::custom(format!("{text:?} is not an IP address; write 127.0.0.1 for this machine")))
}

/// A text of which the empty one says nothing.
///
/// # Errors
/// For what is no text.
pub fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// A port of which 0 says nothing.
///
/// # Errors
/// For what is no port.
pub fn optional_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    u16::deserialize(deserializer).map(|port| Some(port).filter(|port| *port != 0))
}
