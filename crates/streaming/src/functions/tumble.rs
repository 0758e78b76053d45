//! `tumble_start(size, time)` and `tumble_end(size, time)`: the window that a time lies in.
//!
//! What must hold: a window is `[start, end)` and aligned to 1970-01-01 00:00 UTC. It is computed in whole microseconds,
//! or in months, for every time that a column can hold; where a window's edge is no such time, that is an error and
//! never NULL.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

const DAY_US: i64 = 86_400_000_000;

/// Which edge of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Edge {
    /// The first time in it.
    Start,
    /// The first time after it.
    End,
}

/// The function for one edge.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Tumble {
    edge: Edge,
    signature: Signature,
}

impl Tumble {
    pub(super) fn new(edge: Edge) -> Self {
        Self { edge, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Tumble {
    fn name(&self) -> &str {
        match self.edge {
            Edge::Start => "tumble_start",
            Edge::End => "tumble_end",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [size, time] = types else {
            return Err(DataFusionError::Plan(format!("{} takes a size and a time", self.name())));
        };
        let time = match time {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 | DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return Err(DataFusionError::Plan(format!("{} of a {other}: it takes a timestamp", self.name()))),
        };
        match size {
            DataType::Interval(_) => Ok(vec![DataType::Interval(IntervalUnit::MonthDayNano), time]),
            other => Err(DataFusionError::Plan(format!("{} by a {other}: it takes an interval", self.name()))),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.get(1).cloned().ok_or_else(|| DataFusionError::Plan(format!("{} takes a size and a time", self.name())))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (size, time) = match arguments.args.as_slice() {
            [ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(size))), time] => (Size::new(*size)?, time),
            _ => {
                return Err(DataFusionError::Execution("the size of a window is an interval that is known".to_owned()));
            }
        };
        let time = time.to_array(arguments.number_rows)?;
        // A constant time may come in another unit.
        let time = cast(&time, arguments.return_field.data_type())?;
        let times = time.as_primitive::<TimestampMicrosecondType>();
        let edges = times.iter().map(|time| time.map(|time_us| size.edge(self.edge, time_us)).transpose());
        let edges: TimestampMicrosecondArray = edges.collect::<Result<_>>()?;
        let edges: ArrayRef = Arc::new(edges.with_data_type(arguments.return_field.data_type().clone()));
        Ok(ColumnarValue::Array(edges))
    }
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    Microseconds(i64),
    Months(i64),
}

impl Size {
    fn new(interval: IntervalMonthDayNano) -> Result<Self> {
        let IntervalMonthDayNano { months, days, nanoseconds } = interval;
        let whole_us = i64::from(days).checked_mul(DAY_US).and_then(|days| days.checked_add(nanoseconds / 1_000));
        match (months, whole_us) {
            (1.., Some(0)) if nanoseconds == 0 => Ok(Self::Months(i64::from(months))),
            (0, Some(size @ 1..)) if nanoseconds % 1_000 == 0 => Ok(Self::Microseconds(size)),
            _ => Err(DataFusionError::Execution("a window lasts some whole microseconds, or some months".to_owned())),
        }
    }

    fn edge(self, edge: Edge, time_us: i64) -> Result<i64> {
        let windows_on = i64::from(edge == Edge::End);
        let found = match self {
            Self::Microseconds(size) => {
                time_us.div_euclid(size).checked_add(windows_on).and_then(|n| n.checked_mul(size))
            }
            Self::Months(size) => {
                let window = month_of(time_us.div_euclid(DAY_US)).div_euclid(size) + windows_on;
                window.checked_mul(size).and_then(|month| days_before(month).checked_mul(DAY_US))
            }
        };
        found.ok_or_else(|| {
            DataFusionError::Execution(format!(
                "the window of the time {time_us} us since 1970 begins or ends beyond all times"
            ))
        })
    }
}

/// In which month since January 1970 a day lies; days count from 1970-01-01. The calendar is the Gregorian one.
fn month_of(day: i64) -> i64 {
    // A month has 30.436875 days in the mean: the guess is one off at most.
    let guess = (day * 1_000_000).div_euclid(30_436_875);
    let later = guess + i64::from(days_before(guess + 1) <= day);
    later - i64::from(days_before(later) > day)
}

/// The days before the first of a month since January 1970.
fn days_before(month: i64) -> i64 {
    // Years begin in March, so that a leap day is the last day of its year.
    let months = month + 1970 * 12 - 2;
    let (year, month_of_year) = (months.div_euclid(12), months.rem_euclid(12));
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 306 days from March to December; 719,468 days from 0000-03-01 to 1970-01-01.
    year * 365 + leap_days + (month_of_year * 306 + 5) / 10 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_window() {
        let interval = IntervalMonthDayNano::new;
        // Microseconds of 1000-01-01, 1969-12-31 23:59:59.999999, 2024-02-29 12:00, 3000-01-01.
        let times = [-30_610_224_000_000_000, -1, 0, 1_709_208_000_000_000, 32_503_680_000_000_000];
        let hour = 3_600_000_000;
        let cases = [
            (
                interval(0, 0, 3_600_000_000_000),
                [-30_610_224_000_000_000, -hour, 0, 1_709_208_000_000_000, 32_503_680_000_000_000],
                [hour; 5],
            ),
            (
                interval(0, 1, 0),
                [-30_610_224_000_000_000, -DAY_US, 0, 1_709_164_800_000_000, 32_503_680_000_000_000],
                [DAY_US; 5],
            ),
            (
                interval(1, 0, 0),
                [-30_610_224_000_000_000, -31 * DAY_US, 0, 1_706_745_600_000_000, 32_503_680_000_000_000],
                [31, 31, 31, 29, 31].map(|days| days * DAY_US),
            ),
            (
                interval(12, 0, 0),
                [-30_610_224_000_000_000, -365 * DAY_US, 0, 1_704_067_200_000_000, 32_503_680_000_000_000],
                [365, 365, 365, 366, 365].map(|days| days * DAY_US),
            ),
        ];
        for (size, starts, lengths) in cases {
            let size = Size::new(size).unwrap();
            for ((time, start), length) in times.into_iter().zip(starts).zip(lengths) {
                assert_eq!(size.edge(Edge::Start, time).unwrap(), start, "{size:?} {time}");
                assert_eq!(size.edge(Edge::End, time).unwrap(), start + length, "{size:?} {time}");
            }
        }
    }

    #[test]
    fn months_agree_with_the_calendar() {
        let (mut month, mut next) = (-12 * 1_000_i64, days_before(-12 * 1_000 + 1));
        for day in days_before(-12 * 1_000)..days_before(12 * 2_000) {
            if day == next {
                month += 1;
                next = days_before(month + 1);
                let year = 1970 + month.div_euclid(12);
                let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                let february = if is_leap { 29 } else { 28 };
                let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
                assert_eq!(next - day, lengths[usize::try_from(month.rem_euclid(12)).unwrap()], "{month}");
            }
            assert_eq!(month_of(day), month, "{day}");
        }
    }

    #[test]
    fn windows_beyond_all_times_and_impossible_sizes_are_errors() {
        for time in [i64::MIN, i64::MAX] {
            for size in
                [Size::Microseconds(7), Size::Microseconds(DAY_US), Size::Months(1), Size::Months(i64::from(i32::MAX))]
            {
                for edge in [Edge::Start, Edge::End] {
                    // No panic; what is answered lies on the right side.
                    if let Ok(found) = size.edge(edge, time) {
                        assert_eq!(found > time, edge == Edge::End);
                    }
                }
            }
        }
        assert!(Size::Microseconds(DAY_US).edge(Edge::End, i64::MAX).is_err());
        for (months, days, nanoseconds) in
            [(0, 0, 0), (0, -1, 0), (0, 0, 999), (1, 1, 0), (-1, 0, 0), (1, 0, 1), (0, i32::MAX, 0)]
        {
            let size = Size::new(IntervalMonthDayNano::new(months, days, nanoseconds));
            assert!(size.is_err(), "{months} months, {days} days, {nanoseconds} ns");
        }
    }
}
