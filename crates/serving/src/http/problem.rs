//! [`Problem`]: every error that leaves this door, as RFC 9457 `application/problem+json`.
//!
//! What must hold: the answer says what happened (`detail`), what sort of thing that is (`kind`, the name of a
//! [`model::ErrorKind`]) and, where there is something to do, what (`hint`). Where the server knows how far it has
//! read or written, an error carries Positions like any other answer.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use model::{Error, ErrorKind, Positions};
use serde_json::{Map, Value};

use super::positions::with_positions;

// An estimate beyond this is none.
const RETRY_AFTER_S_MAX: u64 = 60;

/// `Result` with a [`Problem`].
pub(super) type Result<T, E = Problem> = std::result::Result<T, E>;

/// An error on its way to the caller.
#[derive(Debug)]
pub(super) struct Problem(Box<Detail>);

#[derive(Debug)]
struct Detail {
    status: StatusCode,
    error: Error,
    positions: Option<Positions>,
    retry_after: Option<Duration>,
    members: Map<String, Value>,
}

impl Problem {
    /// A request that is wrong in itself.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Error::invalid(message).into()
    }

    /// An error with a status that its kind alone does not say.
    pub(super) fn with_status(status: StatusCode, error: Error) -> Self {
        Self(Box::new(Detail { status, error, positions: None, retry_after: None, members: Map::new() }))
    }

    /// Adds what to do about it.
    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.error = self.0.error.with_hint(hint);
        self
    }

    /// Adds how far the server had read or written when it failed.
    #[must_use]
    pub(super) fn at(mut self, positions: Positions) -> Self {
        self.0.positions = Some(positions);
        self
    }

    /// Adds when it is worth asking again.
    #[must_use]
    pub(super) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    /// Adds an extension member, for callers that decide by program.
    #[must_use]
    pub(super) fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// The body, also used as the last line of a stream that failed on the way.
    pub(super) fn to_json(&self) -> Value {
        let Detail { status, error, positions, members, .. } = &*self.0;
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:fourfold:problem:{}", error.kind().name()).into());
        body.insert("title".into(), status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".into(), status.as_u16().into());
        body.insert("kind".into(), error.kind().name().into());
        body.insert("detail".into(), error.to_string().into());
        if let Some(hint) = error.hint() {
            body.insert("hint".into(), hint.into());
        }
        if let Some(positions) = positions {
            body.insert("positions".into(), positions.to_string().into());
        }
        body.extend(members.iter().map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(body)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::with_status(status_of(error.kind()), error)
    }
}

impl From<eventlog::Error> for Problem {
    fn from(error: eventlog::Error) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Detail { status, error, positions, retry_after, .. } = &*self.0;
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), %error, "a request failed");
        }
        let mut response = (*status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if error.kind() == ErrorKind::Unavailable {
            let seconds = retry_after.map_or(1, |after| after.as_secs().clamp(1, RETRY_AFTER_S_MAX));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match positions {
            Some(positions) => with_positions(response, positions),
            None => response,
        }
    }
}

/// The one place where a kind becomes a status.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
