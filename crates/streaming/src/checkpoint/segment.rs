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
use dataflow::{Layout, StatePart, net, written_rows};
use hashbrown::HashSet;

use crate::fold::array_bytes;

/// What a file has besides its states, about.
const FRAME_BYTES: usize = 4 * 1024;

/// States as a file.
pub(super) fn encode(schema: &SchemaRef, states: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let bytes = states.iter().flat_map(RecordBatch::columns).map(array_bytes).sum::<usize>();
    let mut writer = FileWriter::try_new(Vec::with_capacity(bytes + FRAME_BYTES), schema)?;
    states.iter().try_for_each(|states| writer.write(states))?;
    writer.into_inner()
}

/// Reads a file whose checksum was right.
pub(super) fn decode(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let reader = FileReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    concat_batches(&schema, &batches)
}

/// Rows with the sums of their weights, which are the last column; those of which nothing is left are left out.
pub(super) fn sum(schema: &SchemaRef, segments: &[RecordBatch]) -> Result<Vec<RecordBatch>, ArrowError> {
    let external = |error: dataflow::Error| ArrowError::ExternalError(Box::new(error));
    let changes = segments.iter().map(written_rows).collect::<Result<Vec<_>, _>>().map_err(external)?;
    let Some(first) = changes.first() else { return Ok(Vec::new()) };
    let layout = Layout { schema: first.rows().schema(), key: Vec::new(), is_retracting: true };
    let sum = StatePart::of_rows("", &net(&layout, changes).map_err(external)?).map_err(external)?;
    // What a file says besides the types of its columns is the writer's.
    Ok(vec![sum.rows.with_schema(Arc::clone(schema))?])
}

/// The newest state of each key, without the groups that are gone where `forgets`. `segments` are oldest first; the first `key_count`
/// columns are the key, the next one is how many rows the group has. Nothing is put together: a state may be large.
pub(super) fn compact(
    schema: &SchemaRef,
    key_count: usize,
    segments: Vec<RecordBatch>,
    forgets: bool,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let fields = schema.fields().iter().take(key_count);
    let converter = RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())?;
    let mut seen: HashSet<Box<[u8]>> = HashSet::new();
    let mut newest = Vec::with_capacity(segments.len());
    for states in segments.into_iter().rev() {
        let counts = states.column(key_count).as_any().downcast_ref::<arrow::array::Int64Array>();
        let counts = counts.ok_or_else(|| ArrowError::SchemaError("rows is not a BIGINT".to_owned()))?;
        let keys = if key_count == 0 { None } else { Some(converter.convert_columns(&states.columns()[..key_count])?) };
        let keep: BooleanArray = (0..states.num_rows())
            .map(|row| {
                let key = keys.as_ref().map_or(Box::default(), |keys| keys.row(row).data().into());
                Some(seen.insert(key) && !(forgets && counts.value(row) == 0))
            })
            .collect();
        let states = filter_record_batch(&states, &keep)?;
        newest.extend((states.num_rows() > 0).then_some(states));
    }
    newest.reverse();
    Ok(newest)
}
