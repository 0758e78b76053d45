//! PostgreSQL's type names, and the Arrow types that hold their values.
//!
//! Timestamps have microseconds, as PostgreSQL and Delta Lake have them.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use sqlparser::tokenizer::Token;

use crate::{SqlError, sqlstate};

use super::cursor::Cursor;

const DECIMAL_PRECISION_MAX: u8 = 38;
// `numeric` without a precision holds any number in PostgreSQL; 128 bits hold 28 digits before the point and 10 after.
const DECIMAL_DEFAULT: DataType = DataType::Decimal128(DECIMAL_PRECISION_MAX, 10);

/// A point in time: PostgreSQL's `timestamp with time zone`, kept in UTC.
pub fn timestamp_utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// The SQL name of a type that a source's column can have.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "TEXT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE PRECISION".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("NUMERIC({precision}, {scale})"),
        other => other.to_string(),
    }
}

/// Parses the name of a type.
pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    let position = cursor.position();
    let name = cursor.identifier("the name of a type")?;
    let data_type = match name.as_str() {
        "text" => DataType::Utf8,
        "varchar" => variable_length(cursor)?,
        "character" if cursor.eat(&["varying"]) => variable_length(cursor)?,
        "smallint" | "int2" => DataType::Int16,
        "int" | "integer" | "int4" => DataType::Int32,
        "bigint" | "int8" => DataType::Int64,
        "real" | "float4" => DataType::Float32,
        "double" => {
            cursor.expect("precision")?;
            DataType::Float64
        }
        "float" | "float8" => DataType::Float64,
        "boolean" | "bool" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamptz" => timestamp_utc(),
        "timestamp" => timestamp(cursor)?,
        "numeric" | "decimal" => decimal(cursor)?,
        "bytea" | "json" | "jsonb" | "uuid" | "time" | "interval" | "char" | "character" | "serial" | "bigserial" => {
            return Err(SqlError::unsupported(format!("type {name}")).at(position).with_hint(SUPPORTED));
        }
        _ => {
            let message = format!("there is no type \"{name}\"");
            return Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message).at(position).with_hint(SUPPORTED));
        }
    };
    if cursor.peek() == Some(&Token::LBracket) {
        return Err(SqlError::unsupported("an array type").at(cursor.position()).with_hint(SUPPORTED));
    }
    Ok(data_type)
}

const SUPPORTED: &str = "the types are: text, varchar, smallint, integer, bigint, real, double precision, \
    numeric(p, s), boolean, date, timestamp, timestamp with time zone";

fn variable_length(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    if cursor.peek() == Some(&Token::LParen) {
        return Err(SqlError::unsupported("a length limit of varchar").at(cursor.position()).with_hint("use text"));
    }
    Ok(DataType::Utf8)
}

fn timestamp(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    if cursor.peek() == Some(&Token::LParen) {
        let error = SqlError::unsupported("a precision of timestamp").at(cursor.position());
        return Err(error.with_hint("leave it out: timestamps have microseconds"));
    }
    if cursor.eat(&["with", "time", "zone"]) {
        return Ok(timestamp_utc());
    }
    cursor.eat(&["without", "time", "zone"]);
    Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
}

fn decimal(cursor: &mut Cursor<'_>) -> Result<DataType, SqlError> {
    if !cursor.eat_token(&Token::LParen) {
        return Ok(DECIMAL_DEFAULT);
    }
    let position = cursor.position();
    let precision = small_number(cursor)?;
    let scale = if cursor.eat_token(&Token::Comma) { small_number(cursor)? } else { 0 };
    cursor.expect_token(&Token::RParen)?;
    match i8::try_from(scale) {
        Ok(signed) if (1..=DECIMAL_PRECISION_MAX).contains(&precision) && scale <= precision => {
            Ok(DataType::Decimal128(precision, signed))
        }
        _ => {
            let message = format!("numeric({precision}, {scale}) is not possible");
            let hint = "the precision is 1 to 38, the scale 0 to the precision";
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).at(position).with_hint(hint))
        }
    }
}

fn small_number(cursor: &mut Cursor<'_>) -> Result<u8, SqlError> {
    match cursor.peek() {
        Some(Token::Number(digits, _)) => {
            let number = digits.parse().map_err(|_| cursor.expected("a number from 0 to 38"))?;
            cursor.advance();
            Ok(number)
        }
        _ => Err(cursor.expected("a number from 0 to 38")),
    }
}
