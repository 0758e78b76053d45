//! The outcome of a statement as messages.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow_pg::datatypes::encode_recordbatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, stream};
use pgwire::{
    api::{
        portal::Format,
        results::{FieldInfo, QueryResponse, Tag},
    },
    error::{PgWireError, PgWireResult},
    messages::{
        PgWireBackendMessage,
        copy::{CopyData, CopyDone, CopyOutResponse},
        data::{FORMAT_CODE_BINARY, FORMAT_CODE_TEXT, FieldDescription, RowDescription},
        response::TransactionStatus,
    },
};
use sql::{SqlError, sqlstate};

use super::{backend::Backend, connection::Connection, copy_text, encodable::encodable, error::wire_error};
use crate::sql::{CopyFormat, CopyOptions, Effect, Outcome, Unread};

/// Bytes of `COPY` text that are sent as one message.
const COPY_MESSAGE_BYTES: usize = 32 * 1024;

/// Sends everything that a statement results in, also the description of its rows when `describe` says so.
pub(super) async fn respond(
    connection: &Connection,
    client: &mut impl Backend,
    outcome: Outcome,
    format: &Format,
    describe: bool,
) -> PgWireResult<()> {
    match outcome {
        Outcome::Rows { schema, stream, tag, unread, .. } => {
            connection.tell_positions(client).await?;
            let fields = Arc::new(connection.fields(&schema, format)?);
            if describe {
                client.feed_message(PgWireBackendMessage::RowDescription(description(&fields))).await?;
            }
            let rows = send_rows(connection, client, stream, &fields).await?;
            tell_unread(client, &unread).await?;
            client.feed_complete(Tag::new(tag).with_rows(rows)).await
        }
        Outcome::Copy { schema, stream, options, unread, .. } => {
            connection.tell_positions(client).await?;
            let fields = Arc::new(connection.fields(&schema, &copy_format(&options))?);
            let rows = send_copy(connection, client, stream, &fields, &options).await?;
            tell_unread(client, &unread).await?;
            client.feed_complete(Tag::new("COPY").with_rows(rows)).await
        }
        Outcome::Written { tag, rows, notices, .. } => {
            connection.tell_positions(client).await?;
            for notice in notices {
                client.feed_notice(notice).await?;
            }
            client.feed_complete(Tag::new(tag).with_rows(rows)).await
        }
        Outcome::Done { tag, notices, effect } => {
            for notice in notices {
                client.feed_notice(notice).await?;
            }
            take_note(connection, client, effect).await?;
            client.feed_complete(Tag::new(&tag)).await
        }
    }
}

/// Says which records the rows leave out, once they have been sent.
pub(super) async fn tell_unread(client: &mut impl Backend, unread: &Unread) -> PgWireResult<()> {
    for notice in unread.notices() {
        client.feed_notice(notice).await?;
    }
    Ok(())
}

/// Rows that are sent a portion at a time.
pub(super) fn portal_rows(
    connection: &Connection,
    stream: SendableRecordBatchStream,
    fields: &Arc<Vec<FieldInfo>>,
    tag: &str,
) -> QueryResponse {
    let (session, row_fields) = (Arc::clone(&connection.session), Arc::clone(fields));
    let rows = stream.flat_map(move |batch| {
        let (batch, failed) = match batch {
            Ok(batch) => (Some(batch), None),
            Err(error) => (None, Some(Err(wire_error(session.error(&error))))),
        };
        let batch = batch.map(|batch| encodable(batch, &row_fields).map_err(wrongly_encoded)).transpose();
        let (batch, failed) = batch.map_or_else(|error| (None, Some(Err(error))), |batch| (batch, failed));
        let encoded = batch.map(|batch| encode_recordbatch(Arc::clone(&row_fields), batch));
        stream::iter(encoded.into_iter().flatten().chain(failed))
    });
    let mut response = QueryResponse::new(Arc::clone(fields), rows);
    response.set_command_tag(tag);
    response
}

/// The description of rows.
pub(super) fn description(fields: &[FieldInfo]) -> RowDescription {
    RowDescription::new(fields.iter().map(FieldDescription::from).collect())
}

