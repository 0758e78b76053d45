//! What a statement asks for, as a closed list.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use sql::{Replay, Show, Statement, WriteStatement};

use super::{
    assignment::Assignment,
    copy::CopyOptions,
    cursor::{Declaration, Fetch},
    isolation::Modes,
};

/// What a statement asks for.
#[derive(Debug)]
pub(super) enum Action {
    Define(Statement),
    ExplainDefinition(Statement),
    Replay(Replay),
    List(Show),
    /// `INSERT`, `UPDATE` or `DELETE`.
    Write(Box<WriteStatement>),
    /// A query, or `EXPLAIN` of one.
    Query(Arc<ast::Statement>),
    Copy {
        query: Arc<ast::Statement>,
        options: CopyOptions,
    },
    Set(Vec<Assignment>),
    ShowVariable(String),
    ShowAllVariables,
    ResetVariable(Option<String>),
    SetModes {
        modes: Modes,
        session: bool,
    },
    Begin(Modes),
    Commit,
    Rollback,
    Savepoint(&'static str),
    RollbackToSavepoint,
    Discard {
        all: bool,
    },
    Deallocate(Option<String>),
    Declare(Declaration),
    Fetch(Fetch),
    CloseCursor(Option<String>),
    /// Nobody listens here, so there is nothing to end; pools say it before they hand out a connection again.
    Unlisten,
}
