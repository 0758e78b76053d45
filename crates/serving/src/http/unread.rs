//! `GET /v1/topics/{topic}/unread`: how many records of a range the topic's sources cannot read.
//!
//! For whoever has just written records and wants to know whether they are of use to anybody. It reads the range; it
//! writes no dead letters.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use model::{Access, Epoch, Positions, Resource, principal::authorise};
use serde::Serialize;
use streaming::SourceTable;

use super::{
    Server, answer,
    parameters::{Caller, Parameters, Segments},
    problem::{Problem, Result},
    topics::existing_topic,
};

#[derive(Debug, Serialize)]
struct ShownUnread {
    sources: Vec<ShownSource>,
}

#[derive(Debug, Serialize)]
struct ShownSource {
    source: String,
    /// How many records of the range there are.
    records: u64,
    rejected: u64,
    /// Why, one sentence each.
    notices: Vec<String>,
}

/// `GET /v1/topics/{topic}/unread`.
pub(super) async fn count(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments(name): Segments<String>,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Read, Resource::Topic(&name))?;
    let from = parameters.take::<Positions>("from")?.unwrap_or_default();
    let to = parameters.take::<Positions>("to")?;
    parameters.finish()?;
    let log = &server.services.log;
    let topic = existing_topic(log.as_ref(), &name)?;
    let mut end = Positions::new();
    for place in topic.topic_partitions() {
        let bounds = log.bounds(&place)?;
        let wanted = to.as_ref().map_or(bounds.high_watermark, |to| to.next_offset(&place).min(bounds.high_watermark));
        end.advance(place, wanted);
    }
    if from.iter().any(|(place, offset)| offset > end.next_offset(place)) {
        return Err(Problem::invalid(format!("from={from} is beyond {end}, where the range ends")));
    }
    let mut sources = Vec::new();
    for source in server.services.sql.definitions().sources() {
        if source.topic.as_str() != name {
            continue;
        }
        let table = SourceTable::new(Arc::clone(log), source, Epoch::new(from.clone(), end.clone())?);
        let (records, unread) = table.read_through().await.map_err(model::Error::from)?;
        let (source, rejected) = (table.source_name().to_owned(), unread.records());
        let notices = unread.notices(&source);
        sources.push(ShownSource { source, records, rejected, notices });
    }
    Ok(answer::json(StatusCode::OK, &ShownUnread { sources }, &end))
}
