//! Texts and numbers, and what they are in microseconds.

use super::{number_us, text_us};
use sql::TimestampUnit as Unit;

#[test]
fn a_text_is_exact_or_refused() {
    let cases: &[(&str, Result<i64, &str>)] = &[
        ("1970-01-01", Ok(0)),
        ("1970-01-01T00:00:00.000001Z", Ok(1)),
        ("1970-01-01T00:00:00.0000010000Z", Ok(1)),
        ("1970-01-01T01:00:00+01:00", Ok(0)),
        ("1969-12-31 23:59:59.999999", Ok(-1)),
        ("1970-01-01T01:00", Ok(3_600_000_000)),
        ("1970-01-01 00:01Z", Ok(60_000_000)),
        ("1970-01-01T01:00+01:00", Ok(0)),
        ("1970-01-01T01:000", Err("not an ISO 8601 timestamp")),
        ("1970-01-01T01:0", Err("not an ISO 8601 timestamp")),
        ("1970-01-01T01:00\u{e9}", Err("not an ISO 8601 timestamp")),
        ("0001-01-01T00:00:00Z", Ok(-62_135_596_800_000_000)),
        ("9999-12-31T23:59:59.999999Z", Ok(253_402_300_799_999_999)),
        ("0000-12-31T23:59:59Z", Err("years 1 to 9999")),
        ("1970-01-01T00:00:00.1234567Z", Err("6 digits")),
        ("1970-01-01T00:00:00.123456789012Z", Err("6 digits")),
        ("yesterday", Err("not an ISO 8601 timestamp")),
        ("", Err("not an ISO 8601 timestamp")),
        ("20240102", Err("a number in quotes")),
        ("1704164645678", Err("a number in quotes")),
    ];
    for (text, expected) in cases {
        match (text_us(text), expected) {
            (Ok(us), Ok(expected)) => assert_eq!(us, *expected, "{text}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (other, _) => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_number_is_of_the_declared_unit_or_plausible_milliseconds() {
    let cases: &[(&str, Option<Unit>, Result<i64, &str>)] = &[
        ("0", None, Ok(0)),
        ("1704164645678", None, Ok(1_704_164_645_678_000)),
        ("1704164645678.5", None, Ok(1_704_164_645_678_500)),
        ("1.704164645678e12", None, Ok(1_704_164_645_678_000)),
        ("-2208988800000", None, Ok(-2_208_988_800_000_000)),
        (
            "1704164645",
            None,
            Err("this looks like seconds: declare timestamp_unit = 'seconds' ('milliseconds' if a time in 1970"),
        ),
        ("1704164645.6789012", None, Err("declare timestamp_unit = 'seconds'")),
        ("1704164645678901", None, Err("declare timestamp_unit = 'microseconds'")),
        ("1704164645678901234", None, Err("declare timestamp_unit = 'nanoseconds'")),
        ("9223372036854775", None, Err("1900 to 2200")),
        ("-2208988800001", None, Err("1900 to 2200")),
        ("1e99", None, Err("1900 to 2200")),
        ("1e30", None, Err("1900 to 2200")),
        ("170141183460469231731687303715884105727", None, Err("1900 to 2200")),
        ("1704164645", Some(Unit::Milliseconds), Ok(1_704_164_645_000)),
        ("1704164645", Some(Unit::Seconds), Ok(1_704_164_645_000_000)),
        ("1704164645.678901", Some(Unit::Seconds), Ok(1_704_164_645_678_901)),
        ("1704164645.6789012", Some(Unit::Seconds), Err("parts of a microsecond")),
        ("1704164645678901", Some(Unit::Microseconds), Ok(1_704_164_645_678_901)),
        ("1704164645678901000", Some(Unit::Nanoseconds), Ok(1_704_164_645_678_901)),
        ("1704164645678901234", Some(Unit::Nanoseconds), Err("it has nanoseconds")),
        ("1704164645678", Some(Unit::Seconds), Err("years 1 to 9999")),
    ];
    for (number, unit, expected) in cases {
        match (number_us(number, *unit), expected) {
            (Ok(us), Ok(expected)) => assert_eq!(us, *expected, "{number}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{number}: {why}"),
            (other, _) => panic!("{number} in {unit:?}: {other:?}"),
        }
    }
}
