//! What a statement asks for.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::sql::sqlparser::ast;
use sql::{SqlError, Statement, WriteStatement, sqlstate};

use super::{
    action::Action,
    copy,
    cursor::{Declaration, Fetch},
    engine::Lane,
    explain,
    isolation::Modes,
    parser::{self, Piece, identifier},
    point_read::PointRead,
    refusal, variables,
};

/// One statement of a text that may hold several.
#[derive(Clone, Debug)]
pub struct StatementText(pub(super) Piece);

impl StatementText {
    /// The statement as it was written; empty for the short statements of definitions.
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

/// A statement that is understood: its parameters and columns are known, and it can be executed many times.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) text: Arc<str>,
    /// Characters before it in the text that was sent: errors count from there.
    pub(super) characters_before: usize,
    pub(super) action: Arc<Action>,
    pub(super) parameters: Arc<[DataType]>,
    /// Which parameters are numbers of the catalogue.
    pub(super) oids: Arc<[usize]>,
    pub(super) columns: Option<SchemaRef>,
    pub(super) point_read: Option<Arc<PointRead>>,
    /// Where it is planned.
    pub(super) lane: Lane,
}

impl Prepared {
    /// The types of `$1`, `$2`, ...
    pub fn parameters(&self) -> &[DataType] {
        &self.parameters
    }

    /// Whether a parameter, by its index, is a number of the catalogue, or a list of them.
    pub fn is_oid(&self, index: usize) -> bool {
        self.oids.contains(&index)
    }

    /// The columns of the result; `None` where there are no rows.
    pub fn columns(&self) -> Option<&SchemaRef> {
        self.columns.as_ref()
    }

    /// Whether the statement is one that a failed transaction still takes.
    pub fn ends_transaction(&self) -> bool {
        matches!(&*self.action, Action::Commit | Action::Rollback | Action::RollbackToSavepoint)
    }
}

/// Reads what a statement asks for.
pub(super) fn read(piece: &Piece) -> Result<Action, SqlError> {
    let shifted = |error: SqlError| error.shifted(piece.characters_before);
    match &piece.statement {
        Statement::Show(show) => Ok(Action::List(*show)),
        Statement::Query(text) => read_text(text).map_err(shifted),
        Statement::Explain(explained) => match &**explained {
            Statement::Query(text) => {
                explain::of_query(text).map(|query| Action::Query(Arc::new(query))).map_err(shifted)
            }
            Statement::Show(_) | Statement::Explain(_) | Statement::ReplayView(_) => {
                Err(SqlError::unsupported("EXPLAIN of this statement"))
            }
            definition => Ok(Action::ExplainDefinition(definition.clone())),
        },
        Statement::ReplayView(replay) => Ok(Action::Replay(replay.clone())),
        definition => Ok(Action::Define(definition.clone())),
    }
}

fn read_text(text: &str) -> Result<Action, SqlError> {
    let words = parser::first_words(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some(refused) = refusal::refusal(&words) {
        return Err(refused);
    }
    match words.as_slice() {
        ["insert" | "update" | "delete", ..] => {
            return WriteStatement::parse(text).map(|statement| Action::Write(Box::new(statement)));
        }
        ["abort", ..] => return Ok(Action::Rollback),
        ["deallocate", rest @ ..] => {
            let name = rest.iter().find(|word| **word != "prepare").copied();
            return match name {
                Some("all") => Ok(Action::Deallocate(None)),
                // The name as it was written: it may be quoted.
                Some(_) => Ok(Action::Deallocate(Some(last_identifier(text)))),
                None => Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error: DEALLOCATE needs a name or ALL")),
            };
        }
        ["unlisten", ..] if text.split_whitespace().count() == 2 => return Ok(Action::Unlisten),
        ["reset", ..] if text.split_whitespace().count() >= 2 => return Ok(variables::read_reset(text)),
        // sqlparser knows TABLE only as a part of a query.
        ["table", name, ..] => {
            return read_tree(parser::tree(&format!("SELECT * FROM {}", &text["table".len()..]))?, name);
        }
        // Nor does it know FETCH without a direction.
        ["fetch", name] => {
            return read_tree(parser::tree(&format!("FETCH NEXT FROM {}", &text["fetch".len()..]))?, name);
        }
        ["explain", ..] => return explain::with_options(text).map(|query| Action::Query(Arc::new(query))),
        _ => {}
    }
    read_tree(parser::tree(text)?, text)
}

fn read_tree(statement: ast::Statement, text: &str) -> Result<Action, SqlError> {
    use ast::Statement as Tree;
    match statement {
        Tree::Query(query) => match &*query.body {
            ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_) => {
                Err(SqlError::unsupported("WITH before INSERT, UPDATE or DELETE")
                    .with_hint("write the query where its rows are used, as in INSERT INTO ... SELECT"))
            }
            _ if writes_into(&query) => Err(SqlError::unsupported("SELECT INTO")),
            _ if !query.locks.is_empty() => {
                Err(SqlError::unsupported("FOR UPDATE and FOR SHARE")
                    .with_hint("nothing is written here, so leave it out"))
            }
            _ => Ok(Action::Query(Arc::new(Tree::Query(query)))),
        },
        Tree::Explain { .. } => Ok(Action::Query(Arc::new(statement))),
        Tree::Set(set) => variables::read_set(set, text),
        Tree::ShowVariable { variable } => Ok(variables::read_show(&variable)),
        Tree::StartTransaction { modes, .. } => Ok(Action::Begin(Modes::of(&modes)?)),
        Tree::Commit { .. } => Ok(Action::Commit),
        Tree::Rollback { savepoint: Some(_), .. } => Ok(Action::RollbackToSavepoint),
        Tree::Rollback { .. } => Ok(Action::Rollback),
        Tree::Savepoint { .. } => Ok(Action::Savepoint("SAVEPOINT")),
        Tree::ReleaseSavepoint { .. } => Ok(Action::Savepoint("RELEASE")),
        Tree::Discard { object_type } => Ok(Action::Discard { all: object_type == ast::DiscardObject::ALL }),
        Tree::Declare { stmts } => Declaration::read(stmts).map(Action::Declare),
        Tree::Fetch { name, direction, into: None, .. } => Fetch::read(&name, &direction).map(Action::Fetch),
        Tree::Close { cursor: ast::CloseCursor::All } => Ok(Action::CloseCursor(None)),
        Tree::Close { cursor: ast::CloseCursor::Specific { name } } => Ok(Action::CloseCursor(Some(identifier(&name)))),
        Tree::Copy { to: false, .. } => Err(refusal::copy_from()),
        Tree::Copy { source, target: ast::CopyTarget::Stdout, options, legacy_options, .. } => {
            let (query, options) = copy::read(source, &options, &legacy_options)?;
            Ok(Action::Copy { query: Arc::new(query), options })
        }
        Tree::Copy { .. } => Err(SqlError::unsupported("COPY to a file or a program of the server")
            .with_hint("use COPY (query) TO STDOUT, or \\copy in psql")),
        other => {
            let words = parser::first_words(text);
            let what = words.first().map_or_else(|| other.to_string(), |word| word.to_uppercase());
            Err(SqlError::unsupported(what))
        }
    }
}

fn last_identifier(text: &str) -> String {
    let last = text.split_whitespace().last().unwrap_or_default().trim_end_matches(';');
    match last.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => last.to_lowercase(),
    }
}

fn writes_into(query: &ast::Query) -> bool {
    matches!(&*query.body, ast::SetExpr::Select(select) if select.into.is_some())
}
