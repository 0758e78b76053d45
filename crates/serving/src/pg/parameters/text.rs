//! Values in PostgreSQL's text form.

use std::str::FromStr;

use arrow::{
    compute::kernels::cast_utils::parse_interval_month_day_nano,
    datatypes::{Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType},
};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use pgwire::{
    api::Type,
    types::{FromSqlText, format::FormatOptions},
};
use sql::{SqlError, sqlstate};

const SECOND_NANOSECONDS: i64 = 1_000_000_000;

/// Text is UTF-8 without zeros.
pub(super) fn check(bytes: &[u8]) -> Result<&str, SqlError> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| {
        SqlError::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
    })
}

/// A text that is no value of a type.
pub(super) fn invalid(type_name: &str, bytes: &[u8]) -> SqlError {
    let shown: String = String::from_utf8_lossy(bytes).chars().take(100).collect();
    let message = format!("invalid input syntax for type {type_name}: \"{shown}\"");
    SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
}

/// A value that PostgreSQL's type has and Arrow's has not.
pub(super) fn out_of_range(type_name: &str) -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("{type_name} out of range"))
}

pub(super) fn boolean(bytes: &[u8]) -> Result<bool, SqlError> {
    let text = check(bytes)?.trim().to_ascii_lowercase();
    match text.as_str() {
        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Ok(true),
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Ok(false),
        _ => Err(invalid("boolean", bytes)),
    }
}

pub(super) fn int2(bytes: &[u8]) -> Result<i16, SqlError> {
    integer("smallint", bytes)
}

pub(super) fn int4(bytes: &[u8]) -> Result<i32, SqlError> {
    integer("integer", bytes)
}

pub(super) fn int8(bytes: &[u8]) -> Result<i64, SqlError> {
    integer("bigint", bytes)
}

/// The catalogue has its numbers without a sign in the bits of numbers with one.
pub(super) fn oid(bytes: &[u8]) -> Result<i32, SqlError> {
    integer::<u32>("oid", bytes).map(u32::cast_signed)
}

fn integer<T: FromStr>(type_name: &str, bytes: &[u8]) -> Result<T, SqlError> {
    let text = check(bytes)?.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    text.parse().map_err(|_| match !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => beyond(type_name, text),
        false => invalid(type_name, bytes),
    })
}

/// A number that its type cannot hold.
pub(super) fn beyond(type_name: &str, text: &str) -> SqlError {
    let shown: String = text.chars().take(100).collect();
    SqlError::new(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("value \"{shown}\" is out of range for type {type_name}"),
    )
}

pub(super) fn float4(bytes: &[u8]) -> Result<f32, SqlError> {
    float("real", bytes, |value: f32| value.is_infinite())
}

pub(super) fn float8(bytes: &[u8]) -> Result<f64, SqlError> {
    float("double precision", bytes, |value: f64| value.is_infinite())
}

fn float<T: FromStr + Copy>(type_name: &str, bytes: &[u8], is_infinite: fn(T) -> bool) -> Result<T, SqlError> {
    let text = check(bytes)?.trim();
    let value = text.parse::<T>().map_err(|_| invalid(type_name, bytes))?;
    // Infinity is written in letters; what only becomes it is too large.
    let overflows = is_infinite(value) && !text.contains(['n', 'N']);
    if overflows { Err(beyond(type_name, text)) } else { Ok(value) }
}

/// `\x` and hexadecimal digits.
pub(super) fn bytes(bytes: &[u8]) -> Result<Vec<u8>, SqlError> {
    read(&Type::BYTEA, "bytea", bytes)
}

pub(super) fn date(bytes: &[u8]) -> Result<i32, SqlError> {
    read::<NaiveDate>(&Type::DATE, "date", bytes).map(Date32Type::from_naive_date)
}

/// Nanoseconds of a day.
pub(super) fn time(bytes: &[u8]) -> Result<i64, SqlError> {
    let time = NaiveTime::parse_from_str(check(bytes)?.trim(), "%H:%M:%S%.f").map_err(|_| invalid("time", bytes))?;
    Ok(i64::from(time.num_seconds_from_midnight()) * SECOND_NANOSECONDS + i64::from(time.nanosecond()))
}

/// Microseconds; an offset is passed over, as PostgreSQL does.
pub(super) fn timestamp(bytes: &[u8]) -> Result<i64, SqlError> {
    // A date alone is its first moment.
    let read = read::<NaiveDateTime>(&Type::TIMESTAMP, "timestamp", bytes)
        .or_else(|error| read::<NaiveDate>(&Type::DATE, "date", bytes).map_err(|_| error).map(Into::into));
    read.map(|time| time.and_utc().timestamp_micros())
}

/// Microseconds.
pub(super) fn timestamp_with_zone(bytes: &[u8]) -> Result<i64, SqlError> {
    let time = read::<DateTime<FixedOffset>>(&Type::TIMESTAMPTZ, "timestamp with time zone", bytes)?;
    Ok(time.timestamp_micros())
}

fn read<'a, T: FromSqlText<'a>>(pg_type: &Type, type_name: &str, bytes: &'a [u8]) -> Result<T, SqlError> {
    T::from_sql_text(pg_type, bytes, &FormatOptions::default()).map_err(|_| invalid(type_name, bytes))
}

/// `1 day 02:03:04.5`, `3 months`, `-00:05:00`.
pub(super) fn interval(bytes: &[u8]) -> Result<IntervalMonthDayNano, SqlError> {
    let text = check(bytes)?;
    let (clock, rest): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(|word| word.contains(':'));
    let (months, days, mut nanoseconds) = match rest.is_empty() {
        true if clock.is_empty() => return Err(invalid("interval", bytes)),
        true => (0, 0, 0),
        false => {
            let value = parse_interval_month_day_nano(&rest.join(" ")).map_err(|_| invalid("interval", bytes))?;
            IntervalMonthDayNanoType::to_parts(value)
        }
    };
    if let Some(clock) = clock.first() {
        let time = clock_nanoseconds(clock).ok_or_else(|| invalid("interval", bytes))?;
        nanoseconds = nanoseconds.checked_add(time).ok_or_else(|| out_of_range("interval"))?;
    }
    if clock.len() > 1 {
        return Err(invalid("interval", bytes));
    }
    Ok(IntervalMonthDayNanoType::make_value(months, days, nanoseconds))
}

/// `[-]hours:minutes[:seconds[.fraction]]`; hours may be more than a day has.
fn clock_nanoseconds(word: &str) -> Option<i64> {
    let (sign, word) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let mut parts = word.split(':');
    let hours: i64 = parts.next()?.parse::<u32>().ok()?.into();
    let minutes: i64 = parts.next()?.parse::<u32>().ok().filter(|minutes| *minutes < 60)?.into();
    let (seconds, fraction) = match parts.next() {
        Some(part) => part.split_once('.').unwrap_or((part, "")),
        None => ("0", ""),
    };
    let seconds: i64 = seconds.parse::<u32>().ok().filter(|seconds| *seconds < 60)?.into();
    let digits = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction: i64 = if digits { format!("{fraction:0<9}").parse().ok()? } else { return None };
    let whole = (hours * 3_600 + minutes * 60 + seconds).checked_mul(SECOND_NANOSECONDS)?;
    parts.next().is_none().then_some(sign * (whole.checked_add(fraction)?))
}
