//! Columns of a snapshot, chosen and compared.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use model::{Error, Result};

/// The schema that is left after `projection`.
pub(super) fn projected_schema(schema: &SchemaRef, projection: Option<&[usize]>) -> Result<SchemaRef> {
    let Some(indices) = projection else { return Ok(Arc::clone(schema)) };
    let projected = schema.project(indices);
    projected.map(Arc::new).map_err(|e| Error::internal("cannot project a snapshot").with_source(e))
}

/// Whether two schemas have the same columns in the same order; what is nullable and metadata do not count.
pub(super) fn same_columns(left: &SchemaRef, right: &SchemaRef) -> bool {
    left.fields().len() == right.fields().len()
        && left.fields().iter().zip(right.fields()).all(|(l, r)| l.name() == r.name() && l.data_type() == r.data_type())
}
