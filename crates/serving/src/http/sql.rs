//! `POST /v1/sql`: one statement, its rows or its outcome.
//!
//! What it is not: a session. Each request has one of its own, so that a statement that only changes a session
//! (`SET`, `BEGIN`, a cursor) is refused: it would look done and do nothing.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::DataType;
use axum::{extract::State, http::StatusCode, response::Response};
use datafusion::{common::ScalarValue, error::DataFusionError};
use model::{Error, ErrorKind, Positions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sql::{SqlError, sqlstate};

use super::{
    Server, answer,
    negotiation::Format,
    numbers::Numbers,
    parameters::{Caller, JsonBody, Parameters},
    problem::{Problem, Result},
    rows::{self, Column, RowShape, Rows},
};
use crate::sql::{Outcome, Session};

/// More items than a list is given by hand; what is planned with them takes memory many times over.
const LIST_ITEMS_MAX: usize = 65_536;

/// How the tags begin of what is done for all, and not for a session.
const DEFINING: &[&str] = &["CREATE", "DROP", "ALTER", "REFRESH", "REPLAY", "ROLLBACK MATERIALIZED VIEW"];

/// A statement with its parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewStatement {
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
    min_position: Option<String>,
    timeout_ms: Option<u64>,
    numbers: Option<Numbers>,
}

#[derive(Debug, Serialize)]
struct ShownTable {
    columns: Vec<Column>,
    rows: Box<RawValue>,
    /// By the source: how many of its records could not be read, where the statement reads a source.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ff_rejected: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownWrite {
    tag: String,
    rows: usize,
    notices: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownOutcome {
    tag: String,
    notices: Vec<String>,
}

/// `POST /v1/sql`.
pub(super) async fn execute(
    State(server): State<Arc<Server>>,
    Caller(caller): Caller,
    format: Format,
    mut parameters: Parameters,
    JsonBody(statement): JsonBody<NewStatement>,
) -> Result<Response> {
    let in_query = parameters.take::<Positions>("min_position")?;
    let timeout_in_query = parameters.take::<u64>("timeout_ms")?;
    let in_body = statement.min_position.as_deref().map(str::parse::<Positions>).transpose()?;
    let min_position = in_body.or(in_query).unwrap_or_default();
    let numbers_in_query = parameters.take::<Numbers>("numbers")?;
    let numbers = statement.numbers.or(numbers_in_query).unwrap_or_default();
    let demand = parameters.demand(min_position, statement.timeout_ms.or(timeout_in_query))?;
    parameters.finish()?;

    // What a statement may touch is known once it is understood: the session asks `authorise` for each name in it.
    let session = Arc::new(server.services.sql.session(caller));
    session.demand(&demand.min_position, Some(demand.timeout)).map_err(problem)?;
    session.admit_waits(move || demand.admit());
    match outcome(&session, &statement).await? {
        Outcome::Rows { schema, stream, positions, unread, .. } => {
            let failed: rows::Explain = Arc::new(move |error: DataFusionError| problem(session.error(&error)));
            table(&server, format, Rows { schema, stream, positions, limit: None, numbers, failed, unread }).await
        }
        Outcome::Copy { .. } => Err(not_here("COPY", "send the query itself, with the header accept: text/csv")),
        Outcome::Written { tag, rows, positions, notices } => {
            Ok(answer::json(StatusCode::OK, &ShownWrite { tag: format!("{tag} {rows}"), rows, notices }, &positions))
        }
        Outcome::Done { tag, notices, .. } => {
            if !DEFINING.iter().any(|words| tag.starts_with(words)) {
                let hint = "use the PostgreSQL wire for statements that belong to a session; a request has min_position \
                    and timeout_ms of its own";
                return Err(not_here(&tag, hint));
            }
            Ok(answer::bare_json(StatusCode::OK, &ShownOutcome { tag, notices }))
        }
    }
}

async fn outcome(session: &Session, statement: &NewStatement) -> Result<Outcome> {
    let mut texts = session.parse(&statement.sql).map_err(problem)?.into_iter();
    let (Some(text), None) = (texts.next(), texts.next()) else {
        return Err(Problem::invalid("a request takes exactly one statement"));
    };
    if shows_positions(&statement.sql) {
        return Err(not_here("SHOW fourfold.positions", "each answer says what it reflected, in positions"));
    }
    let prepared = session.prepare(&text, &[]).await.map_err(problem)?;
    let types = prepared.parameters();
    if types.len() != statement.params.len() {
        let (wanted, given) = (types.len(), statement.params.len());
        return Err(Problem::invalid(format!("the statement has {wanted} parameters, and params has {given}")));
    }
    let values = statement.params.iter().zip(types).enumerate().map(|(at, (json, data_type))| {
        scalar(json, data_type).map_err(|problem| problem.with_member("parameter", at + 1))
    });
    let values: Vec<ScalarValue> = values.collect::<Result<_>>()?;
    session.execute(&prepared, &values).await.map_err(problem)
}

/// Of the answer before it, which no request has.
fn shows_positions(sql: &str) -> bool {
    let words = sql.trim_end_matches([';', ' ', '\n']).split_whitespace();
    words.map(str::to_lowercase).eq(["show", "fourfold.positions"].map(str::to_owned))
}

async fn table(server: &Server, format: Format, mut found: Rows) -> Result<Response> {
    if format != Format::Json {
        return rows::streamed(server, found, format).await;
    }
    let columns = rows::columns(&found.schema);
    let rows = rows::json_array(server, &mut found, RowShape::List).await?;
    let unread = found.unread;
    let ff_rejected = unread.records().into_iter().map(|(source, records)| (source.to_owned(), records)).collect();
    let body = ShownTable { columns, rows, ff_rejected, notices: unread.notices() };
    Ok(answer::json(StatusCode::OK, &body, &found.positions))
}

/// A parameter as the type that the statement gives it; times and decimals come as text, what is a list as a list.
fn scalar(json: &Value, data_type: &DataType) -> Result<ScalarValue> {
    match (data_type, json) {
        (DataType::List(item), Value::Array(items)) => list(items, item.data_type()),
        (DataType::List(_), other) if !other.is_null() => {
            let name = rows::type_name(data_type);
            Err(Problem::invalid(format!("{other} is no {name}, which the parameter is"))
                .with_hint("write it as a list: [1, 2, 3]"))
        }
        _ => one_value(json, data_type),
    }
}

/// The values of a list, each as its items are; a list has one dimension.
fn list(items: &[Value], item: &DataType) -> Result<ScalarValue> {
    if items.len() > LIST_ITEMS_MAX {
        let message = format!("a list of {} items is over the limit of {LIST_ITEMS_MAX} for a parameter", items.len());
        return Err(Problem::invalid(message).with_hint("send it in several requests"));
    }
    if items.iter().any(Value::is_array) || item.is_nested() {
        return Err(Problem::invalid("a list as a parameter has one dimension: its items are values and no lists"));
    }
    let values = items.iter().map(|json| one_value(json, item)).collect::<Result<Vec<_>>>()?;
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, item)))
}

