//! Values in PostgreSQL's binary form: numbers in network order, times counted from 2000-01-01.

use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use sql::{SqlError, sqlstate};

use super::text::{check, out_of_range};

/// Days and microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// Bytes of a value that is not what its type needs.
pub(super) fn incorrect() -> SqlError {
    SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, "incorrect binary data format")
}

/// A value ends before all of it was read.
pub(super) fn insufficient() -> SqlError {
    SqlError::new(sqlstate::PROTOCOL_VIOLATION, "insufficient data left in message")
}

/// The next `N` bytes.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], SqlError> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or_else(insufficient)?;
    *bytes = rest;
    Ok(*taken)
}

/// All bytes, where they are `N`.
fn whole<const N: usize>(mut bytes: &[u8]) -> Result<[u8; N], SqlError> {
    let taken = take(&mut bytes)?;
    if bytes.is_empty() { Ok(taken) } else { Err(incorrect()) }
}

pub(super) fn boolean(bytes: &[u8]) -> Result<bool, SqlError> {
    whole::<1>(bytes).map(|[byte]| byte != 0)
}

pub(super) fn int2(bytes: &[u8]) -> Result<i16, SqlError> {
    whole(bytes).map(i16::from_be_bytes)
}

pub(super) fn int4(bytes: &[u8]) -> Result<i32, SqlError> {
    whole(bytes).map(i32::from_be_bytes)
}

pub(super) fn int8(bytes: &[u8]) -> Result<i64, SqlError> {
    whole(bytes).map(i64::from_be_bytes)
}

pub(super) fn float4(bytes: &[u8]) -> Result<f32, SqlError> {
    whole(bytes).map(f32::from_be_bytes)
}

pub(super) fn float8(bytes: &[u8]) -> Result<f64, SqlError> {
    whole(bytes).map(f64::from_be_bytes)
}

/// Text is the same in both forms.
pub(super) fn text(bytes: &[u8]) -> Result<String, SqlError> {
    check(bytes).map(str::to_owned)
}

/// A version, and the text.
pub(super) fn json(bytes: &[u8]) -> Result<String, SqlError> {
    match bytes {
        [1, rest @ ..] => text(rest),
        _ => Err(incorrect()),
    }
}

pub(super) fn uuid(bytes: &[u8]) -> Result<String, SqlError> {
    whole(bytes).map(|bytes| uuid::Uuid::from_bytes(bytes).to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "all that read a value have one signature")]
pub(super) fn bytes(bytes: &[u8]) -> Result<Vec<u8>, SqlError> {
    Ok(bytes.to_vec())
}

pub(super) fn date(bytes: &[u8]) -> Result<i32, SqlError> {
    let days = int4(bytes)?;
    if days == i32::MAX || days == i32::MIN {
        return Err(SqlError::unsupported("the date infinity"));
    }
    days.checked_add(EPOCH_DAYS).ok_or_else(|| out_of_range("date"))
}

/// Nanoseconds of a day.
pub(super) fn time(bytes: &[u8]) -> Result<i64, SqlError> {
    match int8(bytes)? {
        microseconds @ 0..=DAY_MICROSECONDS => Ok(microseconds * 1_000),
        _ => Err(out_of_range("time")),
    }
}

/// Microseconds, with a time zone or without.
pub(super) fn timestamp(bytes: &[u8]) -> Result<i64, SqlError> {
    let microseconds = int8(bytes)?;
    if microseconds == i64::MAX || microseconds == i64::MIN {
        return Err(SqlError::unsupported("the timestamp infinity"));
    }
    microseconds.checked_add(EPOCH_MICROSECONDS).ok_or_else(|| out_of_range("timestamp"))
}

pub(super) fn interval(mut bytes: &[u8]) -> Result<IntervalMonthDayNano, SqlError> {
    let microseconds = i64::from_be_bytes(take(&mut bytes)?);
    let days = i32::from_be_bytes(take(&mut bytes)?);
    let months = int4(bytes)?;
    let nanoseconds = microseconds.checked_mul(1_000).ok_or_else(|| out_of_range("interval"))?;
    Ok(IntervalMonthDayNanoType::make_value(months, days, nanoseconds))
}
