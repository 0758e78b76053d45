//! `fourfold status`: what runs, and how far behind it is.

use anyhow::Result;
use serde_json::json;

use super::sql;
use crate::door::{Http, print, say};

/// Prints readiness, then the views.
pub(crate) async fn run(http: &Http, as_json: bool) -> Result<()> {
    let ready = http.get("/readyz", &[]).await?;
    let views = http.post("/v1/sql", &json!({ "sql": "SHOW VIEWS" })).await?;
    let topics = http.get("/v1/topics", &[]).await?;
    if as_json {
        return print(json!({ "ready": ready, "views": views, "topics": topics }).to_string());
    }
    say("ready");
    say("\nviews");
    sql::show(&views, false)?;
    say("\ntopics");
    sql::execute(http, "SHOW TOPICS", None, false).await
}
