//! [`Change`]: rows that come and go.

use arrow::{
    array::{Array, BooleanArray, Int64Array, RecordBatch},
    compute::{concat_batches, filter_record_batch},
    datatypes::SchemaRef,
};

use crate::error::{Error, Result};

/// How often each row of a batch comes (positive) or goes (negative); never 0.
#[derive(Clone, Debug)]
pub enum Weights {
    /// Each row comes once: nothing that only grows pays for what can shrink.
    Ones,
    /// A weight for each row.
    Column(Int64Array),
}

impl Weights {
    /// A weight for each row; mostly all are 1.
    #[must_use]
    pub fn of(weights: Vec<i64>) -> Self {
        if weights.iter().all(|weight| *weight == 1) { Self::Ones } else { Self::Column(weights.into()) }
    }

    /// The weight of a row.
    #[must_use]
    pub fn value(&self, row: usize) -> i64 {
        match self {
            Self::Ones => 1,
            Self::Column(weights) => weights.value(row),
        }
    }

    /// The weights, where they are not all 1.
    #[must_use]
    pub fn column(&self) -> Option<&Int64Array> {
        match self {
            Self::Ones => None,
            Self::Column(weights) => Some(weights),
        }
    }
}

/// Rows that come and go: a Z-set. An update is the old row with weight -1 and the new one with +1. The same row may
/// stand in a change more than once; what counts is the sum of its weights.
#[derive(Clone, Debug)]
pub struct Change {
    rows: RecordBatch,
    weights: Weights,
}

impl Change {
    /// Rows that each come once.
    #[must_use]
    pub fn of_rows(rows: RecordBatch) -> Self {
        Self { rows, weights: Weights::Ones }
    }

    /// Rows with their weights.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one weight for each row, or when one is NULL or 0.
    pub fn new(rows: RecordBatch, weights: Weights) -> Result<Self> {
        if let Weights::Column(weights) = &weights
            && (weights.len() != rows.num_rows() || weights.null_count() > 0 || weights.values().contains(&0))
        {
            let reason = format!("{} rows have the weights {weights:?}", rows.num_rows());
            return Err(Error::shape("a change", reason));
        }
        Ok(Self { rows, weights })
    }

    /// Rows with weights that are known to fit.
    pub(crate) fn trusted(rows: RecordBatch, weights: Weights) -> Self {
        Self { rows, weights }
    }

    /// Rows that go, each once, and rows that come, each once, of one schema; in this order.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the schemas differ.
    pub fn replace(old: &RecordBatch, new: RecordBatch) -> Result<Self> {
        if old.num_rows() == 0 {
            return Ok(Self::of_rows(new));
        }
        let rows = concat_batches(&new.schema(), [old, &new]).map_err(Error::arrow("gather what changed"))?;
        let weights = std::iter::repeat_n(-1, old.num_rows()).chain(std::iter::repeat_n(1, new.num_rows()));
        Ok(Self { rows, weights: Weights::Column(weights.collect::<Vec<i64>>().into()) })
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// How often each comes or goes.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The number of rows, whatever their weights.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether nothing comes or goes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row_count() == 0
    }

    /// Takes it apart.
    #[must_use]
    pub fn into_parts(self) -> (RecordBatch, Weights) {
        (self.rows, self.weights)
    }

    /// The rows that are selected.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the selection has another length.
    pub fn filter(&self, selected: &BooleanArray) -> Result<Self> {
        let rows = filter_record_batch(self.rows(), selected).map_err(Error::arrow("filter rows"))?;
        let weights = match self.weights() {
            Weights::Ones => Weights::Ones,
            Weights::Column(weights) => {
                let kept = weights.values().iter().zip(selected.iter()).filter(|(_, keep)| *keep == Some(true));
                Weights::Column(Int64Array::from_iter_values(kept.map(|(weight, _)| *weight)))
            }
        };
        Ok(Self::trusted(rows, weights))
    }
}

/// Changes of one schema as one; `None` where nothing changes.
pub(crate) fn gather(schema: &SchemaRef, changes: Vec<Change>) -> Result<Option<Change>> {
    let changes: Vec<Change> = changes.into_iter().filter(|change| !change.is_empty()).collect();
    if changes.len() <= 1 {
        return Ok(changes.into_iter().next());
    }
    let rows = concat_batches(schema, changes.iter().map(Change::rows)).map_err(Error::arrow("gather changes"))?;
    let weights = changes.iter().flat_map(|change| (0..change.row_count()).map(|row| change.weights().value(row)));
    Ok(Some(Change::trusted(rows, Weights::of(weights.collect()))))
}
