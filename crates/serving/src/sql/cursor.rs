//! `DECLARE`, `FETCH`, `CLOSE`: a result that is read forward in portions.
//!
//! What must hold: a cursor holds one batch of rows at most, whatever the size of its result.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::DataFusionError, execution::SendableRecordBatchStream, physical_plan::stream::RecordBatchStreamAdapter,
    sql::sqlparser::ast,
};
use futures::{StreamExt, stream};
use model::Positions;
use sql::{SqlError, sqlstate};

use super::{Unread, parser::identifier};

/// `DECLARE name CURSOR [WITH HOLD] FOR query`.
#[derive(Debug)]
pub(super) struct Declaration {
    pub(super) name: String,
    /// Whether it stays open when the transaction ends.
    pub(super) hold: bool,
    pub(super) query: Arc<ast::Statement>,
}

impl Declaration {
    pub(super) fn read(statements: Vec<ast::Declare>) -> Result<Self, SqlError> {
        let mut statements = statements.into_iter();
        let (Some(declare), None) = (statements.next(), statements.next()) else {
            return Err(SqlError::unsupported("DECLARE of several names"));
        };
        if declare.declare_type != Some(ast::DeclareType::Cursor) {
            return Err(SqlError::unsupported("DECLARE of anything but a cursor"));
        }
        if declare.scroll == Some(true) {
            return Err(SqlError::unsupported("a cursor that scrolls").with_hint("use NO SCROLL, and FETCH FORWARD"));
        }
        if declare.binary == Some(true) {
            return Err(SqlError::unsupported("a BINARY cursor").with_hint("ask for binary results in the protocol"));
        }
        match (declare.names.first(), declare.for_query) {
            (Some(name), Some(query)) => Ok(Self {
                name: identifier(name),
                hold: declare.hold == Some(true),
                query: Arc::new(ast::Statement::Query(query)),
            }),
            _ => Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error: DECLARE name CURSOR FOR query is expected")),
        }
    }
}

/// `FETCH n FROM name`.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) name: String,
    /// How many rows; `None` for all that are left.
    pub(super) count: Option<usize>,
}

impl Fetch {
    pub(super) fn read(name: &ast::Ident, direction: &ast::FetchDirection) -> Result<Self, SqlError> {
        use ast::FetchDirection as Direction;
        let count = match direction {
            Direction::Next | Direction::Forward { limit: None } => Some(1),
            Direction::Count { limit } | Direction::Forward { limit: Some(limit) } => Some(number(limit)?),
            Direction::All | Direction::ForwardAll => None,
            _ => return Err(SqlError::unsupported("FETCH in any direction but FORWARD")),
        };
        Ok(Self { name: identifier(name), count })
    }
}

fn number(limit: &ast::ValueWithSpan) -> Result<usize, SqlError> {
    let text = limit.value.to_string();
    text.parse().map_err(|_| {
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("FETCH cannot count to {text}"))
            .with_hint("use a number that is not negative")
    })
}

/// The open cursors of a session.
#[derive(Default)]
pub(super) struct Cursors(BTreeMap<String, OpenCursor>);

/// A result that is partly read.
pub(super) struct OpenCursor {
    pub(super) schema: SchemaRef,
    pub(super) positions: Positions,
    pub(super) hold: bool,
    /// `None` once everything was handed out.
    stream: Option<SendableRecordBatchStream>,
    /// Rows that were read and not yet fetched.
    left_over: Option<RecordBatch>,
    /// What the rows leave out, until that was told.
    unread: Unread,
}

impl Cursors {
    pub(super) fn open(&mut self, name: &str, cursor: OpenCursor, cursors_max: usize) -> Result<(), SqlError> {
        if self.0.contains_key(name) {
            return Err(SqlError::new(sqlstate::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        if self.0.len() >= cursors_max {
            let message = format!("there are {cursors_max} open cursors, which is the most that a session may have");
            return Err(SqlError::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message).with_hint("CLOSE one of them"));
        }
        self.0.insert(name.to_owned(), cursor);
        Ok(())
    }

    /// Takes a cursor out, to read from it; it is to be put back.
    pub(super) fn take(&mut self, name: &str) -> Result<OpenCursor, SqlError> {
        self.0.remove(name).ok_or_else(|| missing(name))
    }

    pub(super) fn put_back(&mut self, name: &str, cursor: OpenCursor) {
        self.0.insert(name.to_owned(), cursor);
    }

    pub(super) fn schema(&self, name: &str) -> Result<SchemaRef, SqlError> {
        self.0.get(name).map(|cursor| SchemaRef::clone(&cursor.schema)).ok_or_else(|| missing(name))
    }

    pub(super) fn close(&mut self, name: &str) -> Result<(), SqlError> {
        self.0.remove(name).map(drop).ok_or_else(|| missing(name))
    }

    pub(super) fn close_all(&mut self) {
        self.0.clear();
    }

    pub(super) fn close_of_transaction(&mut self) {
        self.0.retain(|_, cursor| cursor.hold);
    }
}

impl OpenCursor {
    pub(super) fn new(
        stream: SendableRecordBatchStream,
        schema: SchemaRef,
        positions: Positions,
        unread: Unread,
        hold: bool,
    ) -> Self {
        Self { schema, positions, hold, stream: Some(stream), left_over: None, unread }
    }

    /// What the rows leave out, once, with the last of them.
    pub(super) fn unread_at_end(&mut self) -> Unread {
        match self.stream.is_none() && self.left_over.is_none() {
            true => std::mem::take(&mut self.unread),
            false => Unread::default(),
        }
    }

    /// The next `count` rows; fewer at the end.
    pub(super) async fn next(&mut self, count: usize) -> Result<Vec<RecordBatch>, DataFusionError> {
        let (mut batches, mut wanted) = (Vec::new(), count);
        while wanted > 0 {
            let batch = match (self.left_over.take(), &mut self.stream) {
                (Some(batch), _) => batch,
                (None, Some(stream)) => match stream.next().await {
                    Some(batch) => batch?,
                    None => {
                        self.stream = None;
                        break;
                    }
                },
                (None, None) => break,
            };
            let rows = batch.num_rows();
            if rows > wanted {
                batches.push(batch.slice(0, wanted));
                self.left_over = Some(batch.slice(wanted, rows - wanted));
                wanted = 0;
            } else {
                wanted -= rows;
                batches.push(batch);
            }
        }
        Ok(batches)
    }

    /// Everything that is left, as a stream; the cursor is at its end afterwards.
    pub(super) fn rest(&mut self) -> SendableRecordBatchStream {
        let first = stream::iter(self.left_over.take().map(Ok));
        let schema = SchemaRef::clone(&self.schema);
        match self.stream.take() {
            Some(rest) => Box::pin(RecordBatchStreamAdapter::new(schema, first.chain(rest))),
            None => Box::pin(RecordBatchStreamAdapter::new(schema, first)),
        }
    }
}

fn missing(name: &str) -> SqlError {
    SqlError::new(sqlstate::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
        .with_hint("a cursor ends with its transaction unless it was declared WITH HOLD")
}
