//! What happens to every request before and after its handler: the `Host` check, the bound on requests in work, the
//! arrival of the body, the timeout, counting.
//!
//! Order, outermost first: count, check the host, let the body arrive, take a [place](Place), start the clock. Health
//! and metrics need no place, so that an overloaded server can still be asked how it is. A body has a time and a place
//! of its own: a statement may work for hours, but nobody holds a place to work by sending slowly.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use model::{Error, ErrorKind};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Server, places::Place, problem::Problem};

const WITHOUT_PLACE: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
const SQL: &str = "/v1/sql";
// Takes as long as there is data.
const BACKUP: &str = "/v1/backup";

/// The middleware.
pub(super) async fn guard(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let response = admit(&server, request, next).await.unwrap_or_else(IntoResponse::into_response);
    let metrics = &server.services.metrics;
    metrics.http_request.observe(started.elapsed().as_secs_f64());
    metrics.http_requests.get_or_create(&[("status", response.status().as_u16().to_string())]).inc();
    response
}

async fn admit(server: &Server, request: Request, next: Next) -> Result<Response, Problem> {
    server.hosts.check(request.headers(), request.uri())?;
    if WITHOUT_PLACE.contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let (mut request, _room) = arrived(server, request).await?;
    let place = server.places.work()?;
    request.extensions_mut().insert(place.clone());
    let settings = &server.settings;
    let limit = if [SQL, BACKUP].contains(&request.uri().path()) {
        settings.statement_timeout
    } else {
        settings.request_timeout
    };
    let response = tokio::time::timeout(limit, next.run(request)).await.map_err(|_| {
        let error = Error::unavailable(format!("the request took longer than {} ms", limit.as_millis()))
            .with_hint("a write may have happened: repeat it with the same id, or read before you repeat it");
        Problem::with_status(StatusCode::GATEWAY_TIMEOUT, error)
    })?;
    Ok(response.map(|body| Body::new(InPlace { body, _place: place })))
}

/// The request with its whole body, and the room that the body takes.
async fn arrived(server: &Server, request: Request) -> Result<(Request, Option<OwnedSemaphorePermit>), Problem> {
    if request.body().is_end_stream() {
        return Ok((request, None));
    }
    let limit = server.settings.body_timeout;
    let (head, body) = request.into_parts();
    let (body, room) = tokio::time::timeout(limit, received(server, body)).await.map_err(|_| {
        let error = Error::unavailable(format!("the request's body did not arrive within {} ms", limit.as_millis()))
            .with_hint("send it faster, or in smaller parts");
        Problem::with_status(StatusCode::REQUEST_TIMEOUT, error)
    })??;
    Ok((Request::from_parts(head, Body::from(body.freeze())), room))
}

/// A body, taken as it comes: who sends slowly takes no more room than what has come.
async fn received(server: &Server, mut body: Body) -> Result<(BytesMut, Option<OwnedSemaphorePermit>), Problem> {
    let bytes_max = server.settings.request_bytes_max;
    let (mut received, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::invalid(format!("cannot read the request's body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if received.len() + data.len() > bytes_max {
            let error = Error::invalid(format!("the request's body has more than {bytes_max} bytes"))
                .with_hint("send it in smaller parts");
            return Err(Problem::with_status(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        let more = server.places.receive(data.len())?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        received.extend_from_slice(&data);
    }
    Ok((received, room))
}

/// A body that keeps its request's place until it is sent or given up.
struct InPlace {
    body: Body,
    _place: Place,
}

impl HttpBody for InPlace {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The names by which this door may be called.
#[derive(Debug)]
pub(super) struct Hosts {
    /// `None` where the door is not on loopback: other machines know it by names that we cannot know.
    allowed: Option<Vec<String>>,
}

impl Hosts {
    /// The names for a door at `local_addr`: those of loopback, and `more`.
    pub(super) fn new(local_addr: SocketAddr, more: &[String]) -> Self {
        let loopback = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let own = match local_addr {
            SocketAddr::V4(addr) => addr.ip().to_string(),
            SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
        };
        let names = loopback.into_iter().chain([own]).chain(more.iter().map(|name| name.to_ascii_lowercase()));
        Self { allowed: local_addr.ip().is_loopback().then(|| names.collect()) }
    }

    /// Refuses a request that was meant for another host: a name that its sender made point here.
    pub(super) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let mut called = headers.get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or("?"));
        let (first, second) = (called.next(), called.next());
        let names = first.into_iter().chain(second).chain(uri.authority().map(|authority| authority.as_str()));
        let allows = |name: &str| allowed.contains(&without_port(name).to_ascii_lowercase());
        if first.is_some() && second.is_none() && names.clone().all(allows) {
            return Ok(());
        }
        let message = match names.clone().next() {
            Some(name) => format!("this server is on loopback and is not called {name:?}"),
            None => "this server is on loopback and needs to be called by its name".to_owned(),
        };
        Err(Error::new(ErrorKind::Denied, message)
            .with_hint("call it localhost, or allow the name in its settings")
            .into())
    }
}

/// `localhost:8080` -> `localhost`, `[::1]:8080` -> `[::1]`.
fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    }
}
