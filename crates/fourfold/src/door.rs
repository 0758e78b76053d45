//! The doors of a running server, as the command line uses them, and how results and errors are shown.
//!
//! What it is not: a client library. Records go through [`broker::client`], everything else through HTTP.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

/// The HTTP door of a running server.
pub(crate) struct Http {
    base: String,
    client: reqwest::Client,
}

impl Http {
    /// The door at `address` (`host:port`).
    pub(crate) fn new(address: &str) -> Self {
        Self { base: format!("http://{address}"), client: reqwest::Client::new() }
    }

    /// `GET path`
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value> {
        self.send(self.client.get(format!("{}{path}", self.base)).query(query)).await
    }

    /// `POST path` with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let response = request.send().await.map_err(|e| {
            let unreachable = model::Error::unavailable(format!("no server answers at {}", self.base)).with_source(e);
            anyhow!(unreachable.with_hint("start one with: fourfold dev, or name it with --http HOST:PORT"))
        })?;
        let status = response.status();
        let text = response.text().await.context("the answer broke off")?;
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        if status.is_success() { Ok(body) } else { Err(problem(&body, status.as_u16())) }
    }
}

// An error body (RFC 9457) back into an error; the kind only matters on the server's side.
fn problem(body: &Value, status: u16) -> anyhow::Error {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let message =
        text("detail").or_else(|| text("title")).map_or_else(|| format!("status {status}: {body}"), str::to_owned);
    let error = model::Error::invalid(message);
    anyhow!(match text("hint") {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}

/// Shows an error to a person, on standard error.
pub(crate) fn report(error: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    // Nothing can be done about a broken standard error.
    let _ = writeln!(out, "error: {error:#}");
    if let Some(hint) = error.downcast_ref::<model::Error>().and_then(model::Error::hint) {
        let _ = writeln!(out, " hint: {hint}");
    }
}

/// Says something to a person, on standard error.
pub(crate) fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
}

/// Writes a line of data to standard output.
///
/// # Errors
/// When standard output is closed; the reader has gone and there is no more to do.
pub(crate) fn print(line: impl AsRef<str>) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{}", line.as_ref()).context("standard output is closed")
}

/// Whether a person watches standard error.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Lays rows out as a table under their column names.
pub(crate) fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells.chain(columns.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    [line(columns), line(&rule)].into_iter().chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

/// A JSON value as it should stand in a table's cell.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
