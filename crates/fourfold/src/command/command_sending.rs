//! `fourfold command`: send a command to an aggregate.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cli::CommandArguments;
use crate::door::{Http, path_segment};
use crate::output::{print, say};
use crate::table::cell;

/// Sends the command, says what became of it, and prints the position after it.
pub(crate) async fn run(arguments: CommandArguments, as_json: bool) -> Result<()> {
    let data: Value = serde_json::from_str(&arguments.data).context("the command's data is not JSON")?;
    let mut request = json!({ "type": arguments.command_type, "data": data });
    if let Some(id) = arguments.command_id {
        request["command_id"] = id.into();
    }
    let path = format!("/v1/commands/{}/{}", path_segment(&arguments.aggregate), path_segment(&arguments.id));
    let answer = Http::new(&arguments.door).post(&path, &request).await?;
    if as_json {
        return print(answer.to_string());
    }
    let events = answer["events"].as_array().cloned().unwrap_or_default();
    let types: Vec<String> = events.iter().map(|event| cell(&event["type"])).collect();
    let before = if answer["duplicate"] == json!(true) { " before, by the same command id" } else { "" };
    say(format!("accepted{before}: {}", types.join(", ")));
    print(cell(&answer["positions"]))
}
