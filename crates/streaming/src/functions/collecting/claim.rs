//! Arrays that are reserved for as long as anybody holds them, and copies that hold nothing else.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayData, ArrayRef, AsArray, MutableArrayData, RecordBatch, RecordBatchOptions, make_array},
    buffer::Buffer,
    datatypes::DataType,
};
use bytes::Bytes;
use datafusion::error::Result;
use model::{MemoryBudget, MemoryReservation};

use super::account::refused;

/// Buffers from this size on are reserved.
const CLAIMED_BYTES_LEAST: usize = 64 * 1024;

/// The same rows; the large buffers of their columns are reserved, as often as there are copies of them, until nobody holds
/// them any more.
///
/// # Errors
/// When the budget does not have as much: SQLSTATE 53200.
pub fn reserved(rows: &RecordBatch, memory: &MemoryBudget, copies: u64) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(|column| claimed(Arc::clone(column), memory, copies));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(rows.schema(), columns.collect::<Result<_>>()?, &options)?)
}

/// The same for an array.
pub(super) fn claimed(array: ArrayRef, memory: &MemoryBudget, copies: u64) -> Result<ArrayRef> {
    if array.get_buffer_memory_size() < CLAIMED_BYTES_LEAST {
        return Ok(array);
    }
    Ok(make_array(with_claims(array.to_data(), memory, copies)?))
}

fn with_claims(data: ArrayData, memory: &MemoryBudget, copies: u64) -> Result<ArrayData> {
    let buffers = data.buffers().iter().map(|buffer| claimed_buffer(buffer, memory, copies)).collect::<Result<_>>()?;
    let children = data.child_data().iter().map(|child| with_claims(child.clone(), memory, copies));
    let children = children.collect::<Result<_>>()?;
    Ok(data.into_builder().buffers(buffers).child_data(children).build()?)
}

fn claimed_buffer(buffer: &Buffer, memory: &MemoryBudget, copies: u64) -> Result<Buffer> {
    if buffer.is_empty() || buffer.capacity() < CLAIMED_BYTES_LEAST {
        return Ok(buffer.clone());
    }
    let reservation = memory.reserve("queries", copies * buffer.capacity() as u64).map_err(refused)?;
    Ok(Buffer::from(Bytes::from_owner(Claimed { buffer: buffer.clone(), _reservation: reservation })))
}

/// A buffer with what is reserved for it.
struct Claimed {
    buffer: Buffer,
    _reservation: MemoryReservation,
}

impl AsRef<[u8]> for Claimed {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

/// A copy of the values of an array: a slice keeps all that it was cut from.
pub(super) fn compact(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => {
            let data = array.to_data();
            let mut copy = MutableArrayData::new(vec![&data], false, data.len());
            copy.try_extend(0, 0, data.len())?;
            make_array(copy.freeze())
        }
    })
}
