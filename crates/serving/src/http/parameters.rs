//! What a request says, apart from its path: query parameters and JSON bodies.
//!
//! What must hold: a parameter or member that nobody reads is an error that names it (a misspelt `limitt` must not
//! quietly mean "no limit"), and a body is JSON only when it says so, which is also what keeps web pages of other
//! origins from posting here.

use std::{fmt::Display, str::FromStr, sync::Arc, time::Duration};

use axum::{
    RequestExt,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use model::{Error, Positions, Principal};
use serde::de::DeserializeOwned;

use super::{
    Server,
    places::Place,
    problem::{Problem, Result},
};
use crate::views::admitted;

/// Who asks. On loopback everyone is anonymous; credentials will be read here.
#[derive(Debug)]
pub(super) struct Caller(pub(super) Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self> {
        Ok(Self(Principal::anonymous()))
    }
}

/// The variable segments of the path.
#[derive(Debug)]
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Path(segments) = Path::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::invalid(format!("the path does not fit: {}", error.body_text())))?;
        Ok(Self(segments))
    }
}

/// The query parameters; each is taken once, and [`finish`](Self::finish) complains about what is left.
#[derive(Debug)]
pub(super) struct Parameters {
    left: Vec<(String, String)>,
    timeout_default: Duration,
    timeout_max: Duration,
    /// The request's place, where it needs one.
    place: Option<Place>,
}

/// How far an answer must have read, and how long the caller waits for that.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    /// At least this far; empty when nothing is demanded.
    pub(super) min_position: Positions,
    /// Wait no longer than this.
    pub(super) timeout: Duration,
    /// The place of the request that demands it.
    place: Option<Place>,
}

impl FromRequestParts<Arc<Server>> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self> {
        let Query(left) = Query::from_request_parts(parts, server)
            .await
            .map_err(|error| Problem::invalid(format!("cannot read the query parameters: {error}")))?;
        let settings = &server.settings;
        let place = parts.extensions.get().cloned();
        Ok(Self { left, timeout_default: settings.wait_timeout, timeout_max: settings.request_timeout, place })
    }
}

impl Parameters {
    /// Takes a parameter, parsed.
    pub(super) fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>>
    where
        T::Err: Display,
    {
        let Some(at) = self.left.iter().position(|(left, _)| left == name) else { return Ok(None) };
        let (_, text) = self.left.swap_remove(at);
        if self.left.iter().any(|(left, _)| left == name) {
            return Err(Problem::invalid(format!("parameter {name} is given more than once")));
        }
        text.parse().map(Some).map_err(|error| Problem::invalid(format!("parameter {name}={text:?}: {error}")))
    }

    /// Takes `limit`, which has to be at least 1 and at most `max`.
    pub(super) fn take_limit(&mut self, default: usize, max: usize) -> Result<usize> {
        match self.take::<usize>("limit")? {
            None => Ok(default.min(max)),
            Some(limit) if (1..=max).contains(&limit) => Ok(limit),
            Some(limit) => Err(Problem::invalid(format!("limit {limit} is not between 1 and {max}"))),
        }
    }

    /// Takes `min_position` and `timeout_ms`, which every read has.
    pub(super) fn take_demand(&mut self) -> Result<Demand> {
        let min_position = self.take::<Positions>("min_position")?;
        let timeout_ms = self.take::<u64>("timeout_ms")?;
        self.demand(min_position.unwrap_or_default(), timeout_ms)
    }

    /// The same, for a body that has them.
    pub(super) fn demand(&self, min_position: Positions, timeout_ms: Option<u64>) -> Result<Demand> {
        let timeout = timeout_ms.map_or(self.timeout_default, Duration::from_millis);
        if timeout > self.timeout_max {
            let max_ms = self.timeout_max.as_millis();
            return Err(Problem::invalid(format!("timeout_ms {} is over the limit of {max_ms}", timeout.as_millis())));
        }
        Ok(Demand { min_position, timeout, place: self.place.clone() })
    }

    /// Complains about a parameter that nobody took.
    pub(super) fn finish(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid(format!("there is no parameter {name:?} here"))
                .with_hint("see /openapi.json for the parameters of each path")),
        }
    }
}

impl Demand {
    /// The outcome of `wait`. Who has to wait for it needs a place among those that do.
    pub(super) async fn admitted<T>(&self, wait: impl Future<Output = T>) -> Result<T> {
        Ok(admitted(wait, || self.admit()).await?)
    }

    /// Takes a place among those that wait.
    pub(super) fn admit(&self) -> model::Result<()> {
        self.place.as_ref().map_or(Ok(()), Place::wait)
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Server>> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Server>) -> Result<Self> {
        require_json(request.headers())?;
        let body = request.extract::<Bytes, _>().await.map_err(|rejection| unread(&rejection))?;
        parse_json(&body).map(Self)
    }
}

/// Parses a body, naming the place where it goes wrong.
pub(super) fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        let what = if error.is_data() { "does not fit" } else { "is not JSON" };
        Problem::invalid(format!("the body {what}: {error}")).with_hint("see /openapi.json for the body of each path")
    })
}

fn require_json(headers: &HeaderMap) -> Result<()> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json")) {
        return Ok(());
    }
    let error = Error::invalid(format!("the body is of type {content_type:?}, not JSON"))
        .with_hint("send the header content-type: application/json");
    Err(Problem::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, error))
}

fn unread(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let error = Error::invalid("the body is over this server's limit").with_hint("send it in several requests");
        return Problem::with_status(StatusCode::PAYLOAD_TOO_LARGE, error);
    }
    Problem::invalid(format!("cannot read the body: {}", rejection.body_text()))
}
