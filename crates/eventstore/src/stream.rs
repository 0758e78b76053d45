//! Streams by name, and what an append may demand of one.
//!
//! What must hold: a [`StreamName`] is 1 to 512 bytes of text without control characters and does not begin with
//! `$` (such names are reserved for the store's own streams).

use std::{fmt, sync::Arc};

use crate::{Error, Result};

const STREAM_NAME_BYTES_MAX: usize = 512;

/// A legal stream name; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the name is not legal.
    pub fn new(name: &str) -> Result<Self> {
        let wrong = if name.is_empty() {
            "is empty"
        } else if name.len() > STREAM_NAME_BYTES_MAX {
            "is longer than 512 bytes"
        } else if name.chars().any(char::is_control) {
            "contains a control character"
        } else if name.starts_with('$') {
            "begins with '$', which is reserved"
        } else {
            return Ok(Self(name.into()));
        };
        // A name may be megabytes of someone's mistake: the message shows its beginning.
        let beginning: String = name.chars().take(64).collect();
        Err(Error::Invalid(format!("the stream name {beginning:?} {wrong}")))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What an append demands of the stream before it. Versions count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// Nothing.
    Any,
    /// The stream has no event yet.
    NoStream,
    /// The stream has an event.
    StreamExists,
    /// The stream's last event has this version.
    Exact(u64),
}

impl ExpectedVersion {
    /// Whether a stream whose last event has version `actual` (`None`: no stream) is as demanded.
    pub fn allows(self, actual: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual.is_none(),
            Self::StreamExists => actual.is_some(),
            Self::Exact(version) => actual == Some(version),
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no stream"),
            Self::StreamExists => f.write_str("an existing stream"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

/// The order in which a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From old to new.
    Forward,
    /// From new to old.
    Backward,
}

/// One stream in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its name.
    pub stream: StreamName,
    /// The version of its last event.
    pub version: u64,
}
