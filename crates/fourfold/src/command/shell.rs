//! The shell of `fourfold sql`: lines into statements.
//!
//! What it is not: an editor. Whoever wants history and completion connects psql.
//!
//! What must hold: at a terminal Ctrl-C ends what is being typed or waited for, and not the shell; of a definition that
//! the server goes on with it is said that it does.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context as _, Result, bail};
use sql::split;
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;

use super::sql::Statements;
use crate::output::{ReaderGone, is_watched, prompt, report, say};

const HELP: &str = "\
A statement ends with a semicolon: CREATE SOURCE, CREATE MATERIALIZED VIEW, REFRESH MATERIALIZED VIEW, DROP, EXPLAIN,
SELECT, SHOW SOURCES, SHOW VIEWS, SHOW TOPICS.
  \\d    sources and views
  \\?    this help (or: help)
  \\q    the end (or: quit, exit, Ctrl-D)
For history and editing connect psql to the server's PostgreSQL door.";

/// Reads statements from standard input and runs them; an error does not end the shell.
///
/// # Errors
/// When a script (input that is not a terminal) had a statement that failed.
pub(crate) async fn run(statements: &Statements) -> Result<()> {
    let interactive = io::stdin().is_terminal() && is_watched();
    if interactive {
        say("A statement ends with a semicolon; \\? helps, \\q ends.");
    }
    let (mut pending, mut failed) = (Pending::default(), false);
    let mut lines = lines();
    loop {
        if interactive {
            prompt(if pending.is_empty() { "fourfold> " } else { "     ...> " });
        }
        let line = tokio::select! {
            line = lines.recv() => line.transpose().context("cannot read standard input")?,
            _ = ctrl_c(), if interactive => {
                // The terminal has dropped the line; what came before it goes too.
                pending = Pending::default();
                say("");
                continue;
            }
        };
        let at_end = line.is_none();
        let steps = match line {
            Some(line) => pending.read(&line),
            None => pending.finish(),
        };
        for step in steps {
            let outcome = match step {
                Step::Run(statement) => tokio::select! {
                    outcome = statements.execute(&statement) => outcome,
                    _ = ctrl_c(), if interactive => {
                        say(format!("\n{}", interrupted(&statement)));
                        Ok(())
                    }
                },
                Step::Help => {
                    say(HELP);
                    Ok(())
                }
                Step::Quit => return end(failed, interactive),
                Step::Refuse(error) => Err(error),
            };
            match outcome {
                Err(error) if error.is::<ReaderGone>() => return Err(error),
                Err(error) => {
                    report(&error, statements.as_json());
                    failed = true;
                }
                Ok(()) => {}
            }
        }
        if at_end {
            return end(failed, interactive);
        }
    }
}

/// The lines of standard input, read one ahead by a thread: a read of a terminal can wait for ever, and ends with the
/// process.
fn lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    lines
}

/// What becomes of a statement whose answer nobody waits for any more.
fn interrupted(statement: &str) -> &'static str {
    let word = statement.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    if ["create", "drop", "alter", "refresh"].contains(&word.as_str()) {
        "no longer waiting: the server goes on with this definition; SHOW VIEWS says how far it is"
    } else {
        "cancelled"
    }
}

// A script that failed halfway must not look like one that went through.
fn end(failed: bool, interactive: bool) -> Result<()> {
    if failed && !interactive { bail!("a statement failed") } else { Ok(()) }
}

/// What is to be done next.
#[derive(Debug)]
enum Step {
    Run(String),
    Help,
    Quit,
    Refuse(anyhow::Error),
}

/// What was read and is no whole statement yet.
#[derive(Debug, Default)]
struct Pending(String);