async fn send_rows(
    connection: &Connection,
    client: &mut impl Backend,
    mut stream: SendableRecordBatchStream,
    fields: &Arc<Vec<FieldInfo>>,
) -> PgWireResult<usize> {
    let mut count = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| wire_error(connection.session.error(&error)))?;
        let batch = encodable(batch, fields).map_err(wrongly_encoded)?;
        for row in encode_recordbatch(Arc::clone(fields), batch) {
            client.feed_message(PgWireBackendMessage::DataRow(row?)).await?;
            count += 1;
        }
    }
    Ok(count)
}

async fn send_copy(
    connection: &Connection,
    client: &mut impl Backend,
    mut stream: SendableRecordBatchStream,
    fields: &Arc<Vec<FieldInfo>>,
    options: &CopyOptions,
) -> PgWireResult<usize> {
    let columns = i16::try_from(fields.len()).map_err(|_| too_many_columns())?;
    let is_binary = options.format == CopyFormat::Binary;
    let code = if is_binary { FORMAT_CODE_BINARY } else { FORMAT_CODE_TEXT };
    let begin = CopyOutResponse::new(i8::from(is_binary), columns, vec![code; fields.len()]);
    client.feed_message(PgWireBackendMessage::CopyOutResponse(begin)).await?;
    let (mut text, mut count) = (Vec::with_capacity(COPY_MESSAGE_BYTES), 0);
    if is_binary {
        text.extend_from_slice(copy_text::BINARY_HEAD);
    }
    if options.header {
        copy_text::append_header(&mut text, fields.iter().map(FieldInfo::name), options);
    }
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| wire_error(connection.session.error(&error)))?;
        let batch = encodable(batch, fields).map_err(wrongly_encoded)?;
        for row in encode_recordbatch(Arc::clone(fields), batch) {
            if is_binary {
                copy_text::append_binary_row(&mut text, &row?.data, columns);
            } else if !copy_text::append_row(&mut text, &row?.data, options) {
                return Err(wire_error(SqlError::new(sqlstate::INTERNAL_ERROR, "a row was encoded wrongly")));
            }
            count += 1;
            if text.len() >= COPY_MESSAGE_BYTES {
                send_copy_text(client, &mut text).await?;
            }
        }
    }
    if is_binary {
        text.extend_from_slice(copy_text::BINARY_END);
    }
    send_copy_text(client, &mut text).await?;
    client.feed_message(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
    Ok(count)
}

fn copy_format(options: &CopyOptions) -> Format {
    match options.format {
        CopyFormat::Binary => Format::UnifiedBinary,
        CopyFormat::Text | CopyFormat::Csv => Format::UnifiedText,
    }
}

async fn send_copy_text(client: &mut impl Backend, text: &mut Vec<u8>) -> PgWireResult<()> {
    if text.is_empty() {
        return Ok(());
    }
    let data = std::mem::replace(text, Vec::with_capacity(COPY_MESSAGE_BYTES));
    client.feed_message(PgWireBackendMessage::CopyData(CopyData::new(data.into()))).await
}

async fn take_note(connection: &Connection, client: &mut impl Backend, effect: Effect) -> PgWireResult<()> {
    match effect {
        Effect::None => {}
        Effect::TransactionStarted => client.set_transaction(TransactionStatus::Transaction),
        Effect::TransactionEnded => {
            client.set_transaction(TransactionStatus::Idle);
            client.close_portals();
        }
        Effect::Deallocated(Some(name)) => {
            if !connection.statement_names.lock().remove(&name) {
                let message = format!("prepared statement \"{name}\" does not exist");
                return Err(wire_error(SqlError::new(sqlstate::INVALID_STATEMENT_NAME, message)));
            }
            client.forget_statement(&name);
        }
        Effect::Deallocated(None) | Effect::Discarded => {
            for name in std::mem::take(&mut *connection.statement_names.lock()) {
                client.forget_statement(&name);
            }
        }
        Effect::Reported { name, value } => client.feed_parameter(name, value).await?,
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn wrongly_encoded(error: ArrowError) -> PgWireError {
    wire_error(SqlError::new(sqlstate::INTERNAL_ERROR, format!("a row cannot be encoded: {error}")))
}

fn too_many_columns() -> PgWireError {
    wire_error(SqlError::new(
        sqlstate::TOO_MANY_COLUMNS,
        "the result has more columns than PostgreSQL's protocol can carry",
    ))
}
