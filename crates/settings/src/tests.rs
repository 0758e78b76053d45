//! What every entry of the file has.

use std::time::Duration;

use serde::Deserialize;

use super::{entries, milliseconds, section, shipped};

#[test]
fn every_setting_has_its_meaning_beside_it() {
    for entry in entries() {
        assert!(!entry.meaning.is_empty(), "{entry:?}");
    }
}

#[test]
fn a_setting_that_is_a_quantity_says_its_unit() {
    for (section, values) in &shipped() {
        let values = values.as_table().unwrap();
        for (key, value) in values.iter().filter(|(_, value)| value.is_integer()) {
            let named = key.split('_').any(|word| UNITS.contains(&word));
            assert!(named, "{section}.{key} = {value}: which unit?");
        }
    }
}

// What a number can be a number of.
const UNITS: &[&str] = &[
    "ms",
    "bytes",
    "port",
    "rows",
    "connections",
    "requests",
    "partitions",
    "segments",
    "producers",
    "threads",
    "cursors",
    "events",
    "streams",
    "commands",
    "states",
    "attempts",
    "commits",
    "files",
    "members",
    "groups",
    "offsets",
    "statements",
    "id",
    "in",
];

#[test]
fn a_duration_is_written_in_milliseconds() {
    #[derive(Deserialize)]
    struct Log {
        #[serde(rename = "retention_check_interval_ms", deserialize_with = "milliseconds")]
        retention_check_interval: Duration,
    }
    assert_eq!(section::<Log>("log").retention_check_interval, Duration::from_secs(30));
}
