//! The statements that the catalogue keeps, read again.

use model::{Error, Result};
use sql::{SourceDefinition, Statement, ViewDefinition};

use crate::catalogue::StoredView;

/// The definition of the source `name`.
///
/// # Errors
/// When `text` is no definition of a source.
pub(crate) fn source_definition(name: &str, text: &str) -> Result<SourceDefinition> {
    let mut statements = sql::parse(text)?.into_iter();
    let mut source = match statements.next() {
        Some(Statement::CreateSource(source) | Statement::CreateTable(source)) => source,
        _ => return Err(Error::corrupt(format!("the catalogue's source {name} is not a CREATE SOURCE"))),
    };
    for statement in statements {
        match statement {
            Statement::AddColumn(added) => source = source.with_column(&added)?,
            _ => return Err(Error::corrupt(format!("the catalogue's source {name} was altered by no ALTER SOURCE"))),
        }
    }
    Ok(source)
}

/// The definition of a view.
///
/// # Errors
/// When the text is no definition of a view.
pub(crate) fn view_definition(stored: &StoredView) -> Result<ViewDefinition> {
    let mut statements = sql::parse(&stored.text)?;
    let mut definition = match (statements.pop(), statements.first()) {
        (Some(Statement::CreateView(definition)), None) => definition,
        // What was written of a table may be several statements.
        (Some(Statement::CreateTable(_)), None) | (_, Some(Statement::CreateTable(_))) => {
            ViewDefinition::of_table(&source_definition(&stored.name, &stored.text)?)
        }
        _ => {
            let message = format!("the catalogue's view {} is not a CREATE MATERIALIZED VIEW", stored.name);
            return Err(Error::corrupt(message));
        }
    };
    definition.added_columns = Some(stored.added_columns.clone());
    Ok(definition)
}
