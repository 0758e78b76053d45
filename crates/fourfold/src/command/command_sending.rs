//! `fourfold command`: send a command to an aggregate.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::events::path_segment;
use crate::cli::CommandArguments;
use crate::door::{Http, cell, print, say};

/// Sends the command and says what became of it.
pub(crate) async fn run(arguments: CommandArguments, http: &Http, as_json: bool) -> Result<()> {
    let data: Value = serde_json::from_str(&arguments.data).context("the command's data is not JSON")?;
    let mut request = json!({ "type": arguments.command_type, "data": data });
    if let Some(id) = arguments.command_id {
        request["command_id"] = id.into();
    }
    let path = format!("/v1/commands/{}/{}", path_segment(&arguments.aggregate), path_segment(&arguments.id));
    let answer = http.post(&path, &request).await?;
    if as_json {
        return print(answer.to_string());
    }
    let events = answer["events"].as_array().cloned().unwrap_or_default();
    let types: Vec<String> = events.iter().map(|event| cell(&event["type"])).collect();
    say(format!("accepted: {} (position {})", types.join(", "), cell(&answer["positions"])));
    Ok(())
}
