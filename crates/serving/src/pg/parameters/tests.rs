//! Values as clients send them, and bytes that are none.

use arrow::datatypes::IntervalMonthDayNanoType;
use proptest::prelude::*;

use super::*;

/// Every type that a parameter can have, and some that it cannot.
const TYPES: [Type; 42] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::TEXT,
    Type::VARCHAR,
    Type::BPCHAR,
    Type::NAME,
    Type::BYTEA,
    Type::DATE,
    Type::TIME,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::INTERVAL,
    Type::UUID,
    Type::JSON,
    Type::JSONB,
    Type::CHAR,
    Type::OID,
    Type::BOOL_ARRAY,
    Type::INT2_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::FLOAT4_ARRAY,
    Type::FLOAT8_ARRAY,
    Type::NUMERIC_ARRAY,
    Type::TEXT_ARRAY,
    Type::VARCHAR_ARRAY,
    Type::BYTEA_ARRAY,
    Type::DATE_ARRAY,
    Type::TIME_ARRAY,
    Type::TIMESTAMP_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::INTERVAL_ARRAY,
    Type::UUID_ARRAY,
    Type::OID_ARRAY,
    Type::INT4_RANGE,
    Type::POINT,
    Type::INET,
];

fn check(pg_type: &Type, format: Format, bytes: &[u8], expected: &Result<ScalarValue, &str>) {
    let found = value(pg_type, format, bytes).map_err(|error| error.sqlstate);
    assert_eq!(&found, expected, "{pg_type} {format:?} {bytes:?}");
}

fn decimal(digits: i128, scale: i8) -> ScalarValue {
    ScalarValue::Decimal128(Some(digits), 38, scale)
}

fn interval(months: i32, days: i32, nanoseconds: i64) -> ScalarValue {
    ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNanoType::make_value(months, days, nanoseconds)))
}

fn list(elements: &[ScalarValue], element: &DataType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list_nullable(elements, element))
}

/// Announces as many elements as one likes, and has those that are given.
fn binary_array(dimensions: i32, element: &Type, length: i32, elements: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = [dimensions.to_be_bytes(), 0_i32.to_be_bytes(), element.oid().to_be_bytes()].concat();
    for _ in 0..dimensions.clamp(0, 8) {
        bytes.extend([length.to_be_bytes(), 1_i32.to_be_bytes()].concat());
    }
    for element in elements {
        bytes.extend(element.map_or(-1, |element| i32::try_from(element.len()).unwrap()).to_be_bytes());
        bytes.extend(element.unwrap_or_default());
    }
    bytes
}

