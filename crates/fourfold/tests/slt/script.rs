//! An `.slt` file taken apart into its records.
//!
//! The format is sqllogictest's (<https://www.sqlite.org/sqllogictest>): a record is a header, a text, and after a
//! line `----` what is expected, and ends at an empty line. `#` begins a comment between records.

use anyhow::{Context as _, Result, bail, ensure};

/// One thing to do, and what is expected of it.
#[derive(Debug)]
pub(crate) struct Record {
    /// The line of its header, from 1.
    pub(crate) line: usize,
    pub(crate) action: Action,
    /// The SQL, or the shell's text.
    pub(crate) text: String,
    /// The lines after `----`, where there is one.
    pub(crate) expected: Option<Vec<String>>,
}

/// What is done with a record's text.
#[derive(Debug)]
pub(crate) enum Action {
    /// `statement ok`: it succeeds; what is expected are its notices.
    Succeed,
    /// `statement error`: it fails; what is expected is the error.
    Fail,
    /// `query TYPES [rowsort]`: what is expected are its rows.
    Query {
        /// A letter a column.
        types: String,
        /// Whether the rows are sorted as text before they are compared.
        sorted: bool,
    },
    /// `system ok`: a shell runs it; what is expected is its output.
    System,
}

/// Reads a file's text.
///
/// # Errors
/// When a line is not understood, with its number, or the file does not open with a comment that says what it is about.
pub(crate) fn parse(text: &str) -> Result<Vec<Record>> {
    ensure!(text.starts_with("# "), "line 1 must be a comment that says what the file pins");
    let mut lines = (1..).zip(text.lines()).peekable();
    let mut records = Vec::new();
    while let Some((line, header)) = lines.next() {
        if header.trim().is_empty() || header.starts_with('#') {
            continue;
        }
        let action = action(header).with_context(|| format!("line {line}: {header:?}"))?;
        let body: Vec<&str> =
            std::iter::from_fn(|| lines.next_if(|(_, line)| !line.trim().is_empty())).map(|(_, line)| line).collect();
        let (text, expected) = match body.iter().position(|line| *line == "----") {
            Some(at) => (&body[..at], Some(body[at + 1..].iter().map(|line| (*line).to_owned()).collect())),
            None => (&body[..], None),
        };
        ensure!(!text.is_empty(), "line {line}: {header:?} has no text");
        ensure!(expected.is_some() || !matches!(action, Action::Query { .. }), "line {line}: a query without ----");
        records.push(Record { line, action, text: text.join("\n"), expected });
    }
    Ok(records)
}

fn action(header: &str) -> Result<Action> {
    let words: Vec<&str> = header.split_whitespace().collect();
    match words.as_slice() {
        ["statement", "ok"] => Ok(Action::Succeed),
        ["statement", "error"] => Ok(Action::Fail),
        ["query", types] => Ok(Action::Query { types: (*types).to_owned(), sorted: false }),
        ["query", types, "rowsort"] => Ok(Action::Query { types: (*types).to_owned(), sorted: true }),
        ["system", "ok"] => Ok(Action::System),
        _ => bail!("a record begins with `statement ok`, `statement error`, `query TYPES [rowsort]` or `system ok`"),
    }
}
