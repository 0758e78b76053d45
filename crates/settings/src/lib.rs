//! The settings as they are shipped: `config/default.toml`, the only place where a default stands.
//!
//! Each crate has one struct for its settings, which deserialises from its section of the file, and a `shipped()` that
//! reads it from there. Whoever runs the product lays files, environment and flags over the same table first.
//!
//! What it is not: a global. [`SHIPPED`] is a text; settings are values that are passed in.
//!
//! What must hold: a struct of settings has no other default than the file's, so that tests run what is delivered.

mod entry;
mod values;

use serde::de::DeserializeOwned;
use toml::Table;

pub use entry::{Entry, entries};
pub use values::{ip_address, milliseconds, optional_port, optional_text};

/// The file, as checked in.
pub const SHIPPED: &str = include_str!("../../../config/default.toml");

/// The file as a table of sections.
///
/// # Panics
/// Never: the file is checked in, and the tests read it.
#[must_use]
pub fn shipped() -> Table {
    SHIPPED.parse().expect("config/default.toml is TOML")
}

/// The settings of one section, as shipped.
///
/// # Panics
/// When the struct and the file's section do not fit each other, which the first test that reads them shows.
#[must_use]
pub fn section<T: DeserializeOwned>(name: &str) -> T {
    let section = shipped().remove(name).unwrap_or_else(|| panic!("config/default.toml has no section {name}"));
    section.try_into().unwrap_or_else(|error| panic!("section {name} of config/default.toml: {error}"))
}

#[cfg(test)]
mod tests;
