//! Is it alive, is it ready, what does it count, what can one ask: the routes for machines.

use std::{fmt, sync::Arc};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use model::{Access, Error, Resource, principal::authorise};
use prometheus_client::encoding::text;
use serde_json::json;

use super::{OPENAPI, Server, answer, parameters::Caller, problem::Result};

const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One part of the server, and whether it can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is ready and all the same not whole: it lacks something for a while, something of it was lost, or it has
    /// failed so that nobody need wait for it.
    pub degraded: bool,
    /// How far it is, or what it lacks.
    pub note: Option<String>,
}

/// Asks all parts of the server whether they are ready.
#[derive(Clone)]
pub struct Readiness(Arc<dyn Fn() -> Vec<Part> + Send + Sync>);

impl Readiness {
    /// A question that is asked for each `/readyz`; it must not block.
    pub fn new(parts: impl Fn() -> Vec<Part> + Send + Sync + 'static) -> Self {
        Self(Arc::new(parts))
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&(self.0)()).finish()
    }
}

/// `GET /healthz`: this process answers.
pub(super) async fn alive() -> Response {
    answer::bare_json(StatusCode::OK, &json!({ "status": "alive" }))
}

/// `GET /readyz`: every part can do its work; 503 otherwise, with the parts that cannot. What only answers in part is told
/// as degraded, and keeps nobody away.
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Response {
    let parts = (server.services.readiness.0)();
    let ready = parts.iter().all(|part| part.ready);
    let (status, word) = if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let shown = |Part { name, ready, degraded, note }| json!({ "name": name, "ready": ready, "degraded": degraded, "note": note });
    let parts: Vec<_> = parts.into_iter().map(shown).collect();
    answer::bare_json(status, &json!({ "status": word, "parts": parts }))
}

/// `GET /metrics`: the catalogue in OpenMetrics text, as Prometheus reads it.
pub(super) async fn metrics(State(server): State<Arc<Server>>, Caller(caller): Caller) -> Result<Response> {
    authorise(&caller, Access::Describe, Resource::Server)?;
    server.services.views.refresh_metrics();
    let mut body = String::new();
    text::encode(&mut body, &server.registry)
        .map_err(|error| Error::internal("cannot write the metrics").with_source(error))?;
    Ok(([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], body).into_response())
}

/// `GET /openapi.json`: this door, described.
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
