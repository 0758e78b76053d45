//! Adjacently tagged enums, from a tag and a JSON content that are known apart, and back.
//!
//! serde reads the content straight from the text that it was sent in: nothing is put together only to be taken apart,
//! and a place in an error is never one in a text that nobody wrote.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self, DeserializeOwned, DeserializeSeed, MapAccess, Visitor,
        value::{BorrowedStrDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

const TAG: &str = "type";
const CONTENT: &str = "data";

/// Why tag and content are no value of an enum.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The enum has no such tag; it has these.
    UnknownTag(&'static [&'static str]),
    /// The content is not that of the tag, for this reason.
    Content(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTag(known) => write!(f, "the types are {}", known.join(", ")),
            Self::Content(reason) => f.write_str(reason),
        }
    }
}

/// A value of an adjacently tagged enum from its tag and its content, which is JSON.
///
/// Content that says nothing (`null` or `{}`) may also be left out, as serde wants it for variants without content.
pub(crate) fn from_tagged<T: DeserializeOwned>(tag: &str, content: &[u8]) -> Result<T, Mismatch> {
    let failure = match T::deserialize(Tagged { tag, content: Some(content) }) {
        Ok(value) => return Ok(value),
        Err(failure) => failure,
    };
    if !says_nothing(content) {
        return Err(failure.into());
    }
    T::deserialize(Tagged { tag, content: None }).map_err(|_| failure.into())
}

/// Whether a content may as well be left out.
fn says_nothing(content: &[u8]) -> bool {
    match content.trim_ascii() {
        b"null" => true,
        [b'{', inside @ .., b'}'] => inside.trim_ascii().is_empty(),
        _ => false,
    }
}

/// The tag of a value of an adjacently tagged enum, and its content as JSON; `{}` when it has none.
pub(crate) fn to_tagged<T: Serialize>(value: &T) -> Result<(String, Bytes), String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parts<'a> {
        #[serde(rename = "type")]
        tag: String,
        // There with `null` is not the same as not there.
        #[serde(borrow, default, rename = "data", deserialize_with = "present")]
        content: Option<&'a RawValue>,
    }
    fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
        Deserialize::deserialize(deserializer).map(Some)
    }
    let json = Bytes::from(serde_json::to_vec(value).map_err(|error| error.to_string())?);
    // Only looked through for where the content begins and ends: it stays the bytes that it is.
    let Parts { tag, content } = serde_json::from_slice(&json).map_err(|error| {
        let reason = without_place(&error);
        format!("an event's enum needs #[serde(tag = \"type\", content = \"data\")] and nothing beside: {reason}")
    })?;
    let content = content.map_or(Bytes::from_static(b"{}"), |content| json.slice_ref(content.get().as_bytes()));
    Ok((tag, content))
}

/// An error without line and column: those are of a text that the reader does not see.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map(str::to_owned).unwrap_or(text)
}

/// Why serde gave up, while it is at it.
#[derive(Debug)]
enum Failure {
    /// At the tag.
    Tag(&'static [&'static str]),
    /// Anywhere else.
    Other(String),
}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Tag(expected)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(known) => write!(f, "not one of {}", known.join(", ")),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Mismatch {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Tag(known) => Self::UnknownTag(known),
            Failure::Other(reason) => Self::Content(reason),
        }
    }
}

/// Tag and content as what serde takes an adjacently tagged enum from: a map with one entry for each.
#[derive(Clone, Copy)]
struct Tagged<'a> {
    tag: &'a str,
    content: Option<&'a [u8]>,
}

impl<'de> Deserializer<'de> for Tagged<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(Entries { tag: Some(self.tag), content: self.content, at_tag: false })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The entries that were not handed out yet.
struct Entries<'a> {
    tag: Option<&'a str>,
    content: Option<&'a [u8]>,
    /// Whether the entry that is being read is the tag's.
    at_tag: bool,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        // The tag first: so serde reads the content straight into the variant.
        self.at_tag = self.tag.is_some();
        let name = match (self.tag, self.content) {
            (Some(_), _) => TAG,
            (None, Some(_)) => CONTENT,
            (None, None) => return Ok(None),
        };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        if self.at_tag {
            return seed.deserialize(BorrowedStrDeserializer::new(self.tag.take().unwrap_or_default()));
        }
        let mut content = serde_json::Deserializer::from_slice(self.content.take().unwrap_or_default());
        let read = seed.deserialize(&mut content).and_then(|value| content.end().map(|()| value));
        read.map_err(|error| Failure::Other(without_place(&error)))
    }
}

#[cfg(test)]
mod tests;
