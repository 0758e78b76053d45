//! Rows as the encoder takes them: what it has no form for, or writes otherwise than PostgreSQL, is written here.
//!
//! What must hold: what a client is told of a column does not change by it.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StringArray},
    datatypes::{DataType, Field, Float32Type, Float64Type, Schema},
    error::ArrowError,
};
use pgwire::api::results::{FieldFormat, FieldInfo};
use sql::{double_text, real_text};

use super::wide_numbers;

/// The batch with its columns as `fields` say that they are encoded.
pub(super) fn encodable(batch: RecordBatch, fields: &[FieldInfo]) -> Result<RecordBatch, ArrowError> {
    let encoded = batch.columns().iter().zip(fields).map(|(column, field)| encoded(column, field).transpose());
    let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
    if encoded.iter().all(Option::is_none) {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(encoded);
    let columns: Vec<ArrayRef> = columns.map(|(as_is, encoded)| encoded.unwrap_or_else(|| Arc::clone(as_is))).collect();
    let changed = batch.schema_ref().fields().iter().zip(&columns);
    let changed = changed.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone()));
    let schema = Arc::new(Schema::new(changed.collect::<Vec<Field>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

/// A column in another form; `None` where the encoder does it right.
fn encoded(column: &ArrayRef, field: &FieldInfo) -> Option<Result<ArrayRef, ArrowError>> {
    let is_binary = field.format() == FieldFormat::Binary;
    // With fewer digits the encoder rounds.
    if !is_binary && field.format_options().extra_float_digits > 0 {
        if let Some(texts) = float_texts(column) {
            return Some(Ok(Arc::new(texts)));
        }
        if let DataType::List(item) = column.data_type() {
            let list = column.as_list::<i32>();
            if let Some(texts) = float_texts(list.values()) {
                let item = Arc::new(item.as_ref().clone().with_data_type(DataType::Utf8));
                let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
                return Some(ListArray::try_new(item, offsets, Arc::new(texts), nulls).map(|list| Arc::new(list) as _));
            }
        }
    }
    wide_numbers::encoded(column, is_binary)
}

fn float_texts(column: &ArrayRef) -> Option<StringArray> {
    Some(match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().map(|value| value.map(double_text)).collect(),
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().map(|value| value.map(real_text)).collect(),
        _ => return None,
    })
}
