//! The statements that define sources and views, and the texts that are queries.
//!
//! What it is: [`parse`], which splits a text at `;` and reads the statements of our own; sqlparser tokenises, and
//! checks that a view's query is one.
//!
//! What it is not: a planner. Any statement that is not ours comes out as [`Statement::Query`], unread.
//!
//! What must hold: a message names what is wrong and its position counts characters of the whole text from 1, so
//! that psql can point at it; no option is silently ignored; nothing walks a statement before its size was checked.

mod added_column;
mod complexity;
mod cursor;
mod deep_stack;
mod diagnosis;
mod error;
mod expansion;
mod float_text;
mod options;
mod precedence;
mod reads;
mod replay;
mod rewriting;
mod source;
mod source_definition;
pub mod sqlstate;
mod tree;
mod types;
mod unnest;
mod view;
mod write;

pub use added_column::AddedColumn;
pub use cursor::{PlacedToken, byte_of_location, character_at, folded, is_word, tokenize};
pub use deep_stack::on_deep_stack;
pub use diagnosis::{Readable, datafusion_error, nearest, syntax_error};
pub use error::{SqlError, sql_error};
pub use float_text::{double_text, real_text};
pub use reads::relations_read;
pub use replay::{Compared, Place, Replay};
pub use rewriting::rewrite;
pub use source_definition::{
    ARRIVAL_TIME, DELETED, KEY, OFFSET, PARTITION, SourceDefinition, SourceFormat, TimestampUnit,
};
pub use tree::{Tree, visit_expressions, visit_expressions_mut, visit_mut};
pub use types::{timestamp_utc, type_name};
pub use view::{Emit, ViewDefinition, ViewOptions, without_table_keyword};
pub use write::{Conflict, Verb, Write, WriteStatement};

use sqlparser::tokenizer::Token;

use cursor::Cursor;

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `CREATE SOURCE name (columns) WITH (options)`.
    CreateSource(SourceDefinition),
    /// `CREATE TABLE name (columns, PRIMARY KEY (...)) [WITH (options)]`: a source of which the last record of each key counts.
    CreateTable(SourceDefinition),
    /// `CREATE [OR REPLACE] MATERIALIZED VIEW name [WITH (options)] AS query`.
    CreateView(ViewDefinition),
    /// `ALTER SOURCE name ADD COLUMN column type`, or `ALTER TABLE`.
    AddColumn(AddedColumn),
    /// `DROP SOURCE [IF EXISTS] name`.
    DropSource {
        /// The source's name.
        name: String,
        /// Whether a missing source is no error.
        if_exists: bool,
    },
    /// `DROP TABLE [IF EXISTS] name [RESTRICT | CASCADE]`.
    DropTable {
        /// The table's name.
        name: String,
        /// Whether a missing table is no error.
        if_exists: bool,
        /// Whether views that read it are dropped too.
        cascade: bool,
    },
    /// `DROP MATERIALIZED VIEW [IF EXISTS] name [RESTRICT | CASCADE]`.
    DropView {
        /// The view's name, or that of a version that is kept.
        name: String,
        /// Whether a missing view is no error.
        if_exists: bool,
        /// Whether views that read it are dropped too.
        cascade: bool,
    },
    /// `REFRESH MATERIALIZED VIEW name`: rebuild by replay, or run the batch layer now.
    RefreshView {
        /// The view's name.
        name: String,
    },
    /// `ROLLBACK MATERIALIZED VIEW name`: the newest version that is kept is current again.
    RollbackView {
        /// The view's name.
        name: String,
    },
    /// `REPLAY MATERIALIZED VIEW name ...`: another version beside the one that answers.
    ReplayView(Replay),
    /// `SHOW SOURCES`, `SHOW VIEWS`, `SHOW TOPICS`.
    Show(Show),
    /// `EXPLAIN statement`.
    Explain(Box<Statement>),
    /// Anything else, as written.
    Query(String),
}

/// What `SHOW` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// The sources.
    Sources,
    /// The materialised views.
    Views,
    /// The log's topics.
    Topics,
}

/// Reads a text of statements separated by `;`.
///
/// # Errors
/// [`SqlError`] with the position of the first thing that is wrong.
pub fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
    let tokens = tokenize(text)?;
    tokens
        .split(|placed| placed.token == Token::SemiColon)
        .filter(|statement| !statement.is_empty())
        .map(|statement| {
            complexity::check(text, statement)?;
            expansion::check(text, statement)?;
            parse_statement(text, statement)
        })
        .collect()
}

/// Takes a text apart into its statements, each as it was written; none for an empty text.
///
/// # Errors
/// [`SqlError`] for a text that cannot be taken apart, such as one with an open quote.
pub fn split(text: &str) -> Result<Vec<&str>, SqlError> {
    let tokens = tokenize(text)?;
    let statements = tokens.split(|placed| placed.token == Token::SemiColon);
    Ok(statements.filter(|statement| !statement.is_empty()).map(|statement| text_of(text, statement)).collect())
}

