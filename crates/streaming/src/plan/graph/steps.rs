//! [`Steps`]: filters and projections as an operator of a graph.
//!
//! What must hold: above the records of a source nothing can fail: a value that cannot be computed is NULL, and a condition
//! that cannot be is not true. Whether it can depends on the row alone.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Int64Array},
    datatypes::SchemaRef,
};
use dataflow::{Change, Map, Weights};

use crate::{
    error::Result,
    plan::step::{self, CarriedRows, Step},
};

/// Steps that are run over each change.
pub(super) struct Steps {
    steps: Vec<Step>,
    schema: SchemaRef,
}

impl Steps {
    /// Steps that end in rows of `schema`.
    pub(super) fn new(steps: Vec<Step>, schema: SchemaRef) -> Self {
        Self { steps, schema }
    }

    fn run(&self, change: Change) -> Result<Change> {
        let (rows, weights) = change.into_parts();
        let carried = match weights {
            Weights::Ones => Vec::new(),
            Weights::Column(weights) => vec![Arc::new(weights) as ArrayRef],
        };
        let mut failure = None;
        let CarriedRows { rows, carried } = step::run_with(&self.steps, CarriedRows { rows, carried }, |e, rows| {
            e.evaluate_or_null(rows, &mut failure)
        })?;
        if let Some(failure) = failure {
            tracing::debug!(failure, "a value above the records of a source cannot be computed and is NULL");
        }
        let rows = step::relabelled(&self.schema, &rows)?;
        let weights = carried.first().and_then(|weights| weights.as_any().downcast_ref::<Int64Array>());
        Ok(Change::new(rows, weights.map_or(Weights::Ones, |weights| Weights::of(weights.values().to_vec())))?)
    }
}

impl Map for Steps {
    fn apply(&self, change: Change) -> dataflow::Result<Change> {
        self.run(change).map_err(|error| dataflow::Error::Shape { what: "a change", reason: error.to_string() })
    }
}
