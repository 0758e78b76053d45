//! JSON objects to columns.
//!
//! serde_json checks each record and finds its fields, which stay text; [`ColumnValues`] makes exact values of them. So
//! a number is never a float before it is what its column says, and a record costs one pass.
//!
//! Fields that are not declared are passed over; fields that are missing are NULL; a number where text is declared
//! becomes its text.
//!
//! What must hold: a record is decoded by itself and is exactly one object; whether it is rejected, and what its row is,
//! depends on nothing but the record and the source's definition.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::SchemaRef,
};
use serde::{
    Deserializer as _,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sql::SourceDefinition;

use super::{
    column_values::ColumnValues,
    field_names::{FieldNames, FoundFields, Meaning},
    reason::{Reason, ReasonClass},
    unmatched::Unmatched,
};
use crate::error::{Error, Result};

/// A record that was not decoded: its place among those given, and why.
pub(super) type Rejection = (usize, Reason);

/// Decodes JSON objects into the columns of a schema.
pub(super) struct JsonDecoder {
    schema: SchemaRef,
    names: FieldNames,
    columns: Vec<ColumnValues>,
}

/// What became of some records.
pub(super) struct DecodedJson {
    /// The rows of those that were not rejected, in order.
    pub(super) rows: RecordBatch,
    /// The others, in order.
    pub(super) rejected: Vec<Rejection>,
    /// How many had no field that is a column.
    pub(super) unmatched: Unmatched,
}

impl JsonDecoder {
    pub(super) fn new(source: &SourceDefinition) -> Result<Self> {
        let fields = source.columns.fields();
        let columns = fields.iter().map(|field| ColumnValues::new(field, source));
        Ok(Self {
            schema: Arc::clone(&source.columns),
            names: FieldNames::new(fields),
            columns: columns.collect::<Result<_>>()?,
        })
    }

    /// Decodes `values`.
    pub(super) fn decode(&mut self, values: &[&[u8]]) -> Result<DecodedJson> {
        let mut fields = FoundFields::new(&self.names);
        let (mut rejected, mut unmatched) = (Vec::new(), Unmatched::default());
        for (number, value) in values.iter().copied().enumerate() {
            fields.clear();
            let row = match read(value, &mut self.names, &mut fields) {
                Err(reason) => {
                    self.columns.iter_mut().for_each(ColumnValues::push_null);
                    Err(reason)
                }
                Ok(()) => {
                    if fields.any() {
                        unmatched.matched();
                    } else {
                        unmatched.missed(|| field_names(value));
                    }
                    self.push_row(&fields)
                }
            };
            if let Err(reason) = row {
                rejected.push((number, reason));
            }
        }
        Ok(DecodedJson { rows: self.rows(values.len(), &rejected)?, rejected, unmatched })
    }

    /// Adds a row; a record that is rejected has one too, which is left out later.
    fn push_row(&mut self, fields: &FoundFields<'_>) -> Result<(), Reason> {
        let mut outcome = Ok(());
        for (number, column) in self.columns.iter_mut().enumerate() {
            let pushed = match fields.of_column(&self.names, number, self.schema.field(number).name()) {
                Ok(field) => column.push(field),
                Err(reason) => {
                    column.push_null();
                    Err(reason)
                }
            };
            outcome = outcome.and(pushed);
        }
        outcome
    }

    fn rows(&mut self, row_count: usize, rejected: &[Rejection]) -> Result<RecordBatch> {
        let columns = self.columns.iter_mut().map(ColumnValues::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(Error::arrow("build decoded rows"))?;
        if rejected.is_empty() {
            return Ok(rows);
        }
        let mut keep = vec![true; row_count];
        rejected.iter().for_each(|(number, _)| keep[*number] = false);
        filter_record_batch(&rows, &BooleanArray::from(keep)).map_err(Error::arrow("filter decoded rows"))
    }
}

/// The records of `0..record_count` that were not rejected; `rejected` is in order.
pub(super) fn accepted(record_count: usize, rejected: &[Rejection]) -> Vec<usize> {
    let mut rejected = rejected.iter().map(|(record, _)| *record).peekable();
    (0..record_count).filter(|record| rejected.next_if_eq(record).is_none()).collect()
}

/// Finds the fields of a record that are columns; the error is the reason to reject it.
fn read<'v>(value: &'v [u8], names: &mut FieldNames, fields: &mut FoundFields<'v>) -> Result<(), Reason> {
    visit(value, Columns { names, fields })
}

/// The names of all fields of a record.
fn field_names(value: &[u8]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // What can be read once can be read again.
    let _ = visit(value, Names(&mut names));
    names
}

fn visit<'v>(value: &'v [u8], visitor: impl Visitor<'v, Value = ()>) -> Result<(), Reason> {
    let syntax = |text: String| Reason::new(ReasonClass::Syntax, text);
    let text = std::str::from_utf8(value).map_err(|_| syntax("the value is not UTF-8".to_owned()))?;
    let text = text.trim_ascii();
    if !text.starts_with('{') {
        return Err(syntax("the value is not a JSON object".to_owned()));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(visitor).map_err(|error| {
        syntax(if error.is_eof() {
            "the JSON object is cut off".to_owned()
        } else {
            format!("the value is not JSON: {error}")
        })
    })?;
    deserializer.end().map_err(|_| syntax("the value is more than one JSON object".to_owned()))
}

/// Keeps the fields that are columns.
struct Columns<'a, 'v> {
    names: &'a mut FieldNames,
    fields: &'a mut FoundFields<'v>,
}

impl<'v> Visitor<'v> for Columns<'_, 'v> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'v>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { names, fields } = self;
        while let Some(field) = map.next_key_seed(FieldName { names: &mut *names })? {
            match field {
                Field::Column(column) => fields.put(column, map.next_value::<&'v RawValue>()?.get()),
                Field::Like(like, name) => {
                    let value = map.next_value::<&'v RawValue>()?.get();
                    fields.put_alike(like, name, value);
                }
                Field::Nothing => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// What a field is, found from its name.
enum Field<'v> {
    Column(usize),
    Like(usize, Cow<'v, str>),
    Nothing,
}

struct FieldName<'a> {
    names: &'a mut FieldNames,
}

impl FieldName<'_> {
    fn field(self, name: Cow<'_, str>) -> Field<'_> {
        match self.names.meaning(&name) {
            Meaning::Column(column) => Field::Column(column),
            Meaning::Like(like) => Field::Like(like, name),
            Meaning::Nothing => Field::Nothing,
        }
    }
}

impl<'v> DeserializeSeed<'v> for FieldName<'_> {
    type Value = Field<'v>;

    fn deserialize<D: serde::Deserializer<'v>>(self, deserializer: D) -> Result<Field<'v>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'v> Visitor<'v> for FieldName<'_> {
    type Value = Field<'v>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E>(self, name: &'v str) -> Result<Field<'v>, E> {
        Ok(self.field(name.into()))
    }

    fn visit_str<E>(self, name: &str) -> Result<Field<'v>, E> {
        Ok(self.field(name.to_owned().into()))
    }
}

/// Collects the names of fields.
struct Names<'a>(&'a mut BTreeSet<String>);

impl<'v> Visitor<'v> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'v>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some((name, IgnoredAny)) = map.next_entry::<Cow<'v, str>, IgnoredAny>()? {
            self.0.insert(name.into_owned());
        }
        Ok(())
    }
}
