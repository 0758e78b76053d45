//! The statements that the catalogue keeps, read again.

use model::{Error, Result};
use sql::{SourceDefinition, Statement, ViewDefinition};

use crate::catalogue::StoredView;

/// The definition of the source `name`.
///
/// # Errors
/// When `text` is no definition of a source.
pub(crate) fn source_definition(name: &str, text: &str) -> Result<SourceDefinition> {
    match single(text)? {
        Statement::CreateSource(source) | Statement::CreateTable(source) => Ok(source),
        _ => Err(Error::corrupt(format!("the catalogue's source {name} is not a CREATE SOURCE"))),
    }
}

/// The definition of a view.
///
/// # Errors
/// When the text is no definition of a view.
pub(crate) fn view_definition(stored: &StoredView) -> Result<ViewDefinition> {
    match single(&stored.text)? {
        Statement::CreateView(definition) => Ok(definition),
        Statement::CreateTable(table) => Ok(ViewDefinition::of_table(&table)),
        _ => Err(Error::corrupt(format!("the catalogue's view {} is not a CREATE MATERIALIZED VIEW", stored.name))),
    }
}

fn single(text: &str) -> Result<Statement> {
    let mut statements = sql::parse(text)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err(Error::corrupt(format!("not one statement: {text}"))),
    }
}
