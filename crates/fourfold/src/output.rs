//! Standard output and standard error: data goes to the one, everything that is said to a person to the other.
//!
//! What must hold: data passes as it is to a file or a pipe; on a terminal nothing in it can command the terminal.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};

use crate::door::Refusal;

/// Whoever read standard output has gone; there is no more to do, and nothing to complain about.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of standard output has gone")
    }
}

impl std::error::Error for ReaderGone {}

/// Writes a line of data to standard output.
///
/// # Errors
/// [`ReaderGone`] when nobody reads any more, and what the system says when it cannot be written.
pub(crate) fn print(line: impl AsRef<str>) -> Result<()> {
    print_bytes(line.as_ref().as_bytes())
}

/// Writes data and a line feed to standard output, byte for byte unless it is a terminal.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    let shown = if out.is_terminal() { Cow::Owned(visible(bytes).into_bytes()) } else { Cow::Borrowed(bytes) };
    let written = out.write_all(&shown).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => anyhow!(ReaderGone),
        _ => anyhow!(error).context("cannot write to standard output"),
    })
}

/// Says something to a person, on standard error.
pub(crate) fn say(line: impl AsRef<str>) {
    // Nothing can be done about a broken standard error.
    let _ = writeln!(io::stderr().lock(), "{}", line.as_ref());
}

/// Asks a person for a line, on standard error.
pub(crate) fn prompt(text: &str) {
    let mut out = io::stderr().lock();
    // As above.
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// Whether a person watches standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Shows an error on standard error: to a person, or as one JSON document to a program.
pub(crate) fn report(error: &anyhow::Error, as_json: bool) {
    if as_json {
        return say(json!({ "error": members(error) }).to_string());
    }
    say(format!("error: {}", message(error)));
    if let Some(hint) = members(error).get("hint").and_then(Value::as_str) {
        say(format!(" hint: {hint}"));
    }
}

/// What a program should know of an error: its kind, the message, a hint where there is one, and whatever else the
/// server told.
pub(crate) fn members(error: &anyhow::Error) -> Map<String, Value> {
    let mut members = Map::new();
    // What went wrong on this side, and has no kind of its own.
    members.insert("kind".to_owned(), "failed".into());
    for cause in error.chain() {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            members.extend(refusal.members());
        } else if let Some(error) = cause.downcast_ref::<model::Error>() {
            members.insert("kind".to_owned(), error.kind().name().into());
            members.extend(error.hint().map(|hint| ("hint".to_owned(), hint.into())));
        }
    }
    members.insert("message".to_owned(), message(error).into());
    members
}

// The message and its causes; one that says its causes itself is not repeated.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| match cause.to_string() {
        cause if told.is_empty() => cause,
        cause if told.contains(&cause) => told,
        cause => format!("{told}: {cause}"),
    })
}

// Control characters but tabs and line feeds, and bytes that are no text, as escapes.
fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => text.push(c),
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        text.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    //! Errors as they are told, and what a terminal is spared.

    use anyhow::Context as _;
    use serde_json::json;

    use super::{members, message, visible};

    #[test]
    fn a_terminal_is_not_commanded_by_data() {
        for (bytes, expected) in [
            (&b"plain \xc3\xa4\ttext\n"[..], "plain \u{e4}\ttext\n"),
            (b"\x1b[2Jgone\r", "\\u{1b}[2Jgone\\r"),
            (b"a\xff\xfez", "a\\xff\\xfez"),
        ] {
            assert_eq!(visible(bytes), expected);
        }
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = || std::io::Error::other("disk on fire");
        let told = model::Error::internal("cannot write").with_source(cause());
        assert_eq!(message(&anyhow::Error::new(told).context("kappa")), "kappa: cannot write: disk on fire");
        let untold = Err::<(), _>(cause()).context("cannot write").unwrap_err();
        assert_eq!(message(&untold), "cannot write: disk on fire");
    }

    #[test]
    fn an_error_is_complete_for_programs() {
        let error = anyhow::Error::new(model::Error::conflict("taken").with_hint("choose another")).context("creating");
        let expected = json!({ "kind": "conflict", "message": "creating: taken", "hint": "choose another" });
        assert_eq!(json!(members(&error)), expected);
        assert_eq!(json!(members(&anyhow::anyhow!("no"))), json!({ "kind": "failed", "message": "no" }));
    }
}
