//! Segments: states as Arrow IPC files, written once.

use std::{io::Cursor, sync::Arc};

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::{concat_batches, filter_record_batch},
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::FileReader, writer::FileWriter},
    row::{RowConverter, SortField},
};
use hashbrown::HashSet;

/// States as a file.
pub(super) fn encode(states: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = FileWriter::try_new(Vec::new(), states.schema_ref())?;
    writer.write(states)?;
    writer.into_inner()
}

/// Reads a file whose checksum was right.
pub(super) fn decode(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let reader = FileReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    concat_batches(&schema, &batches)
}

/// The newest state of each key, without the groups that are gone. `segments` are oldest first; the first `key_count`
/// columns are the key, the next one is how many rows the group has.
pub(super) fn compact(
    schema: &SchemaRef,
    key_count: usize,
    segments: &[RecordBatch],
) -> Result<RecordBatch, ArrowError> {
    let fields = schema.fields().iter().take(key_count);
    let converter = RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())?;
    let mut seen: HashSet<Box<[u8]>> = HashSet::new();
    let mut newest = Vec::with_capacity(segments.len());
    for states in segments.iter().rev() {
        let counts = states.column(key_count).as_any().downcast_ref::<arrow::array::Int64Array>();
        let counts = counts.ok_or_else(|| ArrowError::SchemaError("rows is not a BIGINT".to_owned()))?;
        let keys = if key_count == 0 { None } else { Some(converter.convert_columns(&states.columns()[..key_count])?) };
        let keep: BooleanArray = (0..states.num_rows())
            .map(|row| {
                let key = keys.as_ref().map_or(Box::default(), |keys| keys.row(row).data().into());
                Some(seen.insert(key) && counts.value(row) != 0)
            })
            .collect();
        newest.push(filter_record_batch(states, &keep)?);
    }
    newest.reverse();
    concat_batches(&Arc::clone(schema), &newest)
}
