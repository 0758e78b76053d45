//! `CREATE [OR REPLACE] MATERIALIZED VIEW name [WITH (options)] AS query`.

use std::time::Duration;

use sqlparser::{dialect::PostgreSqlDialect, parser::Parser, tokenizer::Token};

use crate::{SourceDefinition, SqlError, on_deep_stack, syntax_error};

use super::{
    character_at,
    cursor::{Cursor, PlacedToken},
    is_word,
    options::{self, SqlOption},
    text_of, tokenize,
};

const OPTIONS: &[&str] = &["batch", "emit", "keep"];

/// A view as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewDefinition {
    /// Its name.
    pub name: String,
    /// Whether an older view of this name is replaced.
    pub or_replace: bool,
    /// Its options.
    pub options: ViewOptions,
    /// The query after `AS`.
    pub query: String,
    /// Whether it is what a table shows: the query reads the table's own records.
    pub is_table: bool,
    /// The whole statement.
    pub text: String,
}

impl ViewDefinition {
    /// What a table shows: its last record of each key.
    pub fn of_table(table: &SourceDefinition) -> Self {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let columns = table.columns.fields().iter().map(|field| quoted(field.name()));
        Self {
            name: table.name.clone(),
            or_replace: false,
            options: ViewOptions::default(),
            query: format!("SELECT {} FROM {}", columns.collect::<Vec<_>>().join(", "), quoted(&table.name)),
            is_table: true,
            text: table.text.clone(),
        }
    }
}

/// The options of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewOptions {
    /// `batch = '1 hour'`: how often the batch layer of a Lambda view runs; without it the view is folded from the
    /// log alone.
    pub batch_interval: Option<Duration>,
    /// `emit = 'changes'`.
    pub emit: Emit,
    /// `keep = '1 day'`: for how long the version is kept that this one replaces.
    pub keep: Option<Duration>,
}

/// When a view shows what it folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// As records arrive.
    #[default]
    Changes,
}

pub(super) fn parse(
    cursor: &mut Cursor<'_>,
    text: &str,
    statement: &[PlacedToken],
    or_replace: bool,
) -> Result<ViewDefinition, SqlError> {
    let position = cursor.position();
    if cursor.eat(&["if", "not", "exists"]) {
        let error = SqlError::unsupported("IF NOT EXISTS").at(position);
        return Err(error.with_hint("use CREATE OR REPLACE MATERIALIZED VIEW: the same definition changes nothing"));
    }
    let name = cursor.relation_name("the name of a view")?;
    let options = if cursor.eat(&["with"]) {
        view_options(options::parse(cursor, OPTIONS, &[])?)?
    } else {
        ViewOptions::default()
    };
    cursor.expect("as")?;
    let query = cursor.rest();
    if query.is_empty() {
        return Err(cursor.expected("a query"));
    }
    let before = query[0].start;
    let query = text_of(text, query);
    on_deep_stack(|| check_query(query)).map_err(|error| error.shifted(character_at(text, before) - 1))?;
    let (query, text) = (query.to_owned(), text_of(text, statement).to_owned());
    Ok(ViewDefinition { name, or_replace, options, query, is_table: false, text })
}

fn view_options(options: Vec<SqlOption>) -> Result<ViewOptions, SqlError> {
    let mut parsed = ViewOptions::default();
    let keep_position = options.iter().find(|option| option.name == "keep").map(|option| option.value_position);
    for option in options {
        match (option.name.as_str(), option.value.to_lowercase().as_str()) {
            ("batch", text) => match options::duration(text) {
                Some(interval) => parsed.batch_interval = Some(interval),
                None => return Err(option.invalid("write a length of time such as '1 hour'")),
            },
            ("keep", text) => match options::duration(text) {
                Some(time) => parsed.keep = Some(time),
                None => return Err(option.invalid("write a length of time such as '1 day'")),
            },
            ("emit", "changes") => parsed.emit = Emit::Changes,
            ("emit", "final") => {
                return Err(SqlError::unsupported("emit = 'final' (it needs a watermark)")
                    .at(option.value_position)
                    .with_hint("use emit = 'changes' and read a window after its end"));
            }
            _ => return Err(option.invalid("it can be 'changes'")),
        }
    }
    if let (Some(_), Some(_), Some(position)) = (parsed.keep, parsed.batch_interval, keep_position) {
        let error = SqlError::unsupported("keep of a view with a batch layer").at(position);
        return Err(error.with_hint("leave batch out, or create the corrected view under another name"));
    }
    Ok(parsed)
}

/// The standard writes `TUMBLE(TABLE source, ...)`; the parser does not, so `TABLE` becomes white space.
pub fn without_table_keyword(text: &str) -> Result<String, SqlError> {
    let mut standard = text.to_owned();
    for window in tokenize(text)?.windows(3) {
        let [function, open, table] = window else { continue };
        if is_word(&function.token, "tumble") && open.token == Token::LParen && is_word(&table.token, "table") {
            standard.replace_range(table.start..table.end, &" ".repeat(table.end - table.start));
        }
    }
    Ok(standard)
}

fn check_query(query: &str) -> Result<(), SqlError> {
    let standard = without_table_keyword(query)?;
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&standard).and_then(|mut parser| {
        parser.parse_query()?;
        match parser.peek_token().token {
            Token::EOF => Ok(()),
            _ => parser.expected("the end of the query", parser.peek_token()),
        }
    });
    parsed.map_err(|error| syntax_error(&error, query))
}
