//! How Arrow columns are stored in a Delta table, and read back as they were.
//!
//! Delta has fewer types than Arrow: no unsigned integers, timestamps in microseconds only, no time of day. Each
//! column is stored as the nearest Delta type that holds *every* value of it exactly, and the original type is
//! restored when it is read.
//!
//! What must hold: decode(encode(rows)) equals rows, bit by bit (NaN and -0.0 too); a value that cannot be stored is
//! an error, never another value.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::ident;
use deltalake_core::kernel::engine::arrow_conversion::TryFromArrow;
use deltalake_core::kernel::{StructField, StructType};

use crate::error::{LakeError, Result};

/// What a timestamp without a time zone is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NaiveTimestamps {
    /// Delta's `timestamp_ntz`: says what it means, and needs the table feature of that name.
    WithoutZone,
    /// A number: needs no feature; for tables whose original types are kept elsewhere.
    AsCount,
}

/// Columns as their users know them, and as the table stores them.
#[derive(Clone, Debug)]
pub(crate) struct StoredSchema {
    table: String,
    original: SchemaRef,
    stored: SchemaRef,
}

impl StoredSchema {
    /// Plans how to store `original`; the names of the columns stay.
    pub(crate) fn new(table: &str, original: &SchemaRef, naive: NaiveTimestamps) -> Result<Self> {
        let names: Vec<String> = original.fields().iter().map(|field| field.name().clone()).collect();
        Self::renamed(table, original, &names, naive)
    }

    /// As [`new`](Self::new), for columns whose names Delta may not take: those are stored as `column_<index>`.
    pub(crate) fn with_legal_names(table: &str, original: &SchemaRef, naive: NaiveTimestamps) -> Result<Self> {
        let mut taken = BTreeSet::new();
        let name = |(index, field): (usize, &Arc<Field>)| {
            let name = field.name();
            if is_legal_name(name) && !name.starts_with("column_") && taken.insert(name.to_lowercase()) {
                name.clone()
            } else {
                format!("column_{index}")
            }
        };
        let names: Vec<String> = original.fields().iter().enumerate().map(name).collect();
        Self::renamed(table, original, &names, naive)
    }

    fn renamed(table: &str, original: &SchemaRef, names: &[String], naive: NaiveTimestamps) -> Result<Self> {
        let mut taken = BTreeSet::new();
        let refuse = |column: &str, reason: String| LakeError::Column {
            table: table.to_owned(),
            column: column.to_owned(),
            reason,
        };
        let mut fields = Vec::with_capacity(names.len());
        for (field, name) in original.fields().iter().zip(names) {
            if !is_legal_name(name) {
                return Err(refuse(
                    name,
                    "its name has a character that Delta Lake reserves (one of ' ,;{}()=.`')".to_owned(),
                ));
            }
            if !taken.insert(name.to_lowercase()) {
                return Err(refuse(name, "another column has the same name but for case".to_owned()));
            }
            let stored = stored_type(field.data_type(), naive).map_err(|reason| refuse(name, reason))?;
            fields.push(Field::new(name, stored, field.is_nullable()));
        }
        let stored = Arc::new(Schema::new(fields));
        Ok(Self { table: table.to_owned(), original: Arc::clone(original), stored })
    }

    /// The columns as their users know them.
    pub(crate) fn original(&self) -> &SchemaRef {
        &self.original
    }

    /// The columns as the Parquet files have them.
    pub(crate) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    /// The columns in Delta's own words.
    pub(crate) fn delta_columns(&self) -> Result<Vec<StructField>> {
        let schema = StructType::try_from_arrow(self.stored.as_ref())
            .map_err(LakeError::arrow(format!("describe the columns of {}", self.table)))?;
        Ok(schema.fields().cloned().collect())
    }