fn parse_statement(text: &str, tokens: &[PlacedToken]) -> Result<Statement, SqlError> {
    let mut cursor = Cursor::new(text, tokens);
    let start = cursor.position();
    if cursor.eat(&["create"]) {
        return parse_create(text, tokens, cursor);
    }
    if [["alter", "source"], ["alter", "table"]].iter().any(|words| cursor.is_next(words)) {
        cursor.advance();
        return Ok(Statement::AddColumn(added_column::parse(&mut cursor, text_of(text, tokens), start)?));
    }
    if cursor.eat(&["drop", "source"]) {
        let (name, if_exists) = drop_target(&mut cursor, "the name of a source")?;
        cursor.expect_end()?;
        return Ok(Statement::DropSource { name, if_exists });
    }
    if cursor.eat(&["drop", "materialized", "view"]) {
        let if_exists = cursor.eat(&["if", "exists"]);
        let name = cursor.view_or_version_name()?;
        let cascade = drop_behaviour(&mut cursor)?;
        return Ok(Statement::DropView { name, if_exists, cascade });
    }
    if cursor.eat(&["drop", "table"]) {
        let (name, if_exists) = drop_target(&mut cursor, "the name of a table")?;
        let cascade = drop_behaviour(&mut cursor)?;
        return Ok(Statement::DropTable { name, if_exists, cascade });
    }
    if cursor.eat(&["refresh", "materialized", "view"]) {
        let name = cursor.relation_name("the name of a view")?;
        cursor.expect_end()?;
        return Ok(Statement::RefreshView { name });
    }
    if cursor.eat(&["replay", "materialized", "view"]) {
        return Ok(Statement::ReplayView(replay::parse(&mut cursor)?));
    }
    if cursor.eat(&["rollback", "materialized", "view"]) {
        let name = cursor.relation_name("the name of a view")?;
        cursor.expect_end()?;
        return Ok(Statement::RollbackView { name });
    }
    if cursor.eat(&["show"]) {
        let all = [("sources", Show::Sources), ("views", Show::Views), ("topics", Show::Topics)];
        cursor.eat(&["materialized"]);
        if let Some((_, show)) = all.iter().find(|(word, _)| cursor.eat(&[word]) && cursor.rest().is_empty()) {
            return Ok(Statement::Show(*show));
        }
    }
    // EXPLAIN ANALYZE and EXPLAIN (options) run the query: they are DataFusion's as a whole.
    if cursor.eat(&["explain"]) && !cursor.eat(&["analyze"]) && cursor.peek() != Some(&Token::LParen) {
        return match cursor.rest() {
            [] => Err(cursor.expected("a statement")),
            [first, ..] if is_word(&first.token, "explain") => Err(cursor.expected("a statement to explain")),
            rest => Ok(Statement::Explain(Box::new(parse_statement(text, rest)?))),
        };
    }
    Ok(Statement::Query(text_of(text, tokens).to_owned()))
}

fn parse_create(text: &str, tokens: &[PlacedToken], mut cursor: Cursor<'_>) -> Result<Statement, SqlError> {
    let position = cursor.position();
    let or_replace = cursor.eat(&["or", "replace"]);
    if cursor.eat(&["source"]) {
        if or_replace {
            return Err(SqlError::unsupported("CREATE OR REPLACE SOURCE").at(position).with_hint(
                "drop the views that read the source and the source, then create it anew; the topic keeps its records",
            ));
        }
        return Ok(Statement::CreateSource(source::parse(&mut cursor, text_of(text, tokens))?));
    }
    if !or_replace && cursor.eat(&["table"]) {
        // CREATE TABLE ... AS is somebody else's.
        if let Some(table) = source::parse_table(&mut cursor, text_of(text, tokens))? {
            return Ok(Statement::CreateTable(table));
        }
        return Ok(Statement::Query(text_of(text, tokens).to_owned()));
    }
    if cursor.eat(&["materialized", "view"]) {
        return Ok(Statement::CreateView(view::parse(&mut cursor, text, tokens, or_replace)?));
    }
    if cursor.eat(&["sink"]) {
        return Err(SqlError::unsupported("CREATE SINK").at(position).with_hint("read the view with SQL or over HTTP"));
    }
    Ok(Statement::Query(text_of(text, tokens).to_owned()))
}

/// Whether what depends on it is dropped too; the statement ends there.
fn drop_behaviour(cursor: &mut Cursor<'_>) -> Result<bool, SqlError> {
    let cascade = cursor.eat(&["cascade"]);
    if !cascade {
        cursor.eat(&["restrict"]);
    }
    cursor.expect_end()?;
    Ok(cascade)
}

fn drop_target(cursor: &mut Cursor<'_>, what: &str) -> Result<(String, bool), SqlError> {
    let if_exists = cursor.eat(&["if", "exists"]);
    let name = cursor.relation_name(what)?;
    Ok((name, if_exists))
}

/// The text that some tokens were read from.
fn text_of<'a>(text: &'a str, tokens: &[PlacedToken]) -> &'a str {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => &text[first.start..last.end],
        _ => "",
    }
}

#[cfg(test)]
mod tests;
