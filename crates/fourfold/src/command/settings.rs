//! `fourfold settings`: every setting with the value in force, where it is from, and what it means.

use anyhow::Result;
use serde_json::json;

use crate::cli::SettingsArguments;
use crate::output::print;
use crate::settings::Layers;
use crate::table::table;

/// Prints what `dev` would run with, given the same file and environment.
pub(crate) fn run(arguments: &SettingsArguments, as_json: bool) -> Result<()> {
    let settings = Layers::load(arguments.config.as_deref(), std::env::vars(), &[])?.list();
    if as_json {
        let rows = settings.iter().map(|setting| {
            json!({
                "setting": setting.key, "value": setting.value, "origin": setting.origin, "meaning": setting.meaning,
            })
        });
        return print(serde_json::Value::from(rows.collect::<Vec<_>>()).to_string());
    }
    let columns = ["setting", "value", "from", "meaning"].map(str::to_owned);
    let rows = settings.into_iter().map(|setting| vec![setting.key, setting.value, setting.origin, setting.meaning]);
    print(table(&columns, &rows.collect::<Vec<_>>()))
}
