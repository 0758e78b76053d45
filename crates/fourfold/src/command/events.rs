//! `fourfold events`: read a stream, append an event.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cli::EventsCommand;
use crate::door::{Http, cell, print, say, table};

/// Reads or appends.
pub(crate) async fn run(command: EventsCommand, http: &Http, as_json: bool) -> Result<()> {
    match command {
        EventsCommand::Read { stream, from, count } => read(&stream, from, count, http, as_json).await,
        EventsCommand::Append { stream, event_type, data, expected } => {
            append(&stream, &event_type, &data, &expected, http, as_json).await
        }
    }
}

async fn read(stream: &str, from: u64, count: u32, http: &Http, as_json: bool) -> Result<()> {
    let query = [("from", from.to_string()), ("limit", count.to_string())];
    let answer = http.get(&format!("/v1/streams/{}", path_segment(stream)), &query).await?;
    if as_json {
        return print(answer.to_string());
    }
    let columns = ["stream", "version", "type", "recorded_time", "data"];
    let events = answer.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    let row = |event: &Value| columns.iter().map(|column| cell(&event[*column])).collect();
    print(table(&columns.map(str::to_owned), &events.iter().map(row).collect::<Vec<_>>()))?;
    say(format!("({} events)", events.len()));
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
    say(format!("appended as version {} at position {}", cell(&answer["last_version"]), cell(&answer["positions"])));
    Ok(())
}

/// Escapes what may not stand in one segment of a URL's path (RFC 3986).
pub(crate) fn path_segment(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~$!'()*+,;=:@".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
