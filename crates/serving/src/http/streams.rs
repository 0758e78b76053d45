//! Streams of events: list, read, append, and all events in the order in which they were recorded.

use std::{str::FromStr, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use eventstore::{Direction, EventStore, ExpectedVersion, NewEvent, StreamName};
use model::{Access, Error, Offset, Positions, Resource, principal::authorise};
use serde::{Deserialize, Serialize};

use super::{
    Server, answer,
    events::{self, Expected, PostedEvent, ShownEvent},
    parameters::{Caller, Demand, JsonBody, Parameters, Segments},
    problem::{Problem, Result},
    waiting,
};

/// How many streams or events a read returns when it does not say.
const LIMIT_DEFAULT: usize = 100;

#[derive(Debug, Serialize)]
struct ShownStreams {
    streams: Vec<ShownStream>,
}

#[derive(Debug, Serialize)]
struct ShownStream {
    stream: String,
    version: u64,
}

/// `GET /v1/streams`.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Describe, Resource::Server)?;
    let prefix = parameters.take::<String>("prefix")?.unwrap_or_default();
    let after = parameters.take::<String>("after")?;
    let limit = parameters.take_limit(LIMIT_DEFAULT, server.settings.answer_rows_max)?;
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    let store = store(&server)?;
    let after = after.as_deref().map(StreamName::new).transpose().map_err(Error::from)?;
    wait_for_store(&server, store, &demand).await?;
    let positions = store.positions();
    let summaries = store.streams(&prefix, after.as_ref(), limit);
    let streams = summaries
        .into_iter()
        .map(|summary| ShownStream { stream: summary.stream.to_string(), version: summary.version })
        .collect();
    Ok(answer::json(StatusCode::OK, &ShownStreams { streams }, &positions))
}

/// Where a read of a stream begins.
#[derive(Clone, Copy, Debug)]
enum From {
    Start,
    End,
    Version(u64),
}

impl FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            number => number.parse().map(Self::Version).map_err(|_| "not a version; write a number, start or end"),
        }
    }
}

fn read_direction(text: &str) -> Result<Direction> {
    match text {
        "forward" => Ok(Direction::Forward),
        "backward" => Ok(Direction::Backward),
        other => Err(Problem::invalid(format!("parameter direction={other:?}: write forward or backward"))),
    }
}

#[derive(Debug, Serialize)]
struct ShownEvents {
    stream: String,
    /// The version of the stream's last event, whether it is in `events` or not.
    version: Option<u64>,
    events: Vec<ShownEvent>,
}

/// `GET /v1/streams/{stream}`.
pub(super) async fn read(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments(name): Segments<String>,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Read, Resource::Stream(&name))?;
    let direction =
        parameters.take::<String>("direction")?.map_or(Ok(Direction::Forward), |text| read_direction(&text))?;
    let from = parameters.take::<From>("from")?;
    let limit = parameters.take_limit(LIMIT_DEFAULT, server.settings.answer_rows_max)?;
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    let from = match (from, direction) {
        (Some(From::Start), _) | (None, Direction::Forward) => 0,
        (Some(From::End), _) | (None, Direction::Backward) => u64::MAX,
        (Some(From::Version(version)), _) => version,
    };
    let store = store(&server)?;
    let stream = stream_name(&name)?;
    wait_for_store(&server, store, &demand).await?;
    // Before the read: the answer has at least what this says.
    let positions = store.positions();
    let read = store.read_stream(&stream, from, direction, limit).await;
    let events = read.map_err(|error| store_problem(store, error))?;
    let body = ShownEvents { stream: name, version: store.version(&stream), events: events::shown(events)? };
    Ok(answer::json(StatusCode::OK, &body, &positions))
}

#[derive(Debug, Serialize)]
struct ShownAll {
    events: Vec<ShownEvent>,
    next_offset: Offset,
    end_offset: Offset,
}

