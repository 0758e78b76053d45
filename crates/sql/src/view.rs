//! `CREATE [OR REPLACE] MATERIALIZED VIEW name [WITH (options)] AS query`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sqlparser::{dialect::PostgreSqlDialect, parser::Parser, tokenizer::Token};

use crate::{SourceDefinition, SqlError, on_deep_stack, syntax_error};

use super::{
    character_at,
    cursor::{Cursor, PlacedToken},
    folded, is_word,
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
    /// Which columns of its sources it reads: how many had been added to each when it was defined, none to one that is not
    /// named. Absent while it is new: it reads all that there are.
    pub added_columns: Option<BTreeMap<String, usize>>,
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
            added_columns: None,
            is_table: true,
            text: table.text.clone(),
        }
    }

    /// A source as the view reads it: with the columns that it had when the view was defined.
    pub fn seen(&self, source: &SourceDefinition) -> SourceDefinition {
        match &self.added_columns {
            None => source.clone(),
            Some(added) => source.as_of(added.get(&source.name).copied().unwrap_or_default()),
        }
    }

    /// Says for good which columns of its sources it reads, where that is not said: those that there are.
    pub fn fix_columns(&mut self, sources: &[SourceDefinition]) {
        if self.added_columns.is_some() {
            return;
        }
        // Whatever bears the name of a source may be it; for one that is not, it says nothing.
        let tokens = tokenize(&self.query).unwrap_or_default();
        let names = tokens.iter().filter_map(|placed| match &placed.token {
            Token::Word(word) => Some(folded(&word.value, word.quote_style.is_some())),
            _ => None,
        });
        let names: BTreeSet<String> = names.collect();
        let grown = sources.iter().filter(|source| source.added_columns > 0 && names.contains(&source.name));
        self.added_columns = Some(grown.map(|source| (source.name.clone(), source.added_columns)).collect());
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
    Ok(ViewDefinition { name, or_replace, options, query, added_columns: None, is_table: false, text })
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