impl Pending {
    fn is_empty(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// Takes a line; returns what can be done now.
    fn read(&mut self, line: &str) -> Vec<Step> {
        if let Some(steps) = self.read_shell_command(line.trim()) {
            return steps;
        }
        self.0.push_str(line);
        self.0.push('\n');
        if line.contains(';') { self.take_complete() } else { Vec::new() }
    }

    /// The input has ended: what is left is a statement too.
    fn finish(&mut self) -> Vec<Step> {
        let text = std::mem::take(&mut self.0);
        match split(&text) {
            Ok(statements) => statements.into_iter().map(|statement| Step::Run(statement.to_owned())).collect(),
            Err(error) => vec![Step::Refuse(model::Error::from(error).into())],
        }
    }

    fn read_shell_command(&self, line: &str) -> Option<Vec<Step>> {
        let word = line.trim_end_matches(';').trim_end();
        let run = |sql: &str| Step::Run(sql.to_owned());
        match word {
            "quit" | "exit" if self.is_empty() => Some(vec![Step::Quit]),
            "help" if self.is_empty() => Some(vec![Step::Help]),
            _ if !word.starts_with('\\') || is_open(&self.0) => None,
            "\\q" => Some(vec![Step::Quit]),
            "\\?" | "\\h" => Some(vec![Step::Help]),
            "\\d" => Some(vec![run("SHOW SOURCES"), run("SHOW VIEWS")]),
            _ => Some(vec![Step::Refuse(anyhow::anyhow!("there is no {word} here; \\? says what there is"))]),
        }
    }

    fn take_complete(&mut self) -> Vec<Step> {
        // One more word: it stands alone if the last statement was ended, and otherwise belongs to it.
        let probe = format!("{}x", self.0);
        match split(&probe) {
            Ok(statements) => {
                let (last, complete) = statements.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
                let steps = complete.iter().map(|statement| Step::Run((*statement).to_owned())).collect();
                self.0 = last.strip_suffix('x').unwrap_or(last).to_owned();
                steps
            }
            Err(_) if is_open(&self.0) => Vec::new(),
            Err(error) => {
                self.0.clear();
                vec![Step::Refuse(model::Error::from(error).into())]
            }
        }
    }
}

// Whether a text ends within quotes or a comment, so that what looks like an end is none.
fn is_open(text: &str) -> bool {
    split(text).is_err() && ["'", "\"", "*/", "$$"].iter().any(|end| split(&format!("{text}{end}")).is_ok())
}

#[cfg(test)]
mod tests {
    //! Lines in, steps out.

    use super::{Pending, Step, interrupted};

    fn steps(lines: &[&str]) -> Vec<String> {
        let mut pending = Pending::default();
        let mut steps: Vec<Step> = lines.iter().flat_map(|line| pending.read(line)).collect();
        steps.extend(pending.finish());
        let told = |step: Step| match step {
            Step::Run(statement) => statement,
            Step::Help => "HELP".to_owned(),
            Step::Quit => "QUIT".to_owned(),
            Step::Refuse(error) => format!("REFUSE {error}"),
        };
        steps.into_iter().map(told).collect()
    }

    #[test]
    fn lines_become_statements() {
        for (lines, expected) in [
            (&["select 1; select 2;"][..], &["select 1", "select 2"][..]),
            (&["select", " 1", ";"], &["select\n 1"]),
            (&["select 1; select", "2; select 3"], &["select 1", "select\n2", "select 3"]),
            (&[";", ";;", "", "-- only a comment;"], &[]),
            (&["select ';", "\\q", "' as a;"], &["select ';\n\\q\n' as a"]),
            (&["select 1 -- not yet;", "+ 1;"], &["select 1 -- not yet;\n+ 1"]),
            (&["/* a;", "b; */ select 1;"], &["select 1"]),
            (&["select $$ a;", " b $$;"], &["select $$ a;\n b $$"]),
        ] {
            assert_eq!(steps(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_shell_has_a_few_words_of_its_own() {
        for (lines, expected) in [
            (&["help", "\\?", "help;"][..], &["HELP", "HELP", "HELP"][..]),
            (&["\\q"], &["QUIT"]),
            (&["quit;"], &["QUIT"]),
            (&["select 1", "\\q"], &["QUIT", "select 1"]),
            (&["\\d"], &["SHOW SOURCES", "SHOW VIEWS"]),
            (&["\\dt"], &["REFUSE there is no \\dt here; \\? says what there is"]),
            (&["select help", ";"], &["select help"]),
        ] {
            assert_eq!(steps(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn whoever_interrupts_a_definition_is_told_that_it_goes_on() {
        for (statement, goes_on) in [
            ("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 1", true),
            ("refresh\nmaterialized view v", true),
            ("DROP SOURCE s", true),
            ("SELECT 'create'", false),
            ("", false),
        ] {
            assert_eq!(interrupted(statement).contains("goes on"), goes_on, "{statement}");
        }
    }

    #[test]
    fn an_open_quote_at_the_end_is_refused() {
        let told = steps(&["select 'a;"]);
        assert!(matches!(&told[..], [refused] if refused.starts_with("REFUSE")), "{told:?}");
    }
}
