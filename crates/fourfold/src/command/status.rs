//! `fourfold status`: what runs, and how far behind it is.
//!
//! What must hold: it says most when something is wrong; a server that is not ready is still described, and the exit
//! code says that it is not ready, or that a view has failed. What else is degraded is said, and is no failure.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::sql;
use crate::door::Http;
use crate::output::{print, say};
use crate::table::cell;

/// Prints the views, the sources and the topics; fails when a part of the server is not ready, or a view has failed.
pub(crate) async fn run(http: &Http, as_json: bool) -> Result<()> {
    let ready = http.look("/readyz").await?;
    let views = http.post("/v1/sql", &json!({ "sql": "SHOW VIEWS" })).await?;
    let sources = http.post("/v1/sql", &json!({ "sql": "SHOW SOURCES" })).await?;
    if as_json {
        let topics = http.get("/v1/topics", &[]).await?;
        print(json!({ "ready": ready, "views": views, "sources": sources, "topics": topics }).to_string())?;
    } else {
        let topics = http.post("/v1/sql", &json!({ "sql": "SHOW TOPICS" })).await?;
        // The text of a view is what it is, not how it is doing.
        let (views, topics) = (sql::rows(&views, &["definition"]), sql::rows(&topics, &[]));
        let shown = sql::rows(&sources, &["definition", "warning"]);
        print(format!("views\n{views}\n\nsources\n{shown}\n\ntopics\n{topics}"))?;
        // A sentence is too wide for a table.
        for (source, warning) in sql::column(&sources, "source").iter().zip(sql::column(&sources, "warning")) {
            if !warning.is_empty() {
                say(format!("warning: source {source}: {warning}"));
            }
        }
    }
    let parts = ready.get("parts").and_then(Value::as_array).cloned().unwrap_or_default();
    let those = |member: &'static str, is: bool| parts.iter().filter(move |part| part[member] == json!(is));
    let (failed, lacking): (Vec<&Value>, Vec<&Value>) = those("degraded", true).partition(|part| is_view(part));
    lacking.into_iter().for_each(|part| say(format!("warning: {}", complaint(part))));
    let unready: Vec<String> = those("ready", false).map(|part| format!("not ready: {}", complaint(part))).collect();
    let failed = failed.into_iter().map(complaint);
    let wrong: Vec<String> = unready.into_iter().chain(failed).collect();
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
}

// The other parts have names of one word. A view is degraded by nothing but that it has failed.
fn is_view(part: &Value) -> bool {
    cell(&part["name"]).starts_with("view ")
}

fn complaint(part: &Value) -> String {
    let note = part.get("note").filter(|note| !note.is_null()).map(cell);
    format!("{}: {}", cell(&part["name"]), note.unwrap_or_else(|| "not ready".to_owned()))
}
