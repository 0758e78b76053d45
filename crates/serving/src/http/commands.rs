//! Commands to aggregates, and their state now and earlier.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use eventstore::{Aggregates, AsOf, CommandError, CommandId, CommandOutcome, CommandRequest, StateAt};
use model::{Access, Error, Resource, principal::authorise};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    Server, answer,
    events::{self, Expected, ShownEvent},
    instants::{self, Instant},
    parameters::{Caller, JsonBody, Parameters, Segments},
    problem::{Problem, Result},
    streams::{store_problem, wait_for_store},
};

#[derive(Debug, Serialize)]
struct ShownAggregates {
    aggregates: Vec<String>,
}

/// `GET /v1/commands`: the aggregates that take commands.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Describe, Resource::Server)?;
    parameters.finish()?;
    let aggregates = aggregates(&server)?.names();
    Ok(answer::bare_json(StatusCode::OK, &ShownAggregates { aggregates }))
}

/// A command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCommand {
    #[serde(rename = "type")]
    command_type: String,
    data: Option<Box<RawValue>>,
    command_id: Option<String>,
    expected: Option<Expected>,
    effective_time: Option<Instant>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    metadata: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct Handled {
    stream: String,
    version: Option<u64>,
    command_id: String,
    duplicate: bool,
    events: Vec<ShownEvent>,
}

/// `POST /v1/commands/{aggregate}/{id}`: decided and on disk before the answer.
pub(super) async fn handle(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments((aggregate, id)): Segments<(String, String)>,
    parameters: Parameters,
    JsonBody(command): JsonBody<NewCommand>,
) -> Result<Response> {
    parameters.finish()?;
    authorise(&caller, Access::Write, Resource::Aggregate(&aggregate))?;
    let aggregates = aggregates(&server)?;
    let command_id = match &command.command_id {
        Some(command_id) => CommandId::new(command_id).map_err(Error::from)?,
        None => CommandId::random(&*server.services.entropy),
    };
    // As it was sent: it is read once, by the aggregate.
    let data = command.data.unwrap_or_else(|| RawValue::NULL.to_owned());
    let request = CommandRequest {
        expected: command.expected.map(|expected| expected.0),
        effective_time_ms: command.effective_time.map(|time| time.0),
        correlation_id: command.correlation_id,
        causation_id: command.causation_id,
        metadata: command.metadata,
        principal: caller,
        ..CommandRequest::new(command_id.clone(), command.command_type, data)
    };
    let handled = aggregates.handle(&aggregate, &id, request).await;
    let CommandOutcome { stream, version, events, positions, duplicate } =
        handled.map_err(|error| command_problem(aggregates, error))?;
    let command_id = command_id.to_string();
    let body = Handled { stream: stream.to_string(), version, command_id, duplicate, events: events::shown(events)? };
    Ok(answer::json(StatusCode::OK, &body, &positions))
}

#[derive(Debug, Serialize)]
struct ShownState {
    aggregate: String,
    id: String,
    stream: String,
    version: u64,
    recorded_time: String,
    state: Value,
}

/// `GET /v1/aggregates/{aggregate}/{id}`.
pub(super) async fn state(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments((aggregate, id)): Segments<(String, String)>,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Read, Resource::Aggregate(&aggregate))?;
    let as_of = read_as_of(&mut parameters)?;
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    let aggregates = aggregates(&server)?;
    wait_for_store(&server, aggregates.store(), &demand).await?;
    let found = aggregates.state(&aggregate, &id, as_of).await.map_err(|error| command_problem(aggregates, error))?;
    let Some(StateAt { stream, state, version, recorded_time_ms, positions }) = found else {
        let error = Error::not_found(format!("{aggregate} {id} had no events at that time"));
        return Err(Problem::from(error).at(aggregates.store().positions()));
    };
    let recorded_time = instants::shown(recorded_time_ms);
    let body = ShownState { aggregate, id, stream: stream.to_string(), version, recorded_time, state };
    Ok(answer::json(StatusCode::OK, &body, &positions))
}

fn read_as_of(parameters: &mut Parameters) -> Result<AsOf> {
    let version = parameters.take::<u64>("version")?.map(AsOf::Version);
    let recorded = parameters.take::<Instant>("at")?.map(|time| AsOf::RecordedTime(time.0));
    let effective = parameters.take::<Instant>("effective_at")?.map(|time| AsOf::EffectiveTime(time.0));
    let mut given = [version, recorded, effective].into_iter().flatten();
    match (given.next(), given.next()) {
        (None, _) => Ok(AsOf::Now),
        (Some(as_of), None) => Ok(as_of),
        (Some(_), Some(_)) => Err(Problem::invalid("only one of version, at and effective_at can be given")),
    }
}

fn aggregates(server: &Server) -> Result<&Arc<Aggregates>> {
    server.services.aggregates.as_ref().ok_or_else(|| Error::unsupported("this server takes no commands").into())
}

fn command_problem(aggregates: &Aggregates, error: CommandError) -> Problem {
    let rule = error.rule().map(str::to_owned);
    let problem = match error {
        CommandError::Store(error) => return store_problem(aggregates.store(), error),
        error => Problem::from(Error::from(error)).at(aggregates.store().positions()),
    };
    match rule {
        Some(rule) => problem.with_member("rule", rule),
        None => problem,
    }
}
