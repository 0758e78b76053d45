//! Errors as PostgreSQL's clients read them.

use pgwire::error::{ErrorInfo, PgWireError};
use sql::SqlError;

/// An error that ends the statement.
pub(super) fn wire_error(error: SqlError) -> PgWireError {
    PgWireError::UserError(Box::new(info("ERROR", error)))
}

/// An error that ends the connection.
pub(super) fn fatal_error(error: SqlError) -> PgWireError {
    PgWireError::UserError(Box::new(info("FATAL", error)))
}

/// The error with all that PostgreSQL's clients look for, whoever found it.
pub(super) fn complete(error: PgWireError) -> PgWireError {
    let mut info = ErrorInfo::from(error);
    info.severity_nonlocalized.get_or_insert_with(|| info.severity.clone());
    PgWireError::UserError(Box::new(info))
}

fn info(severity: &str, error: SqlError) -> ErrorInfo {
    let mut info = ErrorInfo::new(severity.to_owned(), error.sqlstate.to_owned(), error.message);
    // The severity once more: the first may be translated, and clients decide by this one.
    info.severity_nonlocalized = Some(severity.to_owned());
    info.hint = error.hint;
    info.position = error.position.map(|position| position.to_string());
    info
}
