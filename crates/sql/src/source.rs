//! `CREATE SOURCE name (column TYPE, ...) WITH (topic = 'x', ...)`, and `CREATE TABLE name (column TYPE [PRIMARY KEY], ...)`, which is a
//! source of which the last record of each key counts.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use model::TopicName;
use sqlparser::tokenizer::Token;

use super::{cursor::Cursor, options, types};
use crate::{SourceDefinition, SourceFormat, SqlError, TimestampUnit, sqlstate};

const OPTIONS: &[&str] = &["topic", "partitions", "format", "event_time", "timestamp_unit"];
const TABLE_OPTIONS: &[&str] = &["topic", "partitions", "format", "timestamp_unit"];
const PLANNED: &[(&str, &str)] = &[
    ("late", "late rows are folded like any other"),
    ("out_of_order", "rows are folded in the order of arrival, and every row counts"),
    ("early", "rows from the future are folded like any other"),
    ("on_late", "late rows are folded like any other"),
];
pub(super) const COLUMNS_MAX: usize = 1_000;
const PARTITIONS_MAX: i32 = 10_000;

pub(super) fn parse(cursor: &mut Cursor<'_>, text: &str) -> Result<SourceDefinition, SqlError> {
    let position = cursor.position();
    if cursor.eat(&["if", "not", "exists"]) {
        return Err(SqlError::unsupported("IF NOT EXISTS of a source").at(position));
    }
    let name = cursor.relation_name("the name of a source")?;
    definition(cursor, text, name, position, false)
}

/// A table; `None` where the statement makes one of a query, or of another.
pub(super) fn parse_table(cursor: &mut Cursor<'_>, text: &str) -> Result<Option<SourceDefinition>, SqlError> {
    let position = cursor.position();
    if cursor.eat(&["if", "not", "exists"]) {
        return Err(SqlError::unsupported("IF NOT EXISTS of a table").at(position));
    }
    let name = cursor.relation_name("the name of a table")?;
    if cursor.peek() != Some(&Token::LParen) {
        return Ok(None);
    }
    let table = definition(cursor, text, name, position, true)?;
    if table.key.is_empty() {
        let error = SqlError::unsupported("a table without a PRIMARY KEY").at(position);
        return Err(error.with_hint(
            "say what identifies a row, as in id TEXT PRIMARY KEY; rows that are only added are a CREATE SOURCE",
        ));
    }
    Ok(Some(table))
}

fn definition(
    cursor: &mut Cursor<'_>,
    text: &str,
    name: String,
    position: usize,
    is_table: bool,
) -> Result<SourceDefinition, SqlError> {
    let Columns { fields, positions, key } = columns(cursor, is_table)?;
    let mut source = SourceDefinition {
        topic: topic_name(&name).map_err(|error| error.at(position))?,
        name,
        columns: Arc::new(Schema::new(fields)),
        key,
        added_columns: 0,
        partitions: 1,
        format: SourceFormat::Json,
        event_time: None,
        timestamp_unit: None,
        text: text.to_owned(),
    };
    if cursor.eat(&["with"]) {
        apply_options(cursor, &mut source, if is_table { TABLE_OPTIONS } else { OPTIONS })?;
    }
    cursor.expect_end()?;
    source.check_metadata(source.columns.fields().iter().map(|field| field.name().as_str()).zip(positions))?;
    Ok(source)
}

/// Columns, where each stands in the text, and which are the key.
#[derive(Default)]
struct Columns {
    fields: Vec<Field>,
    positions: Vec<usize>,
    key: Vec<usize>,
}

fn columns(cursor: &mut Cursor<'_>, is_table: bool) -> Result<Columns, SqlError> {
    let mut columns = Columns::default();
    let Columns { fields, positions, key } = &mut columns;
    cursor.expect_token(&Token::LParen)?;
    loop {
        let position = cursor.position();
        if is_table && cursor.eat(&["primary", "key"]) {
            primary_key(cursor, fields, key, position)?;
            if cursor.eat_token(&Token::Comma) {
                continue;
            }
            cursor.expect_token(&Token::RParen)?;
            return Ok(columns);
        }
        let name = cursor.identifier("the name of a column")?;
        if fields.iter().any(|field| *field.name() == name) {
            return Err(
                SqlError::new(sqlstate::DUPLICATE_COLUMN, format!("column \"{name}\" is given twice")).at(position)
            );
        }
        fields.push(Field::new(name, types::parse(cursor)?, true));
        positions.push(position);
        let constraint = cursor.position();
        if is_table && cursor.eat(&["primary", "key"]) {
            if !key.is_empty() {
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "a table has one primary key").at(constraint));
            }
            key.push(fields.len() - 1);
            // A key is never NULL.
            cursor.eat(&["not", "null"]);
        }
        if fields.len() > COLUMNS_MAX {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, format!("a source has at most {COLUMNS_MAX} columns"))
                .at(position));
        }
        if cursor.eat_token(&Token::Comma) {
            continue;
        }
        if cursor.peek() == Some(&Token::RParen) {
            cursor.advance();
            return Ok(columns);
        }
        if matches!(cursor.peek(), Some(Token::Word(_))) {
            let error = SqlError::unsupported("a constraint or default of a source's column").at(cursor.position());
            return Err(error.with_hint("leave it out: a field that a record does not have is NULL"));
        }
        return Err(cursor.expected("\",\" or \")\""));
    }
}

