//! Rows and the epoch they claim to be of.
//!
//! What must hold: after [`check`], the offsets of each partition ascend, and lie inside the epoch.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use model::{Epoch, Offset, Positions, TopicPartition};

use crate::TableDefinition;
use crate::columns::{OFFSET_COLUMN, PARTITION_COLUMN};
use crate::error::{LakeError, Result};

/// Whether the definition has the columns that say where a row comes from.
pub(crate) fn check_columns(definition: &TableDefinition) -> Result<()> {
    for (name, expected) in [(PARTITION_COLUMN, DataType::Int32), (OFFSET_COLUMN, DataType::Int64)] {
        let found = definition.columns.field_with_name(name).map(|field| field.data_type().clone());
        if found.as_ref().ok() != Some(&expected) {
            let reason = format!("the column {name} of type {expected} is missing");
            return Err(LakeError::Columns { table: definition.name.clone(), reason });
        }
    }
    Ok(())
}

/// Whether the rows lie in the epoch, each partition's in ascending order of offset.
pub(crate) fn check(definition: &TableDefinition, rows: &[RecordBatch], epoch: &Epoch) -> Result<()> {
    let mut previous: HashMap<i32, Offset> = HashMap::new();
    for batch in rows {
        for (partition, offset) in places(&definition.name, batch)? {
            let refuse = |why: &str| LakeError::Rows {
                table: definition.name.clone(),
                reason: format!("offset {offset} of partition {partition} {why}"),
            };
            if !epoch.contains(&TopicPartition::new(definition.topic.clone(), partition), offset) {
                return Err(refuse("lies outside it"));
            }
            if previous.insert(partition, offset).is_some_and(|previous| previous >= offset) {
                return Err(refuse("is out of order, or there twice"));
            }
        }
    }
    Ok(())
}

/// The rows at or after `floor`.
pub(crate) fn at_or_after(
    definition: &TableDefinition,
    rows: &[RecordBatch],
    floor: &Positions,
) -> Result<Vec<RecordBatch>> {
    let floors: HashMap<i32, Offset> = floor.iter().map(|(partition, offset)| (partition.partition, offset)).collect();
    let keep = |(partition, offset): (i32, Offset)| offset >= floors.get(&partition).copied().unwrap_or(0);
    let mut kept = Vec::with_capacity(rows.len());
    for batch in rows {
        let mask: BooleanArray = places(&definition.name, batch)?.map(|place| Some(keep(place))).collect();
        if mask.true_count() == batch.num_rows() {
            kept.push(batch.clone());
        } else if mask.true_count() > 0 {
            let doing = format!("drop rows that {} has already", definition.name);
            kept.push(filter_record_batch(batch, &mask).map_err(LakeError::arrow(doing))?);
        }
    }
    Ok(kept)
}

/// The partition and the offset of each row; `table` is for messages.
pub(crate) fn places<'a>(table: &str, batch: &'a RecordBatch) -> Result<impl Iterator<Item = (i32, Offset)> + use<'a>> {
    let partitions = batch.column_by_name(PARTITION_COLUMN).and_then(|column| column.as_primitive_opt::<Int32Type>());
    let offsets = batch.column_by_name(OFFSET_COLUMN).and_then(|column| column.as_primitive_opt::<Int64Type>());
    match (partitions, offsets) {
        (Some(partitions), Some(offsets)) if partitions.null_count() == 0 && offsets.null_count() == 0 => {
            Ok(partitions.values().iter().copied().zip(offsets.values().iter().copied()))
        }
        _ => {
            let reason = format!("{PARTITION_COLUMN} or {OFFSET_COLUMN} is missing");
            Err(LakeError::Rows { table: table.to_owned(), reason })
        }
    }
}