    /// Whether a table has exactly these columns; says what is different.
    pub(crate) fn check(&self, actual: &StructType) -> Result<()> {
        let expected = self.delta_columns()?;
        let differs = |reason: String| LakeError::Columns { table: self.table.clone(), reason };
        let actual: Vec<&StructField> = actual.fields().collect();
        for (expected, actual) in expected.iter().zip(&actual) {
            let describe = |field: &StructField| {
                format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "" } else { " not null" })
            };
            if describe(expected) != describe(actual) {
                return Err(differs(format!("{} is expected where it has {}", describe(expected), describe(actual))));
            }
        }
        if expected.len() != actual.len() {
            return Err(differs(format!("{} columns are expected where it has {}", expected.len(), actual.len())));
        }
        Ok(())
    }

    /// Rows as the table stores them.
    pub(crate) fn encode(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let same = |(a, b): (&Arc<Field>, &Arc<Field>)| a.name() == b.name() && a.data_type() == b.data_type();
        let schema = rows.schema();
        let fits = schema.fields().len() == self.original.fields().len()
            && schema.fields().iter().zip(self.original.fields()).all(same);
        if !fits {
            let reason = format!("they have the columns {schema}, not {}", self.original);
            return Err(LakeError::Rows { table: self.table.clone(), reason });
        }
        self.cast_all(rows, &self.stored)
    }

    /// Rows as they were given to [`encode`](Self::encode), from rows as any reader of the files returns them.
    pub(crate) fn decode(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.cast_all(&self.as_stored(rows)?, &self.original)
    }

    /// Rows as [`encode`](Self::encode) returns them, from rows as any reader of the files does: readers may return
    /// strings and bytes as views.
    pub(crate) fn as_stored(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.cast_all(rows, &self.stored)
    }

    /// The expressions that decode the columns at `indices`, over a scan of the stored columns.
    pub(crate) fn decoders(&self, indices: &[usize]) -> Vec<Expr> {
        let decoder = |index: &usize| {
            let original = self.original.field(*index);
            let stored = self.stored.field(*index);
            let column = cast(ident(stored.name()), stored.data_type().clone());
            cast(column, original.data_type().clone()).alias(original.name())
        };
        indices.iter().map(decoder).collect()
    }

    fn cast_all(&self, rows: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch> {
        let doing = || format!("convert the columns of {} for its files", self.table);
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = |(column, field): (&ArrayRef, &Arc<Field>)| cast_with_options(column, field.data_type(), &options);
        let columns = rows.columns().iter().zip(target.fields()).map(cast);
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(LakeError::arrow(doing()))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(target), columns, &options).map_err(LakeError::arrow(doing()))
    }
}

/// Whether every Delta reader takes a column of this name without the column-mapping feature. The dot and the back
/// quote are legal, but separate and quote names in paths.
fn is_legal_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| " ,;{}()=.`".contains(c) || c.is_control())
}

/// The type that stores every value of `original` exactly.
fn stored_type(original: &DataType, naive: NaiveTimestamps) -> Result<DataType, String> {
    Ok(match original {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => original.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Decimal128(precision, scale) if *scale >= 0 => DataType::Decimal128(*precision, *scale),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => original.clone(),
        DataType::Timestamp(TimeUnit::Microsecond, None) if naive == NaiveTimestamps::WithoutZone => original.clone(),
        // Other units do not fit, or would have to be converted back, and Delta knows no other zone: the count is
        // stored.
        DataType::Timestamp(..) => DataType::Int64,
        DataType::Time32(_) => DataType::Int32,
        DataType::Time64(_) | DataType::Date64 | DataType::Duration(_) => DataType::Int64,
        DataType::List(element) => {
            let stored = stored_type(element.data_type(), naive)?;
            if stored != *element.data_type() {
                return Err(format!("a list of {} has no exact counterpart", element.data_type()));
            }
            DataType::List(Arc::new(Field::new("element", stored, true)))
        }
        other => return Err(format!("the type {other} has no exact counterpart")),
    })
}

#[cfg(test)]
pub(crate) mod tests;