#[test]
fn values_in_text_are_read_as_postgresql_reads_them() {
    let cases: &[(Type, &str, Result<ScalarValue, &str>)] = &[
        (Type::BOOL, " yes", Ok(true.into())),
        (Type::BOOL, "off", Ok(false.into())),
        (Type::BOOL, "", Err("22P02")),
        (Type::INT2, "32768", Err("22003")),
        (Type::INT4, " -7 ", Ok((-7_i32).into())),
        (Type::INT4, "many", Err("22P02")),
        (Type::INT8, "9223372036854775807", Ok(i64::MAX.into())),
        (Type::FLOAT8, "1e400", Err("22003")),
        (Type::FLOAT8, "-Infinity", Ok(f64::NEG_INFINITY.into())),
        (Type::NUMERIC, "-12.50", Ok(decimal(-1250, 2))),
        (Type::NUMERIC, "1.5e3", Ok(decimal(1500, 0))),
        (Type::NUMERIC, "1e-3", Ok(decimal(1, 3))),
        (Type::NUMERIC, "79228162514264337593543950336", Ok(decimal(1 << 96, 0))),
        (Type::NUMERIC, "1e38", Err("22003")),
        (Type::NUMERIC, "1e-39", Err("22003")),
        (Type::NUMERIC, ".", Err("22P02")),
        (Type::TEXT, "it''s", Ok("it''s".into())),
        (Type::BYTEA, "\\x00ff", Ok(ScalarValue::Binary(Some(vec![0, 255])))),
        (Type::BYTEA, "\\xf", Err("22P02")),
        (Type::DATE, "2024-02-29", Ok(ScalarValue::Date32(Some(19_782)))),
        (Type::DATE, "2023-02-29", Err("22P02")),
        (Type::TIME, "00:00:01.5", Ok(ScalarValue::Time64Nanosecond(Some(1_500_000_000)))),
        (Type::TIMESTAMP, "2000-01-01", Ok(ScalarValue::TimestampMicrosecond(Some(946_684_800_000_000), None))),
        (
            Type::TIMESTAMP,
            "2000-01-01 00:00:00+05",
            Ok(ScalarValue::TimestampMicrosecond(Some(946_684_800_000_000), None)),
        ),
        (
            Type::TIMESTAMPTZ,
            "2000-01-01 05:00:00+05",
            Ok(ScalarValue::TimestampMicrosecond(Some(946_684_800_000_000), Some("UTC".into()))),
        ),
        (Type::INTERVAL, "1 day 0:00:01.5", Ok(interval(0, 1, 1_500_000_000))),
        (Type::INTERVAL, "2 mons -01:00", Ok(interval(2, 0, -3_600_000_000_000))),
        (Type::INTERVAL, "", Err("22P02")),
        (Type::INTERVAL, "1:2:3:4", Err("22P02")),
        (Type::OID, "4294967295", Ok((-1_i32).into())),
        (Type::INT4_ARRAY, "{}", Ok(list(&[], &DataType::Int32))),
        (Type::INT4_ARRAY, "{1, null ,3}", Ok(list(&[1.into(), ScalarValue::Int32(None), 3.into()], &DataType::Int32))),
        (
            Type::TEXT_ARRAY,
            r#"{"null","a,\"b\\",c d,""}"#,
            Ok(list(&["null".into(), "a,\"b\\".into(), "c d".into(), "".into()], &DataType::Utf8)),
        ),
        (Type::NUMERIC_ARRAY, "{1,2.25}", Ok(list(&[decimal(100, 2), decimal(225, 2)], &DataType::Decimal128(38, 2)))),
        (Type::TEXT_ARRAY, "{a", Err("22P02")),
        (Type::TEXT_ARRAY, "{\"a}", Err("22P02")),
        (Type::TEXT_ARRAY, "{a,}", Err("22P02")),
        (Type::TEXT_ARRAY, "{{a}}", Err("0A000")),
        (Type::POINT, "(1,2)", Err("0A000")),
    ];
    for (pg_type, text, expected) in cases {
        check(pg_type, Format::Text, text.as_bytes(), expected);
    }
    check(&Type::TEXT, Format::Text, b"\xff", &Err("22021"));
}

