//! `fourfold replay`: rebuild a view from the log beside the old one, with a progress bar.

use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::door::Http;
use crate::output::{is_watched, print, say};
use crate::table::cell;

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Rebuilds `view` and waits until the new version answers.
pub(crate) async fn run(view: &str, http: &Http, as_json: bool) -> Result<()> {
    let quoted = format!("\"{}\"", view.replace('"', "\"\""));
    let request = json!({ "sql": format!("REFRESH MATERIALIZED VIEW {quoted}") });
    let refresh = http.post("/v1/sql", &request);
    tokio::pin!(refresh);
    let bar = progress_bar();
    let mut looks = tokio::time::interval(POLL_INTERVAL);
    let answer = loop {
        tokio::select! {
            answer = &mut refresh => break answer?,
            _ = looks.tick() => show_progress(&bar, view, http).await,
        }
    };
    bar.finish_and_clear();
    if as_json {
        return print(answer.to_string());
    }
    say(format!("{view} was rebuilt from the log and swapped in"));
    Ok(())
}

fn progress_bar() -> ProgressBar {
    if !is_watched() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {percent}%").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(100).with_style(style)
}

// The bar is a courtesy: when the state cannot be read, it simply stands still.
async fn show_progress(bar: &ProgressBar, view: &str, http: &Http) {
    let Ok(answer) = http.post("/v1/sql", &json!({ "sql": "SHOW VIEWS" })).await else { return };
    let rows = answer.get("rows").and_then(Value::as_array).into_iter().flatten();
    for row in rows.filter_map(Value::as_array) {
        if row.first().is_some_and(|name| cell(name) == view) {
            let state = row.iter().map(cell).find(|cell| cell.starts_with("rebuilding"));
            let percent = state.and_then(|s| s.split_whitespace().nth(1)?.trim_end_matches('%').parse().ok());
            bar.set_message(format!("rebuilding {view}"));
            bar.set_position(percent.unwrap_or(0));
        }
    }
}
