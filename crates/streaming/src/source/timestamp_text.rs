//! Points in time as records write them: ISO 8601 texts, and numbers of a unit since 1970.
//!
//! What must hold: a time is had exactly, in microseconds, or not at all; and it lies in the years that every door can
//! show.

use std::borrow::Cow;

use arrow::compute::kernels::cast_utils::string_to_datetime;
use chrono::{Timelike, Utc};
use sql::TimestampUnit;

use super::number_text::{Misfit, scaled};

const SECOND_US: i128 = 1_000_000;
/// The years 1 to 9999: what ISO 8601, Delta Lake and PostgreSQL's clients have in common.
const SHOWN_US: std::ops::Range<i128> = -62_135_596_800 * SECOND_US..253_402_300_800 * SECOND_US;
/// The years 1900 to 2200: what a number without a declared unit can be.
const PLAUSIBLE_US: std::ops::Range<i128> = -2_208_988_800 * SECOND_US..7_289_654_400 * SECOND_US;
/// The years 2000 to 2100 in seconds, which are a few weeks of 1970 in milliseconds.
const SECONDS_PLAUSIBLE: std::ops::Range<i128> = 946_684_800..4_102_444_800;
/// How long `2024-01-31T12:00` is.
const MINUTE_END: usize = 16;
/// The time just after a leap second.
const LEAP_SECOND_NS: u32 = 1_000_000_000;

/// An ISO 8601 text in microseconds since 1970; the error says what is wrong with it.
pub(super) fn text_us(text: &str) -> Result<i64, String> {
    let text = &*with_seconds(text);
    let time = string_to_datetime(&Utc, text).map_err(|_| match text.parse::<f64>() {
        Ok(_) => "it is a number in quotes, write it without them".to_owned(),
        Err(_) => "it is not an ISO 8601 timestamp".to_owned(),
    })?;
    if !fits_microseconds(text) {
        let hint = "declare the column TEXT, and cut it in the view";
        return Err(format!("it has more than 6 digits after the second ({hint})"));
    }
    if time.nanosecond() >= LEAP_SECOND_NS {
        return Err("it is a leap second".to_owned());
    }
    shown(i128::from(time.timestamp_micros()))
}

/// A time of day without a second gets one: ISO 8601 and PostgreSQL leave it out where it is 0.
pub(crate) fn with_seconds(text: &str) -> Cow<'_, str> {
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let is_minute = text.as_bytes().get(13) == Some(&b':') && [11, 12, 14, 15].into_iter().all(digit);
    let ends = !matches!(text.as_bytes().get(MINUTE_END), Some(b':' | b'0'..=b'9'));
    match text.split_at_checked(MINUTE_END) {
        Some((minute, zone)) if is_minute && ends => Cow::Owned(format!("{minute}:00{zone}")),
        _ => Cow::Borrowed(text),
    }
}

/// A number of units since 1970 in microseconds; the error says what is wrong with it.
pub(super) fn number_us(number: &str, unit: Option<TimestampUnit>) -> Result<i64, String> {
    if unit.is_none()
        && let Some(other) = looks_like(number)
    {
        let meant = if other == TimestampUnit::Seconds { " ('milliseconds' if a time in 1970 is meant)" } else { "" };
        return Err(format!("this looks like {other}: declare timestamp_unit = '{other}'{meant}"));
    }
    let declared = unit.unwrap_or(TimestampUnit::Milliseconds);
    let us = match scaled(number, declared.places()) {
        Ok(us) => us,
        Err(Misfit::Fraction) if declared == TimestampUnit::Nanoseconds => {
            let hint = "declare the column BIGINT, and divide it in the view";
            return Err(format!("it has nanoseconds, and a timestamp has microseconds ({hint})"));
        }
        Err(Misfit::Fraction) => return Err("it has parts of a microsecond".to_owned()),
        Err(Misfit::TooLarge) => i128::MAX,
        Err(Misfit::NotANumber) => return Err("it is not a number".to_owned()),
    };
    if unit.is_none() && !PLAUSIBLE_US.contains(&us) {
        let hint = "declare timestamp_unit where it is meant";
        return Err(format!("as milliseconds it is not in the years 1900 to 2200 ({hint})"));
    }
    shown(us)
}

/// The unit that a number seems to be of, where that is not milliseconds.
fn looks_like(number: &str) -> Option<TimestampUnit> {
    let whole = scaled(number.split('.').next().unwrap_or(number), 0).ok()?;
    if SECONDS_PLAUSIBLE.contains(&whole) {
        return Some(TimestampUnit::Seconds);
    }
    if whole.checked_mul(1_000).is_some_and(|us| PLAUSIBLE_US.contains(&us)) {
        return None;
    }
    let seconds = |per_second: i128| SECONDS_PLAUSIBLE.contains(&(whole / per_second));
    if seconds(SECOND_US) {
        Some(TimestampUnit::Microseconds)
    } else {
        seconds(1_000 * SECOND_US).then_some(TimestampUnit::Nanoseconds)
    }
}

fn shown(us: i128) -> Result<i64, String> {
    match i64::try_from(us) {
        Ok(fitting) if SHOWN_US.contains(&us) => Ok(fitting),
        _ => Err("it is not in the years 1 to 9999".to_owned()),
    }
}

/// Whether a time's fraction has nothing but zeros after its sixth digit.
fn fits_microseconds(text: &str) -> bool {
    let Some(point) = text.find('.') else { return true };
    let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit);
    digits.skip(6).all(|digit| digit == b'0')
}

#[cfg(test)]
mod tests;