#[test]
fn values_in_binary_are_read_as_postgresql_reads_them() {
    // 3950.123456
    let numeric = [0, 3, 0, 0, 0, 0, 0, 6, 0x0f, 0x6e, 0x04, 0xd2, 0x15, 0xe0];
    let cases: &[(Type, &[u8], Result<ScalarValue, &str>)] = &[
        (Type::BOOL, &[1], Ok(true.into())),
        (Type::INT4, &[0, 0, 0, 7], Ok(7_i32.into())),
        (Type::INT4, &[0, 0, 7], Err("08P01")),
        (Type::INT4, &[0, 0, 0, 0, 7], Err("22P03")),
        (Type::NUMERIC, &numeric, Ok(decimal(3_950_123_456, 6))),
        (Type::NUMERIC, &[0, 1, 0, 9, 0x40, 0, 0, 0, 0, 120], Err("22003")),
        (Type::NUMERIC, &[0, 1, 0, 8, 0x40, 0, 0, 0, 0, 12], Ok(decimal(-12 * 10_i128.pow(32), 0))),
        (Type::NUMERIC, &[0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1], Err("22003")),
        (Type::NUMERIC, &[0, 1, 0x80, 0, 0, 0, 0, 2, 0, 1], Ok(decimal(0, 2))),
        (Type::NUMERIC, &[0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1], Err("08P01")),
        (Type::NUMERIC, &[0, 0, 0, 0, 0xc0, 0, 0, 0], Err("0A000")),
        (Type::NUMERIC, &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10], Err("22P03")),
        (Type::TEXT, "it''s ü".as_bytes(), Ok("it''s ü".into())),
        (Type::DATE, &[0, 0, 0, 1], Ok(ScalarValue::Date32(Some(10_958)))),
        (Type::DATE, &i32::MAX.to_be_bytes(), Err("0A000")),
        (Type::DATE, &(i32::MAX - 1).to_be_bytes(), Err("22008")),
        (Type::TIMESTAMP, &[0; 8], Ok(ScalarValue::TimestampMicrosecond(Some(946_684_800_000_000), None))),
        (Type::TIMESTAMP, &(i64::MAX - 1).to_be_bytes(), Err("22008")),
        (Type::TIME, &(-1_i64).to_be_bytes(), Err("22008")),
        (Type::INTERVAL, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3], Ok(interval(3, 2, 1_000))),
        (Type::INTERVAL, &[0x7f; 16], Err("22008")),
        (Type::JSONB, b"\x01{}", Ok("{}".into())),
        (Type::JSONB, b"{}", Err("22P03")),
        (Type::UUID, &[0x11; 16], Ok("11111111-1111-1111-1111-111111111111".into())),
    ];
    for (pg_type, bytes, expected) in cases {
        check(pg_type, Format::Binary, bytes, expected);
    }
    let one_and_null = binary_array(1, &Type::INT4, 2, &[Some(&[0, 0, 0, 1]), None]);
    let expected = list(&[1.into(), ScalarValue::Int32(None)], &DataType::Int32);
    check(&Type::INT4_ARRAY, Format::Binary, &one_and_null, &Ok(expected));
    check(&Type::INT8_ARRAY, Format::Binary, &one_and_null, &Err("42804"));
    for end in 0..one_and_null.len() {
        check(&Type::INT4_ARRAY, Format::Binary, &one_and_null[..end], &Err("08P01"));
    }
}

#[test]
fn what_an_array_announces_is_held_to_the_bytes_that_are_there() {
    for pg_type in TYPES {
        let Some(element) = element::element_type(&pg_type) else { continue };
        for (dimensions, length) in
            [(1, i32::MAX), (1, 1_000_000), (1, -1), (2, i32::MAX), (7, 1), (i32::MAX, 1), (-1, 1)]
        {
            let bytes = binary_array(dimensions, &element, length, &[None, None]);
            let refused = value(&pg_type, Format::Binary, &bytes).unwrap_err();
            let expected = match (dimensions, length) {
                (1, 0..) => "08P01",
                (2, _) => "0A000",
                _ => "22P03",
            };
            assert_eq!(refused.sqlstate, expected, "{pg_type} of {dimensions} x {length}: {refused:?}");
        }
        let bytes = binary_array(1, &element, 1, &[None, None]);
        assert_eq!(value(&pg_type, Format::Binary, &bytes).unwrap_err().sqlstate, "22P03", "more than announced");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_value_of_bounded_size_or_an_error(
        (which, is_binary, header) in (0..TYPES.len(), any::<bool>(), any::<bool>()),
        (dimensions, length) in (-1..3_i32, prop_oneof![-1..9_i32, any::<i32>()]),
        mut tail in proptest::collection::vec(prop_oneof![Just(0_u8), Just(0xff), any::<u8>(), 32..127_u8], 0..64),
    ) {
        let pg_type = &TYPES[which];
        let bytes = match element::element_type(pg_type) {
            Some(element) if header && is_binary => {
                let mut bytes = binary_array(dimensions, &element, length, &[]);
                bytes.append(&mut tail);
                bytes
            }
            Some(_) if header => [b"{", &tail[..], b"}"].concat(),
            _ => tail,
        };
        let format = if is_binary { Format::Binary } else { Format::Text };
        if let Ok(value) = value(pg_type, format, &bytes) {
            prop_assert!(value.size() <= 8 * bytes.len() + 4096, "{} bytes for {}", value.size(), bytes.len());
        }
    }
}
