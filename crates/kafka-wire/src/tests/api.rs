//! The table: complete, consistent, and the same as its documentation.

use crate::{Api, api};

#[test]
#[allow(clippy::disallowed_methods, reason = "a switch of this test alone")]
fn the_table_is_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kafka-api.md");
    let table = api::table_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, table, "run UPDATE_DOCS=1 cargo test -p kafka-wire");
}

#[test]
fn every_api_is_found_by_its_key() {
    for api in Api::ALL {
        assert_eq!(Api::from_key(api.key()), Some(*api));
        assert!(api.versions().min <= api.versions().max, "{api:?}");
    }
    assert_eq!(Api::from_key(-1), None);
    assert_eq!(Api::from_key(7), None, "ControlledShutdown is between brokers");
}

/// What librdkafka before 2.11.1 looks for (KAFKA-18659), and what clients take for a broker without topic ids.
#[test]
fn the_set_is_consistent() {
    assert_eq!(Api::Produce.versions().min, 0);
    assert_eq!(Api::JoinGroup.versions().min, 0);
    assert!(Api::Produce.versions().max < 13 && Api::Fetch.versions().max < 13);
}
