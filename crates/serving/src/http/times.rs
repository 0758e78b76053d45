//! Times that can be written as text, and those that cannot.
//!
//! A column of timestamps holds years far beyond those that a calendar's text has. Arrow writes such a value as the text
//! of an error, which looks like an answer; so rows are looked at before they are written.

use arrow::{
    array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, PrimitiveArray, RecordBatch},
    compute::{cast, max, min},
    datatypes::{DataType, Int64Type, TimeUnit},
    error::ArrowError,
};

/// Seconds since 1970 up to which times have a text: the year 261,000 and a bit.
const SECONDS_MAX: i64 = 8_200_000_000_000;

/// Checks the times in some rows.
///
/// # Errors
/// [`ArrowError::CastError`] naming the column.
pub(super) fn check(rows: &RecordBatch) -> Result<(), ArrowError> {
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        if !have_texts(column.as_ref())? {
            let message = format!("column {:?} has a time outside the years that have a text", field.name());
            return Err(ArrowError::CastError(message));
        }
    }
    Ok(())
}

fn have_texts(values: &dyn Array) -> Result<bool, ArrowError> {
    let per_second = match values.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => 1,
        DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => 1_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
        DataType::Date32 => {
            let days = cast(&cast(values, &DataType::Int32)?, &DataType::Int64)?;
            return Ok(are_within(days.as_primitive(), SECONDS_MAX / 86_400));
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            let per_second = match unit {
                TimeUnit::Second => 1,
                TimeUnit::Millisecond => 1_000,
                TimeUnit::Microsecond => 1_000_000,
                TimeUnit::Nanosecond => 1_000_000_000,
            };
            let times = cast(values, &DataType::Int64)?;
            let times = times.as_primitive::<Int64Type>();
            let of_a_day = 0..86_400 * per_second;
            return Ok([min(times), max(times)].into_iter().flatten().all(|time| of_a_day.contains(&time)));
        }
        DataType::List(_) => return have_elements_texts(values.as_list::<i32>()),
        DataType::LargeList(_) => return have_elements_texts(values.as_list::<i64>()),
        DataType::FixedSizeList(..) => return have_texts(values.as_fixed_size_list().values().as_ref()),
        DataType::Map(..) => {
            let map = values.as_map();
            let entries = slice_of(map.entries(), map.value_offsets());
            return have_texts(entries.as_ref());
        }
        DataType::Dictionary(..) => return have_texts(values.as_any_dictionary().values().as_ref()),
        DataType::Struct(_) => {
            for column in values.as_struct().columns() {
                if !have_texts(column.as_ref())? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        // Nanoseconds do not reach so far; other types are no points in time.
        _ => return Ok(true),
    };
    Ok(are_within(cast(values, &DataType::Int64)?.as_primitive(), SECONDS_MAX * per_second))
}

/// Of the lists that are shown, not of what else their column holds.
fn have_elements_texts<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> Result<bool, ArrowError> {
    have_texts(slice_of(lists.values().as_ref(), lists.value_offsets()).as_ref())
}

fn slice_of<O: OffsetSizeTrait>(values: &dyn Array, offsets: &[O]) -> ArrayRef {
    let (first, last) = match offsets {
        [first, .., last] => (first.as_usize(), last.as_usize()),
        _ => (0, 0),
    };
    values.slice(first, last - first)
}

fn are_within(values: &PrimitiveArray<Int64Type>, limit: i64) -> bool {
    [min(values), max(values)].into_iter().flatten().all(|value| (-limit..=limit).contains(&value))
}