fn one_value(json: &Value, data_type: &DataType) -> Result<ScalarValue> {
    let name = rows::type_name(data_type);
    let text = match json {
        Value::Null => None,
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Array(_) | Value::Object(_) => {
            return Err(Problem::invalid(format!("a parameter of type {name} is a list or an object, not one value")));
        }
    };
    let value = match &text {
        None => ScalarValue::try_from(data_type),
        Some(text) => ScalarValue::try_from_string(text.clone(), data_type),
    };
    value.map_err(|_| Problem::invalid(format!("{json} is no {name}, which the parameter is")))
}

fn not_here(what: &str, hint: &str) -> Problem {
    let error =
        Error::unsupported(format!("{what} has no effect over HTTP, where each request has a session of its own"));
    Problem::from(error).with_hint(hint)
}

/// SQL's error as a problem, with its code and place.
fn problem(error: SqlError) -> Problem {
    let kind = kind_of(error.sqlstate);
    let SqlError { sqlstate, message, position, hint } = error;
    let error = Error::new(kind, message);
    let problem = match sqlstate {
        sqlstate::NOT_AVAILABLE | sqlstate::QUERY_CANCELED => Problem::with_status(StatusCode::GATEWAY_TIMEOUT, error),
        _ => error.into(),
    };
    let problem = problem.with_member("sqlstate", sqlstate);
    let problem = match position {
        Some(position) => problem.with_member("position", position),
        None => problem,
    };
    match hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

fn kind_of(sqlstate: &str) -> ErrorKind {
    match sqlstate {
        sqlstate::FEATURE_NOT_SUPPORTED | sqlstate::READ_ONLY => ErrorKind::Unsupported,
        sqlstate::UNDEFINED_TABLE | sqlstate::UNDEFINED_OBJECT => ErrorKind::NotFound,
        sqlstate::DUPLICATE_OBJECT | sqlstate::DEPENDENT_OBJECTS_STILL_EXIST => ErrorKind::Conflict,
        sqlstate::INSUFFICIENT_PRIVILEGE => ErrorKind::Denied,
        sqlstate::RAISED => ErrorKind::Rejected,
        sqlstate::NOT_AVAILABLE
        | sqlstate::QUERY_CANCELED
        | sqlstate::ADMIN_SHUTDOWN
        | sqlstate::OUT_OF_MEMORY
        | sqlstate::TOO_MANY_CONNECTIONS
        | sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE => ErrorKind::Unavailable,
        sqlstate::DATA_CORRUPTED => ErrorKind::Corrupt,
        sqlstate::INTERNAL_ERROR => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    }
}
