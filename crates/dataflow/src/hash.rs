//! The hash of a key: what rows are sorted, found and one day spread by.
//!
//! XXH3-64 with seed 0 (<https://github.com/Cyan4973/xxHash>) over a value's bytes: of numbers, dates and times the
//! little-endian ones, of texts and binaries their own, of a boolean one. The hashes of several columns are chained.
//!
//! What must hold: equal keys have equal hashes on every machine and in every release; keys are
//! [normal](crate::normal_key) before they are hashed. NULL has a hash like any value.

use arrow::{
    array::{Array, ArrayRef, AsArray, downcast_primitive_array},
    compute::cast,
    datatypes::{DataType, ToByteSlice},
    row::{RowConverter, SortField},
};
use twox_hash::XxHash3_64;

use crate::error::{Error, Result};

/// The hash of NULL, and of a key without columns.
const NOTHING: u64 = 0x9e37_79b9_7f4a_7c15;
const CHAIN: u64 = 0xd6e8_feb8_6659_fd93;

/// The hash of each row of some columns.
///
/// # Errors
/// [`Error::Arrow`] when a column's type cannot be a key.
pub fn hash_rows(columns: &[ArrayRef], row_count: usize) -> Result<Vec<u64>> {
    let mut hashes: Vec<u64> = Vec::new();
    for column in columns {
        let mut take = Chained { hashes: &mut hashes, row: 0, is_first: false };
        take.is_first = take.hashes.is_empty();
        hash_column(column, &mut take)?;
    }
    if columns.is_empty() {
        hashes.resize(row_count, NOTHING);
    }
    Ok(hashes)
}

/// Hashes that values are chained to, row by row.
struct Chained<'a> {
    hashes: &'a mut Vec<u64>,
    row: usize,
    is_first: bool,
}

impl Chained<'_> {
    #[inline]
    fn take(&mut self, hash: u64) {
        if self.is_first {
            self.hashes.push(hash);
        } else {
            let before = &mut self.hashes[self.row];
            *before = (before.rotate_left(29) ^ hash).wrapping_mul(CHAIN);
        }
        self.row += 1;
    }

    fn take_all<'b>(&mut self, values: impl Iterator<Item = Option<&'b [u8]>>) {
        values.for_each(|value| self.take(value.map_or(NOTHING, XxHash3_64::oneshot)));
    }
}

fn hash_column(column: &ArrayRef, hashes: &mut Chained<'_>) -> Result<()> {
    let array = column.as_ref();
    downcast_primitive_array! {
        array => {
            match array.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => array.values().iter().for_each(|value| hashes.take(XxHash3_64::oneshot(value.to_byte_slice()))),
                Some(_) => hashes.take_all(array.values().iter().enumerate().map(|(row, value)| {
                    array.is_valid(row).then(|| value.to_byte_slice())
                })),
            }
        }
        DataType::Boolean => {
            hashes.take_all(array.as_boolean().iter().map(|value| value.map(|value| if value { &[1_u8][..] } else { &[0][..] })));
        }
        DataType::Utf8 => hashes.take_all(array.as_string::<i32>().iter().map(|value| value.map(str::as_bytes))),
        DataType::Binary => hashes.take_all(array.as_binary::<i32>().iter()),
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(_, _) => {
            let plain = cast(column, &DataType::Utf8).map_err(Error::arrow("hash a key"))?;
            hash_column(&plain, hashes)?;
        }
        _ => {
            // What no view has as a key, but a whole row can hold: lists and structs.
            let converter = RowConverter::new(vec![SortField::new(array.data_type().clone())]);
            let rows = converter.and_then(|converter| converter.convert_columns(&[ArrayRef::clone(column)]));
            let rows = rows.map_err(Error::arrow("hash a row"))?;
            hashes.take_all(rows.iter().map(|row| Some(row.data())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
