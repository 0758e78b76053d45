//! Decoding, dead letters and readers.

use std::sync::Arc;

use arrow::array::AsArray;
use datafusion::prelude::SessionContext;
use eventlog::{Acks, Compression, EventLog, Record, RecordBatchBuilder, StoredBatch, TopicSpec};
use model::{Epoch, Positions, TopicName, TopicPartition};

use super::{ReaderSettings, SourceDecoder, SourceDefinition, SourceReader, SourceTable, dead_letter_topic};
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
        r#"{"local": "2024-01-02T03:04:05", "d": "2024-02-29", "n": "12.345"}"#,
        Ok("NULL | NULL | NULL | NULL | NULL | 2024-01-02T03:04:05 | 2024-02-29 | 12.34"),
    ),
    (r#"{"n": 7}"#, Ok("NULL | NULL | NULL | NULL | NULL | NULL | NULL | 7.00")),
    ("", Err("not a JSON object")),
    ("   ", Err("not a JSON object")),
    ("5", Err("not a JSON object")),
    ("null", Err("not a JSON object")),
    ("[{}]", Err("not a JSON object")),
    (r#"{"a": 1"#, Err("cut off")),
    (r#"{"a": 1, "t": "x"#, Err("cut off")),
    (r#"{"a": 1} {"a": 2}"#, Err("more than one")),
    (r#"{"a": 1}{}"#, Err("more than one")),
    (r#"{"a": 1} x"#, Err("")),
    (r#"{"a": 1} 5"#, Err("")),
    (r#"{"a": }"#, Err("")),
    (r#"{a: 1}"#, Err("")),
    (r#"{"a": "one"}"#, Err("")),
    (r#"{"a": 2147483648}"#, Err("")),
    (r#"{"a": [1]}"#, Err("")),
    (r#"{"b": "maybe"}"#, Err("")),
    (r#"{"at": "yesterday"}"#, Err("column at: \"yesterday\" is not a timestamp")),
    (r#"{"at": 1e99}"#, Err("column at")),
    (r#"{"d": "2024-02-30"}"#, Err("")),
    (r#"{"n": "a lot"}"#, Err("")),
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
                assert!(decoded.rejected[0].reason.contains(reason), "{value}: {}", decoded.rejected[0].reason);
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
    assert!(decoded.rejected[0].reason.contains("tombstone"));
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
    let reasons: Vec<&str> = decoded.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "header ce_type is missing",
            "header ff_version: \"-1\" is not a version",
            "header ce_time: \"noon\" is not a timestamp",
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
    assert!(decoded.rejected[0].reason.contains("the whole batch is unreadable"));
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
