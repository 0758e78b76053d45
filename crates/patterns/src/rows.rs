//! Comparing rows bit by bit.

use arrow::{
    array::RecordBatch,
    error::ArrowError,
    row::{OwnedRow, RowConverter, SortField},
};
use model::{Error, Result};

/// How many rows one side has and the other has not, in any order.
pub(crate) fn differences(left: &RecordBatch, right: &RecordBatch) -> Result<usize> {
    let (left, right) = (sorted(left).map_err(failed)?, sorted(right).map_err(failed)?);
    let (mut i, mut j, mut different) = (0, 0, 0);
    while let (Some(l), Some(r)) = (left.get(i), right.get(j)) {
        match l.cmp(r) {
            std::cmp::Ordering::Equal => (i, j) = (i + 1, j + 1),
            std::cmp::Ordering::Less => (i, different) = (i + 1, different + 1),
            std::cmp::Ordering::Greater => (j, different) = (j + 1, different + 1),
        }
    }
    Ok(different + (left.len() - i) + (right.len() - j))
}

fn sorted(batch: &RecordBatch) -> Result<Vec<OwnedRow>, ArrowError> {
    let fields = batch.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let rows = converter.convert_columns(batch.columns())?;
    let mut rows: Vec<_> = rows.iter().map(|row| row.owned()).collect();
    rows.sort_unstable();
    Ok(rows)
}

fn failed(error: ArrowError) -> Error {
    Error::internal("cannot compare rows").with_source(error)
}

#[cfg(test)]
mod tests {
    //! Every difference counts, order does not.

    use std::sync::Arc;

    use arrow::array::{Float64Array, RecordBatch};

    use super::differences;

    #[test]
    fn differences_are_counted_on_both_sides() {
        let batch = |values: &[f64]| {
            RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(values.to_vec())) as _)]).unwrap()
        };
        for (left, right, expected) in [
            (&[1.0, 2.0][..], &[2.0, 1.0][..], 0),
            (&[1.0], &[], 1),
            (&[0.0], &[-0.0], 2),
            (&[1.0, 1.0], &[1.0], 1),
            (&[f64::NAN], &[f64::NAN], 0),
        ] {
            assert_eq!(differences(&batch(left), &batch(right)).unwrap(), expected, "{left:?} {right:?}");
        }
    }
}
