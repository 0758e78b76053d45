//! A text in a pattern, read: which time it means.
//!
//! What must hold: a text that does not fit, and a time that there is not, are errors; nothing is guessed but the century
//! of a year of two digits.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime};
use sql::{SqlError, sqlstate};

use super::{DAYS, Field, MONTHS, strip};

/// A text that is being read.
pub(super) struct Reading<'a> {
    rest: &'a str,
    whole: &'a str,
    found: Found,
}

/// What was found in a text.
#[derive(Default)]
struct Found {
    year: Option<i64>,
    before_first_year: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    julian: Option<i64>,
    hour: Option<i64>,
    hour12: Option<i64>,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    second_of_day: Option<i64>,
    microsecond: Option<i64>,
    offset_minutes: i64,
}

impl<'a> Reading<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, whole: text, found: Found::default() }
    }

    /// The time that was found.
    pub(super) fn time(&self) -> Result<NaiveDateTime, SqlError> {
        self.found.time(self.whole)
    }

    /// What separates may be written otherwise; a letter has to be there and may be any.
    pub(super) fn literal(&mut self, literal: &str) {
        for expected in literal.chars() {
            let separates = |c: char| !c.is_alphanumeric();
            if separates(expected) {
                let skipped = self.rest.trim_start();
                self.rest = skipped.strip_prefix(|c: char| separates(c) && c != '+' && c != '-').unwrap_or(skipped);
                if expected == '-' || expected == '+' {
                    self.rest = self.rest.strip_prefix(expected).unwrap_or(self.rest);
                }
            } else {
                let mut characters = self.rest.chars();
                characters.next();
                self.rest = characters.as_str();
            }
        }
    }

    pub(super) fn field(&mut self, field: Field, beside: bool, pattern: &str) -> Result<(), SqlError> {
        self.rest = self.rest.trim_start();
        match field {
            Field::Year(digits) => {
                let (number, read) = self.number(if beside { digits as usize } else { 9 })?;
                // The nearest year to 2020.
                let century = if read > 2 {
                    0
                } else if number < 70 {
                    2_000
                } else {
                    1_900
                };
                self.found.year = Some(if digits < 4 { century + number } else { number });
            }
            Field::WeekYear(4) => self.found.iso_year = Some(self.number(if beside { 4 } else { 9 })?.0),
            Field::Month => self.found.month = Some(self.number(2)?.0),
            Field::MonthName(_) | Field::MonthShort(_) => {
                let full = matches!(field, Field::MonthName(_));
                self.found.month = Some(self.name(&MONTHS, full)? + 1);
            }
            Field::DayName(_) | Field::DayShort(_) => {
                self.name(&DAYS, matches!(field, Field::DayName(_)))?;
            }
            Field::Day => self.found.day = Some(self.number(2)?.0),
            Field::DayOfYear => self.found.day_of_year = Some(self.number(3)?.0),
            Field::IsoWeek => self.found.iso_week = Some(self.number(2)?.0),
            Field::IsoDayOfWeek => self.found.iso_day = Some(self.number(1)?.0),
            Field::Julian => self.found.julian = Some(self.number(9)?.0),
            // Neither says more than the month and the day do.
            Field::Quarter | Field::DayOfWeek => {
                self.number(1)?;
            }
            Field::Hour24 => self.found.hour = Some(self.number(2)?.0),
            Field::Hour12 => match self.number(2)?.0 {
                hour @ 1..=12 => self.found.hour12 = Some(hour),
                _ => return Err(self.invalid("an hour from 1 to 12")),
            },
            Field::Minute => self.found.minute = Some(self.number(2)?.0),
            Field::Second => self.found.second = Some(self.number(2)?.0),
            Field::SecondOfDay => self.found.second_of_day = Some(self.number(5)?.0),
            Field::Fraction(digits) => {
                let (number, read) = self.number(digits as usize)?;
                let missing = 6_u32.saturating_sub(u32::try_from(read).unwrap_or(6));
                self.found.microsecond = Some(number * 10_i64.pow(missing));
            }
            Field::HalfDay(..) => self.found.afternoon = Some(self.one_of(["am", "pm", "a.m.", "p.m."])? % 2 == 1),
            Field::Era(..) => self.found.before_first_year = self.one_of(["ad", "bc", "a.d.", "b.c."])? % 2 == 1,
            Field::ZoneHour => {
                let negative = self.rest.starts_with('-');
                self.rest = self.rest.trim_start_matches(['+', '-']);
                let hours = self.number(2)?.0;
                self.found.offset_minutes = if negative { -60 * hours } else { 60 * hours };
            }
            Field::ZoneMinute => {
                let minutes = self.number(2)?.0;
                self.found.offset_minutes += if self.found.offset_minutes < 0 { -minutes } else { minutes };
            }
            _ => return Err(SqlError::unsupported(format!("reading the pattern {pattern:?}"))),
        }
        Ok(())
    }

    fn number(&mut self, digits_max: usize) -> Result<(i64, usize), SqlError> {
        let digits = self.rest.bytes().take(digits_max).take_while(u8::is_ascii_digit).count();
        let number = self.rest[..digits].parse().map_err(|_| self.invalid("a number"))?;
        self.rest = &self.rest[digits..];
        Ok((number, digits))
    }

    fn name(&mut self, names: &[&str], full: bool) -> Result<i64, SqlError> {
        let length = |name: &str| if full { name.len() } else { 3 };
        let found = names.iter().position(|name| strip(self.rest, &name[..length(name)]).is_some());
        let found = found.ok_or_else(|| self.invalid("a name"))?;
        self.rest = &self.rest[length(names[found])..];
        Ok(i64::try_from(found).unwrap_or(0))
    }

    fn one_of(&mut self, words: [&str; 4]) -> Result<usize, SqlError> {
        let found = words.iter().position(|word| strip(self.rest, word).is_some());
        let found = found.ok_or_else(|| self.invalid(words[0]))?;
        self.rest = &self.rest[words[found].len()..];
        Ok(found)
    }

    fn invalid(&self, expected: &str) -> SqlError {
        let message = format!("{:?} does not fit the pattern: {expected} is expected at {:?}", self.whole, self.rest);
        SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
    }
}

