//! Why a view was not read, in PostgreSQL's terms.

use sql::{SqlError, sql_error, sqlstate};

use crate::views::ReadRefusal;

/// One that is being built, and one that has failed, is refused as one that was not populated.
pub(super) fn refused_read(refusal: ReadRefusal) -> SqlError {
    let may_come = matches!(refusal, ReadRefusal::Late(_));
    let mapped = sql_error(&refusal.into());
    match mapped.sqlstate {
        sqlstate::NOT_AVAILABLE if !may_come => {
            SqlError { sqlstate: sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, ..mapped }
        }
        _ => mapped,
    }
}
