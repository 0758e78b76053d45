//! NUMERIC: as many digits as the value has, up to 38.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Decimal128Array},
    datatypes::DECIMAL128_MAX_PRECISION,
};
use sql::{SqlError, sqlstate};

use super::{
    binary::{incorrect, take},
    elements::Elements,
    text::{beyond, check, invalid},
};

/// One more than the largest value: 38 digits.
const LIMIT: u128 = 10_u128.pow(38);

/// Digits after the point at most.
const SCALE_MAX: u8 = DECIMAL128_MAX_PRECISION;

/// PostgreSQL's digits are those of base 10,000: four decimal ones each.
const BASE: i128 = 10_000;
const BASE_DIGITS: i32 = 4;

const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// An integer, and how many of its digits stand after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numeric {
    digits: i128,
    scale: u8,
}

impl Numeric {
    /// The digits when so many stand after the point; no fewer than there are.
    fn at(self, scale: u8) -> Result<i128, SqlError> {
        let digits = 10_i128.checked_pow((scale - self.scale).into()).and_then(|power| self.digits.checked_mul(power));
        digits.filter(|digits| digits.unsigned_abs() < LIMIT).ok_or_else(too_long)
    }
}

/// All values with as many digits after the point as that which has most.
pub(super) fn array<'a>(
    elements: &dyn Fn() -> Result<Elements<'a>, SqlError>,
    read: fn(&[u8]) -> Result<Numeric, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let mut scale = 0;
    for element in elements()? {
        if let Some(bytes) = element? {
            scale = read(&bytes)?.scale.max(scale);
        }
    }
    let values = elements()?.map(|element| element?.map(|bytes| read(&bytes)?.at(scale)).transpose());
    let values = values.collect::<Result<Decimal128Array, SqlError>>()?;
    let values = values.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale.cast_signed());
    Ok(Arc::new(values.map_err(|_| too_long())?))
}

/// The binary form: how many digits, the weight of the first, sign, digits after the point, the digits.
pub(super) fn of_binary(mut bytes: &[u8]) -> Result<Numeric, SqlError> {
    let count = u16::from_be_bytes(take(&mut bytes)?);
    let weight = i32::from(i16::from_be_bytes(take(&mut bytes)?));
    let sign = u16::from_be_bytes(take(&mut bytes)?);
    let scale = u16::from_be_bytes(take(&mut bytes)?);
    let negative = match sign {
        0 => false,
        NEGATIVE => true,
        NOT_A_NUMBER | INFINITY | NEGATIVE_INFINITY => {
            return Err(SqlError::unsupported("NaN and infinity as NUMERIC").with_hint("DOUBLE PRECISION has them"));
        }
        _ => return Err(incorrect()),
    };
    let scale = u8::try_from(scale).ok().filter(|scale| *scale <= SCALE_MAX).ok_or_else(too_long)?;
    // The digits down to the last that counts: those beyond the scale are cut, those that are missing are zeros.
    let (mut digits, mut exponent) = (0_i128, (weight + 1) * BASE_DIGITS);
    for _ in 0..count {
        let digit = i128::from(u16::from_be_bytes(take(&mut bytes)?));
        if digit >= BASE {
            return Err(incorrect());
        }
        if exponent > -i32::from(scale) {
            digits = digits.checked_mul(BASE).and_then(|digits| digits.checked_add(digit)).ok_or_else(too_long)?;
            exponent -= BASE_DIGITS;
        }
    }
    if !bytes.is_empty() {
        return Err(incorrect());
    }
    let shift = exponent + i32::from(scale);
    let power = |exponent: i32| 10_i128.checked_pow(exponent.unsigned_abs());
    let digits = match (digits, shift) {
        (0, _) => 0,
        (digits, 0..) => power(shift).and_then(|power| digits.checked_mul(power)).ok_or_else(too_long)?,
        (digits, _) => digits / power(shift).ok_or_else(too_long)?,
    };
    if digits.unsigned_abs() >= LIMIT {
        return Err(too_long());
    }
    Ok(Numeric { digits: if negative { -digits } else { digits }, scale })
}

/// `-12.50`, `1e-3`.
pub(super) fn of_text(bytes: &[u8]) -> Result<Numeric, SqlError> {
    let text = check(bytes)?.trim();
    let wrong = || invalid("numeric", bytes);
    let too_long = || beyond("numeric(38)", text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().map_err(|_| wrong())?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return Err(wrong());
    }
    let mut digits = 0_i128;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let next = digits.checked_mul(10).and_then(|digits| digits.checked_add(i128::from(byte - b'0')));
        digits = next.ok_or_else(too_long)?;
    }
    let scale = i32::try_from(fraction.len()).map_err(|_| too_long())? - i32::from(exponent);
    if scale < 0 {
        let power = if digits == 0 { Some(1) } else { 10_i128.checked_pow(scale.unsigned_abs()) };
        digits = power.and_then(|power| digits.checked_mul(power)).ok_or_else(too_long)?;
    }
    let scale = u8::try_from(scale.max(0)).ok().filter(|scale| *scale <= SCALE_MAX).ok_or_else(too_long)?;
    if digits.unsigned_abs() >= LIMIT {
        return Err(too_long());
    }
    Ok(Numeric { digits: if mantissa.starts_with('-') { -digits } else { digits }, scale })
}

fn too_long() -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
        .with_hint("a NUMERIC has at most 38 digits, before and after the point together")
}
