//! Tests of the stored schema: every type comes back bit by bit, or is refused by name.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;

use super::{NaiveTimestamps, StoredSchema};

/// One batch with every type that can be stored, its extreme values and NULL.
pub(crate) fn every_type() -> RecordBatch {
    let zone = |array: TimestampMillisecondArray| array.with_timezone("+02:00");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("tiny", Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None]))),
        ("small", Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None]))),
        ("medium", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]))),
        ("large", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        ("u8", Arc::new(UInt8Array::from(vec![Some(0), Some(u8::MAX), None]))),
        ("u16", Arc::new(UInt16Array::from(vec![Some(0), Some(u16::MAX), None]))),
        ("u32", Arc::new(UInt32Array::from(vec![Some(0), Some(u32::MAX), None]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(0), Some(u64::MAX), None]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(-0.0), Some(f32::NAN), None]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::NAN), None]))),
        ("huge", Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), Some(5e-324), None]))),
        ("text", Arc::new(StringArray::from(vec![Some(""), Some("naïve \u{0}\u{10FFFF}"), None]))),
        ("long_text", Arc::new(LargeStringArray::from(vec![Some(""), Some("x"), None]))),
        ("view_text", Arc::new(StringViewArray::from(vec![Some(""), Some("longer than twelve bytes"), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b""[..]), Some(&[0, 255][..]), None]))),
        ("long_bytes", Arc::new(LargeBinaryArray::from(vec![Some(&b""[..]), Some(&[0, 255][..]), None]))),
        ("view_bytes", Arc::new(BinaryViewArray::from(vec![Some(&b""[..]), Some(&[7; 40][..]), None]))),
        (
            "fixed_bytes",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [Some([0, 1]), Some([255, 254]), None].into_iter(),
                    2,
                )
                .unwrap(),
            ),
        ),
        (
            "money",
            Arc::new(
                Decimal128Array::from(vec![Some(-(10_i128.pow(38) - 1)), Some(1), None])
                    .with_precision_and_scale(38, 10)
                    .unwrap(),
            ),
        ),
        ("day", Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), None]))),
        ("day_ms", Arc::new(Date64Array::from(vec![Some(-86_400_000), Some(1), None]))),
        ("seconds", Arc::new(TimestampSecondArray::from(vec![Some(-1), Some(4_102_444_800), None]))),
        (
            "milliseconds",
            Arc::new(zone(TimestampMillisecondArray::from(vec![Some(-1), Some(1_700_000_000_123), None]))),
        ),
        ("microseconds", Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        (
            "instant",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MIN), Some(i64::MAX), None]).with_timezone("UTC")),
        ),
        ("nanoseconds", Arc::new(TimestampNanosecondArray::from(vec![Some(i64::MIN), Some(1), None]))),
        ("time", Arc::new(Time64NanosecondArray::from(vec![Some(0), Some(86_399_999_999_999), None]))),
        ("time_ms", Arc::new(Time32MillisecondArray::from(vec![Some(0), Some(86_399_999), None]))),
        ("span", Arc::new(DurationMicrosecondArray::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
                Some(vec![Some(-0.0), None, Some(f64::NAN)]),
                Some(vec![]),
                None,
            ])),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// Whether two batches have the same columns and the same bits.
pub(crate) fn assert_same_bits(left: &RecordBatch, right: &RecordBatch) {
    assert_eq!(left.schema(), right.schema());
    for (index, field) in left.schema().fields().iter().enumerate() {
        // Arrow compares floats by their bits.
        assert_eq!(left.column(index).to_data(), right.column(index).to_data(), "column {}", field.name());
    }
}

#[test]
fn every_value_of_every_type_comes_back() {
    for naive in [NaiveTimestamps::WithoutZone, NaiveTimestamps::AsCount] {
        let rows = every_type();
        let schema = StoredSchema::new("t", &rows.schema(), naive).unwrap();
        assert_same_bits(&schema.decode(&schema.encode(&rows).unwrap()).unwrap(), &rows);
        let columns = schema.delta_columns().unwrap();
        assert_eq!(columns.len(), rows.num_columns());
    }
}

#[test]
fn what_has_no_counterpart_is_refused_by_name() {
    let field = |name: &str, data_type| Arc::new(Schema::new(vec![Field::new(name, data_type, true)]));
    for (schema, expected) in [
        (field("wait", DataType::Interval(IntervalUnit::MonthDayNano)), "wait"),
        (field("big", DataType::Decimal256(76, 0)), "big"),
        (field("down", DataType::Decimal128(5, -2)), "down"),
        (field("nothing", DataType::Null), "nothing"),
        (field("a b", DataType::Int32), "a b"),
        (field("list", DataType::new_list(DataType::UInt64, true)), "list"),
    ] {
        let error = StoredSchema::new("t", &schema, NaiveTimestamps::WithoutZone).unwrap_err();
        assert!(error.to_string().starts_with(&format!("column {expected} of t cannot be stored")), "{error}");
    }
    let twice = Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("A", DataType::Int32, true)]);
    assert!(StoredSchema::new("t", &Arc::new(twice), NaiveTimestamps::WithoutZone).is_err());
}

#[test]
fn names_that_delta_does_not_take_are_replaced() {
    let names = ["carrier", "sum(f.x)[sum]", "Carrier", "column_0"];
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
    let original = Arc::new(Schema::new(fields));
    let schema = StoredSchema::with_legal_names("t", &original, NaiveTimestamps::AsCount).unwrap();
    let stored: Vec<_> = schema.stored().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(stored, ["carrier", "column_1", "column_2", "column_3"]);
    let columns: Vec<ArrayRef> = (0..4).map(|n| Arc::new(Int64Array::from(vec![n])) as ArrayRef).collect();
    let rows = RecordBatch::try_new(original, columns).unwrap();
    assert_same_bits(&schema.decode(&schema.encode(&rows).unwrap()).unwrap(), &rows);
}

#[test]
fn a_table_with_other_columns_is_told_apart() {
    let schema = |fields: Vec<Field>| {
        StoredSchema::new("t", &Arc::new(Schema::new(fields)), NaiveTimestamps::WithoutZone).unwrap()
    };
    let a = Field::new("a", DataType::Int64, true);
    let b = Field::new("b", DataType::Utf8, true);
    let table = schema(vec![a.clone(), b.clone()]);
    let actual = deltalake_core::kernel::StructType::try_new(table.delta_columns().unwrap()).unwrap();
    assert!(table.check(&actual).is_ok());
    let others = [
        vec![a.clone()],
        vec![b.clone(), a.clone()],
        vec![a.clone(), Field::new("b", DataType::Int32, true)],
        vec![a.clone(), Field::new("b", DataType::Utf8, false)],
        vec![a.clone(), b.clone(), Field::new("c", DataType::Utf8, true)],
    ];
    for other in others {
        assert!(schema(other).check(&actual).is_err());
    }
}
