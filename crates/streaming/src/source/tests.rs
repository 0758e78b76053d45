//! Decoding, dead letters and readers.

use std::sync::Arc;

use arrow::array::AsArray;
use datafusion::prelude::SessionContext;
use eventlog::{Acks, Compression, EventLog, Record, RecordBatchBuilder, StoredBatch, TopicSpec};
use model::{Epoch, Positions, TopicName, TopicPartition};
use sql::SourceDefinition;

use super::{ReaderSettings, ReasonClass, SourceDecoder, SourceReader, SourceTable, dead_letter_topic};
use crate::testing::{
    MemoryLog, all_rows, batch, dead_letters, end_of, flights, header, lines, log_of_flights, record, source,
};

fn stored(records: Vec<Record>) -> StoredBatch {
    StoredBatch { bytes: batch(records), arrival_time_ms: 1_700_000_000_123 }
}

/// What each value becomes: a row, or the reason why not.
const VALUES: &[(&str, Result<&str, &str>)] = &[
    (r#"{"a": 1, "t": "x", "f": 1.5, "b": true}"#, Ok("1 | x | 1.5 | true | NULL | NULL | NULL | NULL")),
    (
        r#"  {"a": -2147483648, "more": {"deep": [1, {}]}, "t": null}  "#,
        Ok("-2147483648 | NULL | NULL | NULL | NULL | NULL | NULL | NULL"),
    ),
    ("{}", Ok("NULL | NULL | NULL | NULL | NULL | NULL | NULL | NULL")),
    (
        r#"{"t": "\ud869\udf00 \uD83D\uDE00\ud840\udc00"}"#,
        Ok("NULL | 𪜀 😀𠀀 | NULL | NULL | NULL | NULL | NULL | NULL"),
    ),
    (r#"{"t": "\\ud869\\udf00"}"#, Ok("NULL | \\ud869\\udf00 | NULL | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"t": "\ud869"}"#, Err("")),
    (r#"{"t": "\ud869\ud869"}"#, Err("")),
    (r#"{"t": "\udf00\ud869"}"#, Err("")),
    (r#"{"t": "\ud869\udf0"}"#, Err("")),
    (r#"{"t": 12}"#, Ok("NULL | 12 | NULL | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"t": "é\u00e9\n"}"#, Ok("NULL | éé\n | NULL | NULL | NULL | NULL | NULL | NULL")),
    (
        r#"{"at": "2024-01-02T03:04:05.678901Z"}"#,
        Ok("NULL | NULL | NULL | NULL | 2024-01-02T03:04:05.678901Z | NULL | NULL | NULL"),
    ),
    (
        r#"{"at": "2024-01-02 03:04:05+01:00"}"#,
        Ok("NULL | NULL | NULL | NULL | 2024-01-02T02:04:05Z | NULL | NULL | NULL"),
    ),
    (
        r#"{"at": 1704164645678, "local": 0}"#,
        Ok("NULL | NULL | NULL | NULL | 2024-01-02T03:04:05.678Z | 1970-01-01T00:00:00 | NULL | NULL"),
    ),
    (
        r#"{"local": "2024-01-02T03:04:05", "d": "2024-02-29", "n": "12.340"}"#,
        Ok("NULL | NULL | NULL | NULL | NULL | 2024-01-02T03:04:05 | 2024-02-29 | 12.34"),
    ),
    (r#"{"n": 7}"#, Ok("NULL | NULL | NULL | NULL | NULL | NULL | NULL | 7.00")),
    (r#"{"n": 99999999.99}"#, Ok("NULL | NULL | NULL | NULL | NULL | NULL | NULL | 99999999.99")),
    (r#"{"a": 2.0, "f": 0.1}"#, Ok("2 | NULL | 0.1 | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"a": 2e0, "f": -0.0}"#, Ok("2 | NULL | -0.0 | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"a": " +12 ", "f": "1e3"}"#, Ok("12 | NULL | 1000.0 | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"f": "NaN", "t": 1e400}"#, Ok("NULL | 1e400 | NaN | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"f": "-Infinity"}"#, Ok("NULL | NULL | -inf | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"f": 9007199254740993}"#, Ok("NULL | NULL | 9007199254740992.0 | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"d": "2024-02-29T00:00:00Z"}"#, Ok("NULL | NULL | NULL | NULL | NULL | NULL | 2024-02-29 | NULL")),
    (r#"{"A": 1, "T": "x", "a": 2}"#, Ok("2 | x | NULL | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"A": 1, "A": 2, "x\u0054": 3}"#, Ok("2 | NULL | NULL | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"\u0061": 1}"#, Ok("1 | NULL | NULL | NULL | NULL | NULL | NULL | NULL")),
    (r#"{"AT": 1, "At": 2}"#, Err("column at: the fields \"AT\" and \"At\" differ only in case")),
    ("", Err("not a JSON object")),
    ("   ", Err("not a JSON object")),
    ("5", Err("not a JSON object")),
    ("null", Err("not a JSON object")),
    ("[{}]", Err("not a JSON object")),
    (r#"{"a": 1"#, Err("cut off")),
    (r#"{"a": 1, "t": "x"#, Err("cut off")),
    (r#"{"a": 1} {"a": 2}"#, Err("more than one")),
    (r#"{"a": 1}{}"#, Err("more than one")),
    (r#"{"a": 1} x"#, Err("more than one")),
    (r#"{"a": 1} 5"#, Err("more than one")),
    (r#"{"a": }"#, Err("not JSON: expected value")),
    (r#"{a: 1}"#, Err("not JSON: key must be a string")),
    (r#"{"a": 1 "t": 2}"#, Err("not JSON: expected")),
    (r#"{"a": 1,, "t": 2}"#, Err("not JSON")),
    (r#"{"f": NaN}"#, Err("not JSON")),
    (r#"{"a": 01}"#, Err("not JSON")),
    (r#"{"a": "one"}"#, Err("column a: \"one\" is not of type INT")),
    (r#"{"a": 2147483648}"#, Err("column a: 2147483648 does not fit INT: it is out of range")),
    (r#"{"a": 2.9}"#, Err("column a: 2.9 does not fit INT: it is not a whole number")),
    (r#"{"a": "1.5"}"#, Err("column a: \"1.5\" does not fit INT: it is not a whole number")),
    (r#"{"a": 1e-1}"#, Err("column a: 1e-1 does not fit INT: it is not a whole number")),
    (r#"{"a": 1e400}"#, Err("column a: 1e400 does not fit INT: it is out of range")),
    (r#"{"a": [1]}"#, Err("column a: [1] is not of type INT")),
    (r#"{"a": true}"#, Err("column a: true is not of type INT")),
    (r#"{"a": ""}"#, Err("column a: \"\" is not of type INT")),
    (
        r#"{"t": {"fw": "1.2.3", "site": "plant-1"}}"#,
        Err(r#"column t: {"fw": "1.2.3", "site": "plant-1"} is not of type TEXT"#),
    ),
    (r#"{"b": "maybe"}"#, Err("column b: \"maybe\" is not of type BOOLEAN")),
    (r#"{"f": 1e400}"#, Err("column f: 1e400 does not fit DOUBLE PRECISION: it is out of range")),
    (r#"{"f": "-1e400"}"#, Err("column f: \"-1e400\" does not fit DOUBLE PRECISION: it is out of range")),
    (r#"{"f": 1e-400}"#, Err("column f: 1e-400 does not fit DOUBLE PRECISION: it is out of range")),
    (r#"{"f": "much"}"#, Err("column f: \"much\" is not of type DOUBLE PRECISION")),
    (
        r#"{"at": "yesterday"}"#,
        Err("column at: \"yesterday\" does not fit TIMESTAMP WITH TIME ZONE: it is not an ISO 8601 timestamp"),
    ),
    (r#"{"at": 1e99}"#, Err("column at")),
    (r#"{"at": 1704164645}"#, Err("this looks like seconds: declare timestamp_unit = 'seconds'")),
    (r#"{"at": "2024-01-02T03:04:05.1234567Z"}"#, Err("more than 6 digits")),
    (r#"{"d": "2024-02-30"}"#, Err("column d: \"2024-02-30\" is not of type DATE")),
    (
        r#"{"d": "2024-02-29T12:00:00Z"}"#,
        Err("column d: \"2024-02-29T12:00:00Z\" does not fit DATE: it has a time of day"),
    ),
    (r#"{"d": 19000}"#, Err("column d: 19000 is not of type DATE")),
    (r#"{"n": "a lot"}"#, Err("column n: \"a lot\" is not of type NUMERIC(10, 2)")),
    (r#"{"n": 1.999}"#, Err("column n: 1.999 does not fit NUMERIC(10, 2): it has more than 2 digits after the point")),
    (r#"{"n": 100000000}"#, Err("column n: 100000000 does not fit NUMERIC(10, 2): it has more than 8 digits before")),
];

fn everything() -> SourceDefinition {
    source(
        "CREATE SOURCE s (a INT, t TEXT, f DOUBLE PRECISION, b BOOLEAN, at TIMESTAMPTZ, local TIMESTAMP, d DATE, n NUMERIC(10, 2))",
    )
}

#[test]
fn each_value_is_a_row_or_has_a_reason() {
    for (value, expected) in VALUES {
        let mut decoder = SourceDecoder::new(&everything()).unwrap();
        let decoded = decoder.decode(0, &[stored(vec![record("k", value)])], 0, i64::MAX).unwrap();
        match expected {
            Ok(row) => {
                assert_eq!(decoded.rejected, [], "{value}");
                assert_eq!(lines(&decoded.rows, 8), [*row], "{value}");
            }
            Err(reason) => {
                assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (0, 1), "{value}");
                assert!(decoded.rejected[0].reason.text.contains(reason), "{value}: {}", decoded.rejected[0].reason);
            }
        }
        assert_eq!(decoded.next_offset, 1);
    }
}

#[test]
fn good_and_bad_records_do_not_disturb_each_other() {
    // Every value beside every other one, in one batch, with one decoder for all.
    let mut decoder = SourceDecoder::new(&everything()).unwrap();
    for (first, _) in VALUES {
        let values: Vec<(&str, bool)> =
            VALUES.iter().flat_map(|(value, expected)| [(*value, expected.is_ok()), (*first, true)]).collect();
        let first_is_good = VALUES.iter().any(|(value, expected)| value == first && expected.is_ok());
        let records = values.iter().map(|(value, _)| record("k", value)).collect();
        let decoded = decoder.decode(0, &[stored(records)], 0, i64::MAX).unwrap();
        let good: Vec<i64> = values
            .iter()
            .enumerate()
            .filter(|(i, (_, good))| if i % 2 == 0 { *good } else { first_is_good })
            .map(|(i, _)| i as i64)
            .collect();
        let offsets = decoded.rows.column_by_name("_offset").unwrap();
        let offsets = offsets.as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
        assert_eq!(offsets, good, "{first}");
        let bad: Vec<i64> = decoded.rejected.iter().map(|rejected| rejected.offset).collect();
        assert_eq!(bad.len() + good.len(), values.len());
        assert!(bad.is_sorted() && bad.iter().all(|offset| !good.contains(offset)));
        for rejected in &decoded.rejected {
            assert_eq!(rejected.value.as_deref(), Some(values[rejected.offset as usize].0.as_bytes()));
        }
    }
}

#[test]
fn long_runs_are_cut_into_pieces() {
    let mut decoder = SourceDecoder::new(&everything()).unwrap();
    let value = |i: usize| match i % 5_000 {
        4_999 => "{\"a\": \"bad\"}".to_owned(),
        _ => format!("{{\"a\": {i}}}"),
    };
    let records = (0..20_000).map(|i| record("k", &value(i))).collect();
    let decoded = decoder.decode(0, &[stored(records)], 0, i64::MAX).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.rejected.len(), decoded.next_offset), (19_996, 4, 20_000));
    let column = |name| decoded.rows.column_by_name(name).unwrap();
    let a = column("a").as_primitive::<arrow::datatypes::Int32Type>();
    let offsets = column("_offset").as_primitive::<arrow::datatypes::Int64Type>();
    assert!(a.values().iter().zip(offsets.values()).all(|(a, offset)| i64::from(*a) == *offset));
}

/// What each record becomes in a source of its own.
fn check_records(source: &SourceDefinition, class: ReasonClass, cases: &[(&str, Result<&str, &str>)]) {
    let mut decoder = SourceDecoder::new(source).unwrap();
    for (value, expected) in cases {
        let decoded = decoder.decode(0, &[stored(vec![record("k", value)])], 0, i64::MAX).unwrap();
        match expected {
            Ok(row) => assert_eq!(lines(&decoded.rows, source.columns.fields().len()), [*row], "{value}"),
            Err(part) => {
                let reason = &decoded.rejected[0].reason;
                assert!(reason.class == class && reason.text.contains(part), "{value}: {reason}");
            }
        }
    }
}

#[test]
fn small_and_large_numbers_are_held_to_their_columns() {
    let source = source(
        "CREATE SOURCE s (si SMALLINT, bi BIGINT, r REAL, n NUMERIC, big NUMERIC(38), s TIMESTAMP) \
         WITH (timestamp_unit = 'seconds')",
    );
    check_records(
        &source,
        ReasonClass::Value,
        &[
            (
                r#"{"si": -32768, "bi": -9223372036854775808}"#,
                Ok("-32768 | -9223372036854775808 | NULL | NULL | NULL | NULL"),
            ),
            (r#"{"r": 0.1, "n": 0.0000000001}"#, Ok("NULL | NULL | 0.1 | 0.0000000001 | NULL | NULL")),
            (
                r#"{"big": 99999999999999999999999999999999999999, "s": 1704164645.5}"#,
                Ok("NULL | NULL | NULL | NULL | 99999999999999999999999999999999999999 | 2024-01-02T03:04:05.500"),
            ),
            (r#"{"si": 32768}"#, Err("does not fit SMALLINT: it is out of range")),
            (r#"{"bi": 9223372036854775808}"#, Err("does not fit BIGINT: it is out of range")),
            (r#"{"r": 1e39}"#, Err("does not fit REAL: it is out of range")),
            (r#"{"r": 1e-60}"#, Err("does not fit REAL: it is out of range")),
            (
                r#"{"n": 0.00000000001}"#,
                Err("does not fit NUMERIC(38, 10): it has more than 10 digits after the point"),
            ),
            (r#"{"big": 1e38}"#, Err("does not fit NUMERIC(38, 0): it has more than 38 digits before the point")),
            (r#"{"s": 1704164645678}"#, Err("does not fit TIMESTAMP: it is not in the years 1 to 9999")),
        ],
    );
}

#[test]
fn a_name_without_its_own_field_takes_the_one_that_differs_in_case() {
    let source = source("CREATE SOURCE s (deviceId TEXT, \"Value\" INT, \"value\" INT)");
    check_records(
        &source,
        ReasonClass::Name,
        &[
            (r#"{"deviceId": "a", "Value": 1, "value": 2}"#, Ok("a | 1 | 2")),
            (r#"{"DEVICEID": "a", "VALUE": 1, "Value": 3, "value": 2}"#, Ok("a | 3 | 2")),
            (r#"{"deviceid": "a", "deviceId": "b", "Value": 1}"#, Ok("a | 1 | NULL")),
            (r#"{"VALUE": 1, "Value": 3}"#, Ok("NULL | 3 | 1")),
            (r#"{"VALUE": 1}"#, Err("field \"VALUE\" could be column Value or another")),
            (r#"{"deviceId": "a", "DeviceId": "a"}"#, Err("column deviceid: the fields \"deviceId\" and \"DeviceId\"")),
        ],
    );
}

#[test]
fn rows_say_where_they_came_from() {
    let mut decoder = SourceDecoder::new(&source("CREATE SOURCE s (a INT)")).unwrap();
    let mut records = vec![record("key", "{\"a\": 1}"), record("", "{\"a\": 2}"), record("x", "{\"a\": 3}")];
    records[1].key = None;
    records[2].key = Some(vec![0xff, 0x01].into());
    records.push(Record { value: None, ..record("gone", "") });
    let decoded = decoder.decode(7, &[stored(records)], 0, i64::MAX).unwrap();
    assert_eq!(
        lines(&decoded.rows, 5),
        [
            "1 | 7 | 0 | 2023-11-14T22:13:20.123Z | key",
            "2 | 7 | 1 | 2023-11-14T22:13:20.123Z | NULL",
            "3 | 7 | 2 | 2023-11-14T22:13:20.123Z | \\xff01",
        ]
    );
    assert_eq!(decoded.rejected.len(), 1);
    assert!(decoded.rejected[0].reason.text.contains("tombstone"));
    assert_eq!(decoded.rejected[0].key.as_deref(), Some(b"gone".as_slice()));
}

#[test]
fn only_the_offsets_asked_for_are_decoded() {
    let mut decoder = SourceDecoder::new(&source("CREATE SOURCE s (a INT)")).unwrap();
    let records = || (0..6).map(|i| record("k", &format!("{{\"a\": {i}}}"))).collect();
    let decoded = decoder.decode(0, &[stored(records())], 2, 5).unwrap();
    assert_eq!((lines(&decoded.rows, 1), decoded.next_offset), (vec!["2".into(), "3".into(), "4".into()], 5));
    let decoded = decoder.decode(0, &[stored(records())], 9, 12).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.next_offset), (0, 9));
}

#[test]
fn an_events_attributes_are_columns() {
    let source = source("CREATE SOURCE e (amount INT) WITH (format = 'event')");
    let mut decoder = SourceDecoder::new(&source).unwrap();
    let event = |headers: Vec<(&'static str, &str)>| {
        let headers = headers.into_iter().map(|(name, value)| header(name, value)).collect();
        Record { headers, ..record("account-1", "{\"amount\": 5}") }
    };
    let records = vec![
        event(vec![
            ("ce_specversion", "1.0"),
            ("ce_id", "e1"),
            ("ce_type", "Opened"),
            ("ce_subject", "account-9"),
            ("ce_time", "2024-01-02T03:04:05Z"),
            ("ff_version", "12"),
        ]),
        event(vec![("ce_type", "Opened")]),
        event(vec![("ce_subject", "x")]),
        event(vec![("ce_type", "Opened"), ("ff_version", "-1")]),
        event(vec![("ce_type", "Opened"), ("ce_time", "noon")]),
        Record { key: None, ..event(vec![("ce_type", "Opened")]) },
    ];
    let decoded = decoder.decode(0, &[stored(records)], 0, i64::MAX).unwrap();
    let at = "2023-11-14T22:13:20.123Z";
    assert_eq!(
        lines(&decoded.rows, 10),
        [
            format!("5 | 0 | 0 | {at} | account-1 | account-9 | 12 | Opened | e1 | 2024-01-02T03:04:05Z"),
            format!("5 | 0 | 1 | {at} | account-1 | account-1 | NULL | Opened | NULL | NULL"),
        ]
    );
    let reasons: Vec<&str> = decoded.rejected.iter().map(|rejected| rejected.reason.text.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "header ce_type is missing",
            "header ff_version: \"-1\" is not a version",
            "header ce_time: \"noon\" is not a timestamp: it is not an ISO 8601 timestamp",
            "it has neither the header ce_subject nor a key",
        ]
    );
}

#[test]
fn a_batch_that_cannot_be_read_is_rejected_as_a_whole() {
    let mut decoder = SourceDecoder::new(&source("CREATE SOURCE s (a INT)")).unwrap();
    let mut builder = RecordBatchBuilder::new(Compression::Lz4);
    builder.push(record("k", &format!("{{\"a\": 1, \"pad\": \"{}\"}}", "x".repeat(500))));
    let mut bytes = builder.build().to_vec();
    let length = bytes.len();
    bytes[61..length].fill(0xaa);
    let broken = StoredBatch { bytes: bytes.into(), arrival_time_ms: 1 };
    let decoded = decoder.decode(0, std::slice::from_ref(&broken), 0, i64::MAX).unwrap();
    assert_eq!((decoded.rows.num_rows(), decoded.rejected.len(), decoded.next_offset), (0, 1, 1));
    assert!(decoded.rejected[0].reason.text.contains("the whole batch is unreadable"));
    assert_eq!(decoded.rejected[0].value.as_ref(), Some(&broken.bytes));
}

fn open(
    log: &Arc<MemoryLog>,
    source: &SourceDefinition,
    from: Positions,
    until: Option<Positions>,
    settings: ReaderSettings,
) -> crate::Result<SourceReader> {
    let log: Arc<dyn EventLog> = Arc::clone(log) as _;
    SourceReader::open(Arc::clone(&log), dead_letters(&log), source, from, until, settings)
}

async fn log_with(topic: &str, partitions: i32) -> Arc<MemoryLog> {
    let log = MemoryLog::new();
    log.create_topic(TopicSpec::new(TopicName::new(topic).unwrap(), partitions)).await.unwrap();
    log
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic).unwrap(), partition)
}

#[tokio::test]
async fn a_reader_is_fair_and_ends_where_it_is_told() {
    let (log, source) = (log_with("s", 3).await, source("CREATE SOURCE s (a INT)"));
    for partition in 0..3 {
        for i in 0..4 {
            let records = vec![record("k", &format!("{{\"a\": {i}}}")); 2];
            log.append(&place("s", partition), batch(records), Acks::Durable).await.unwrap();
        }
    }
    let until = Positions::from([(place("s", 0), 8), (place("s", 1), 3), (place("s", 2), 5)]);
    let from = Positions::from([(place("s", 2), 5), (place("s", 1), 1)]);
    let settings = ReaderSettings { read_bytes_max: 1 };
    let mut reader = open(&log, &source, from.clone(), Some(until.clone()), settings).unwrap();
    assert_eq!((reader.lag_records(), reader.positions()), (10, &from));
    let mut seen = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        seen.push((batch.partition, batch.rows.num_rows()));
        assert_eq!(reader.positions(), &batch.positions);
    }
    assert_eq!(seen, [(0, 2), (1, 1), (0, 2), (1, 1), (0, 2), (0, 2)]);
    assert_eq!((reader.positions(), reader.lag_records()), (&until, 0));
    assert!(reader.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_reader_waits_for_records_and_nothing_is_lost_when_it_is_interrupted() {
    let (log, source) = (log_with("s", 2).await, source("CREATE SOURCE s (a INT)"));
    let mut reader = open(&log, &source, Positions::new(), None, ReaderSettings::shipped()).unwrap();
    for i in 0..50 {
        // Nothing is there yet: the future is dropped while it waits.
        assert!(futures::FutureExt::now_or_never(reader.next()).is_none());
        let appending = Arc::clone(&log);
        let append = tokio::spawn(async move {
            let value = format!("{{\"a\": {i}}}");
            appending.append(&place("s", i % 2), batch(vec![record("k", &value)]), Acks::Durable).await.unwrap();
        });
        let got = reader.next().await.unwrap().unwrap();
        append.await.unwrap();
        assert_eq!((got.partition, lines(&got.rows, 1)), (i % 2, vec![i.to_string()]));
    }
    log.delete_topic(&TopicName::new("s").unwrap()).await.unwrap();
    assert!(reader.next().await.is_err(), "the topic is gone");
    assert!(open(&log, &source, Positions::new(), None, ReaderSettings::shipped()).is_err());
}

#[tokio::test]
async fn a_reader_goes_on_after_records_that_have_expired() {
    let (log, source) = (log_with("s", 1).await, source("CREATE SOURCE s (a INT)"));
    for i in 0..5 {
        let value = format!("{{\"a\": {i}}}");
        log.append(&place("s", 0), batch(vec![record("k", &value)]), Acks::Durable).await.unwrap();
    }
    log.expire(&place("s", 0), 3);
    let rows = all_rows(log, &source).await;
    assert_eq!(lines(&rows, 1), ["3", "4"]);
}

#[tokio::test]
async fn a_bad_record_is_in_the_dead_letter_topic_before_the_reader_is_past_it() {
    let (log, source) = (log_with("s", 1).await, source("CREATE SOURCE s (a INT)"));
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(17 << 20));
    let small_limit = TopicSpec {
        settings: eventlog::TopicSettings { message_bytes_max: 1 << 26, ..Default::default() },
        ..TopicSpec::new(TopicName::new("l").unwrap(), 1)
    };
    log.create_topic(small_limit).await.unwrap();
    let records = vec![record("k1", "{\"a\": 1}"), record("k2", "{\"a\": \"bad\"}"), record("k3", "nonsense")];
    log.append(&place("s", 0), batch(records), Acks::Durable).await.unwrap();
    let settings = ReaderSettings::shipped;
    let mut reader = open(&log, &source, Positions::new(), None, settings()).unwrap();
    let read = reader.next().await.unwrap().unwrap();
    assert_eq!((read.rows.num_rows(), read.rejected_records), (1, 2));
    let dead = dead_letter_topic(&source.topic).unwrap();
    assert_eq!(dead.as_str(), "s.dead-letter");
    let stored = log.read(&TopicPartition::new(dead, 0), 0, usize::MAX).await.unwrap().batches;
    let letters: Vec<Record> = stored.iter().flat_map(|batch| batch.records().unwrap()).collect();
    let header = |record: &Record, name: &str| {
        let header = record.headers.iter().find(|header| header.name == name.as_bytes()).unwrap();
        String::from_utf8(header.value.as_ref().unwrap().to_vec()).unwrap()
    };
    let origins: Vec<_> =
        letters.iter().map(|l| (header(l, "ff_topic"), header(l, "ff_partition"), header(l, "ff_offset"))).collect();
    assert_eq!(origins, [("s".into(), "0".into(), "1".into()), ("s".into(), "0".into(), "2".into())]);
    assert_eq!(letters[0].value.as_deref(), Some(b"{\"a\": \"bad\"}".as_slice()));
    assert_eq!(letters[1].key.as_deref(), Some(b"k3".as_slice()));
    assert_eq!(header(&letters[1], "ff_reason"), "the value is not a JSON object");

    // One that is too large even there leaves its reason and its place.
    let source = crate::testing::source("CREATE SOURCE l (a INT)");
    log.append(&place("l", 0), batch(vec![record("k", &large)]), Acks::Durable).await.unwrap();
    let mut reader = open(&log, &source, Positions::new(), None, settings()).unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().rejected_records, 1);
    let dead = TopicPartition::new(dead_letter_topic(&source.topic).unwrap(), 0);
    let stored = log.read(&dead, 0, usize::MAX).await.unwrap().batches;
    let letter = stored[0].records().unwrap().remove(0);
    assert_eq!((letter.value.as_ref(), header(&letter, "ff_offset")), (None, "0".to_owned()));
    assert!(header(&letter, "ff_reason").contains("too large to be kept here"));
}

#[tokio::test]
async fn a_reader_does_not_pass_a_bad_record_that_could_not_be_kept() {
    let (log, source) = (log_with("s", 1).await, source("CREATE SOURCE s (a INT)"));
    let records = vec![record("k1", "{\"a\": 1}"), record("k2", "nonsense")];
    log.append(&place("s", 0), batch(records), Acks::Durable).await.unwrap();
    let settings = ReaderSettings::shipped();
    let mut reader = open(&log, &source, Positions::new(), None, settings).unwrap();
    log.refuse(Some(dead_letter_topic(&source.topic).unwrap()));
    for _ in 0..2 {
        assert!(reader.next().await.is_err());
        assert_eq!(reader.positions(), &Positions::new());
    }
    log.refuse(None);
    let read = reader.next().await.unwrap().unwrap();
    assert_eq!((read.rows.num_rows(), read.rejected_records), (1, 1));
    assert_eq!(reader.positions(), &Positions::from([(place("s", 0), 2)]));
}

#[tokio::test]
async fn a_source_that_finds_none_of_its_columns_says_what_there_is() {
    let (memory, source) = (log_with("s", 1).await, source("CREATE SOURCE s (device TEXT, at TIMESTAMP)"));
    let log: Arc<dyn EventLog> = Arc::clone(&memory) as _;
    let shared = dead_letters(&log);
    let settings = ReaderSettings::shipped();
    let mut reader =
        SourceReader::open(Arc::clone(&log), Arc::clone(&shared), &source, Positions::new(), None, settings).unwrap();
    let none = |records| format!("none of the columns device, at is found in the last {records} records");
    for (value, count, expected) in [
        ("{}", 1, Some(format!("{}; they have no fields", none(1)))),
        (r#"{"deviceId": 1, "ts": 2}"#, 3, Some(format!("{}; they have: deviceId, ts", none(4)))),
        (r#"{"Device": "x"}"#, 1, None),
        (r#"{"x": 1}"#, 99, None),
        (r#"{"x": 1}"#, 1, Some(format!("{}; they have: x", none(100)))),
    ] {
        log.append(&place("s", 0), batch(vec![record("k", value); count]), Acks::Durable).await.unwrap();
        reader.next().await.unwrap();
        assert_eq!(shared.warning(&source), expected, "{value}");
    }
}

#[tokio::test]
async fn letters_are_counted_by_who_rejects_and_why() {
    let (memory, source) = (log_with("s", 1).await, source("CREATE SOURCE s (a INT)"));
    let log: Arc<dyn EventLog> = Arc::clone(&memory) as _;
    let values = [r#"{"a": 1.5}"#, r#"{"a": 3}"#, "no", r#"{"a": 99999999999}"#];
    let records = values.iter().map(|value| record("k", value)).collect();
    log.append(&place("s", 0), batch(records), Acks::Durable).await.unwrap();
    let shared = dead_letters(&log);
    assert_eq!(shared.counts(&source.topic).await.unwrap(), []);
    let settings = ReaderSettings::shipped();
    let until = Some(end_of(log.as_ref(), "s"));
    let mut reader =
        SourceReader::open(Arc::clone(&log), Arc::clone(&shared), &source, Positions::new(), until, settings).unwrap();
    while reader.next().await.unwrap().is_some() {}
    // The same after a restart.
    for counted in [shared, dead_letters(&log)] {
        let counts = counted.counts(&source.topic).await.unwrap();
        let counts: Vec<_> = counts.iter().map(|c| (c.by.to_string(), c.class, c.records)).collect();
        let by = || "source s".to_owned();
        assert_eq!(counts, [(by(), ReasonClass::Syntax, 1), (by(), ReasonClass::Value, 2)]);
    }
}

#[tokio::test]
async fn a_source_is_a_table_over_a_pinned_range() {
    let log = log_of_flights(400, 5).await;
    let source = flights();
    let all = all_rows(Arc::clone(&log) as _, &source).await;
    let end = end_of(log.as_ref(), "flights");
    crate::testing::append_flights(&log, 100, &mut crate::testing::Random(9)).await;
    let from = Positions::from([(place("flights", 1), 10)]);
    let context = SessionContext::new();
    let log: Arc<dyn EventLog> = log;
    let table = SourceTable::new(Arc::clone(&log), source.clone(), Epoch::new(from, end.clone()).unwrap());
    context.register_table("flights", Arc::new(table)).unwrap();
    context.register_batch("everything", all).unwrap();
    let count = async |query: &str| {
        let batches = context.sql(query).await.unwrap().collect().await.unwrap();
        batches.iter().flat_map(|batch| lines(batch, batch.num_columns())).collect::<Vec<_>>()
    };
    let question = |table: &str| {
        format!(
            "SELECT carrier, count(*), sum(miles) FROM {table} WHERE (_partition <> 1 OR _offset >= 10) AND delay > 0 GROUP BY carrier ORDER BY 1"
        )
    };
    assert_eq!(count(&question("flights")).await, count(&question("everything")).await);
    assert_eq!(count("SELECT count(*) FROM flights WHERE _partition = 1 AND _offset < 10").await, ["0"]);
    let limited = count("SELECT flight FROM flights LIMIT 3").await;
    assert_eq!(limited.len(), 3);
    let nothing = SourceTable::new(log, source, Epoch::new(end.clone(), end).unwrap());
    context.register_table("nothing", Arc::new(nothing)).unwrap();
    assert_eq!(count("SELECT count(*) FROM nothing").await, ["0"]);
}
