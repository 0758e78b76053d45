//! `timezone(zone, time)`, which is what `time AT TIME ZONE zone` means.
//!
//! A time with a zone becomes the local time there, without a zone; a local time becomes the time with a zone that it
//! is there.
//!
//! What must hold: a local time that a clock shows twice is the second one, as in PostgreSQL; one that no clock shows is
//! read by what held before the clocks were set.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, TimestampMicrosecondArray, timezone::Tz},
    compute::cast,
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};
use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, Offset, TimeZone};
use datafusion::{
    common::ScalarValue,
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};
use sql::{SqlError, sqlstate, timestamp_utc};

use super::to_char::{answer, refused, row_count, takes};

/// `timezone(zone, time)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct InZone {
    signature: Signature,
}

impl InZone {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.get(1) {
            Some(DataType::Timestamp(_, None)) => Ok(timestamp_utc()),
            _ => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [zone, time] = types else { return Err(takes("timezone", "a zone and a time")) };
        match zone {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {}
            DataType::Interval(_) => {
                return Err(refused(SqlError::unsupported("AT TIME ZONE with an interval").with_hint("name the zone")));
            }
            other => return Err(takes("timezone", &format!("the name of a zone, not a value of type {other}"))),
        }
        let time = match time {
            DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
            // What is written as a text is a time with a zone, and so is a day.
            DataType::Timestamp(_, Some(_)) | DataType::Date32 | DataType::Null => timestamp_utc(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => timestamp_utc(),
            other => return Err(takes("timezone", &format!("a time, not a value of type {other}"))),
        };
        Ok(vec![DataType::Utf8, time])
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [zone, time] = call.args.as_slice() else { return Err(takes("timezone", "a zone and a time")) };
        let rows = row_count(&call);
        let times = time.to_array(rows.unwrap_or(1))?;
        let DataType::Timestamp(_, has_zone) = times.data_type().clone() else {
            return Err(takes("timezone", "a zone and a time"));
        };
        let micros = cast(&times, &DataType::Timestamp(TimeUnit::Microsecond, has_zone.clone()))?;
        let micros = micros.as_primitive::<TimestampMicrosecondType>();
        let mut zones = Zones { values: zone, last: None };
        let moved = (0..micros.len()).map(|row| {
            let Some(zone) = zones.at(row)? else { return Ok(None) };
            if micros.is_null(row) {
                return Ok(None);
            }
            moved(micros.value(row), zone, has_zone.is_some()).map(Some).map_err(refused)
        });
        let moved: TimestampMicrosecondArray = moved.collect::<Result<_>>()?;
        let data_type =
            if has_zone.is_some() { DataType::Timestamp(TimeUnit::Microsecond, None) } else { timestamp_utc() };
        answer(Arc::new(moved.with_data_type(data_type)), rows)
    }
}

/// The zone of each row, found once where it is the same for all.
struct Zones<'a> {
    values: &'a ColumnarValue,
    last: Option<(String, Tz)>,
}

impl Zones<'_> {
    fn at(&mut self, row: usize) -> Result<Option<Tz>> {
        let name = match self.values {
            ColumnarValue::Scalar(value) => value.try_as_str().flatten().map(str::to_owned),
            ColumnarValue::Array(array) => {
                ScalarValue::try_from_array(array, row)?.try_as_str().flatten().map(str::to_owned)
            }
        };
        let Some(name) = name else { return Ok(None) };
        match &self.last {
            Some((last, zone)) if *last == name => Ok(Some(*zone)),
            _ => {
                let zone = zone_of(&name).map_err(refused)?;
                self.last = Some((name, zone));
                Ok(Some(zone))
            }
        }
    }
}

fn zone_of(name: &str) -> Result<Tz, SqlError> {
    // A number of hours is west of Greenwich to PostgreSQL here, and east of it everywhere else.
    if name.starts_with(['+', '-']) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(SqlError::unsupported(format!("the time zone {name:?}"))
            .with_hint("name it, such as 'Europe/Vienna' or 'Etc/GMT-2'"));
    }
    let known = ["UTC", "GMT", "Z", "ZULU"].contains(&name.to_uppercase().as_str());
    let parsed: std::result::Result<Tz, _> = if known { "UTC" } else { name }.parse();
    parsed.map_err(|_| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized")))
}

/// From UTC to the local time, or back.
fn moved(micros: i64, zone: Tz, to_local: bool) -> Result<i64, SqlError> {
    let overflow = || SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("no calendar has the time {micros} us"));
    let time = DateTime::from_timestamp_micros(micros).ok_or_else(overflow)?.naive_utc();
    let seconds = if to_local {
        i64::from(zone.offset_from_utc_datetime(&time).fix().local_minus_utc())
    } else {
        -offset_of_local(&time, zone).ok_or_else(overflow)?
    };
    micros.checked_add(seconds * 1_000_000).ok_or_else(overflow)
}

/// How many seconds a local time is ahead of UTC.
fn offset_of_local(local: &NaiveDateTime, zone: Tz) -> Option<i64> {
    let offset = match zone.offset_from_local_datetime(local) {
        LocalResult::Single(offset) => offset.fix(),
        LocalResult::Ambiguous(first, second) => {
            // The one after the clocks were set back is nearer to UTC, counted eastward.
            let (first, second) = (first.fix(), second.fix());
            if first.local_minus_utc() < second.local_minus_utc() { first } else { second }
        }
        // What held before: no clock is set twice within a day.
        LocalResult::None => zone.offset_from_utc_datetime(&local.checked_sub_signed(Duration::days(1))?).fix(),
    };
    Some(i64::from(offset.local_minus_utc()))
}

#[cfg(test)]
mod tests;
