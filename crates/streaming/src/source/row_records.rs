//! Rows of SQL as the records that say them: what `INSERT`, `UPDATE` and `DELETE` write.
//!
//! What it is not: the writer; it makes records and appends none.
//!
//! What must hold: a record that is made here is read as the very row that it was made of, or it is not made.

use std::fmt::Display;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    datatypes::{DataType, FieldRef},
    util::display::{ArrayFormatter, FormatOptions},
};
use bytes::Bytes;
use dataflow::normal_key;
use sql::{SourceDefinition, SqlError, sqlstate};

use super::json::JsonDecoder;

/// A record without its place in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRecord {
    /// Of a table, what identifies the row.
    pub key: Option<Bytes>,
    /// The row, a JSON object; `None` deletes the row of the key.
    pub value: Option<Bytes>,
}

/// The records of `rows`, which have the declared columns of `source` in order and may have others behind them.
///
/// # Errors
/// 23502 for a row of a table without its key, 22000 for a value that no record can say.
pub fn records_of_rows(source: &SourceDefinition, rows: &RecordBatch) -> Result<Vec<RowRecord>, SqlError> {
    let fields: Vec<&FieldRef> = source.columns.fields().iter().collect();
    let values = objects(&fields, &rows.columns()[..fields.len()], rows.num_rows())?;
    let texts: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
    // What cannot be read is not written.
    let decoded = JsonDecoder::new(source).and_then(|mut decoder| decoder.decode(&texts)).map_err(internal)?;
    if let Some((_, reason)) = decoded.rejected.first() {
        return Err(SqlError::new(sqlstate::DATA_EXCEPTION, format!("a row cannot be written: {reason}")));
    }
    let keys = keys(source, source.key.iter().map(|column| rows.column(*column)), rows.num_rows())?;
    Ok(keys.into_iter().zip(values).map(|(key, value)| RowRecord { key, value: Some(value) }).collect())
}

/// The records that delete the rows of `keys`, which have the key columns of a table in order.
///
/// # Errors
/// 23502 for a key that is NULL.
pub fn records_of_keys(table: &SourceDefinition, keys_of_rows: &RecordBatch) -> Result<Vec<RowRecord>, SqlError> {
    let keys = keys(table, keys_of_rows.columns().iter(), keys_of_rows.num_rows())?;
    Ok(keys.into_iter().map(|key| RowRecord { key, value: None }).collect())
}

/// What identifies each row, of the key columns in order; `None` where nothing does. One column is its text, several are a
/// JSON object of them.
fn keys<'a>(
    source: &SourceDefinition,
    columns: impl Iterator<Item = &'a ArrayRef>,
    row_count: usize,
) -> Result<Vec<Option<Bytes>>, SqlError> {
    let fields: Vec<&FieldRef> = source.key.iter().map(|column| &source.columns.fields()[*column]).collect();
    let columns: Vec<ArrayRef> = columns.map(normal_key).collect();
    if let Some((field, _)) = fields.iter().zip(&columns).find(|(_, column)| column.null_count() > 0) {
        let (name, table) = (field.name(), &source.name);
        let message = format!("null value in column \"{name}\" of relation \"{table}\" violates not-null constraint");
        return Err(SqlError::new(sqlstate::NOT_NULL_VIOLATION, message));
    }
    match columns.as_slice() {
        [] => Ok(vec![None; row_count]),
        [column] => {
            let column = ColumnText::new(column)?;
            (0..row_count).map(|row| Ok(Some(column.text(row)?.into()))).collect()
        }
        columns => Ok(objects(&fields, columns, row_count)?.into_iter().map(Some).collect()),
    }
}

/// A JSON object a row; NULLs are left out.
fn objects(fields: &[&FieldRef], columns: &[ArrayRef], row_count: usize) -> Result<Vec<Bytes>, SqlError> {
    let column = |(field, column): (&&FieldRef, _)| {
        let name = serde_json::to_string(field.name()).map_err(internal)?;
        Ok::<_, SqlError>((name, ColumnText::new(column)?))
    };
    let columns = fields.iter().zip(columns).map(column).collect::<Result<Vec<_>, _>>()?;
    let object = |row: usize| {
        let mut text = String::from("{");
        for (name, column) in columns.iter().filter(|(_, column)| !column.array.is_null(row)) {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(name);
            text.push(':');
            text.push_str(&column.json(row)?);
        }
        text.push('}');
        Ok(text.into())
    };
    (0..row_count).map(object).collect()
}

/// The values of a column as texts.
struct ColumnText<'a> {
    array: &'a ArrayRef,
    formatter: ArrayFormatter<'a>,
}

impl<'a> ColumnText<'a> {
    fn new(array: &'a ArrayRef) -> Result<Self, SqlError> {
        const OPTIONS: &FormatOptions<'_> = &FormatOptions::new();
        Ok(Self { array, formatter: ArrayFormatter::try_new(array, OPTIONS).map_err(internal)? })
    }

    /// A value by itself, as PostgreSQL names what is no finite number.
    fn text(&self, row: usize) -> Result<String, SqlError> {
        let text = self.formatter.value(row).try_to_string().map_err(internal)?;
        if !self.is_float() {
            return Ok(text);
        }
        Ok(match text.as_str() {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            _ => text,
        })
    }

    /// A value of JSON. Numbers keep all their digits.
    fn json(&self, row: usize) -> Result<String, SqlError> {
        let text = self.text(row)?;
        let is_bare = match self.array.data_type() {
            DataType::Boolean | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => true,
            DataType::Float32 | DataType::Float64 => !text.ends_with(['N', 'y']),
            _ => false,
        };
        if is_bare { Ok(text) } else { serde_json::to_string(&text).map_err(internal) }
    }

    fn is_float(&self) -> bool {
        matches!(self.array.data_type(), DataType::Float32 | DataType::Float64)
    }
}

fn internal(error: impl Display) -> SqlError {
    SqlError::new(sqlstate::INTERNAL_ERROR, format!("a row cannot be made a record: {error}"))
}

#[cfg(test)]
mod tests;
