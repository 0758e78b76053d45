//! A view's query as a plan that folds.

use arrow::datatypes::SchemaRef;

use crate::{
    source::SourceDefinition,
    sql::{SqlError, ViewDefinition},
};

/// A view's query, planned.
#[derive(Clone, Debug)]
pub struct ViewPlan {
    name: String,
    source: SourceDefinition,
    output_schema: SchemaRef,
    key_columns: Vec<usize>,
    hash: String,
    source_columns: Vec<usize>,
}

impl ViewPlan {
    /// Plans a view over one of `sources`.
    ///
    /// # Errors
    /// [`SqlError`] when the query is wrong, or needs an operator that is not built.
    pub fn new(view: &ViewDefinition, sources: &[SourceDefinition]) -> Result<Self, SqlError> {
        let _ = sources;
        Err(SqlError::unsupported(format!("view {}", view.name)))
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The source it reads.
    pub fn source(&self) -> &SourceDefinition {
        &self.source
    }

    /// The view's columns: those of the query, then the key columns that the query does not show.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output_schema
    }

    /// The columns of the output that identify a row; none for an aggregate over everything, which has one row.
    pub fn key_columns(&self) -> &[usize] {
        &self.key_columns
    }

    /// A hash of what the view computes: the same across restarts, another one when the query, the source or the
    /// format of the state changes.
    pub fn hash(&self) -> String {
        self.hash.clone()
    }

    /// The columns of the source's schema that the plan reads.
    pub fn source_columns(&self) -> Vec<usize> {
        self.source_columns.clone()
    }

    /// Whether the view groups rows.
    pub fn is_aggregate(&self) -> bool {
        false
    }

    /// The schema of the view's state.
    pub fn state_schema(&self) -> &SchemaRef {
        &self.output_schema
    }

    /// How many columns at the front of the state's schema are its key.
    pub fn state_key_count(&self) -> usize {
        self.key_columns.len()
    }
}
