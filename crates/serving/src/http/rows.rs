//! Rows on their way out: as one JSON document, or streamed as NDJSON or CSV.
//!
//! What must hold: no answer looks whole that is not. A document over the limit is refused; a stream that fails or
//! goes over the limit after its head was sent ends the connection without the end of the body (and as NDJSON says
//! why in its last line, `{"fourfold_problem": {...}}`). What it leaves out of a source is told: in the document, in the last
//! line of NDJSON, and of CSV in a header. So CSV is held until its end is known, as far as a document may go; one that is
//! longer and leaves out something ends as one that fails.
//!
//! How values look in JSON: integers and floats as numbers (what is not finite as `null`), decimals as numbers with
//! all their digits (all of these otherwise with [`Numbers::Text`]), times as ISO 8601 text, binary as hexadecimal text. CSV has neither lists nor structs.

use std::{collections::BTreeSet, io, sync::Arc};

use arrow::{
    array::RecordBatch,
    csv,
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
    json::{
        StructMode, WriterBuilder,
        writer::{JsonArray, LineDelimited},
    },
};
use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use datafusion::{error::DataFusionError, execution::SendableRecordBatchStream};
use futures::{StreamExt, stream};
use model::{Error, Positions};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::{
    Server,
    negotiation::Format,
    numbers::Numbers,
    positions::with_positions,
    problem::{Problem, Result},
    rejected::with_rejected,
    times,
};
use crate::sql::Unread;

/// Rows encoded at a time, so that a large batch does not become one large piece of text.
const CHUNK_ROWS: usize = 4096;

/// Rows with what belongs to them.
pub(super) struct Rows {
    /// The columns.
    pub(super) schema: SchemaRef,
    /// The rows.
    pub(super) stream: SendableRecordBatchStream,
    /// What they reflect.
    pub(super) positions: Positions,
    /// No more rows than this, where the client said so.
    pub(super) limit: Option<usize>,
    /// How their numbers are written.
    pub(super) numbers: Numbers,
    /// What to tell the client when the rows end with an error.
    pub(super) failed: Explain,
    /// What they leave out.
    pub(super) unread: Unread,
}

/// Says what an error among the rows means.
pub(super) type Explain = Arc<dyn Fn(DataFusionError) -> Problem + Send + Sync>;

/// For rows that were there already, so that nothing of the client's making can fail.
pub(super) fn unreadable() -> Explain {
    Arc::new(|error| Error::internal("the rows could not be read").with_source(error).into())
}

/// A column, described.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
}

/// The columns of a schema, described.
pub(super) fn columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &Arc<arrow::datatypes::Field>| Column {
        name: field.name().clone(),
        type_name: type_name(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}

/// A type by its PostgreSQL name, where it has one.
pub(super) fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64 => "numeric(20,0)",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, zone) => {
            if zone.is_some() {
                "timestamptz"
            } else {
                "timestamp"
            }
        }
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale) => {
            return format!("numeric({digits},{scale})");
        }
        DataType::Dictionary(_, values) => return type_name(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            return format!("{}[]", type_name(item.data_type()));
        }
        other => return other.to_string().to_lowercase(),
    };
    name.to_owned()
}

/// How a row looks in a JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowShape {
    /// A list of values: columns may have the same name, or none.
    List,
    /// An object.
    Object,
}

/// The rows as the text of a JSON array.
pub(super) async fn json_array(server: &Server, rows: &mut Rows, shape: RowShape) -> Result<Box<RawValue>> {
    let rows_max = server.settings.answer_rows_max;
    let bytes_max = server.settings.answer_bytes_max;
    let mode = match shape {
        RowShape::List => StructMode::ListOnly,
        RowShape::Object => StructMode::ObjectOnly,
    };
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_struct_mode(mode);
    let mut writer = builder.build::<_, JsonArray>(Bounded { text: Vec::new(), bytes_max });
    let unwritten = |error| match error {
        ArrowError::IoError(..) => too_large(&format!("{bytes_max} bytes")),
        other => unwritable(other),
    };
    let mut count = 0;
    let mut left = rows.limit.unwrap_or(usize::MAX);
    while left > 0
        && let Some(batch) = rows.stream.next().await
    {
        for chunk in chunks(&batch.map_err(|error| (rows.failed)(error))?, &mut left) {
            count += chunk.num_rows();
            if count > rows_max {
                return Err(too_large(&format!("{rows_max} rows")));
            }
            let written = times::check(&chunk).and_then(|()| rows.numbers.written(&chunk));
            written.and_then(|chunk| writer.write(&chunk)).map_err(unwritten)?;
        }
    }
    writer.finish().map_err(unwritten)?;
    let text = String::from_utf8(writer.into_inner().text)
        .map_err(|error| Error::internal("JSON is not text").with_source(error))?;
    RawValue::from_string(text).map_err(|error| Error::internal("rows are not JSON").with_source(error).into())
}

