//! Topics and partitions, as in Kafka.
//!
//! What must hold: a [`TopicName`] is 1 to 249 bytes of `[a-zA-Z0-9._-]` and is neither `.` nor `..`
//! (Kafka's rule, so that a name is also a safe file name).

use std::{fmt, str::FromStr, sync::Arc};

use crate::{Error, Result};

/// The place of a record in its partition, counted from 0. Signed because Kafka's wire has it so; a stored offset
/// is never negative.
pub type Offset = i64;

const TOPIC_NAME_BYTES_MAX: usize = 249;

/// A legal topic name; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when the name is not legal.
    pub fn new(name: &str) -> Result<Self> {
        let legal_bytes = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if name.is_empty() || name.len() > TOPIC_NAME_BYTES_MAX || !legal_bytes || name == "." || name == ".." {
            return Err(Error::invalid(format!("{name:?} is not a topic name"))
                .with_hint("use 1 to 249 letters, digits, '.', '_' or '-'"));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

/// One partition of one topic; written `topic/partition`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's index, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: TopicName, partition: i32) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl FromStr for TopicPartition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.rsplit_once('/').and_then(|(topic, partition)| {
            let partition: i32 = partition.parse().ok().filter(|p| *p >= 0)?;
            Some(Self::new(TopicName::new(topic).ok()?, partition))
        });
        parsed.ok_or_else(|| Error::invalid(format!("{text:?} is not a partition; write topic/partition")))
    }
}
