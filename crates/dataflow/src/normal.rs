//! Columns in the one form in which they are compared and kept.
//!
//! What must hold: keys that SQL calls equal are equal bit by bit: there is one zero, and one NaN, which is the greatest
//! number.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray},
    compute::cast,
    datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type},
};

use crate::error::{Error, Result};

/// Floats where those of a kind have lost their sign; copied only where one has it. Other columns are as they are.
fn without_sign(column: &ArrayRef, is_of_kind: fn(f64) -> bool) -> ArrayRef {
    fn of_type<T: ArrowPrimitiveType>(
        column: &ArrayRef,
        loses_sign: impl Fn(T::Native) -> bool,
        abs: fn(T::Native) -> T::Native,
    ) -> ArrayRef {
        let floats = column.as_primitive::<T>();
        if !floats.values().iter().any(|value| loses_sign(*value)) {
            return ArrayRef::clone(column);
        }
        Arc::new(floats.unary::<_, T>(|value| if loses_sign(value) { abs(value) } else { value }))
    }
    match column.data_type() {
        DataType::Float32 => {
            of_type::<Float32Type>(column, |value| value.is_sign_negative() && is_of_kind(f64::from(value)), f32::abs)
        }
        DataType::Float64 => {
            of_type::<Float64Type>(column, |value| value.is_sign_negative() && is_of_kind(value), f64::abs)
        }
        _ => ArrayRef::clone(column),
    }
}

/// Keys of which equal ones are equal bit by bit.
#[must_use]
pub fn normal_key(column: &ArrayRef) -> ArrayRef {
    without_sign(column, |value| value.is_nan() || value == 0.0)
}

/// Floats with one NaN, the positive one, which is the greatest; both zeros are left as they are.
pub(crate) fn with_one_nan(column: &ArrayRef) -> ArrayRef {
    without_sign(column, |value| value.is_nan())
}

/// A column in the layout that a type has.
///
/// # Errors
/// [`Error::Arrow`] when its values are of another type.
pub fn plain(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(ArrayRef::clone(column));
    }
    cast(column, data_type).map_err(Error::arrow("change the layout of a column"))
}

/// Strings are kept in one layout, whichever one a function gave them.
#[must_use]
pub fn plain_text(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    //! What is one key.

    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Float64Array};

    use super::normal_key;

    #[test]
    fn there_is_one_zero_and_one_nan() {
        let given: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), Some(-f64::NAN), Some(-1.5), None]));
        let normal = normal_key(&given);
        let bits: Vec<Option<u64>> = normal
            .as_primitive::<arrow::datatypes::Float64Type>()
            .iter()
            .map(|value| value.map(f64::to_bits))
            .collect();
        assert_eq!(bits, [Some(0), Some(f64::NAN.to_bits()), Some((-1.5_f64).to_bits()), None]);
    }
}
