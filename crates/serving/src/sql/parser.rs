//! A text taken apart into statements, and each of them as a tree.
//!
//! How deep and how long a statement may be is checked where it is taken apart.

use datafusion::sql::sqlparser::{ast, dialect::PostgreSqlDialect, parser::Parser};
use sql::{SqlError, Statement, sqlstate, syntax_error};

use super::compatibility;

/// One statement of a text, and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) statement: Statement,
    pub(super) text: String,
    /// Characters of the whole text before it.
    pub(super) characters_before: usize,
}

/// Splits a text at `;`, and reads the statements that are Fourfold's own.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, SqlError> {
    let mut searched = 0;
    let place = |statement: Statement| {
        let own = text_of(&statement);
        let rest = text.get(searched..).unwrap_or_default();
        let start = searched + rest.find(own).unwrap_or(0);
        searched = (start + own.len()).min(text.len());
        let characters_before = text.get(..start).map_or(0, |before| before.chars().count());
        Piece { text: own.to_owned(), characters_before, statement }
    };
    Ok(sql::parse(text)?.into_iter().map(place).collect())
}

/// The text that a statement was read from; empty where it does not keep it.
fn text_of(statement: &Statement) -> &str {
    match statement {
        Statement::Query(text) => text,
        Statement::CreateSource(source) | Statement::CreateTable(source) => &source.text,
        Statement::CreateView(view) => &view.text,
        Statement::AddColumn(added) => &added.text,
        Statement::Explain(explained) => text_of(explained),
        _ => "",
    }
}

/// The first words of a statement, in lower case: enough to tell what it is.
pub(super) fn first_words(text: &str) -> Vec<String> {
    let uncommented = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let words = uncommented.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.filter(|word| !word.is_empty()).take(3).map(str::to_lowercase).collect()
}

/// One statement as a tree. A query that looks at PostgreSQL's catalogue is rewritten to what DataFusion can run.
pub(super) fn tree(text: &str) -> Result<ast::Statement, SqlError> {
    let statements = if compatibility::concerns(text) {
        compatibility::parse(text)
    } else {
        Parser::parse_sql(&PostgreSqlDialect {}, text)
    };
    let statements = statements.map_err(|error| syntax_error(&error, text))?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(mut statement), None) => {
            sql::rewrite(&mut statement)?;
            Ok(statement)
        }
        _ => Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error: one statement is expected")),
    }
}

/// An identifier as PostgreSQL reads it: in lower case unless it is quoted.
pub(super) fn identifier(ident: &ast::Ident) -> String {
    sql::folded(&ident.value, ident.quote_style.is_some())
}
