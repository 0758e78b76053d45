//! Rows with their weights, as a test keeps them: the plainest thing that a sum of changes can be.

use std::collections::BTreeMap;

use arrow::{array::RecordBatch, util::display::array_value_to_string};

use crate::Change;

/// Rows as text, with how often each is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ZSet(BTreeMap<Vec<String>, i64>);

impl ZSet {
    /// Adds a change.
    pub(crate) fn add(&mut self, change: &Change) {
        for (row, text) in texts(change.rows()).into_iter().enumerate() {
            let weight = self.0.entry(text).or_default();
            *weight += change.weights().value(row);
        }
        self.0.retain(|_, weight| *weight != 0);
    }

    /// Adds rows that were joined side by side, each pair so often.
    pub(crate) fn add_joined(&mut self, left: &RecordBatch, right: &RecordBatch, times: i64) {
        for (mut text, right) in texts(left).into_iter().zip(texts(right)) {
            text.extend(right);
            *self.0.entry(text).or_default() += times;
        }
        self.0.retain(|_, weight| *weight != 0);
    }

    /// Checks that these rows are there, and no others.
    pub(crate) fn assert_is(&self, rows: &RecordBatch) {
        let mut expected: BTreeMap<Vec<String>, i64> = BTreeMap::new();
        for text in texts(rows) {
            *expected.entry(text).or_default() += 1;
        }
        assert_eq!(self.0, expected);
    }
}

fn texts(rows: &RecordBatch) -> Vec<Vec<String>> {
    let text = |row: usize| {
        let values = rows.columns().iter().map(|column| {
            if column.is_null(row) {
                "NULL".to_owned()
            } else {
                format!("'{}'", array_value_to_string(column, row).unwrap())
            }
        });
        values.collect()
    };
    (0..rows.num_rows()).map(text).collect()
}
