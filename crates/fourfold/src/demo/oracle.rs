//! The judge: plain DataFusion over the whole input, and the row-by-row comparison with it.
//!
//! What must hold: nothing here passes through the log, JSON, a view or any other code of ours, except the reading of
//! the CSV file itself.

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;

use super::flights::{Flight, to_arrow};

/// Answers `sql` over the table `flights`, which holds exactly these.
pub(crate) async fn answer(flights: &[Flight], sql: &str) -> Result<Vec<RecordBatch>> {
    answer_with(flights, &[], sql).await
}

/// Answers `sql` over the table `flights` and some others.
pub(crate) async fn answer_with(
    flights: &[Flight],
    others: &[(&str, RecordBatch)],
    sql: &str,
) -> Result<Vec<RecordBatch>> {
    let session = SessionContext::new();
    session.register_batch("flights", to_arrow(flights)?)?;
    for (name, rows) in others {
        session.register_batch(*name, rows.clone())?;
    }
    Ok(session.sql(sql).await?.collect().await?)
}

/// Compares two answers as multisets of rows, cell by cell as text (floats in full precision), and returns how many
/// rows they have in common when they are the same.
pub(crate) fn same_answer(found: &[RecordBatch], expected: &[RecordBatch]) -> Result<usize> {
    let (found, expected) = (rows(found)?, rows(expected)?);
    if found == expected {
        return Ok(found.len());
    }
    let missing = expected.iter().find(|row| found.binary_search(row).is_err());
    let surplus = found.iter().find(|row| expected.binary_search(row).is_err());
    let show = |row: Option<&Vec<String>>| row.map_or_else(|| "none".to_owned(), |row| row.join(", "));
    bail!(
        "different answer: {} rows instead of {}; missing, for example: {}; too much, for example: {}",
        found.len(),
        expected.len(),
        show(missing),
        show(surplus)
    );
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<Result<Vec<_>, _>>().context("a column that cannot be shown")?;
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect());
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

#[cfg(test)]
mod tests {
    //! The judge must be able to say no.

    use std::sync::Arc;

    use arrow::array::{Float64Array, RecordBatch};

    use super::same_answer;

    fn batch(values: &[Option<f64>]) -> Vec<RecordBatch> {
        let column = Arc::new(values.iter().copied().collect::<Float64Array>());
        vec![RecordBatch::try_from_iter([("x", column as _)]).unwrap()]
    }

    #[test]
    fn order_and_batching_do_not_matter_but_every_bit_does() {
        let two = [batch(&[Some(2.0)]), batch(&[Some(1.0)])].concat();
        assert_eq!(same_answer(&two, &batch(&[Some(1.0), Some(2.0)])).unwrap(), 2);
        for wrong in [
            &[Some(1.0)][..],
            &[Some(1.0), Some(2.0), Some(2.0)],
            &[Some(1.0), Some(2.000_000_000_000_001)],
            &[Some(1.0), None],
        ] {
            assert!(same_answer(&batch(wrong), &two).is_err(), "{wrong:?}");
        }
    }
}
