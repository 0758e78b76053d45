//! `fourfold backup`: a copy of all data, by the server that has it open, or of a folder that nobody has open.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use eventlog::{EmbeddedLog, EventLog};
use model::{Error, Metrics, SystemClock, SystemEntropy};
use patterns::Deployment;
use serde_json::{Value, json};

use crate::backup::Backup;
use crate::cli::BackupArguments;
use crate::door::Http;
use crate::identity::{self, Identity};
use crate::output::{print, say};
use crate::settings::Settings;
use crate::table::cell;

/// Makes the copy and says what it is.
pub(crate) async fn run(arguments: BackupArguments, as_json: bool) -> Result<()> {
    // The server has another working folder.
    let target = std::path::absolute(&arguments.target).context("cannot tell where the folder is")?;
    let report = match arguments.data_dir {
        Some(data) => offline(&data, &target).await?,
        None => {
            let target = target.to_str().ok_or_else(|| Error::invalid("the folder's path is not valid UTF-8"))?;
            Http::new(&arguments.door).post("/v1/backup", &json!({ "directory": target })).await?
        }
    };
    if as_json {
        return print(report.to_string());
    }
    let [id, copy_of, files, bytes] = ["id", "copy_of", "files", "bytes"].map(|member| cell(&report[member]));
    let damage = report["damage"].as_array().map_or(&[][..], Vec::as_slice);
    damage.iter().for_each(|damaged| say(format!("warning: {}", cell(damaged))));
    let whole = if damage.is_empty() { "it is whole" } else { "it is whole but for that" };
    say(format!("copied {files} files, {bytes} bytes, and opened the copy once: {whole}"));
    print(format!("{} is {id}, a copy of {copy_of}", target.display()))
}

// Whoever opens the log holds it, so that nobody else has the folder open meanwhile.
async fn offline(data: &Path, target: &Path) -> Result<Value> {
    identity::refuse_unfinished(data)?;
    if !data.join("log").is_dir() {
        return Err(Error::not_found(format!("there is no data in {}", data.display())).into());
    }
    let settings = Settings::load(None, std::env::vars(), &[])?;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let (directory, log_settings) = (data.join("log"), settings.log.clone());
    let log = EmbeddedLog::open(&directory, log_settings, Arc::clone(&clock) as _, Metrics::default()).await;
    let log = log.map_err(Error::from)?;
    let identity = Identity::of(data, entropy.as_ref(), clock.as_ref())?;
    let known_damage = log.damage().len();
    let catalogue = data.join("catalogue.redb");
    let dynamic: Arc<dyn EventLog> = Arc::clone(&log) as _;
    Deployment::require_catalogue(&catalogue, dynamic.as_ref(), settings.data.begin_without_catalogue)?;
    let backup = Backup { data: data.to_owned(), identity, log: settings.log, clock, entropy, known_damage };
    let made = backup.make(target.to_owned(), move |to| patterns::copy_catalogue(&catalogue, to)).await;
    log.close().await.map_err(Error::from)?;
    Ok(serde_json::to_value(made?)?)
}