/// Text that does not grow over a limit.
struct Bounded {
    text: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_large(limit: &str) -> Problem {
    Problem::invalid(format!("the answer is over this server's limit of {limit} for a document"))
        .with_hint("ask for fewer rows, or accept application/x-ndjson or text/csv, which are streamed")
}

/// The rows as a body that is produced as the client takes it.
pub(super) async fn streamed(server: &Server, mut rows: Rows, format: Format) -> Result<Response> {
    match format {
        Format::Csv => require_flat(&rows.schema)?,
        Format::Json | Format::NdJson => require_distinct(&rows.schema)?,
    }
    let deadline = Instant::now() + server.settings.stream_timeout;
    // The first rows are awaited before the head is sent: most of what can fail fails here, as a proper problem.
    let first = rows.stream.next().await.transpose().map_err(|error| (rows.failed)(error))?;
    let rest = std::mem::replace(&mut rows.stream, empty(&rows.schema));
    let head = first.map(Ok).into_iter();
    let mut writing = Writing {
        batches: Box::pin(stream::iter(head).chain(rest)),
        left: rows.limit.unwrap_or(usize::MAX),
        bytes_left: server.settings.stream_bytes_max,
        deadline,
        format,
        numbers: rows.numbers,
        header: format == Format::Csv,
        schema: Arc::clone(&rows.schema),
        failed: rows.failed,
        unread: rows.unread,
        stage: Stage::Rows,
    };
    let held = match format {
        Format::Csv if !writing.unread.is_empty() => writing.hold(server.settings.answer_bytes_max).await?,
        _ => Vec::new(),
    };
    let unread = matches!(writing.stage, Stage::Over).then(|| writing.unread.clone());
    let held = stream::iter(held.into_iter().map(Ok));
    let body = Body::from_stream(held.chain(stream::unfold(writing, Writing::step)));
    let response = ([(header::CONTENT_TYPE, format.content_type())], body).into_response();
    let response = with_positions(response, &rows.positions);
    match unread {
        Some(unread) => with_rejected(response, &unread),
        None => Ok(response),
    }
}

fn empty(schema: &SchemaRef) -> SendableRecordBatchStream {
    Box::pin(datafusion::physical_plan::EmptyRecordBatchStream::new(Arc::clone(schema)))
}

fn require_flat(schema: &Schema) -> Result<()> {
    match schema.fields().iter().find(|field| field.data_type().is_nested()) {
        None => Ok(()),
        Some(field) => Err(Error::unsupported(format!(
            "column {:?} is a {}, which CSV cannot hold",
            field.name(),
            field.data_type()
        ))
        .with_hint("accept application/json or application/x-ndjson")
        .into()),
    }
}

/// A row as an object has one value a name.
fn require_distinct(schema: &Schema) -> Result<()> {
    let mut names = BTreeSet::new();
    match schema.fields().iter().find(|field| !names.insert(field.name())) {
        None => Ok(()),
        Some(field) => Err(Problem::invalid(format!(
            "several columns are called {:?}, and a row of NDJSON is an object, with one value a name",
            field.name()
        ))
        .with_hint("give them aliases, or accept application/json or text/csv, where a row is a list")),
    }
}

type Batches = std::pin::Pin<Box<dyn futures::Stream<Item = Result<RecordBatch, DataFusionError>> + Send>>;

/// A streamed answer in the making.
struct Writing {
    batches: Batches,
    left: usize,
    bytes_left: u64,
    deadline: Instant,
    format: Format,
    numbers: Numbers,
    header: bool,
    schema: SchemaRef,
    failed: Explain,
    unread: Unread,
    stage: Stage,
}

enum Stage {
    Rows,
    /// The last line was sent; the connection has to end without the end of the body.
    Broken(String),
    Over,
}

impl Writing {
    /// The text to its end, which is over then; or as much as is more than `bytes_max`.
    async fn hold(&mut self, bytes_max: usize) -> Result<Vec<Bytes>> {
        let (mut held, mut bytes) = (Vec::new(), 0);
        while bytes <= bytes_max {
            let Some(text) = self.next_text().await? else {
                self.stage = Stage::Over;
                break;
            };
            bytes += text.len();
            held.push(text);
        }
        Ok(held)
    }

