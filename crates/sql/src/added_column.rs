//! `ALTER SOURCE name ADD COLUMN column TYPE`, of tables `ALTER TABLE`: one more column behind those that there are.
//!
//! What must hold: a definition is the text of all that made it, one statement after the other, so that it can be read again;
//! columns are only ever added, so that their number says which there were at a time.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use sqlparser::tokenizer::Token;

use super::{cursor::Cursor, source::COLUMNS_MAX, types};
use crate::{SourceDefinition, SqlError, sqlstate};

/// A column that is to be added to a source or table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedColumn {
    /// The source or table.
    pub relation: String,
    /// Whether the statement says `ALTER TABLE`, which takes sources too.
    pub says_table: bool,
    /// Whether a source that is missing is no error.
    pub if_exists: bool,
    /// Whether a column that is there is no error.
    pub if_not_exists: bool,
    /// The column's name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Where the name of the source stands in the statement, in characters from 1.
    pub relation_position: usize,
    /// And that of the column.
    pub position: usize,
    /// The statement.
    pub text: String,
}

/// What comes behind `ALTER SOURCE` or `ALTER TABLE`.
pub(super) fn parse(cursor: &mut Cursor<'_>, text: &str, start: usize) -> Result<AddedColumn, SqlError> {
    let says_table = cursor.eat(&["table"]);
    if !says_table {
        cursor.expect("source")?;
    }
    let if_exists = cursor.eat(&["if", "exists"]);
    let relation_position = cursor.position() + 1 - start;
    let relation = cursor.relation_name(if says_table { "the name of a table" } else { "the name of a source" })?;
    adds_a_column(cursor, says_table)?;
    let if_not_exists = cursor.eat(&["if", "not", "exists"]);
    let position = cursor.position() + 1 - start;
    let name = cursor.identifier("the name of a column")?;
    let data_type = types::parse(cursor)?;
    if cursor.peek() == Some(&Token::Comma) {
        let error = SqlError::unsupported("adding several columns in one statement").at(cursor.position());
        return Err(error.with_hint("write one statement for each column"));
    }
    // Of all constraints the one that says nothing.
    cursor.eat(&["null"]);
    if !cursor.rest().is_empty() {
        let error = SqlError::unsupported("a constraint or default of an added column").at(cursor.position());
        return Err(error.with_hint("leave it out: in records that are there already the column is NULL"));
    }
    let text = text.to_owned();
    Ok(AddedColumn {
        relation,
        says_table,
        if_exists,
        if_not_exists,
        name,
        data_type,
        relation_position,
        position,
        text,
    })
}

/// Refuses whatever else `ALTER` does elsewhere, by its name.
fn adds_a_column(cursor: &mut Cursor<'_>, says_table: bool) -> Result<(), SqlError> {
    const HINT: &str = "columns can be added; for any other change drop the views that read it and the definition, then \
        create it anew: the topic keeps its records";
    const CONSTRAINTS: &[&str] = &["constraint", "primary", "unique", "foreign", "check", "exclude"];
    let position = cursor.position();
    let what = if says_table { "ALTER TABLE" } else { "ALTER SOURCE" };
    let refused = |done: &str| SqlError::unsupported(format!("{what} ... {done}")).at(position).with_hint(HINT);
    if cursor.eat(&["add"]) {
        if cursor.eat(&["column"]) {
            return Ok(());
        }
        return match CONSTRAINTS.iter().find(|word| cursor.eat(&[word])) {
            Some(word) => Err(refused(&format!("ADD {}", word.to_uppercase()))),
            None => Ok(()),
        };
    }
    let others: [(&[&str], &str); 9] = [
        (&["drop", "constraint"], "DROP CONSTRAINT"),
        (&["drop"], "DROP COLUMN"),
        (&["rename", "to"], "RENAME TO"),
        (&["rename"], "RENAME COLUMN"),
        (&["alter"], "ALTER COLUMN"),
        (&["set"], "SET"),
        (&["reset"], "RESET"),
        (&["owner"], "OWNER TO"),
        (&["modify"], "MODIFY"),
    ];
    match others.iter().find(|(words, _)| cursor.eat(words)) {
        Some((_, done)) => Err(refused(done)),
        None => Err(cursor.expected("ADD COLUMN")),
    }
}

impl SourceDefinition {
    /// The source with one more column.
    ///
    /// # Errors
    /// [`SqlError`] when it has a column of that name, or too many; its position counts in the statement that adds it.
    pub fn with_column(&self, added: &AddedColumn) -> Result<Self, SqlError> {
        let AddedColumn { name, position, .. } = added;
        if self.columns.field_with_name(name).is_ok() {
            let message = format!("column \"{name}\" of relation \"{}\" already exists", self.name);
            return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message).at(*position));
        }
        self.check_metadata([(name.as_str(), *position)])?;
        let fields = self.columns.fields().iter().map(Arc::clone);
        let new = Arc::new(Field::new(name, added.data_type.clone(), true));
        let fields: Vec<_> = fields.chain([new]).collect();
        if fields.len() > COLUMNS_MAX {
            let message = format!("a source has at most {COLUMNS_MAX} columns");
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).at(*position));
        }
        Ok(Self {
            columns: Arc::new(Schema::new(fields)),
            added_columns: self.added_columns + 1,
            text: format!("{};\n{}", self.text, added.text),
            ..self.clone()
        })
    }

    /// The source as it was when so many columns had been added to it.
    pub fn as_of(&self, added_columns: usize) -> Self {
        let later = self.added_columns.saturating_sub(added_columns);
        let fields = self.columns.fields();
        Self {
            columns: Arc::new(Schema::new(fields[..fields.len().saturating_sub(later)].to_vec())),
            added_columns: self.added_columns - later,
            ..self.clone()
        }
    }

    /// Refuses columns whose names are those of columns that every source of the format has.
    pub(super) fn check_metadata<'a>(
        &self,
        columns: impl IntoIterator<Item = (&'a str, usize)>,
    ) -> Result<(), SqlError> {
        let metadata = self.metadata_fields();
        let taken = columns.into_iter().find(|(name, _)| metadata.iter().any(|field| field.name() == name));
        let Some((name, position)) = taken else { return Ok(()) };
        let message = format!("column \"{name}\" is one that every source of this format has");
        Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message).at(position).with_hint("choose another name"))
    }
}
