//! Answers that went well: JSON with Positions, in the body and in a header.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use model::{Error, Positions};
use serde::Serialize;

use super::{positions::with_positions, problem::Problem};

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
