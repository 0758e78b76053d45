//! Views: list, rows, one row by its key. Neither needs SQL.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, SchemaRef},
};
use axum::{
    extract::{OriginalUri, State},
    http::{StatusCode, Uri},
    response::Response,
};
use datafusion::{
    common::ScalarValue, execution::SendableRecordBatchStream, physical_plan::stream::RecordBatchStreamAdapter,
    prelude::SessionContext,
};
use futures::stream;
use model::{Access, Error, Positions, Principal, Resource, principal::authorise};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Server, answer,
    negotiation::Format,
    numbers::Numbers,
    parameters::{Caller, Demand, Parameters, Segments},
    problem::{Problem, Result},
    rows::{self, Column, RowShape, Rows},
    waiting::{self, ShownBuilding},
};
use crate::{
    sql::Unread,
    views::{Relation, Snapshot, require_concerned},
};

#[derive(Debug, Serialize)]
struct ShownViews {
    views: Vec<ShownView>,
}

#[derive(Debug, Serialize)]
struct ShownView {
    name: String,
    columns: Vec<Column>,
    key: Vec<String>,
    topics: Vec<String>,
    row_count: Option<usize>,
    state: &'static str,
    /// Why it goes no further, where it does not.
    failure: Option<String>,
    /// How far it is, while it does not answer yet.
    building: Option<ShownBuilding>,
    /// How far the version is that will take its place, while one is being built.
    replacement: Option<ShownBuilding>,
}

/// `GET /v1/views`.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Describe, Resource::Server)?;
    parameters.finish()?;
    let views = &server.services.views;
    let relations = views.names().into_iter().filter_map(|name| views.get(&name).map(|relation| (name, relation)));
    let views = relations
        .map(|(name, relation)| {
            let replacement = views.replacement(&name);
            shown_view(name, relation.as_ref(), replacement.as_deref())
        })
        .collect();
    Ok(answer::bare_json(StatusCode::OK, &ShownViews { views }))
}

fn shown_view(name: String, relation: &dyn Relation, replacement: Option<&dyn Relation>) -> ShownView {
    let building = |relation: &dyn Relation| relation.frontier().building().as_ref().map(ShownBuilding::from);
    let (failure, building, replacement) =
        (relation.frontier().failure(), building(relation), replacement.and_then(building));
    let state = match (&failure, &building) {
        (Some(_), _) => "failed",
        (None, Some(_)) => "building",
        (None, None) => "running",
    };
    ShownView {
        name,
        columns: rows::columns(&relation.schema()),
        key: key_names(relation),
        topics: relation.topics().iter().map(ToString::to_string).collect(),
        // Rows of a part of the log are no rows of the view.
        row_count: relation.row_count().filter(|_| building.is_none()),
        state,
        failure,
        building,
        replacement,
    }
}

#[derive(Debug, Serialize)]
struct ShownRows {
    view: String,
    columns: Vec<Column>,
    key: Vec<String>,
    row_count: Option<usize>,
    rows: Box<RawValue>,
}

/// `GET /v1/views/{view}`.
pub(super) async fn rows(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments(name): Segments<String>,
    format: Format,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Read, Resource::View(&name))?;
    let limit = parameters.take::<usize>("limit")?;
    let numbers = parameters.take::<Numbers>("numbers")?.unwrap_or_default();
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    let relation = reached(&server, &name, &demand).await?;
    let snapshot = relation.snapshot().await?;
    let row_count = snapshot.row_count();
    let schema = relation.schema();
    let positions = snapshot.positions().clone();
    let stream = stream_of(&snapshot).await?;
    let failed = rows::unreadable();
    let mut found =
        Rows { schema: Arc::clone(&schema), stream, positions, limit, numbers, failed, unread: Unread::default() };
    if format != Format::Json {
        return rows::streamed(&server, found, format).await;
    }
    let body = ShownRows {
        view: name,
        columns: rows::columns(&schema),
        key: key_names(relation.as_ref()),
        row_count,
        rows: rows::json_array(&server, &mut found, RowShape::Object).await?,
    };
    Ok(answer::json(StatusCode::OK, &body, &found.positions))
}

#[derive(Debug, Serialize)]
struct ShownRow {
    view: String,
    row: Box<RawValue>,
}

/// `GET /v1/views/{view}/{key}`: a segment of the path for each column of the key.
pub(super) async fn row(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments((name, _)): Segments<(String, String)>,
    OriginalUri(uri): OriginalUri,
    parameters: Parameters,
) -> Result<Response> {
    keyed_row(&server, caller, name, &uri, parameters).await
}

/// `GET /v1/views/{view}/`: the key is the empty text, which no variable of a path takes.
pub(super) async fn row_of_empty_key(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    Segments(name): Segments<String>,
    OriginalUri(uri): OriginalUri,
    parameters: Parameters,
) -> Result<Response> {
    keyed_row(&server, caller, name, &uri, parameters).await
}

