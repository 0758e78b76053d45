//! `to_char`, `to_date` and `to_timestamp` with PostgreSQL's patterns.
//!
//! What must hold: the answer is PostgreSQL's, or there is none: what a pattern asks for and is not built is an error
//! that names it. Times are those of UTC.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Array, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use chrono::{DateTime, NaiveDateTime};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};
use sql::{SqlError, sqlstate, timestamp_utc};

use super::{number_pattern::NumberPattern, time_pattern::TimePattern};

/// The largest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// `to_char(value, pattern)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar {
    signature: Signature,
    aliases: Vec<String>,
}

impl ToChar {
    pub(super) fn new() -> Self {
        // DataFusion's own has this alias, by which it would come back.
        Self { signature: Signature::user_defined(Volatility::Immutable), aliases: vec!["date_format".to_owned()] }
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, pattern] = types else { return Err(takes("to_char", "a value and a pattern")) };
        let value = match value {
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 | DataType::Null => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            DataType::Timestamp(_, Some(_)) => timestamp_utc(),
            DataType::UInt64 => DataType::Decimal128(20, 0),
            number if number.is_integer() => DataType::Int64,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
            DataType::Decimal32(..) | DataType::Decimal64(..) => DataType::Decimal128(38, 10),
            DataType::Decimal128(..) => value.clone(),
            other => return Err(refused(SqlError::unsupported(format!("to_char of a value of type {other}")))),
        };
        Ok(vec![value, text(pattern, "to_char")?])
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, pattern] = call.args.as_slice() else { return Err(takes("to_char", "a value and a pattern")) };
        let rows = row_count(&call);
        let values = value.to_array(rows.unwrap_or(1))?;
        let texts: StringArray = match values.data_type() {
            DataType::Timestamp(_, zone) => {
                let has_zone = zone.is_some();
                let micros = cast(&values, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
                let times = micros.as_primitive::<TimestampMicrosecondType>();
                let mut patterns = Patterns::new(pattern, TimePattern::new);
                let written = (0..times.len()).map(|row| {
                    let Some(pattern) = patterns.at(row)? else { return Ok(None) };
                    if times.is_null(row) {
                        return Ok(None);
                    }
                    Ok(Some(pattern.format(&civil(times.value(row))?, has_zone)))
                });
                written.collect::<Result<_>>()?
            }
            _ => numbers(&values, pattern)?,
        };
        answer(Arc::new(texts), rows)
    }
}

fn numbers(values: &ArrayRef, pattern: &ColumnarValue) -> Result<StringArray> {
    let mut patterns = Patterns::new(pattern, NumberPattern::new);
    let written = (0..values.len()).map(|row| {
        let Some(pattern) = patterns.at(row)? else { return Ok(None) };
        if values.is_null(row) {
            return Ok(None);
        }
        let digits = pattern.fraction_digits();
        let (negative, whole, fraction) = match values.data_type() {
            DataType::Decimal128(_, scale) => {
                let value = values.as_primitive::<Decimal128Type>().value(row);
                let (value, scale) = match usize::try_from(*scale) {
                    Ok(scale) => (value, scale),
                    Err(_) => (value.saturating_mul(10_i128.saturating_pow(u32::from(scale.unsigned_abs()))), 0),
                };
                let (whole, fraction) = rounded(value, scale, digits);
                (value < 0, whole, fraction)
            }
            DataType::Float64 => {
                let value = values.as_primitive::<Float64Type>().value(row);
                if !value.is_finite() {
                    return Err(refused(SqlError::unsupported(format!("to_char of {value}"))));
                }
                let text = format!("{:.digits$}", value.abs());
                let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
                (value < 0.0, whole.to_owned(), fraction.to_owned())
            }
            _ => {
                let value = values.as_primitive::<Int64Type>().value(row);
                let (whole, fraction) = rounded(value.into(), 0, digits);
                (value < 0, whole, fraction)
            }
        };
        Ok(Some(pattern.format(negative, &whole, &fraction)))
    });
    written.collect()
}

/// The digits of a number before and after the point, rounded half away from zero to so many after it.
pub(super) fn rounded(value: i128, scale: usize, digits: usize) -> (String, String) {
    let text = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = text.split_at(text.len() - scale);
    if digits >= scale {
        let whole = whole.trim_start_matches('0');
        return (if whole.is_empty() { "0" } else { whole }.to_owned(), format!("{fraction:0<digits$}"));
    }
    let divisor = 10_u128.pow(u32::try_from(scale - digits).unwrap_or(38).min(38));
    let magnitude = value.unsigned_abs();
    let kept = magnitude / divisor + u128::from(magnitude % divisor >= divisor / 2);
    let text = format!("{kept:0width$}", width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    let whole = whole.trim_start_matches('0');
    (if whole.is_empty() { "0" } else { whole }.to_owned(), fraction.to_owned())
}

/// `to_date(text, pattern)`, and `to_timestamp(text, pattern)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FromText {
    name: &'static str,
    signature: Signature,
}

impl FromText {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn own(&self) -> DataType {
        if self.name == "to_date" { DataType::Date32 } else { timestamp_utc() }
    }
}

