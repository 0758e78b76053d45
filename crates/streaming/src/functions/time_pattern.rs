//! PostgreSQL's patterns for times, as `to_char`, `to_date` and `to_timestamp` have them.
//!
//! What must hold: what a pattern asks for and is not built is refused by name; nothing of it is passed over.

mod reading;

use chrono::{Datelike, NaiveDateTime, Timelike};

use reading::Reading;
use sql::SqlError;

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// Stands for itself.
    Literal(String),
    Field {
        field: Field,
        /// `FM`: without blanks and zeros before it.
        bare: bool,
        /// `TH`, `th`: what makes an ordinal number of it.
        ordinal: Option<Case>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Upper,
    Title,
    Lower,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    /// Of `YYYY`, `YYY`, `YY`, `Y`: so many digits.
    Year(u32),
    YearWithComma,
    /// The same of the year of ISO 8601's weeks.
    WeekYear(u32),
    Century,
    Quarter,
    Month,
    MonthName(Case),
    MonthShort(Case),
    RomanMonth(Case),
    /// Weeks of the year that begin with its first day; with its first Monday.
    WeekOfYear,
    WeekOfMonth,
    IsoWeek,
    DayOfYear,
    Day,
    /// 1 is Sunday; 1 is Monday.
    DayOfWeek,
    IsoDayOfWeek,
    DayName(Case),
    DayShort(Case),
    Julian,
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    /// So many digits of the second's fraction.
    Fraction(u32),
    /// `AM`, `PM`; with full stops.
    HalfDay(Case, bool),
    Era(Case, bool),
    /// The name of the time zone.
    Zone(Case),
    ZoneOffset,
    ZoneHour,
    ZoneMinute,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const ROMAN: [&str; 12] = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"];

type Cased = fn(Case) -> Field;

/// Keywords whose letters say how what they stand for is written, longest first.
const CASED: &[(&str, Cased)] = &[
    ("month", Field::MonthName),
    ("a.d.", |case| Field::Era(case, true)),
    ("b.c.", |case| Field::Era(case, true)),
    ("a.m.", |case| Field::HalfDay(case, true)),
    ("p.m.", |case| Field::HalfDay(case, true)),
    ("mon", Field::MonthShort),
    ("day", Field::DayName),
    ("ad", |case| Field::Era(case, false)),
    ("bc", |case| Field::Era(case, false)),
    ("am", |case| Field::HalfDay(case, false)),
    ("pm", |case| Field::HalfDay(case, false)),
    ("dy", Field::DayShort),
    ("rm", Field::RomanMonth),
];

/// Keywords whose letters may be of any case, longest first.
const PLAIN: &[(&str, Field)] = &[
    ("sssss", Field::SecondOfDay),
    ("y,yyy", Field::YearWithComma),
    ("ssss", Field::SecondOfDay),
    ("hh24", Field::Hour24),
    ("hh12", Field::Hour12),
    ("yyyy", Field::Year(4)),
    ("iyyy", Field::WeekYear(4)),
    ("ddd", Field::DayOfYear),
    ("iyy", Field::WeekYear(3)),
    ("yyy", Field::Year(3)),
    ("ff1", Field::Fraction(1)),
    ("ff2", Field::Fraction(2)),
    ("ff3", Field::Fraction(3)),
    ("ff4", Field::Fraction(4)),
    ("ff5", Field::Fraction(5)),
    ("ff6", Field::Fraction(6)),
    ("tzh", Field::ZoneHour),
    ("tzm", Field::ZoneMinute),
    ("cc", Field::Century),
    ("dd", Field::Day),
    ("hh", Field::Hour12),
    ("id", Field::IsoDayOfWeek),
    ("iw", Field::IsoWeek),
    ("iy", Field::WeekYear(2)),
    ("mi", Field::Minute),
    ("mm", Field::Month),
    ("ms", Field::Fraction(3)),
    ("of", Field::ZoneOffset),
    ("ss", Field::Second),
    ("us", Field::Fraction(6)),
    ("ww", Field::WeekOfYear),
    ("yy", Field::Year(2)),
    ("d", Field::DayOfWeek),
    ("i", Field::WeekYear(1)),
    ("j", Field::Julian),
    ("q", Field::Quarter),
    ("w", Field::WeekOfMonth),
    ("y", Field::Year(1)),
];

/// What is known and not built.
const UNBUILT: &[&str] = &["tm", "fx", "iddd"];

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TimePattern {
    text: String,
    parts: Vec<Part>,
}

impl TimePattern {
    pub(super) fn new(text: &str) -> Result<Self, SqlError> {
        let mut parts = Vec::new();
        let (mut rest, mut bare) = (text, false);
        while let Some(first) = rest.chars().next() {
            if let Some(after) = strip(rest, "fm") {
                (rest, bare) = (after, true);
                continue;
            }
            if let Some(word) = UNBUILT.iter().find(|word| strip(rest, word).is_some()) {
                let what = format!("{} in the pattern {text:?}", word.to_uppercase());
                return Err(SqlError::unsupported(what));
            }
            let cased = CASED.iter().find_map(|(word, field)| {
                let after = strip(rest, word)?;
                Some((field(case_of(rest)), after))
            });
            let plain = || PLAIN.iter().find_map(|(word, field)| Some((*field, strip(rest, word)?)));
            let zone = || {
                let after =
                    strip(rest, "tz").filter(|_| strip(rest, "tzh").is_none() && strip(rest, "tzm").is_none())?;
                Some((Field::Zone(if rest.starts_with('t') { Case::Lower } else { Case::Upper }), after))
            };
            if let Some((field, after)) = cased.or_else(zone).or_else(plain) {
                let ordinal = ordinal_of(after);
                rest = if ordinal.is_some() { &after[2..] } else { after };
                parts.push(Part::Field { field, bare, ordinal });
                bare = false;
            } else if first == '"' {
                let inner = &rest[1..];
                let end = inner.find('"').unwrap_or(inner.len());
                literal(&mut parts, &inner[..end]);
                rest = inner.get(end + 1..).unwrap_or_default();
            } else if first == '\\' && rest[1..].starts_with('"') {
                literal(&mut parts, "\"");
                rest = &rest[2..];
            } else {
                let length = first.len_utf8();
                literal(&mut parts, &rest[..length]);
                rest = &rest[length..];
            }
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// A time in the pattern; `zone` where it is one of UTC.
    pub(super) fn format(&self, time: &NaiveDateTime, zone: bool) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Field { field, bare, ordinal } => {
                    let written = field.written(time, *bare, zone);
                    text.push_str(&written);
                    if let Some(case) = ordinal {
                        let ending = ending(&written);
                        text.push_str(&if *case == Case::Upper { ending.to_uppercase() } else { ending.to_owned() });
                    }
                }
            }
        }
        text
    }

    /// The time that a text in the pattern means.
    pub(super) fn read(&self, text: &str) -> Result<NaiveDateTime, SqlError> {
        let mut reading = Reading::new(text);
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => reading.literal(literal),
                Part::Field { field, .. } => {
                    // Digits of neighbours run together: then each takes no more than its own.
                    let beside = matches!(self.parts.get(at + 1), Some(Part::Field { field, .. }) if field.is_number());
                    reading.field(*field, beside, &self.text)?;
                }
            }
        }
        reading.time()
    }
}

