//! The layers of settings, later ones winning: the checked-in `config/default.toml`, a file, the environment
//! (`FOURFOLD_<SECTION>_<KEY>`), flags.
//!
//! What must hold: every key exists in the default file (so the file is the list of settings), and an unknown key or
//! a value of the wrong type is an error that names the layer it came from.

use std::collections::BTreeMap;
use std::path::Path;

use ::settings::{Entry, entries};
use model::{Error, Result};
use toml::{Table, Value};

use super::Settings;

const ENVIRONMENT_PREFIX: &str = "FOURFOLD_";

/// The layers, laid over each other.
pub(crate) struct Layers {
    table: Table,
    /// Which layer a key's value is from, where it is not the default file.
    origins: BTreeMap<String, String>,
}

/// One setting in force.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// `section.key`.
    pub(crate) key: String,
    /// Its value, as TOML.
    pub(crate) value: String,
    /// The layer that it is from.
    pub(crate) origin: String,
    /// What it means.
    pub(crate) meaning: String,
}

impl Layers {
    /// Lays `file` if there is one, `environment`, then `flags` as (`section.key`, value) over the defaults.
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) for an unknown key or a value of the wrong type, naming its layer.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self> {
        let mut layers = Self { table: ::settings::shipped(), origins: BTreeMap::new() };
        if let Some(path) = file {
            layers.overlay_file(path)?;
        }
        for (name, value) in environment {
            if let Some(key) = environment_key(&layers.table, &name) {
                layers.set(&key, &value, &format!("environment variable {name}"))?;
            } else if names_no_setting(&name) {
                tracing::warn!(name, "an environment variable looks like a setting, and there is none of this name");
            }
        }
        for (key, value) in flags {
            layers.set(key, value, "flags")?;
        }
        Ok(layers)
    }

    /// The settings in force.
    ///
    /// # Errors
    /// [`Invalid`](model::ErrorKind::Invalid) for a value that its setting cannot have.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let settings: Result<Settings, toml::de::Error> = self.table.clone().try_into();
        settings.map_err(|error| Error::invalid(format!("settings: {}", error.message())))
    }

    /// Each setting with its value, in the order of the default file.
    pub(crate) fn list(&self) -> Vec<Setting> {
        let setting = |Entry { section, key, meaning }: Entry| {
            let value = self.table.get(section).and_then(|values| values.get(key));
            let key = format!("{section}.{key}");
            Setting {
                value: value.map(Value::to_string).unwrap_or_default(),
                origin: self.origins.get(&key).cloned().unwrap_or_else(|| "default".to_owned()),
                meaning: meaning.to_owned(),
                key,
            }
        };
        entries().map(setting).collect()
    }

    fn overlay_file(&mut self, path: &Path) -> Result<()> {
        let layer = format!("settings file {}", path.display());
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::invalid(format!("cannot read {layer}")).with_source(e))?;
        let file: Table = text.parse().map_err(|e: toml::de::Error| Error::invalid(format!("{layer}: {e}")))?;
        for (section, values) in file {
            let Value::Table(values) = values else {
                return Err(Error::invalid(format!("{layer}: {section} is not a section")));
            };
            for (key, value) in values {
                self.replace(&format!("{section}.{key}"), value, &layer)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, text: &str, layer: &str) -> Result<()> {
        self.replace(key, value_of(text), layer)
    }

    fn replace(&mut self, key: &str, value: Value, layer: &str) -> Result<()> {
        let slot = key.split_once('.').and_then(|(section, key)| self.table.get_mut(section)?.get_mut(key));
        let Some(slot) = slot else { return Err(unknown(&self.table, key, layer)) };
        // A directory may be all digits, so text stays text whatever it looks like; and a list may have one entry.
        let value = match (&*slot, value) {
            (Value::String(_), Value::Integer(number)) => Value::String(number.to_string()),
            (Value::String(_), Value::Boolean(truth)) => Value::String(truth.to_string()),
            (Value::Array(_), Value::String(text)) => {
                Value::Array(text.split(',').map(|entry| Value::String(entry.trim().to_owned())).collect())
            }
            (_, value) => value,
        };
        if !slot.same_type(&value) {
            let (expected, found) = (slot.type_str(), value.type_str());
            return Err(Error::invalid(format!("{layer}: {key} is of type {expected}, not {found}")));
        }
        *slot = value;
        self.origins.insert(key.to_owned(), layer.to_owned());
        // At once, while it is known whose value it is.
        let checked: Result<Settings, toml::de::Error> = self.table.clone().try_into();
        checked.map(drop).map_err(|error| Error::invalid(format!("{layer}: {key}: {}", error.message())))
    }
}

// Environment and flags are texts; what they mean follows from how they look, and from the setting's type.
fn value_of(text: &str) -> Value {
    let number = text.parse().map(Value::Integer).ok();
    number.or_else(|| text.parse().map(Value::Boolean).ok()).unwrap_or_else(|| Value::String(text.to_owned()))
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

fn unknown(table: &Table, key: &str, layer: &str) -> Error {
    let error = Error::invalid(format!("{layer}: there is no setting {key}"));
    let section = key.split_once('.').and_then(|(section, _)| Some((section, table.get(section)?.as_table()?)));
    let names = |table: &Table| table.keys().cloned().collect::<Vec<_>>().join(", ");
    error.with_hint(match section {
        Some((section, keys)) => format!("the settings of {section} are {}", names(keys)),
        None => format!("the sections are {}", names(table)),
    })
}
