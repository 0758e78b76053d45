//! Messages off the hot path, through the `kafka-protocol` crate.
//!
//! That crate allocates arrays by the length that the bytes claim, so nothing untrusted may reach it unchecked: the
//! walk in [`shape`](crate::shape) goes over the whole message first.

use bytes::Bytes;
pub use kafka_protocol::protocol::{Decodable, Encodable};

use crate::{Api, Reader, Result, WireError, Writer, shape};

/// Reads a request.
///
/// # Errors
/// [`WireError`] when the API is not a cold one, the version is not served, or the bytes are malformed.
pub fn decode_request<T: Decodable>(api: Api, version: i16, body: Bytes) -> Result<T> {
    if !api.versions().contains(version) {
        return Err(WireError::UnsupportedVersion { api: api.name(), version });
    }
    shape::check(shape::request(api), api, version, Reader::new(body.clone(), api.is_flexible(version)))?;
    decode(api, version, body)
}

/// Reads a response, of the few APIs that our own client uses.
///
/// # Errors
/// As [`decode_request`].
pub fn decode_response<T: Decodable>(api: Api, version: i16, body: Bytes) -> Result<T> {
    shape::check(shape::response(api), api, version, Reader::of_answer(body.clone(), api.is_flexible(version)))?;
    decode(api, version, body)
}

/// Writes a request or a response.
///
/// # Errors
/// [`WireError::Unwritable`] when a field is set that this version does not have.
pub fn encode<T: Encodable>(writer: &mut Writer, api: Api, version: i16, message: &T) -> Result<()> {
    message.encode(writer.tail(), version).map_err(|error| WireError::Unwritable {
        api: api.name(),
        version,
        reason: error.to_string(),
    })
}

fn decode<T: Decodable>(api: Api, version: i16, mut body: Bytes) -> Result<T> {
    T::decode(&mut body, version).map_err(|error| WireError::Invalid { field: api.name(), reason: error.to_string() })
}