impl ScalarUDFImpl for FromText {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.own())
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [value] if self.name == "to_timestamp" && (value.is_numeric()) => Ok(vec![DataType::Float64]),
            [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null] => Ok(vec![DataType::Utf8]),
            [DataType::Timestamp(_, None) | DataType::Date32] => {
                Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, None)])
            }
            [DataType::Timestamp(_, Some(_))] => Ok(vec![timestamp_utc()]),
            [value, pattern] => Ok(vec![text(value, self.name)?, text(pattern, self.name)?]),
            _ => Err(takes(self.name, "a text and a pattern")),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = row_count(&call);
        let own = self.own();
        let [value, pattern] = call.args.as_slice() else {
            let [value] = call.args.as_slice() else { return Err(takes(self.name, "a text and a pattern")) };
            let value = value.to_array(rows.unwrap_or(1))?;
            return answer(
                if value.data_type().is_floating() { seconds(&value)? } else { cast_strictly(&value, &own)? },
                rows,
            );
        };
        let values = cast(&value.to_array(rows.unwrap_or(1))?, &DataType::Utf8)?;
        let values = values.as_string::<i32>();
        let mut patterns = Patterns::new(pattern, TimePattern::new);
        let read = (0..values.len()).map(|row| {
            let Some(pattern) = patterns.at(row)? else { return Ok(None) };
            if values.is_null(row) {
                return Ok(None);
            }
            let time = pattern.read(values.value(row)).map_err(refused)?;
            Ok(Some(time))
        });
        let read: Vec<Option<NaiveDateTime>> = read.collect::<Result<_>>()?;
        let array: ArrayRef = if self.name == "to_date" {
            let days = read.into_iter().map(|time| time.map(|time| Date32Type::from_naive_date(time.date())));
            Arc::new(days.collect::<Date32Array>())
        } else {
            let micros = read.into_iter().map(|time| time.map(|time| time.and_utc().timestamp_micros()));
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_data_type(own))
        };
        answer(array, rows)
    }
}

/// Seconds since 1970, to microseconds.
fn seconds(values: &ArrayRef) -> Result<ArrayRef> {
    let times = values.as_primitive::<Float64Type>().iter().map(|value| {
        let Some(seconds) = value else { return Ok(None) };
        let micros = (seconds * 1e6).round();
        // Beyond what a time can be there is no answer, and no other one.
        if micros.is_nan() || micros.abs() >= 8.2e18 {
            let message = format!("timestamp out of range: {seconds}");
            return Err(refused(SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)));
        }
        #[expect(clippy::cast_possible_truncation, reason = "it was checked to fit")]
        Ok(Some(micros as i64))
    });
    let times: TimestampMicrosecondArray = times.collect::<Result<_>>()?;
    Ok(Arc::new(times.with_data_type(timestamp_utc())))
}

fn cast_strictly(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    Ok(arrow::compute::cast_with_options(values, to, &options)?)
}

/// A time as a calendar has it.
fn civil(micros: i64) -> Result<NaiveDateTime> {
    let time = DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc());
    time.ok_or_else(|| {
        refused(SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("no calendar has the time {micros} us")))
    })
}

/// The pattern of each row, read once where it is the same for all.
struct Patterns<'a, P> {
    values: &'a ColumnarValue,
    read: fn(&str) -> Result<P, SqlError>,
    /// The pattern that was read last, and its text.
    last: Option<(String, P)>,
}

impl<'a, P> Patterns<'a, P> {
    fn new(values: &'a ColumnarValue, read: fn(&str) -> Result<P, SqlError>) -> Self {
        Self { values, read, last: None }
    }

    /// `None` where it is NULL.
    fn at(&mut self, row: usize) -> Result<Option<&P>> {
        let text = match self.values {
            ColumnarValue::Scalar(value) => value.try_as_str().flatten().map(str::to_owned),
            ColumnarValue::Array(array) => {
                ScalarValue::try_from_array(array, row)?.try_as_str().flatten().map(str::to_owned)
            }
        };
        let Some(text) = text else { return Ok(None) };
        if self.last.as_ref().is_none_or(|(last, _)| *last != text) {
            if text.len() > PATTERN_BYTES_MAX {
                let message = format!("a pattern has {} bytes, the most is {PATTERN_BYTES_MAX}", text.len());
                return Err(refused(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)));
            }
            let pattern = (self.read)(&text).map_err(refused)?;
            self.last = Some((text, pattern));
        }
        Ok(self.last.as_ref().map(|(_, pattern)| pattern))
    }
}

fn text(data_type: &DataType, function: &str) -> Result<DataType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Ok(DataType::Utf8),
        other => Err(takes(function, &format!("a text, not a value of type {other}"))),
    }
}

/// How many rows there are; `None` where all arguments are constant.
pub(super) fn row_count(call: &ScalarFunctionArgs) -> Option<usize> {
    call.args.iter().find_map(|value| match value {
        ColumnarValue::Array(array) => Some(array.len()),
        ColumnarValue::Scalar(_) => None,
    })
}

/// An array, or the one value where the arguments were constant.
pub(super) fn answer(array: ArrayRef, rows: Option<usize>) -> Result<ColumnarValue> {
    match rows {
        Some(_) => Ok(ColumnarValue::Array(array)),
        None => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
    }
}

pub(super) fn takes(function: &str, what: &str) -> DataFusionError {
    DataFusionError::External(Box::new(SqlError::new(
        sqlstate::UNDEFINED_FUNCTION,
        format!("function {function} takes {what}"),
    )))
}

pub(super) fn refused(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