/// `PRIMARY KEY (a, b)` behind the columns.
fn primary_key(
    cursor: &mut Cursor<'_>,
    fields: &[Field],
    key: &mut Vec<usize>,
    position: usize,
) -> Result<(), SqlError> {
    if !key.is_empty() {
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "a table has one primary key").at(position));
    }
    cursor.expect_token(&Token::LParen)?;
    loop {
        let position = cursor.position();
        let name = cursor.identifier("the name of a column")?;
        let column = fields.iter().position(|field| *field.name() == name).filter(|column| !key.contains(column));
        key.push(column.ok_or_else(|| {
            let message = format!("column \"{name}\" of the primary key is none of the table, or there twice");
            SqlError::new(sqlstate::UNDEFINED_COLUMN, message).at(position)
        })?);
        if !cursor.eat_token(&Token::Comma) {
            return cursor.expect_token(&Token::RParen);
        }
    }
}

fn apply_options(
    cursor: &mut Cursor<'_>,
    source: &mut SourceDefinition,
    known: &'static [&'static str],
) -> Result<(), SqlError> {
    let options = options::parse(cursor, known, PLANNED)?;
    for option in &options {
        match option.name.as_str() {
            "topic" => source.topic = topic_name(&option.value).map_err(|e| e.at(option.value_position))?,
            "partitions" => {
                let number = option.value.parse().ok().filter(|n| (1..=PARTITIONS_MAX).contains(n));
                source.partitions = number.ok_or_else(|| option.invalid("it can be 1 to 10000"))?;
            }
            "format" => {
                source.format = match (option.value.to_lowercase().as_str(), source.is_table()) {
                    ("json", _) => SourceFormat::Json,
                    ("event", false) => SourceFormat::Event,
                    ("debezium", true) => SourceFormat::Debezium,
                    ("debezium", false) => {
                        return Err(option.invalid("it is of tables: CREATE TABLE with the PRIMARY KEY of the rows"));
                    }
                    (_, false) => return Err(option.invalid("it can be 'json' or 'event'")),
                    (_, true) => return Err(option.invalid("it can be 'json' or 'debezium'")),
                };
            }
            "timestamp_unit" => {
                let unit = TimestampUnit::ALL.into_iter().find(|unit| unit.name() == option.value.to_lowercase());
                let unit = unit.ok_or_else(|| {
                    option.invalid("it can be 'milliseconds', 'seconds', 'microseconds' or 'nanoseconds'")
                })?;
                source.timestamp_unit = Some(unit);
            }
            _ => source.event_time = Some(option.value.clone()),
        }
    }
    let event_time = options.iter().find(|option| option.name == "event_time");
    event_time.map_or(Ok(()), |option| check_event_time(source, &option.value, option.value_position))
}

fn check_event_time(source: &SourceDefinition, name: &str, position: usize) -> Result<(), SqlError> {
    match source.schema().field_with_name(name).map(Field::data_type) {
        Ok(DataType::Timestamp(_, _)) => Ok(()),
        Ok(_) => {
            let message = format!("event_time column \"{name}\" is not a timestamp");
            Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message).at(position))
        }
        Err(_) => {
            let message = format!("event_time column \"{name}\" is not a column of the source");
            Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message).at(position))
        }
    }
}

fn topic_name(name: &str) -> Result<TopicName, SqlError> {
    TopicName::new(name).map_err(|error| {
        let mapped = SqlError::new(sqlstate::INVALID_NAME, error.message().to_owned());
        mapped.with_hint(error.hint().unwrap_or_default().to_owned())
    })
}