/// `GET /v1/streams/$all`.
pub(super) async fn read_all(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Read, Resource::Stream("$all"))?;
    let from = parameters.take::<Offset>("from")?.unwrap_or(0);
    let limit = parameters.take_limit(LIMIT_DEFAULT, server.settings.answer_rows_max)?;
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    if from < 0 {
        return Err(Problem::invalid(format!("parameter from={from}: an offset is not negative")));
    }
    let store = store(&server)?;
    wait_for_store(&server, store, &demand).await?;
    let page = store.read_all(from, limit).await.map_err(|error| store_problem(store, error))?;
    let positions = Positions::from([(store.partition().clone(), page.next_offset)]);
    let body =
        ShownAll { events: events::shown(page.events)?, next_offset: page.next_offset, end_offset: page.end_offset };
    Ok(answer::json(StatusCode::OK, &body, &positions))
}

/// An append.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAppend {
    expected: Option<Expected>,
    events: Vec<PostedEvent>,
}

#[derive(Debug, Serialize)]
struct Appended {
    stream: String,
    first_version: u64,
    last_version: u64,
    ids: Vec<String>,
    duplicate: bool,
}

/// `POST /v1/streams/{stream}`: all events or none, on disk before the answer.
pub(super) async fn append(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments(name): Segments<String>,
    parameters: Parameters,
    JsonBody(append): JsonBody<NewAppend>,
) -> Result<Response> {
    parameters.finish()?;
    authorise(&caller, Access::Write, Resource::Stream(&name))?;
    let store = store(&server)?;
    let stream = stream_name(&name)?;
    if append.events.is_empty() {
        return Err(Problem::invalid("there is no event to append"));
    }
    let expected = append.expected.map_or(ExpectedVersion::Any, |expected| expected.0);
    let events: Vec<NewEvent> =
        append.events.into_iter().map(|event| event.into_event(&*server.services.entropy)).collect();
    let ids = events.iter().map(|event| event.event_id.to_string()).collect();
    let appended = match &server.services.aggregates {
        Some(aggregates) => aggregates.append(&stream, expected, events).await,
        None => store.append(&stream, expected, events).await,
    };
    let appended = appended.map_err(|error| store_problem(store, error))?;
    let eventstore::Appended { first_version, last_version, positions, duplicate } = appended;
    let body = Appended { stream: name, first_version, last_version, ids, duplicate };
    Ok(answer::json(StatusCode::OK, &body, &positions))
}

/// The store, where this server has one.
pub(super) fn store(server: &Server) -> Result<&Arc<EventStore>> {
    server.services.event_store.as_ref().ok_or_else(|| Error::unsupported("this server has no event store").into())
}

fn stream_name(name: &str) -> Result<StreamName> {
    Ok(StreamName::new(name).map_err(Error::from)?)
}

/// The store's error, with what a program needs to decide again.
pub(super) fn store_problem(store: &EventStore, error: eventstore::Error) -> Problem {
    let actual = match &error {
        eventstore::Error::WrongVersion { actual, .. } => Some(*actual),
        _ => None,
    };
    let problem = Problem::from(Error::from(error)).at(store.positions());
    match actual {
        Some(actual) => problem.with_member("actual_version", actual),
        None => problem,
    }
}

/// Waits until the store, and whatever other topics are demanded, have been read that far.
pub(super) async fn wait_for_store(server: &Server, store: &EventStore, demand: &Demand) -> Result<()> {
    waiting::wait_for_log(server.services.log.as_ref(), demand).await?;
    // The store answers an append once it has read it itself, so a demand that came from one is met at once. Only
    // records that others had put into the topic are read later: with the next append.
    let reading = tokio::time::timeout(demand.timeout, store.wait_for(&demand.min_position));
    match demand.admitted(reading).await? {
        Ok(reached) => Ok(reached.map_err(Error::from)?),
        Err(_) => Err(waiting::not_reached(demand, store.positions())),
    }
}
