//! Rows of SQL as the records that say them: what `INSERT`, `UPDATE` and `DELETE` write.
//!
//! What it is not: the writer; it makes records and appends none.
//!
//! What must hold: a record that is made here is read as the very row that it was made of, or it is not made.

use std::fmt::Display;

use arrow::{
    array::{Array, RecordBatch},
    datatypes::{DataType, Field},
    util::display::{ArrayFormatter, FormatOptions},
};
use bytes::Bytes;
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
    let all: Vec<usize> = (0..source.columns.fields().len()).collect();
    let values = objects(source, &all, rows)?;
    let texts: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
    // What cannot be read is not written.
    let decoded = JsonDecoder::new(source).and_then(|mut decoder| decoder.decode(&texts)).map_err(internal)?;
    if let Some((_, reason)) = decoded.rejected.first() {
        return Err(SqlError::new(sqlstate::DATA_EXCEPTION, format!("a row cannot be written: {reason}")));
    }
    let keys = keys(source, &source.key, rows)?;
    Ok(keys.into_iter().zip(values).map(|(key, value)| RowRecord { key, value: Some(value) }).collect())
}

/// The records that delete the rows of `keys`, which have the key columns of a table in order.
///
/// # Errors
/// 23502 for a key that is NULL.
pub fn records_of_keys(table: &SourceDefinition, keys_of_rows: &RecordBatch) -> Result<Vec<RowRecord>, SqlError> {
    let places: Vec<usize> = (0..table.key.len()).collect();
    let keys = keys(table, &places, keys_of_rows)?;
    Ok(keys.into_iter().map(|key| RowRecord { key, value: None }).collect())
}

/// What identifies each row, `None` where nothing does. One column is its text, several are a JSON object of them.
fn keys(source: &SourceDefinition, places: &[usize], rows: &RecordBatch) -> Result<Vec<Option<Bytes>>, SqlError> {
    for (place, column) in places.iter().zip(&source.key) {
        if rows.column(*place).null_count() > 0 {
            let (name, table) = (source.columns.field(*column).name(), &source.name);
            let message =
                format!("null value in column \"{name}\" of relation \"{table}\" violates not-null constraint");
            return Err(SqlError::new(sqlstate::NOT_NULL_VIOLATION, message));
        }
    }
    match places {
        [] => Ok(vec![None; rows.num_rows()]),
        [place] => {
            let column = ColumnText::new(rows.column(*place).as_ref())?;
            let key = |row: usize| {
                let text = column.text(row)?;
                // Neither zero is another key.
                Ok(Some(if text == "-0.0" && column.is_float() { "0.0".into() } else { text.into() }))
            };
            (0..rows.num_rows()).map(key).collect()
        }
        _ => {
            let objects = objects_of(source, source.key.iter().copied().zip(places.iter().copied()), rows)?;
            Ok(objects.into_iter().map(Some).collect())
        }
    }
}

fn objects(source: &SourceDefinition, columns: &[usize], rows: &RecordBatch) -> Result<Vec<Bytes>, SqlError> {
    objects_of(source, columns.iter().map(|column| (*column, *column)), rows)
}

/// A JSON object a row, of columns of the source and where each of them is in `rows`; NULLs are left out.
fn objects_of(
    source: &SourceDefinition,
    columns: impl Iterator<Item = (usize, usize)>,
    rows: &RecordBatch,
) -> Result<Vec<Bytes>, SqlError> {
    let column = |(column, place): (usize, usize)| {
        let field: &Field = source.columns.field(column);
        let name = serde_json::to_string(field.name()).map_err(internal)?;
        Ok::<_, SqlError>((name, ColumnText::new(rows.column(place).as_ref())?))
    };
    let columns = columns.map(column).collect::<Result<Vec<_>, _>>()?;
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
    (0..rows.num_rows()).map(object).collect()
}

/// The values of a column as texts.
struct ColumnText<'a> {
    array: &'a dyn Array,
    formatter: ArrayFormatter<'a>,
}

impl<'a> ColumnText<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, SqlError> {
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
