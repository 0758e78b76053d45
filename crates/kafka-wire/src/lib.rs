//! Kafka's protocol as bytes and structs.
//!
//! What it is: the [`Api`] table (which requests are served, in which versions), frames and headers, own codecs for
//! the messages on the hot path ([`api_versions`], [`metadata`], [`produce`], [`fetch`]), and a guarded door
//! ([`cold`]) to the `kafka-protocol` crate for the rest.
//!
//! What it is not: no I/O, no state, and nothing about what is inside a record batch; batches are opaque bytes that
//! are cut out of a request and appended to a response without a copy.
//!
//! What must hold:
//! - a decoder never panics, and allocates at most in proportion to the bytes that it was given, whatever they are;
//! - the table in [`api`] is the only place that names versions;
//! - nobody but `broker` uses this crate.

pub mod api;
pub mod api_versions;
pub mod cold;
pub mod fetch;
pub mod frame;
pub mod metadata;
pub mod produce;
mod reader;
mod shape;
mod writer;

pub use api::{Api, VersionRange};
pub use frame::{Frame, RequestHeader};
pub use kafka_protocol::error::ResponseError as ErrorCode;
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::StrBytes as Text;
pub use reader::Reader;
pub use writer::Writer;

/// `Result` with [`WireError`].
pub type Result<T, E = WireError> = std::result::Result<T, E>;

/// Why bytes are not a message, or a message cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The message ends before its last field.
    #[error("the message ends {missing} bytes before the end of {field}")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// How many bytes are missing.
        missing: usize,
    },
    /// A field has a value that the protocol does not allow.
    #[error("{field} is not valid: {reason}")]
    Invalid {
        /// What was being read.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The message has more bytes than its fields.
    #[error("{0} bytes follow the last field of the message")]
    Trailing(usize),
    /// The API or its version is not in the table.
    #[error("version {version} of {api} is not served")]
    UnsupportedVersion {
        /// The API's name.
        api: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A response cannot be expressed in the version asked for.
    #[error("cannot write version {version} of a {api} message: {reason}")]
    Unwritable {
        /// The API's name.
        api: &'static str,
        /// The version asked for.
        version: i16,
        /// What is wrong.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