fn literal(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Literal(before)) => before.push_str(text),
        _ => parts.push(Part::Literal(text.to_owned())),
    }
}

/// What comes after a word, in whatever case it is written.
fn strip<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let head = text.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

/// `MONTH`, `Month`, `month`.
fn case_of(word: &str) -> Case {
    let mut letters = word.chars().filter(|letter| letter.is_alphabetic());
    match (letters.next().is_some_and(char::is_uppercase), letters.next().is_some_and(char::is_uppercase)) {
        (true, true) => Case::Upper,
        (true, false) => Case::Title,
        _ => Case::Lower,
    }
}

fn in_case(word: &str, case: Case) -> String {
    match case {
        Case::Upper => word.to_uppercase(),
        Case::Lower => word.to_owned(),
        Case::Title => {
            let mut letters = word.chars();
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
        }
    }
}

fn ordinal_of(after: &str) -> Option<Case> {
    match after.get(..2) {
        Some("TH") => Some(Case::Upper),
        Some("th") => Some(Case::Lower),
        _ => None,
    }
}

fn ending(number: &str) -> &'static str {
    let number = number.trim();
    let teen = number.len() >= 2 && number.as_bytes()[number.len() - 2] == b'1';
    match (teen, number.chars().last()) {
        (false, Some('1')) => "st",
        (false, Some('2')) => "nd",
        (false, Some('3')) => "rd",
        _ => "th",
    }
}