    async fn step(mut self) -> Option<(io::Result<Bytes>, Self)> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => None,
            Stage::Broken(why) => {
                // Lets the connection send the last line before it is broken off.
                tokio::task::yield_now().await;
                Some((Err(io::Error::other(why)), self))
            }
            Stage::Rows => match self.next_text().await {
                Ok(None) if self.unread.records().values().any(|records| *records > 0) => {
                    let last = serde_json::json!({ "ff_rejected": self.unread.records() });
                    let line = match self.format {
                        Format::NdJson => format!("{last}\n"),
                        // It has no place for what is no row, and its head was sent.
                        Format::Json | Format::Csv => {
                            tracing::warn!(%last, "a streamed answer in CSV is broken off, because it leaves out records");
                            self.stage = Stage::Broken("records are left out".to_owned());
                            String::new()
                        }
                    };
                    Some((Ok(line.into()), self))
                }
                Ok(None) => None,
                Ok(Some(text)) => {
                    self.stage = Stage::Rows;
                    Some((Ok(text), self))
                }
                Err(problem) => {
                    let body = problem.to_json();
                    tracing::warn!(problem = %body, "a streamed answer broke off");
                    self.stage = Stage::Broken(body["detail"].to_string());
                    let line = match self.format {
                        Format::NdJson => format!("{}\n", serde_json::json!({ "fourfold_problem": body })),
                        Format::Json | Format::Csv => String::new(),
                    };
                    Some((Ok(line.into()), self))
                }
            },
        }
    }

    async fn next_text(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return self.only_header();
        }
        // A timeout alone never fires while there is always a next batch ready.
        let in_time = Instant::now() < self.deadline;
        let next = if in_time { timeout_at(self.deadline, self.batches.next()).await.ok() } else { None };
        let next = next.ok_or_else(|| {
            Error::unavailable("the answer was not taken in time").with_hint("ask for fewer rows, or take them faster")
        })?;
        let Some(batch) = next else { return self.only_header() };
        let mut text = Vec::new();
        for chunk in chunks(&batch.map_err(|error| (self.failed)(error))?, &mut self.left) {
            self.encode(&chunk, &mut text)?;
        }
        let bytes = text.len() as u64;
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            Problem::invalid("the answer is over this server's limit for a stream").with_hint("ask for fewer rows")
        })?;
        Ok(Some(text.into()))
    }

    /// An answer without rows is still a table with columns.
    fn only_header(&mut self) -> Result<Option<Bytes>> {
        if !self.header {
            return Ok(None);
        }
        let mut text = Vec::new();
        self.encode(&RecordBatch::new_empty(Arc::clone(&self.schema)), &mut text)?;
        Ok(Some(text.into()))
    }

    fn encode(&mut self, batch: &RecordBatch, text: &mut Vec<u8>) -> Result<()> {
        times::check(batch).map_err(unwritable)?;
        let batch = &self.numbers.written(batch).map_err(unwritable)?;
        match self.format {
            Format::Json | Format::NdJson => {
                let builder = WriterBuilder::new().with_explicit_nulls(true);
                builder.build::<_, LineDelimited>(text).write(batch).map_err(unwritable)
            }
            Format::Csv => {
                let header = std::mem::replace(&mut self.header, false);
                csv::WriterBuilder::new().with_header(header).build(text).write(batch).map_err(unwritable)
            }
        }
    }
}

/// At most `left` rows of a batch, in pieces.
fn chunks(batch: &RecordBatch, left: &mut usize) -> Vec<RecordBatch> {
    let rows = batch.num_rows().min(*left);
    *left -= rows;
    (0..rows).step_by(CHUNK_ROWS).map(|start| batch.slice(start, CHUNK_ROWS.min(rows - start))).collect()
}

fn unwritable(error: ArrowError) -> Problem {
    Error::unsupported("a value of the answer cannot be written in this format").with_source(error).into()
}
