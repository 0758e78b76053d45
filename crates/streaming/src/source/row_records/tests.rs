//! What is written is read as the row that it was.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
        Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    datatypes::DataType,
};
use eventlog::{Record, StoredBatch};
use sql::{SourceDefinition, Statement, parse};

use super::{RowRecord, records_of_keys, records_of_rows};
use crate::{
    source::{Decoded, SourceDecoder},
    testing::batch,
};

fn defined(text: &str) -> SourceDefinition {
    match parse(text).unwrap().remove(0) {
        Statement::CreateTable(source) | Statement::CreateSource(source) => source,
        other => panic!("{other:?}"),
    }
}

fn read(source: &SourceDefinition, records: &[RowRecord]) -> Decoded {
    let record =
        |record: &RowRecord| Record { key: record.key.clone(), value: record.value.clone(), ..Record::default() };
    let records: Vec<Record> = records.iter().map(record).collect();
    let count = i64::try_from(records.len()).unwrap();
    let stored = StoredBatch { bytes: batch(records), arrival_time_ms: 0 };
    SourceDecoder::new(source).unwrap().decode(0, &[stored], 0, count).unwrap()
}

/// Values of each type at their ends, with NULL.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let micros = |values: [i64; 4]| {
        TimestampMicrosecondArray::from_iter([Some(values[0]), Some(values[1]), Some(values[2]), Some(values[3]), None])
    };
    // The first and the last microsecond of the years 1 to 9999, and around 1970.
    let times = [-62_135_596_800_000_000, 253_402_300_799_999_999, -1, 1_700_000_000_123_456];
    vec![
        ("TEXT", Arc::new(StringArray::from(vec![Some(""), Some("a\"\\\n\u{0}"), Some("né 😀"), Some("null"), None]))),
        ("SMALLINT", Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), Some(0), Some(-1), None]))),
        ("INT", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), Some(0), Some(-1), None]))),
        ("BIGINT", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), Some(0), Some(-1), None]))),
        (
            "REAL",
            Arc::new(Float32Array::from(vec![
                Some(f32::MAX),
                Some(1e-45),
                Some(f32::NAN),
                Some(f32::NEG_INFINITY),
                None,
            ])),
        ),
        (
            "DOUBLE PRECISION",
            Arc::new(Float64Array::from(vec![Some(f64::MAX), Some(5e-324), Some(f64::NAN), Some(f64::INFINITY), None])),
        ),
        (
            "DOUBLE PRECISION",
            Arc::new(Float64Array::from(vec![Some(0.1), Some(1e21), Some(1e-7), Some(123_456_789.123_456_78), None])),
        ),
        ("BOOLEAN", Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), Some(false), None]))),
        ("DATE", Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), Some(0), Some(-1), None]))),
        ("TIMESTAMP", Arc::new(micros(times))),
        ("TIMESTAMPTZ", Arc::new(micros(times).with_timezone("UTC"))),
        (
            "NUMERIC(38, 10)",
            Arc::new(
                Decimal128Array::from(vec![
                    Some(10_i128.pow(38) - 1),
                    Some(1 - 10_i128.pow(38)),
                    Some(1),
                    Some(-150),
                    None,
                ])
                .with_data_type(DataType::Decimal128(38, 10)),
            ),
        ),
    ]
}

#[test]
fn a_row_is_read_as_it_was_written() {
    for (name, column) in columns() {
        let source = defined(&format!("CREATE SOURCE s (value {name})"));
        let rows = RecordBatch::try_new(Arc::clone(&source.columns), vec![Arc::clone(&column)]).unwrap();
        let decoded = read(&source, &records_of_rows(&source, &rows).unwrap());
        assert!(decoded.rejected.is_empty(), "{name}: {:?}", decoded.rejected);
        assert_eq!(decoded.rows.column(0), &column, "{name}");
    }
}

#[test]
fn a_deleted_key_is_the_key_that_was_written() {
    for (name, column) in columns() {
        // NULL is no key.
        let column = column.slice(0, 4);
        for (key, width) in [("PRIMARY KEY (value)", 1), ("PRIMARY KEY (value, other)", 2)] {
            let table = defined(&format!("CREATE TABLE t (value {name}, other INT, {key})"));
            let others: ArrayRef = Arc::new(Int32Array::from(vec![7; 4]));
            let rows = RecordBatch::try_new(Arc::clone(&table.columns), vec![Arc::clone(&column), others]).unwrap();
            let keys = rows.project(&(0..width).collect::<Vec<_>>()).unwrap();
            let (written, deleted) = (records_of_rows(&table, &rows).unwrap(), records_of_keys(&table, &keys).unwrap());
            assert!(written.iter().zip(&deleted).all(|(row, gone)| row.key == gone.key), "{name}");
            let decoded = read(&table, &deleted);
            assert!(decoded.rejected.is_empty(), "{name}: {:?}", decoded.rejected);
            assert_eq!(decoded.rows.column(0), &column, "{name}");
            let deletes = decoded.rows.column_by_name("_deleted").unwrap();
            assert_eq!(deletes.as_boolean().true_count(), 4, "{name}");
        }
    }
}

#[test]
fn what_no_record_can_say_is_refused() {
    let table = defined("CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP)");
    let rows = |id: Option<i32>, at: i64| {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![id])), Arc::new(TimestampMicrosecondArray::from(vec![at]))];
        RecordBatch::try_new(Arc::clone(&table.columns), columns).unwrap()
    };
    assert!(records_of_rows(&table, &rows(Some(1), 0)).is_ok());
    assert_eq!(records_of_rows(&table, &rows(None, 0)).unwrap_err().sqlstate, "23502");
    assert_eq!(records_of_rows(&table, &rows(Some(1), 300_000_000_000_000_000)).unwrap_err().sqlstate, "22000");
}

#[test]
fn neither_zero_is_another_key() {
    for key in ["PRIMARY KEY (id)", "PRIMARY KEY (id, other)"] {
        let table = defined(&format!("CREATE TABLE t (id DOUBLE PRECISION, other INT, {key})"));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Float64Array::from(vec![0.0, -0.0])), Arc::new(Int32Array::from(vec![7; 2]))];
        let rows = RecordBatch::try_new(Arc::clone(&table.columns), columns).unwrap();
        let records = records_of_rows(&table, &rows).unwrap();
        assert_eq!(records[0].key, records[1].key);
        assert_ne!(records[0].value, records[1].value, "the row has the zero that was written");
    }
}
