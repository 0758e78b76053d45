//! How the columns of rows are described to a client of the PostgreSQL wire.
//!
//! What must hold: a column that this protocol cannot carry, such as a list of lists, is refused by name, as something that is
//! not supported, and never as a failure of ours.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, into_pg_type};
use pgwire::{
    api::{portal::Format, results::FieldInfo},
    error::PgWireResult,
    types::format::FormatOptions,
};
use sql::{SqlError, sqlstate};

use super::error::wire_error;

/// The description of columns.
pub(super) fn fields(
    columns: &Schema,
    format: &Format,
    options: Option<Arc<FormatOptions>>,
) -> PgWireResult<Vec<FieldInfo>> {
    for column in columns.fields() {
        if into_pg_type(column.data_type()).is_err() {
            let (name, data_type) = (column.name(), column.data_type());
            let message =
                format!("column \"{name}\" is of a type that PostgreSQL's protocol does not carry: {data_type}");
            let error = SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message);
            return Err(wire_error(error.with_hint("select its elements, or read it over HTTP")));
        }
    }
    arrow_schema_to_pg_fields(columns, format, options)
}
