//! Comparing answers.
//!
//! Rows are compared as a multiset, and values by what they are stored as: text byte for byte, floats bit for bit. So
//! `0.0` and `-0.0` are different answers, for a client that divides by them or prints them can tell them apart. All
//! NaN are one value: no client sees the sign or the payload of a NaN, and the sign that a processor gives to
//! `inf - inf` is not the same on all processors.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use streaming::Change;

/// Rows, each as bytes that are equal when the rows are, and as text; in order.
pub(crate) fn comparable(rows: &RecordBatch, width: usize) -> Vec<(Vec<u8>, String)> {
    let columns: Vec<ArrayRef> = rows.columns()[..width].iter().map(plain).collect();
    let encoded = encode(&columns, rows.num_rows());
    let options = FormatOptions::default().with_null("NULL");
    let texts: Vec<_> = columns.iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    let text = |row: usize| texts.iter().map(|text| text.value(row).to_string()).collect::<Vec<_>>().join(" | ");
    let mut comparable: Vec<_> = encoded.into_iter().enumerate().map(|(row, bytes)| (bytes, text(row))).collect();
    comparable.sort();
    comparable
}

/// Stops when two answers differ in a row or in a type.
pub(crate) fn check(found: &RecordBatch, expected: &RecordBatch, what: &str) {
    let width = expected.num_columns();
    assert!(found.num_columns() >= width, "{what}: {} columns instead of {width}", found.num_columns());
    for (found, expected) in found.columns().iter().zip(expected.columns()) {
        assert_eq!(plain(found).data_type(), plain(expected).data_type(), "{what}");
    }
    check_rows(&comparable(found, width), &comparable(expected, width), what);
}

/// As [`check`], for rows that are comparable already.
pub(crate) fn check_rows(found: &[(Vec<u8>, String)], expected: &[(Vec<u8>, String)], what: &str) {
    let texts = |rows: &[(Vec<u8>, String)], others: &[(Vec<u8>, String)]| {
        let mut others = others.to_vec();
        let mut only = rows.to_vec();
        only.retain(|row| {
            let same = others.iter().position(|other| other == row);
            same.map(|i| others.swap_remove(i)).is_none()
        });
        only.iter().map(|row| format!("  {:?}\n", row.1)).collect::<String>()
    };
    assert!(
        found == expected,
        "{what}\n{} rows found, {} expected\nonly found:\n{}only expected:\n{}",
        found.len(),
        expected.len(),
        texts(found, expected),
        texts(expected, found)
    );
}

/// States in the order of their keys: equal states are equal batches.
pub(crate) fn sorted_states(states: &RecordBatch) -> Vec<(Vec<u8>, String)> {
    comparable(states, states.num_columns())
}

/// A view as someone has it who takes its changes: rows with how often each is there.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<(Vec<u8>, String), i64>);

impl Kept {
    /// Takes a change. The sum of all changes is what the view shows, and so each row is there once.
    pub(crate) fn take(&mut self, change: &Change) {
        for row in 0..change.row_count() {
            let shown = comparable(&change.rows().slice(row, 1), change.rows().num_columns()).remove(0);
            *self.0.entry(shown).or_default() += change.weights().value(row);
        }
        self.0.retain(|_, weight| *weight != 0);
        assert!(self.0.values().all(|weight| *weight == 1), "only a row that is there goes, and none comes twice");
    }

    /// The rows as a batch of `schema`, from the bytes in which they are kept.
    pub(crate) fn batch(&self, schema: &SchemaRef) -> RecordBatch {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields).unwrap();
        let parser = converter.parser();
        let columns = converter.convert_rows(self.0.keys().map(|(bytes, _)| parser.parse(bytes))).unwrap();
        RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
    }

    /// The rows.
    pub(crate) fn rows(&self) -> Vec<(Vec<u8>, String)> {
        self.0.keys().cloned().collect()
    }
}

fn encode(columns: &[ArrayRef], row_count: usize) -> Vec<Vec<u8>> {
    if columns.is_empty() {
        return vec![Vec::new(); row_count];
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields).unwrap().convert_columns(columns).unwrap();
    rows.iter().map(|row| row.data().to_vec()).collect()
}

/// Text in one layout, NaN with one set of bits.
fn plain(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => cast(column, &DataType::Utf8).unwrap(),
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().iter();
            let one_nan = |value: f64| if value.is_nan() { f64::NAN } else { value };
            Arc::new(values.map(|value| value.map(one_nan)).collect::<Float64Array>())
        }
        _ => Arc::clone(column),
    }
}
