//! [`Numbers`]: how an answer writes numbers that not every reader of JSON can hold.
//!
//! JavaScript, jq and many others read every number of JSON as a double: integers beyond 2^53 and the digits of decimals
//! get lost there, and JSON itself has no infinity. `numbers=text` writes integers of 64 bits, decimals and floats as
//! texts, with all their digits, and what is not finite as PostgreSQL does: `NaN`, `Infinity`, `-Infinity`.
//!
//! What must hold: only the values change, in lists, structs and maps too; NULL stays NULL, columns keep their types in
//! the description.

use std::{fmt::Debug, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
        PrimitiveArray, RecordBatch, StringArray, StructArray,
    },
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, Float16Type, Float32Type, Float64Type, Schema},
    error::ArrowError,
};
use serde::Deserialize;

/// How numbers are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Numbers {
    /// As numbers of JSON.
    #[default]
    Number,
    /// As texts, where a double cannot hold them all.
    Text,
}

impl std::str::FromStr for Numbers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "number" => Ok(Self::Number),
            "text" => Ok(Self::Text),
            _ => Err("write number or text"),
        }
    }
}

impl Numbers {
    /// The rows as they are to be written.
    pub(super) fn written(self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        match self {
            Self::Number => Ok(batch.clone()),
            Self::Text => as_texts(batch),
        }
    }
}

fn as_texts(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (fields, columns) = fields_as_texts(batch.schema_ref().fields(), batch.columns())?;
    // Unlike a new batch, one with options can have rows without columns.
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn fields_as_texts(fields: &Fields, columns: &[ArrayRef]) -> Result<(Fields, Vec<ArrayRef>), ArrowError> {
    let columns: Vec<ArrayRef> = columns.iter().map(as_text).collect::<Result<_, _>>()?;
    let fields = fields.iter().zip(&columns).map(|(field, column)| retyped(field, column)).collect();
    Ok((fields, columns))
}

fn retyped(field: &FieldRef, column: &ArrayRef) -> Field {
    field.as_ref().clone().with_data_type(column.data_type().clone())
}

fn as_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match column.data_type() {
        DataType::Int64
        | DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => cast(column, &DataType::Utf8)?,
        DataType::Float16 => floats::<Float16Type>(column.as_primitive(), f64::from),
        DataType::Float32 => floats::<Float32Type>(column.as_primitive(), f64::from),
        DataType::Float64 => floats::<Float64Type>(column.as_primitive(), |value| value),
        DataType::Dictionary(_, values) if values.is_numeric() => as_text(&cast(column, values)?)?,
        DataType::List(field) => list(column.as_list::<i32>(), field)?,
        DataType::LargeList(field) => list(column.as_list::<i64>(), field)?,
        DataType::FixedSizeList(field, size) => {
            let list = column.as_fixed_size_list();
            let values = as_text(list.values())?;
            let field = Arc::new(retyped(field, &values));
            Arc::new(FixedSizeListArray::try_new(field, *size, values, list.nulls().cloned())?)
        }
        DataType::Struct(fields) => Arc::new(structs(column.as_struct(), fields)?),
        DataType::Map(entry, sorted) => {
            let map = column.as_map();
            let entries = structs(map.entries(), map.entries().fields())?;
            let entry = Arc::new(entry.as_ref().clone().with_data_type(entries.data_type().clone()));
            Arc::new(MapArray::try_new(entry, map.offsets().clone(), entries, map.nulls().cloned(), *sorted)?)
        }
        _ => Arc::clone(column),
    })
}

fn structs(array: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let (fields, columns) = fields_as_texts(fields, array.columns())?;
    StructArray::try_new_with_length(fields, columns, array.nulls().cloned(), array.len())
}

fn list<O: OffsetSizeTrait>(array: &GenericListArray<O>, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let values = as_text(array.values())?;
    let field = Arc::new(retyped(field, &values));
    let list = GenericListArray::<O>::try_new(field, array.offsets().clone(), values, array.nulls().cloned())?;
    Ok(Arc::new(list))
}

fn floats<T: ArrowPrimitiveType<Native: Copy + Debug>>(
    array: &PrimitiveArray<T>,
    wide: fn(T::Native) -> f64,
) -> ArrayRef {
    let text = |value: T::Native| match wide(value) {
        not_a_number if not_a_number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        // The fewest digits that are read back as the same value.
        _ => format!("{value:?}"),
    };
    Arc::new(array.iter().map(|value| value.map(text)).collect::<StringArray>())
}
