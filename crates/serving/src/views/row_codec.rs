//! Rows as bytes: the key columns in an order-preserving form, the other columns beside them.
//!
//! What must hold: two keys are equal, as SQL has it, exactly when their bytes are, and bytes sort as the key columns do (ascending,
//! nulls first). The bytes are not a stored format; they live as long as the process.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::ScalarValue;
use model::{Error, Result};
use streaming::normal_key;

/// The bytes of some columns of one row.
pub(super) type RowBytes = Arc<[u8]>;

/// Turns batches of one schema into (key bytes, value bytes) and back.
#[derive(Debug)]
pub(super) struct RowCodec {
    schema: SchemaRef,
    key: Part,
    value: Part,
}

impl RowCodec {
    pub(super) fn new(schema: SchemaRef, key_columns: &[usize]) -> Result<Self> {
        let column_count = schema.fields().len();
        if let Some(stray) = key_columns.iter().find(|index| **index >= column_count) {
            return Err(Error::internal(format!("key column {stray} of a schema with {column_count} columns")));
        }
        let value_columns: Vec<usize> = (0..column_count).filter(|index| !key_columns.contains(index)).collect();
        Ok(Self { key: Part::new(&schema, key_columns.to_vec())?, value: Part::new(&schema, value_columns)?, schema })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn key_columns(&self) -> &[usize] {
        &self.key.columns
    }

    /// The bytes of every row: keys and values.
    pub(super) fn encode(&self, batch: &RecordBatch) -> Result<(EncodedColumns, EncodedColumns)> {
        Ok((self.key.encode(batch, normal_key)?, self.value.encode(batch, ArrayRef::clone)?))
    }

    /// The bytes of one key, its values cast to the types of the key columns.
    pub(super) fn encode_key(&self, key: &[ScalarValue]) -> Result<RowBytes> {
        if key.len() != self.key.columns.len() {
            let message = format!("a key of {} values where {} are needed", key.len(), self.key.columns.len());
            return Err(Error::invalid(message).with_hint(format!("the key is ({})", self.key_names())));
        }
        let Some(converter) = &self.key.converter else { return Ok(Arc::from([])) };
        let columns = key.iter().zip(&self.key.types).map(|(value, data_type)| {
            let value = if value.data_type() == *data_type { value.clone() } else { value.cast_to(data_type)? };
            value.to_array()
        });
        let encoded = columns.collect::<datafusion::error::Result<Vec<_>>>().map_err(|e| {
            Error::invalid(format!("the value does not fit the key ({})", self.key_names())).with_source(e)
        })?;
        let encoded: Vec<ArrayRef> = encoded.iter().map(normal_key).collect();
        let rows = converter.convert_columns(&encoded).map_err(|e| encode_failed(&e))?;
        Ok(Arc::from(rows.row(0).data()))
    }

    /// Batches again, only the columns of `projection` where there is one.
    ///
    /// `schema` is the schema after the projection.
    pub(super) fn decode<'a>(
        &self,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        projection: Option<&[usize]>,
        schema: &SchemaRef,
    ) -> Result<RecordBatch, ArrowError> {
        let (keys, values): (Vec<&[u8]>, Vec<&[u8]>) = rows.unzip();
        let wanted = |part: &Part| projection.is_none_or(|p| p.iter().any(|index| part.columns.contains(index)));
        let mut decoded: Vec<Option<ArrayRef>> = vec![None; self.schema.fields().len()];
        for (part, bytes) in [(&self.key, &keys), (&self.value, &values)] {
            if wanted(part) {
                for (column, array) in part.columns.iter().zip(part.decode(bytes)?) {
                    decoded[*column] = Some(array);
                }
            }
        }
        let missing = || ArrowError::InvalidArgumentError("a projected column was not decoded".to_owned());
        let columns: Vec<ArrayRef> = match projection {
            Some(indices) => {
                let column = |index: &usize| decoded.get(*index).cloned().flatten().ok_or_else(missing);
                indices.iter().map(column).collect::<Result<_, _>>()?
            }
            None => decoded.into_iter().map(|column| column.ok_or_else(missing)).collect::<Result<_, _>>()?,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(keys.len()));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
    }

    fn key_names(&self) -> String {
        let names: Vec<&str> = self.key.columns.iter().map(|index| self.schema.field(*index).name().as_str()).collect();
        names.join(", ")
    }
}

/// Some columns of the schema, and how they become bytes.
#[derive(Debug)]
struct Part {
    columns: Vec<usize>,
    types: Vec<DataType>,
    /// `None` where there is no column: the bytes are empty then.
    converter: Option<RowConverter>,
}

impl Part {
    fn new(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self> {
        let types: Vec<DataType> = columns.iter().map(|index| schema.field(*index).data_type().clone()).collect();
        let converter = match types.as_slice() {
            [] => None,
            types => {
                let fields = types.iter().cloned().map(SortField::new).collect();
                let unsupported = |e| Error::unsupported("a view cannot hold a column of this type").with_source(e);
                Some(RowConverter::new(fields).map_err(unsupported)?)
            }
        };
        Ok(Self { columns, types, converter })
    }

    fn encode(&self, batch: &RecordBatch, normal: fn(&ArrayRef) -> ArrayRef) -> Result<EncodedColumns> {
        let Some(converter) = &self.converter else { return Ok(EncodedColumns(None)) };
        let columns: Vec<ArrayRef> = self.columns.iter().map(|index| normal(batch.column(*index))).collect();
        let rows = converter.convert_columns(&columns).map_err(|e| encode_failed(&e))?;
        Ok(EncodedColumns(Some(rows)))
    }

    fn decode(&self, bytes: &[&[u8]]) -> Result<Vec<ArrayRef>, ArrowError> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        let arrays = converter.convert_rows(bytes.iter().map(|row| parser.parse(row)))?;
        // A dictionary comes back as its values.
        let restore = |(array, data_type): (ArrayRef, &DataType)| match array.data_type() == data_type {
            true => Ok(array),
            false => cast(&array, data_type),
        };
        arrays.into_iter().zip(&self.types).map(restore).collect()
    }
}

/// The bytes of some columns, row by row.
pub(super) struct EncodedColumns(Option<Rows>);

impl EncodedColumns {
    pub(super) fn row(&self, index: usize) -> RowBytes {
        Arc::from(self.bytes(index))
    }

    /// The same, borrowed.
    pub(super) fn bytes(&self, index: usize) -> &[u8] {
        match &self.0 {
            Some(rows) => rows.row(index).data(),
            None => &[],
        }
    }
}

fn encode_failed(error: &ArrowError) -> Error {
    Error::internal(format!("cannot encode the rows of a view: {error}"))
}