async fn keyed_row(
    server: &Server,
    caller: Principal,
    name: String,
    uri: &Uri,
    mut parameters: Parameters,
) -> Result<Response> {
    authorise(&caller, Access::Read, Resource::View(&name))?;
    let numbers = parameters.take::<Numbers>("numbers")?.unwrap_or_default();
    let demand = parameters.take_demand()?;
    parameters.finish()?;
    let relation = reached(server, &name, &demand).await?;
    let key = read_key(relation.as_ref(), uri.path())?;
    let (found, positions) = relation.get(&key).await?;
    let Some(batch) = found.filter(|batch| batch.num_rows() > 0) else {
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        let error = Error::not_found(format!("view {name} has no row with the key {}", key.join(", ")));
        return Err(Problem::from(error).at(positions));
    };
    let row = one_object(server, batch, &positions, numbers).await?;
    Ok(answer::json(StatusCode::OK, &ShownRow { view: name, row }, &positions))
}

async fn reached(server: &Server, name: &str, demand: &Demand) -> Result<Arc<dyn Relation>> {
    let views = &server.services.views;
    let reached = views.wait_for(name, &demand.min_position, demand.timeout);
    let relation = demand.admitted(reached).await?.map_err(waiting::refused)?;
    require_concerned(&format!("view {name}"), relation.topics(), &demand.min_position)?;
    Ok(relation)
}

async fn stream_of(snapshot: &Snapshot) -> Result<SendableRecordBatchStream> {
    if let Some(rows) = snapshot.rows() {
        return Ok(rows.stream(None)?);
    }
    let unreadable = |error| Error::internal("a view cannot be read").with_source(error);
    let table = SessionContext::new().read_table(snapshot.table()).map_err(unreadable)?;
    Ok(table.execute_stream().await.map_err(unreadable)?)
}

/// The row as an object, without the list around it.
async fn one_object(
    server: &Server,
    batch: RecordBatch,
    positions: &Positions,
    numbers: Numbers,
) -> Result<Box<RawValue>> {
    let schema = batch.schema();
    let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream::iter([Ok(batch)])));
    let (positions, failed) = (positions.clone(), rows::unreadable());
    let mut rows = Rows { schema, stream, positions, limit: Some(1), numbers, failed, unread: Unread::default() };
    let list = rows::json_array(server, &mut rows, RowShape::Object).await?;
    let mut objects: Vec<Box<RawValue>> =
        serde_json::from_str(list.get()).map_err(|error| Error::internal("a row is not JSON").with_source(error))?;
    objects.pop().ok_or_else(|| Error::internal("a row is lost").into())
}

fn key_names(relation: &dyn Relation) -> Vec<String> {
    key_fields(&relation.schema(), relation.key_columns()).map(|field| field.name().clone()).collect()
}

fn key_fields<'a>(schema: &'a SchemaRef, key: &'a [usize]) -> impl Iterator<Item = &'a Field> {
    key.iter().filter_map(|column| schema.fields().get(*column).map(AsRef::as_ref))
}

/// The segments after the view's name, each the text of one key column. They are split before they are decoded, so
/// that a key can contain a slash.
fn read_key(relation: &dyn Relation, path: &str) -> Result<Vec<ScalarValue>> {
    // "", "v1", "views", the view
    let segments: Vec<&str> = path.split('/').skip(4).collect();
    let schema = relation.schema();
    let fields: Vec<_> = key_fields(&schema, relation.key_columns()).collect();
    if segments.len() != fields.len() {
        let names: Vec<_> = fields.iter().map(|field| format!("{{{}}}", field.name())).collect();
        let error = format!("the key of view {} has {} parts, not {}", relation.name(), fields.len(), segments.len());
        let path = match names.as_slice() {
            [] => format!("/v1/views/{}, which has all rows", relation.name()),
            names => format!("/v1/views/{}/{}", relation.name(), names.join("/")),
        };
        return Err(Problem::invalid(error).with_hint(format!("write {path}")));
    }
    let parse = |(field, segment): (&Field, &str)| {
        let text = percent_encoding::percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| Problem::invalid(format!("the key part {segment:?} is not UTF-8")))?;
        let value = ScalarValue::try_from_string(text.to_string(), field.data_type()).ok();
        // Not rounded to another key.
        let fits = match field.data_type() {
            DataType::Decimal128(_, scale) => {
                streaming::digits_after_point(&text).is_some_and(|digits| digits <= i32::from(*scale))
            }
            _ => true,
        };
        value.filter(|_| fits).ok_or_else(|| {
            let (name, type_name) = (field.name(), rows::type_name(field.data_type()));
            Problem::invalid(format!("{text:?} is no {type_name}, which column {name} of the key is"))
        })
    };
    fields.into_iter().zip(segments).map(parse).collect()
}
