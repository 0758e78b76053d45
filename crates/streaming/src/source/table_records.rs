//! [`TableRecords`]: what the records of a table say: a row, or that the row of a key is gone.
//!
//! A record without a value deletes the row of its key. The key of a table with one key column is that column's text; of a table
//! with several it is a JSON object of them. `INSERT`, `UPDATE` and `DELETE` write such records, and so can any client.
//!
//! What must hold: whether a record is taken depends on the record alone; a key is never NULL.

use arrow::{
    array::{Array, RecordBatch},
    datatypes::DataType,
};
use bytes::Bytes;
use eventlog::Record;
use sql::SourceDefinition;

use super::reason::{Reason, ReasonClass};

/// The key columns of a table.
pub(super) struct TableRecords {
    key: Vec<usize>,
    names: Vec<String>,
    /// Whether the key is one column that is true or false.
    is_boolean: bool,
}

impl TableRecords {
    /// Of a source that is a table; `None` of another.
    pub(super) fn of(source: &SourceDefinition) -> Option<Self> {
        let fields = source.key.iter().map(|column| source.columns.field(*column));
        let is_boolean = fields.clone().all(|field| *field.data_type() == DataType::Boolean);
        let names = fields.map(|field| field.name().clone()).collect();
        source.is_table().then(|| Self { key: source.key.clone(), names, is_boolean })
    }

    /// A record without a value, as an object that has its key columns.
    pub(super) fn deleted(&self, record: &Record) -> Result<Bytes, Reason> {
        let missing =
            || Reason::new(ReasonClass::NoValue, "the record has neither a value nor a key, so it deletes nothing");
        let key = record.key.as_ref().ok_or_else(missing)?;
        let [name] = self.names.as_slice() else { return Ok(key.clone()) };
        let text = std::str::from_utf8(key);
        let text =
            text.map_err(|_| Reason::new(ReasonClass::Value, "the key of a record that deletes is not UTF-8"))?;
        // Numbers are read from texts too, booleans are not.
        let value = match (self.is_boolean, text) {
            (true, "true") => true.into(),
            (true, "false") => false.into(),
            (_, text) => serde_json::Value::from(text),
        };
        let object = serde_json::Map::from_iter([(name.clone(), value)]);
        let object = serde_json::to_vec(&object).map_err(|error| Reason::new(ReasonClass::Value, error.to_string()))?;
        Ok(object.into())
    }

    /// The rows of which a key column is NULL, in order, each with the first of them.
    pub(super) fn without_key(&self, rows: &RecordBatch) -> Vec<(usize, Reason)> {
        let first_null = |row: usize| {
            let mut columns = self.key.iter().zip(&self.names);
            let (_, name) = columns.find(|(column, _)| rows.column(**column).is_null(row))?;
            Some((row, Reason::new(ReasonClass::Value, format!("column {name} of the primary key is NULL"))))
        };
        (0..rows.num_rows()).filter_map(first_null).collect()
    }
}
