//! Where a backup may be asked for, and that there is one at a time.

use std::path::PathBuf;

use serde_json::json;

use super::{super::BackupReport, Door};

/// What this door's server makes: one that takes for ever in `slow`, and none in `taken`.
pub(super) async fn made(target: PathBuf) -> model::Result<BackupReport> {
    if target.ends_with("slow") {
        std::future::pending::<()>().await;
    }
    if target.ends_with("taken") {
        return Err(model::Error::conflict("the folder is not empty"));
    }
    let (id, positions) = (target.display().to_string(), "t/0:7".parse()?);
    Ok(BackupReport { id, copy_of: "original".to_owned(), files: 2, bytes: 3, damage: Vec::new(), positions })
}

#[tokio::test]
async fn a_backup_is_made_in_an_absolute_folder_and_alone() {
    let door = Door::open().await;
    let ask = "POST /v1/backup";
    let expected = json!({ "id": "/copies/1", "copy_of": "original", "files": 2, "bytes": 3, "positions": "t/0:7" });
    door.check(ask, Some(r#"{"directory": "/copies/1"}"#), 201, expected).await;
    for wrong in [r#"{"directory": "copies/1"}"#, r#"{"directory": ""}"#, r#"{"folder": "/x"}"#] {
        door.check(ask, Some(wrong), 400, json!({})).await;
    }
    let other = r#"{"directory": "/copies/2"}"#;
    let refused = async { while door.ask(ask, Some(other)).await.status != 409 {} };
    let mut refused = std::pin::pin!(refused);
    loop {
        tokio::select! {
            // It met the other one, which was quicker.
            _ = door.ask(ask, Some(r#"{"directory": "/copies/slow"}"#)) => {}
            () = &mut refused => break,
        }
    }
    // Whoever asked has gone away, and the work goes on.
    door.check(ask, Some(other), 409, json!({ "detail": "another backup is being made" })).await;
}
