//! Every setting of the product as one typed structure.
//!
//! Built from four layers, later ones winning: the checked-in `config/default.toml`, a file, the environment
//! (`FOURFOLD_<SECTION>_<KEY>`), flags. Passed down as data; nothing reads it from a global.
//!
//! What must hold: every key exists in the default file (so the file is the list of settings), and an unknown key or
//! a value of the wrong type is an error that names the layer it came from.

use std::path::{Path, PathBuf};

use model::{Error, Result};
use serde::Deserialize;
use toml::{Table, Value};

/// The default file, as checked in.
pub(crate) const DEFAULTS: &str = include_str!("../../../config/default.toml");

const ENVIRONMENT_PREFIX: &str = "FOURFOLD_";

/// All settings; see `config/default.toml` for what each one means.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) data: Data,
    pub(crate) kafka: Kafka,
    pub(crate) pg: Pg,
    pub(crate) http: Http,
    pub(crate) log: Log,
    pub(crate) views: Views,
    pub(crate) lake: Lake,
    pub(crate) lambda: Lambda,
    pub(crate) events: Events,
}

macro_rules! section {
    ($name:ident { $($key:ident: $kind:ty),* $(,)? }) => {
        #[doc = concat!("The section of ", stringify!($name), " in the default file.")]
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name { $(pub(crate) $key: $kind,)* }
    };
}

section!(Data { directory: PathBuf });
section!(Kafka { host: String, port: u16, connections_max: usize, request_bytes_max: usize });
section!(Pg { host: String, port: u16, connections_max: usize, statement_timeout_ms: u64 });
section!(Http { host: String, port: u16, connections_max: usize, body_bytes_max: usize });
section!(Log { segment_bytes: u64, wal_file_bytes: u64, checkpoint_wal_bytes: u64 });
section!(Views { checkpoint_interval_ms: u64, read_bytes: usize });
section!(Lake { commit_interval_ms: u64, commit_rows: usize });
section!(Lambda { epoch_interval_ms: u64 });
section!(Events { topic: String });

impl Settings {
    /// Puts the layers together: the defaults, `file` if there is one, `environment`, then `flags` as
    /// (`section.key`, value).
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) for an unknown key or a value of the wrong type, naming its layer.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self> {
        let mut table: Table = DEFAULTS.parse().map_err(|e| Error::internal("the default settings").with_source(e))?;
        if let Some(path) = file {
            overlay_file(&mut table, path)?;
        }
        for (name, value) in environment {
            if let Some(key) = environment_key(&table, &name) {
                set(&mut table, &key, &value, &format!("environment variable {name}"))?;
            } else if names_no_setting(&name) {
                tracing::warn!(name, "an environment variable looks like a setting, and there is none of this name");
            }
        }
        for (key, value) in flags {
            set(&mut table, key, value, "flags")?;
        }
        table.try_into().map_err(|e: toml::de::Error| Error::invalid(format!("settings: {}", e.message())))
    }
}

fn overlay_file(table: &mut Table, path: &Path) -> Result<()> {
    let layer = format!("settings file {}", path.display());
    let text =
        std::fs::read_to_string(path).map_err(|e| Error::invalid(format!("cannot read {layer}")).with_source(e))?;
    let file: Table = text.parse().map_err(|e: toml::de::Error| Error::invalid(format!("{layer}: {e}")))?;
    for (section, values) in file {
        let Value::Table(values) = values else {
            return Err(Error::invalid(format!("{layer}: {section} is not a section")));
        };
        for (key, value) in values {
            replace(table, &format!("{section}.{key}"), value, &layer)?;
        }
    }
    Ok(())
}

// `FOURFOLD_KAFKA_PORT` names `kafka.port`. A section of ours with a key that it does not have is a slip of the pen;
// anything else with our prefix may be somebody else's.
fn environment_key(table: &Table, name: &str) -> Option<String> {
    let name = name.strip_prefix(ENVIRONMENT_PREFIX)?.to_ascii_lowercase();
    let (section, key) = name.split_once('_')?;
    table.contains_key(section).then(|| format!("{section}.{key}"))
}

// `FOURFOLD_KAFKA` and the like, without a key, are read by the commands that use them.
fn names_no_setting(name: &str) -> bool {
    name.strip_prefix(ENVIRONMENT_PREFIX).is_some_and(|name| name.contains('_'))
}

fn set(table: &mut Table, key: &str, text: &str, layer: &str) -> Result<()> {
    let value = text.parse::<i64>().map_or_else(|_| Value::String(text.to_owned()), Value::Integer);
    replace(table, key, value, layer)
}

fn replace(table: &mut Table, key: &str, value: Value, layer: &str) -> Result<()> {
    let slot = key.split_once('.').and_then(|(section, key)| table.get_mut(section)?.get_mut(key));
    let Some(slot) = slot else { return Err(unknown(table, key, layer)) };
    // A directory may be all digits, so text stays text whatever it looks like.
    let value = match (&*slot, value) {
        (Value::String(_), Value::Integer(number)) => Value::String(number.to_string()),
        (_, value) => value,
    };
    if !slot.same_type(&value) {
        let (expected, found) = (slot.type_str(), value.type_str());
        return Err(Error::invalid(format!("{layer}: {key} is of type {expected}, not {found}")));
    }
    *slot = value;
    // At once, while it is known whose value it is.
    let checked: Result<Settings, toml::de::Error> = table.clone().try_into();
    checked.map(drop).map_err(|error| Error::invalid(format!("{layer}: {key}: {}", error.message())))
}

fn unknown(table: &Table, key: &str, layer: &str) -> Error {
    let error = Error::invalid(format!("{layer}: there is no setting {key}"));
    let section = key.split_once('.').and_then(|(section, _)| Some((section, table.get(section)?.as_table()?)));
    let names = |table: &Table| table.keys().cloned().collect::<Vec<_>>().join(", ");
    error.with_hint(match section {
        Some((section, keys)) => format!("the settings of {section} are {}", names(keys)),
        None => format!("the sections are {}", names(table)),
    })
}

#[cfg(test)]
mod tests;
