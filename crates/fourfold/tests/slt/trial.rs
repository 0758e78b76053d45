//! The records of a file, carried out in order on one connection, and what is not as expected.

use anyhow::{Context as _, Result};

use crate::{
    script::{self, Action, Record},
    server::Server,
    session::{Answer, Report, Session},
};

/// Stands for any part of a line.
const IGNORED: &str = "<slt:ignore>";

/// A busy machine is no difference.
const PATIENCE: &str = "SET fourfold.min_position_timeout_ms = 60000";

/// A record that was answered otherwise than expected.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Where the record begins in its file, from 1.
    pub(crate) line: usize,
    /// The record, what was expected of it, and what came.
    pub(crate) told: String,
}

/// Runs a file's text against a server of its own.
///
/// # Errors
/// When the text is not understood, or the server or the connection does not last.
pub(crate) fn run(text: &str) -> Result<Vec<Difference>> {
    let records = script::parse(text)?;
    let mut server = Server::start()?;
    let mut session = Session::connect(server.address("pg")?)?;
    session.run(PATIENCE)?;
    let mut differences = Vec::new();
    for record in &records {
        let outcome = carry_out(record, &server, &mut session);
        let outcome = outcome.with_context(|| format!("at line {}: {}", record.line, record.text));
        let outcome = outcome.or_else(|error| server.check().and(Err(error)))?;
        if let Err(Mismatch { expected, actual }) = outcome {
            let told = format!("{}\nexpected\n{}\nactual\n{}\n", record.text, indented(&expected), indented(&actual));
            differences.push(Difference { line: record.line, told });
        }
    }
    server.check()?;
    Ok(differences)
}

struct Mismatch {
    expected: Vec<String>,
    actual: Vec<String>,
}

fn carry_out(record: &Record, server: &Server, session: &mut Session) -> Result<Result<(), Mismatch>> {
    let expected = record.expected.as_deref();
    if matches!(record.action, Action::System) {
        return Ok(match server.shell(&record.text) {
            Ok(said) => compare(expected, said.lines().map(str::to_owned).collect()),
            Err(error) => mismatch("an end with status 0", &error.to_string()),
        });
    }
    let answer = session.run(&record.text)?;
    let error = answer.error.as_ref().map(|error| shown_error(error, &record.text));
    Ok(match (&record.action, error) {
        (Action::Fail, Some(error)) => compare(expected, error),
        (Action::Fail, None) => mismatch("an error", "no error"),
        (_, Some(error)) => mismatch("no error", &error.join("\n")),
        (Action::Query { types, sorted }, None) => match shown_types(&answer) {
            None => mismatch("rows", "no rows"),
            Some(found) if found != *types => mismatch(&format!("columns {types}"), &format!("columns {found}")),
            Some(_) => {
                let mut rows = shown_rows(&answer);
                if *sorted {
                    rows.sort();
                }
                let folded =
                    expected.map(|rows| rows.iter().map(|row| without_runs_of_blanks(row)).collect::<Vec<_>>());
                compare(folded.as_deref(), rows)
            }
        },
        (_, None) => {
            compare(expected, answer.notices.iter().map(|notice| format!("NOTICE: {}", notice.message)).collect())
        }
    })
}

fn compare(expected: Option<&[String]>, actual: Vec<String>) -> Result<(), Mismatch> {
    let Some(expected) = expected else { return Ok(()) };
    if expected.len() == actual.len()
        && expected.iter().zip(&actual).all(|(expected, actual)| is_like(expected, actual))
    {
        return Ok(());
    }
    Err(Mismatch { expected: expected.to_vec(), actual })
}

/// Whether a line is the one that is expected, which may leave one part of itself open.
fn is_like(expected: &str, actual: &str) -> bool {
    match expected.split_once(IGNORED) {
        Some((start, end)) => actual.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => expected == actual,
    }
}

fn mismatch(expected: &str, actual: &str) -> Result<(), Mismatch> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect();
    Err(Mismatch { expected: lines(expected), actual: lines(actual) })
}

/// The code and the message, the place below its line as psql shows it, and what to do.
fn shown_error(error: &Report, text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(format!("ERROR {}: {}", error.sqlstate, error.message).lines().map(str::to_owned));
    if let Some(position) = error.position {
        let before: String = text.chars().take(position.saturating_sub(1)).collect();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let column = before.get(start..).map_or(0, |before| before.chars().count());
        lines.push(line.to_owned());
        lines.push(format!("{}^", " ".repeat(column)));
    }
    lines.extend(error.detail.iter().map(|detail| format!("DETAIL: {detail}")));
    lines.extend(error.hint.iter().map(|hint| format!("HINT: {hint}")));
    lines
}

/// A letter a column.
fn shown_types(answer: &Answer) -> Option<String> {
    let letter = |oid: &u32| match oid {
        16 => 'B',
        20 | 21 | 23 => 'I',
        700 | 701 => 'R',
        1700 => 'N',
        25 | 1043 => 'T',
        1082 => 'D',
        1114 => 'P',
        1184 => 'Z',
        _ => '?',
    };
    answer.types.as_ref().map(|types| types.iter().map(letter).collect())
}

fn shown_rows(answer: &Answer) -> Vec<String> {
    let cell = |cell: &Option<String>| match cell.as_deref() {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => without_runs_of_blanks(&text.replace('\n', "\\n")),
    };
    answer.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" ")).collect()
}

/// Rows may be written in columns.
fn without_runs_of_blanks(row: &str) -> String {
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn indented(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}
