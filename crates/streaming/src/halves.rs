//! [`Halves`]: rows evaluated as a whole, or in halves where that fails, down to the single row.
//!
//! What must hold: a row is left out exactly when its evaluation fails for it *alone*. So which rows are left out does
//! not depend on how they were batched, and rows whose evaluation succeeds as a whole leave none out: an expression
//! over a batch computes all that it computes over each row alone, and perhaps more (both sides of an `AND`, say).

use std::ops::Range;

use crate::error::{Error, Result};

/// A row that a view leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRow {
    /// Its number among the rows that were given, from 0.
    pub row: usize,
    /// Which expression failed, and why.
    pub reason: String,
}

/// How far rows were evaluated.
#[derive(Debug, Default)]
pub(crate) struct Halves {
    /// How many were looked at.
    pub(crate) done: usize,
    /// Those of them that failed, in order.
    pub(crate) failed: Vec<FailedRow>,
    bytes: usize,
}

impl Halves {
    /// Evaluates `row_count` rows with `evaluate`, which keeps what it made of neighbouring rows and tells how large that is;
    /// once there is more than `bytes_max` the rest is left.
    ///
    /// # Errors
    /// What `evaluate` fails with for reasons other than the rows.
    pub(crate) fn of(
        row_count: usize,
        bytes_max: usize,
        mut evaluate: impl FnMut(Range<usize>) -> Result<usize>,
    ) -> Result<Self> {
        let mut halves = Self::default();
        if row_count > 0 {
            halves.done = halves.add(0..row_count, bytes_max, &mut evaluate)?;
        }
        Ok(halves)
    }

    fn add(
        &mut self,
        rows: Range<usize>,
        bytes_max: usize,
        evaluate: &mut impl FnMut(Range<usize>) -> Result<usize>,
    ) -> Result<usize> {
        let row_count = rows.len();
        match evaluate(rows.clone()) {
            Ok(bytes) => self.bytes += bytes,
            Err(error) if !is_of_rows(&error) => return Err(error),
            Err(error) if row_count == 1 => {
                self.failed.push(FailedRow { row: rows.start, reason: error.to_string() });
            }
            Err(_) => {
                let half = rows.start + row_count / 2;
                let done = self.add(rows.start..half, bytes_max, evaluate)?;
                if done < row_count / 2 || self.bytes > bytes_max {
                    return Ok(done);
                }
                return Ok(row_count / 2 + self.add(half..rows.end, bytes_max, evaluate)?);
            }
        }
        Ok(row_count)
    }
}

/// Whether other rows could do better.
fn is_of_rows(error: &Error) -> bool {
    matches!(error, Error::Evaluate { .. } | Error::Arrow { .. })
}
