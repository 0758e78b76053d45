//! `fourfold replay`: rebuild a view from the log, in the place of the old one or beside it, with a progress bar.

use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use model::Error;
use serde_json::{Value, json};

use super::sql;
use crate::cli::ReplayArguments;
use crate::door::Http;
use crate::output::{is_watched, print, say};
use crate::table::{cell, count};

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Rebuilds the view, or another version beside it, and waits until that answers.
///
/// # Errors
/// What the server says; [`Conflict`](model::ErrorKind::Conflict) when versions were compared and differ.
pub(crate) async fn run(arguments: &ReplayArguments, as_json: bool) -> Result<()> {
    let (view, http) = (arguments.view.as_str(), Http::new(&arguments.door));
    let request = json!({ "sql": statement(arguments) });
    let replay = http.post("/v1/sql", &request);
    tokio::pin!(replay);
    let bar = progress_bar();
    let mut looks = tokio::time::interval(POLL_INTERVAL);
    let answer = loop {
        tokio::select! {
            answer = &mut replay => break answer?,
            _ = looks.tick() => show_progress(&bar, view, &http).await,
        }
    };
    bar.finish_and_clear();
    if as_json {
        print(answer.to_string())?;
    } else {
        tell(arguments, &answer)?;
    }
    let differing = answer.get("rows").and_then(Value::as_array).map_or(0, Vec::len);
    if differing > 0 {
        let versions = format!("the versions of view {view} differ in {}", count(differing, "row"));
        return Err(Error::conflict(versions).into());
    }
    Ok(())
}

fn statement(arguments: &ReplayArguments) -> String {
    let view = format!("\"{}\"", arguments.view.replace('"', "\"\""));
    if !arguments.is_beside() {
        return format!("REFRESH MATERIALIZED VIEW {view}");
    }
    let text = |text: &String| format!("'{}'", text.replace('\'', "''"));
    let clauses = [
        arguments.from.as_ref().map(|place| format!("FROM {}", text(place))),
        arguments.to.as_ref().map(|place| format!("TO {}", text(place))),
        arguments.compare.map(|version| match version {
            Some(version) => format!("COMPARE VERSION {version}"),
            None => "COMPARE".to_owned(),
        }),
        arguments.keep.as_ref().map(|time| format!("WITH (keep = {})", text(time))),
    ];
    let clauses = clauses.into_iter().flatten().map(|clause| format!(" {clause}"));
    format!("REPLAY MATERIALIZED VIEW {view}{}", clauses.collect::<String>())
}

fn tell(arguments: &ReplayArguments, answer: &Value) -> Result<()> {
    let view = &arguments.view;
    if arguments.compare.is_some() {
        let positions = answer.get("positions").map(cell).filter(|text| !text.is_empty());
        let positions = positions.unwrap_or_else(|| "the start".to_owned());
        match answer.get("rows").and_then(Value::as_array) {
            Some(rows) if !rows.is_empty() => print(sql::rows(answer, &[]))?,
            _ => say(format!("{view} is the same when it is replayed, up to {positions}")),
        }
    } else if arguments.is_beside() {
        for notice in answer.get("notices").and_then(Value::as_array).into_iter().flatten() {
            say(cell(notice));
        }
    } else {
        say(format!("{view} was rebuilt from the log and swapped in"));
    }
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
    let beside = format!("{view}@");
    let names = sql::column(&answer, "view").into_iter();
    for (name, state) in names.zip(sql::column(&answer, "state")) {
        let is_at_work = (name == view && state.starts_with("rebuilding"))
            || (name.starts_with(&beside) && state.starts_with("building"));
        let percent = state.split_whitespace().nth(1).and_then(|share| share.trim_end_matches('%').parse().ok());
        if let (true, Some(percent)) = (is_at_work, percent) {
            let rest = state.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
            bar.set_message(format!("rebuilding {view} {rest}"));
            bar.set_position(percent);
        }
    }
}

#[cfg(test)]
mod tests {
    //! What is asked of the server.

    use clap::Parser as _;

    use super::statement;
    use crate::cli::{Cli, Command};

    #[track_caller]
    fn check(arguments: &[&str], expected: &str) {
        let cli = Cli::try_parse_from(["fourfold", "replay"].iter().chain(arguments)).unwrap();
        let Command::Replay(arguments) = cli.command else { panic!("another command") };
        assert_eq!(statement(&arguments), expected);
    }

    #[test]
    fn what_is_asked_for_is_said_in_sql() {
        check(&["v"], "REFRESH MATERIALIZED VIEW \"v\"");
        check(&["v", "--compare"], "REPLAY MATERIALIZED VIEW \"v\" COMPARE");
        check(
            &["--compare", "3", "--keep", "2 hours", "v"],
            "REPLAY MATERIALIZED VIEW \"v\" COMPARE VERSION 3 WITH (keep = '2 hours')",
        );
        check(
            &["it's", "--from", "2024-01-01", "--to", "t/0:5"],
            "REPLAY MATERIALIZED VIEW \"it's\" FROM '2024-01-01' TO 't/0:5'",
        );
        assert!(Cli::try_parse_from(["fourfold", "replay", "v", "--compare", "--from", "2024-01-01"]).is_err());
    }
}
