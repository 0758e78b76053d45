//! Errors as PostgreSQL's clients read them.

use pgwire::error::{ErrorInfo, PgWireError};
use streaming::SqlError;

/// An error that ends the statement.
pub(super) fn wire_error(error: SqlError) -> PgWireError {
    PgWireError::UserError(Box::new(info("ERROR", error)))
}

/// An error that ends the connection.
pub(super) fn fatal_error(error: SqlError) -> PgWireError {
    PgWireError::UserError(Box::new(info("FATAL", error)))
}

fn info(severity: &str, error: SqlError) -> ErrorInfo {
    let mut info = ErrorInfo::new(severity.to_owned(), error.sqlstate.to_owned(), error.message);
    info.hint = error.hint;
    info.position = error.position.map(|position| position.to_string());
    info
}
