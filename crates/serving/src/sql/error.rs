//! Why a view was not read, in PostgreSQL's terms.

use sql::{SqlError, sql_error, sqlstate};

use crate::views::Unread;

/// One that is being built, and one that has failed, is refused as one that was not populated.
pub(super) fn unread(unread: Unread) -> SqlError {
    let may_come = matches!(unread, Unread::Late(_));
    let mapped = sql_error(&unread.into());
    match mapped.sqlstate {
        sqlstate::NOT_AVAILABLE if !may_come => {
            SqlError { sqlstate: sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, ..mapped }
        }
        _ => mapped,
    }
}
