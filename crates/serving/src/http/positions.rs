//! How an answer says what it reflects.

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use model::Positions;

/// Clients and proxies give up on headers somewhere above 8 KiB; the body then has the Positions alone.
const POSITIONS_HEADER_BYTES_MAX: usize = 4096;
/// The header in which an answer says how far it has read or written.
pub(super) const POSITIONS_HEADER: HeaderName = HeaderName::from_static("fourfold-positions");

/// Adds the header.
pub(super) fn with_positions(mut response: Response, positions: &Positions) -> Response {
    let text = positions.to_string();
    if text.len() <= POSITIONS_HEADER_BYTES_MAX
        && let Ok(value) = HeaderValue::from_str(&text)
    {
        response.headers_mut().insert(POSITIONS_HEADER, value);
    }
    response
}