impl Field {
    fn is_number(self) -> bool {
        !matches!(
            self,
            Self::MonthName(_)
                | Self::MonthShort(_)
                | Self::RomanMonth(_)
                | Self::DayName(_)
                | Self::DayShort(_)
                | Self::HalfDay(..)
                | Self::Era(..)
                | Self::Zone(_)
                | Self::ZoneOffset
        )
    }

    fn written(self, time: &NaiveDateTime, bare: bool, zone: bool) -> String {
        let date = time.date();
        let number = |number: i64, width: usize| if bare { number.to_string() } else { format!("{number:0width$}") };
        let word = |word: &str, case: Case, width: usize| {
            let word = in_case(word, case);
            if bare { word } else { format!("{word:width$}") }
        };
        let named = |names: &'static [&'static str], at: u32| names.get(at as usize).copied().unwrap_or_default();
        // Before the first year there is the first one before it, without a year 0.
        let year = if date.year() > 0 { date.year() } else { 1 - date.year() };
        match self {
            Self::Year(4) => number(year.into(), 4),
            Self::Year(digits) => number(i64::from(year) % 10_i64.pow(digits), digits as usize),
            Self::YearWithComma => format!("{},{:03}", year / 1_000, year % 1_000),
            Self::WeekYear(4) => number(date.iso_week().year().into(), 4),
            Self::WeekYear(digits) => {
                number(i64::from(date.iso_week().year()).rem_euclid(10_i64.pow(digits)), digits as usize)
            }
            Self::Century => number(i64::from(year - 1) / 100 + 1, 2),
            Self::Quarter => (date.month0() / 3 + 1).to_string(),
            Self::Month => number(date.month().into(), 2),
            Self::MonthName(case) => word(named(&MONTHS, date.month0()), case, 9),
            Self::MonthShort(case) => in_case(&named(&MONTHS, date.month0())[..3], case),
            Self::RomanMonth(case) => {
                word(named(&ROMAN, date.month0()), if case == Case::Title { Case::Upper } else { case }, 4)
            }
            Self::WeekOfYear => number(i64::from(date.ordinal0() / 7 + 1), 2),
            Self::WeekOfMonth => (date.day0() / 7 + 1).to_string(),
            Self::IsoWeek => number(date.iso_week().week().into(), 2),
            Self::DayOfYear => number(date.ordinal().into(), 3),
            Self::Day => number(date.day().into(), 2),
            Self::DayOfWeek => (date.weekday().num_days_from_sunday() + 1).to_string(),
            Self::IsoDayOfWeek => date.weekday().number_from_monday().to_string(),
            Self::DayName(case) => word(named(&DAYS, date.weekday().num_days_from_monday()), case, 9),
            Self::DayShort(case) => in_case(&named(&DAYS, date.weekday().num_days_from_monday())[..3], case),
            Self::Julian => (i64::from(date.num_days_from_ce()) + 1_721_425).to_string(),
            Self::Hour24 => number(time.hour().into(), 2),
            Self::Hour12 => number(time.hour12().1.into(), 2),
            Self::Minute => number(time.minute().into(), 2),
            Self::Second => number(time.second().into(), 2),
            Self::SecondOfDay => time.num_seconds_from_midnight().to_string(),
            Self::Fraction(digits) => {
                let microseconds = time.nanosecond() / 1_000 % 1_000_000;
                number((microseconds / 10_u32.pow(6 - digits)).into(), digits as usize)
            }
            Self::HalfDay(case, dots) => half(time.hour() < 12, ["am", "pm"], case, dots),
            Self::Era(case, dots) => half(date.year() <= 0, ["bc", "ad"], case, dots),
            Self::Zone(case) if zone => in_case("utc", case),
            Self::ZoneOffset | Self::ZoneHour if zone => "+00".to_owned(),
            Self::ZoneMinute if zone => "00".to_owned(),
            Self::ZoneOffset | Self::ZoneHour => "+00".to_owned(),
            Self::ZoneMinute => "00".to_owned(),
            Self::Zone(_) => String::new(),
        }
    }
}

fn half(first: bool, words: [&str; 2], case: Case, dots: bool) -> String {
    let word = words[usize::from(!first)];
    let word: String = if dots { word.chars().flat_map(|letter| [letter, '.']).collect() } else { word.to_owned() };
    if case == Case::Lower { word } else { word.to_uppercase() }
}

#[cfg(test)]
mod tests;
