//! `fourfold events`: read a stream, append an event.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::cli::{EventsArguments, EventsCommand};
use crate::door::{Http, path_segment};
use crate::output::{print, say};
use crate::table::{cell, count, table};

/// Reads or appends.
pub(crate) async fn run(arguments: EventsArguments, as_json: bool) -> Result<()> {
    let http = Http::new(&arguments.door);
    let (EventsCommand::Read { stream, .. } | EventsCommand::Append { stream, .. }) = &arguments.command;
    if stream.is_empty() {
        let error = model::Error::invalid("an empty text is no stream name");
        bail!(
            error.with_hint("a stream of an aggregate is called NAME-ID; GET /v1/streams lists those that there are")
        );
    }
    match arguments.command {
        EventsCommand::Read { stream, from, count } => read(&stream, from, count, &http, as_json).await,
        EventsCommand::Append { stream, event_type, data, expected } => {
            append(&stream, &event_type, &data, &expected, &http, as_json).await
        }
    }
}

async fn read(stream: &str, from: u64, limit: u32, http: &Http, as_json: bool) -> Result<()> {
    let query = [("from", from.to_string()), ("limit", limit.to_string())];
    let answer = http.get(&format!("/v1/streams/{}", path_segment(stream)), &query).await?;
    if as_json {
        return print(answer.to_string());
    }
    let columns = ["stream", "version", "type", "recorded_time", "data"];
    let events = answer.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    let row = |event: &Value| columns.iter().map(|column| cell(&event[*column])).collect();
    print(table(&columns.map(str::to_owned), &events.iter().map(row).collect::<Vec<_>>()))?;
    say(format!("({})", count(events.len(), "event")));
    Ok(())
}

async fn append(stream: &str, event_type: &str, data: &str, expected: &str, http: &Http, as_json: bool) -> Result<()> {
    let data: Value = serde_json::from_str(data).context("--data is not JSON")?;
    let expected = expected.parse::<u64>().map_or_else(|_| json!(expected), |version| json!(version));
    let request = json!({ "expected": expected, "events": [{ "type": event_type, "data": data }] });
    let answer = http.post(&format!("/v1/streams/{}", path_segment(stream)), &request).await?;
    if as_json {
        return print(answer.to_string());
    }
    say(format!("appended as version {}", cell(&answer["last_version"])));
    print(cell(&answer["positions"]))
}
