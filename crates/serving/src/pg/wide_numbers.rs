//! Numbers of more than 96 bits, which the encoder of rows has no form for: they become PostgreSQL's `numeric` here.
//!
//! What must hold: one value that is wide changes how its column is encoded in its batch, and nothing else.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type},
    error::ArrowError,
};

/// What fits the encoder.
const BITS_MAX: u32 = 96;
const SCALE_MAX: i8 = 28;

/// Digits of PostgreSQL's `numeric`, each of which holds four.
const BASE: u128 = 10_000;
const BASE_DIGITS: u32 = 4;
const NEGATIVE: u16 = 0x4000;

/// A column with a wide number as text, or as `numeric` in binary; `None` where it has none.
pub(super) fn encoded(column: &ArrayRef, is_binary: bool) -> Option<Result<ArrayRef, ArrowError>> {
    is_wide(column).then(|| if is_binary { Ok(binary(column)) } else { cast(column, &DataType::Utf8) })
}

fn is_wide(column: &ArrayRef) -> bool {
    let DataType::Decimal128(_, scale) = column.data_type() else { return false };
    let wide = |value: &i128| value.unsigned_abs().leading_zeros() < u128::BITS - BITS_MAX;
    *scale > SCALE_MAX || column.as_primitive::<Decimal128Type>().values().iter().any(wide)
}

fn binary(column: &ArrayRef) -> ArrayRef {
    let decimals = column.as_primitive::<Decimal128Type>();
    let encoded = decimals.iter().map(|value| value.map(|value| numeric(value, decimals.scale())));
    Arc::new(encoded.collect::<BinaryArray>())
}

/// `value * 10^-scale` as PostgreSQL's `numeric` in binary: how many digits, the weight of the first, the sign, the
/// scale, and the digits.
fn numeric(value: i128, scale: i8) -> Vec<u8> {
    let scale = u32::from(scale.unsigned_abs());
    let fraction_digits = scale.div_ceil(BASE_DIGITS);
    let missing = 10_u128.pow(fraction_digits * BASE_DIGITS - scale);
    let magnitude = value.unsigned_abs();
    // The last digit is filled up with zeros; the others are not touched by that.
    let last_base = BASE / missing;
    let (mut digits, mut rest) = (Vec::new(), magnitude);
    if missing > 1 {
        digits.push((rest % last_base * missing) as u16);
        rest /= last_base;
    }
    while rest > 0 {
        digits.push((rest % BASE) as u16);
        rest /= BASE;
    }
    let weight = digits.len() as i32 - 1 - fraction_digits as i32;
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.split_off(zeros);
    let (weight, sign) = match (digits.is_empty(), value < 0) {
        (true, _) => (0, 0),
        (false, negative) => (weight, if negative { NEGATIVE } else { 0 }),
    };
    let mut bytes = Vec::with_capacity(8 + 2 * digits.len());
    bytes.extend_from_slice(&(digits.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&(weight as i16).to_be_bytes());
    bytes.extend_from_slice(&sign.to_be_bytes());
    bytes.extend_from_slice(&(scale as u16).to_be_bytes());
    digits.iter().rev().for_each(|digit| bytes.extend_from_slice(&digit.to_be_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    //! Numbers as PostgreSQL sends them.

    use super::numeric;

    #[test]
    fn a_number_is_postgresqls_numeric() {
        let cases: &[(i128, i8, &[u16])] = &[
            (0, 2, &[0, 0, 0, 2]),
            (123_456, 2, &[2, 0, 0, 2, 1234, 5600]),
            (-10_000, 0, &[1, 1, 0x4000, 0, 1]),
            (1, 5, &[1, 0xfffe, 0, 5, 1000]),
            (50_000, 4, &[1, 0, 0, 4, 5]),
            (10_i128.pow(38) - 1, 0, &[10, 9, 0, 0, 99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]),
            (123_456_789, 10, &[3, 0xffff, 0, 10, 123, 4567, 8900]),
        ];
        for (value, scale, expected) in cases {
            let expected: Vec<u8> = expected.iter().flat_map(|word| word.to_be_bytes()).collect();
            assert_eq!(numeric(*value, *scale), expected, "{value} e-{scale}");
        }
    }
}
