//! `fourfold sql`: one text, a file, or a shell, through the HTTP door.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cli::SqlArguments;
use crate::door::{Http, cell, print, report, say, table};

/// Runs the text, the file, or the shell.
pub(crate) async fn run(arguments: SqlArguments, http: &Http, as_json: bool) -> Result<()> {
    let position = arguments.min_position.as_deref();
    let text = match (arguments.command, arguments.file) {
        (Some(text), _) => text,
        (None, Some(file)) => {
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?
        }
        (None, None) => return shell(http, position, as_json).await,
    };
    for statement in streaming::sql::split(&text).map_err(model::Error::from)? {
        execute(http, statement, position, as_json).await?;
    }
    Ok(())
}

/// Runs one statement and prints its result.
pub(crate) async fn execute(http: &Http, sql: &str, min_position: Option<&str>, as_json: bool) -> Result<()> {
    let mut request = json!({ "sql": sql });
    if let Some(position) = min_position {
        request["min_position"] = position.into();
    }
    show(&http.post("/v1/sql", &request).await?, as_json)
}

/// Prints the answer of a SQL request.
pub(crate) fn show(answer: &Value, as_json: bool) -> Result<()> {
    if as_json {
        return print(answer.to_string());
    }
    let list = |key: &str| answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let columns: Vec<String> =
        list("columns").iter().filter_map(|c| Some(c.get("name")?.as_str()?.to_owned())).collect();
    if columns.is_empty() {
        say(answer.get("tag").and_then(Value::as_str).unwrap_or("done"));
    } else {
        let rows: Vec<Vec<String>> =
            list("rows").iter().map(|row| row.as_array().into_iter().flatten().map(cell).collect()).collect();
        print(table(&columns, &rows))?;
        say(format!("({} rows)", rows.len()));
    }
    if let Some(positions) = answer.get("positions").and_then(Value::as_str).filter(|text| !text.is_empty()) {
        say(format!("position {positions}"));
    }
    for notice in list("notices") {
        say(format!("notice: {}", cell(&notice)));
    }
    Ok(())
}

// Statements end with a semicolon at the end of a line; an error does not end the shell.
async fn shell(http: &Http, min_position: Option<&str>, as_json: bool) -> Result<()> {
    let interactive = std::io::stdin().is_terminal();
    if interactive {
        say(
            "SQL ends with a semicolon; \\q or Ctrl-D ends the shell. For history and editing use psql -h 127.0.0.1 -p 5433",
        );
    }
    let mut statement = String::new();
    let mut failed = false;
    for line in std::io::stdin().lock().lines() {
        let line = line.context("cannot read standard input")?;
        if statement.is_empty() && matches!(line.trim(), "\\q" | "quit" | "exit") {
            break;
        }
        statement.push_str(&line);
        statement.push('\n');
        if line.trim_end().ends_with(';') {
            if let Err(error) = execute(http, &statement, min_position, as_json).await {
                report(&error);
                failed = true;
            }
            statement.clear();
        }
    }
    if !statement.trim().is_empty() {
        execute(http, &statement, min_position, as_json).await?;
    }
    // A script that failed halfway must not look like one that went through.
    if failed && !interactive { anyhow::bail!("a statement failed") } else { Ok(()) }
}
