//! Answers that went well: JSON with Positions, in the body and in a header.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use model::{Error, Positions};
use serde::Serialize;

use super::problem::Problem;

/// The header in which an answer says how far it has read or written.
pub(super) const POSITIONS_HEADER: HeaderName = HeaderName::from_static("fourfold-positions");

/// Clients and proxies give up on headers somewhere above 8 KiB; the body then has the Positions alone.
const POSITIONS_HEADER_BYTES_MAX: usize = 4096;

#[derive(Serialize)]
struct WithPositions<'a, T> {
    #[serde(flatten)]
    body: &'a T,
    positions: String,
}

/// A JSON answer; `positions` is added to the body, which has to be an object.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T, positions: &Positions) -> Response {
    let whole = WithPositions { body, positions: positions.to_string() };
    with_positions(bare_json(status, &whole), positions)
}

/// A JSON answer to a question that has no Positions, such as whether the server is alive.
pub(super) fn bare_json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    // Written straight to text: through a `Value`, stored JSON would lose its key order and its digits.
    match serde_json::to_string(body) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => Problem::from(Error::internal("cannot write the answer").with_source(error)).into_response(),
    }
}

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