impl Found {
    fn time(&self, text: &str) -> Result<NaiveDateTime, SqlError> {
        let out_of_range = || {
            SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: {text:?}"))
        };
        let date = self.date().ok_or_else(out_of_range)?;
        let time = self.time_of_day().ok_or_else(out_of_range)?;
        let local = date.and_time(time);
        chrono::Duration::try_minutes(self.offset_minutes)
            .and_then(|offset| local.checked_sub_signed(offset))
            .ok_or_else(out_of_range)
    }

    fn date(&self) -> Option<NaiveDate> {
        let narrow = |number: i64| u32::try_from(number).ok();
        if let Some(julian) = self.julian {
            return NaiveDate::from_num_days_from_ce_opt(i32::try_from(julian - 1_721_425).ok()?);
        }
        if let (Some(year), week) = (self.iso_year, self.iso_week.unwrap_or(1)) {
            let weekday = chrono::Weekday::try_from(u8::try_from(self.iso_day.unwrap_or(1) - 1).ok()?).ok()?;
            return NaiveDate::from_isoywd_opt(i32::try_from(year).ok()?, narrow(week)?, weekday);
        }
        // Without a year it is the first one before the first.
        let year = match (self.year, self.before_first_year) {
            (Some(year), true) => 1 - year,
            (Some(year), false) => year,
            (None, _) => 0,
        };
        let year = i32::try_from(year).ok()?;
        if let Some(day) = self.day_of_year {
            let first = NaiveDate::from_yo_opt(year, 1)?;
            let date = first.checked_add_days(Days::new(u64::try_from(day - 1).ok()?))?;
            return (date.year() == year).then_some(date);
        }
        NaiveDate::from_ymd_opt(year, narrow(self.month.unwrap_or(1))?, narrow(self.day.unwrap_or(1))?)
    }

    fn time_of_day(&self) -> Option<NaiveTime> {
        let microsecond = u32::try_from(self.microsecond.unwrap_or(0)).ok()?;
        if let Some(second) = self.second_of_day {
            return NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(second).ok()?, microsecond * 1_000);
        }
        let hour = match (self.hour, self.hour12) {
            (Some(hour), _) => hour,
            (None, Some(hour @ 1..=12)) => hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, Some(_)) => return None,
            (None, None) => 0,
        };
        let narrow = |number: Option<i64>| u32::try_from(number.unwrap_or(0)).ok();
        NaiveTime::from_hms_micro_opt(
            u32::try_from(hour).ok()?,
            narrow(self.minute)?,
            narrow(self.second)?,
            microsecond,
        )
    }
}
