//! The routes, as one list: what is in it is what `/openapi.json` describes (a test compares the two both ways).

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri},
    handler::Handler,
    http::{Method, StatusCode},
    middleware,
    routing::{self, MethodRouter},
};
use model::Error;

use super::{
    Server, backup, commands, encoding, guard, health, problem::Problem, records, sql, streams, topics, unread, views,
};

/// One method of one path.
pub(super) struct Route {
    /// In lower case, as OpenAPI writes it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that compares routes and document reads it"))]
    pub(super) method: &'static str,
    /// With variable segments in braces.
    pub(super) path: &'static str,
    handler: MethodRouter<Arc<Server>>,
}

/// All of them.
pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/healthz", health::alive),
        get("/readyz", health::ready),
        get("/metrics", health::metrics),
        get("/openapi.json", health::openapi),
        post("/v1/sql", sql::execute),
        get("/v1/views", views::list),
        get("/v1/views/{view}", views::rows),
        get("/v1/views/{view}/", views::row_of_empty_key),
        get("/v1/views/{view}/{*key}", views::row),
        get("/v1/topics", topics::list),
        post("/v1/topics", topics::create),
        get("/v1/topics/{topic}", topics::describe),
        delete("/v1/topics/{topic}", topics::delete),
        get("/v1/topics/{topic}/unread", unread::count),
        post("/v1/topics/{topic}/records", records::append),
        get("/v1/topics/{topic}/partitions/{partition}/records", records::read),
        get("/v1/streams", streams::list),
        get("/v1/streams/$all", streams::read_all),
        get("/v1/streams/{stream}", streams::read),
        post("/v1/streams/{stream}", streams::append),
        get("/v1/commands", commands::list),
        post("/v1/commands/{aggregate}/{id}", commands::handle),
        get("/v1/aggregates/{aggregate}/{id}", commands::state),
        post("/v1/backup", backup::make),
    ]
}

/// The router of all routes, behind the guard.
pub(super) fn router(server: Arc<Server>) -> Router {
    let body_limit = DefaultBodyLimit::max(server.settings.request_bytes_max);
    routes()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(body_limit)
        .layer(middleware::from_fn(encoding::decode_request))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), guard::guard))
        .layer(middleware::from_fn(encoding::encode_answer))
        .with_state(server)
}

fn get<H: Handler<T, Arc<Server>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { method: "get", path, handler: routing::get(handler) }
}

fn post<H: Handler<T, Arc<Server>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { method: "post", path, handler: routing::post(handler) }
}

fn delete<H: Handler<T, Arc<Server>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route { method: "delete", path, handler: routing::delete(handler) }
}

async fn no_such_path(OriginalUri(uri): OriginalUri) -> Problem {
    let error = Error::not_found(format!("there is nothing at {}", uri.path()));
    Problem::from(error).with_hint("see /openapi.json for what there is")
}

async fn no_such_method(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let error = Error::invalid(format!("{method} is not possible at {}", uri.path()));
    Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, error).with_hint("see /openapi.json for what is")
}
