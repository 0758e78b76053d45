//! Tests of the layers.

use super::{Layers, Settings};

fn load(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> model::Result<Settings> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<_> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Settings::load(None, environment, &flags)
}

#[test]
fn the_defaults_are_complete() {
    let settings = load(&[], &[]).unwrap();
    assert_eq!((settings.kafka.port, settings.pg.port, settings.http.port), (9092, 5433, 8080));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fourfold.toml");
    std::fs::write(&file, "[kafka]\nport = 1\nhost = '127.0.0.2'\n[pg]\nport = 2\n[data]\ndirectory = 'x'\n").unwrap();
    let environment =
        [("FOURFOLD_KAFKA_PORT".to_owned(), "3".to_owned()), ("FOURFOLD_PG_PORT".to_owned(), "4".to_owned())];
    let settings = Settings::load(Some(&file), environment, &[("pg.port", "5".to_owned())]).unwrap();
    assert_eq!((settings.kafka.host.to_string().as_str(), settings.kafka.port, settings.pg.port), ("127.0.0.2", 3, 5));
    assert_eq!(settings.http.port, 8080);
}

#[test]
fn what_is_wrong_is_named() {
    for (environment, flags, expected) in [
        (&[("FOURFOLD_KAFKA_PORT", "x")][..], &[][..], "environment variable FOURFOLD_KAFKA_PORT"),
        (&[], &[("kafka.prot", "1")], "there is no setting kafka.prot"),
        (&[("FOURFOLD_KAFKA_PRT", "1")], &[], "environment variable FOURFOLD_KAFKA_PRT: there is no setting kafka.prt"),
        (&[], &[("kafka.port", "70000")], "flags: kafka.port: invalid value"),
        (&[("FOURFOLD_VIEWS_CHECKPOINT_INTERVAL_MS", "-5")], &[], "views.checkpoint_interval_ms: invalid value"),
        (&[("FOURFOLD_VIEWS_CHECKPOINT_INTERVAL_MS", "x")], &[], "is of type integer, not string"),
        (&[("FOURFOLD_PG_HOST", "localhost")], &[], "\"localhost\" is not an IP address"),
        (&[("FOURFOLD_EVENTS_TOPIC", "a/b")], &[], "environment variable FOURFOLD_EVENTS_TOPIC: events.topic"),
        (&[("FOURFOLD_LOG_SEGMENT_BYTES", "5000000000")], &[], "log.segment_bytes: invalid value"),
    ] {
        let error = load(environment, flags).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let hint = load(&[], &[("kafka.prot", "1")]).unwrap_err();
    assert!(hint.hint().is_some_and(|hint| hint.contains("port")), "{hint:?}");
}

#[test]
fn a_variable_that_may_be_somebody_elses_is_left_alone() {
    for name in ["FOURFOLD_UNRELATED", "FOURFOLD_KAFKA", "FOURFOLD_SERVICE_HOST", "OTHER_KAFKA_PORT"] {
        assert!(load(&[(name, "127.0.0.1:1")], &[]).is_ok(), "{name}");
    }
}

#[test]
fn a_directory_of_digits_is_text() {
    assert_eq!(load(&[], &[("data.directory", "2013")]).unwrap().data.directory.to_str(), Some("2013"));
}

#[test]
fn a_switch_and_a_list_come_from_the_environment_too() {
    let environment =
        [("FOURFOLD_KAFKA_AUTO_CREATE_TOPICS", "false"), ("FOURFOLD_HTTP_HOSTS_ALLOWED", "a.example, b.example")];
    let settings = load(&environment, &[]).unwrap();
    assert!(!settings.kafka.auto_create_topics);
    assert_eq!(settings.http.hosts_allowed, ["a.example", "b.example"]);
}

#[test]
fn every_setting_of_the_file_is_read_by_somebody() {
    // A value of no setting's type: whoever reads the key refuses it.
    let nothing = toml::Value::Table(toml::Table::new());
    for (section, values) in ::settings::shipped() {
        for key in values.as_table().unwrap().keys() {
            let mut table = ::settings::shipped();
            table[section.as_str()][key.as_str()] = nothing.clone();
            assert!(table.try_into::<Settings>().is_err(), "{section}.{key} is read by nobody");
        }
    }
}

#[test]
fn the_list_says_where_each_value_is_from() {
    let environment = [("FOURFOLD_KAFKA_PORT".to_owned(), "3".to_owned())];
    let list = Layers::load(None, environment, &[("pg.port", "5".to_owned())]).unwrap().list();
    let origin = |key: &str| {
        let setting = list.iter().find(|setting| setting.key == key).unwrap();
        (setting.value.clone(), setting.origin.clone())
    };
    assert_eq!(origin("kafka.port"), ("3".to_owned(), "environment variable FOURFOLD_KAFKA_PORT".to_owned()));
    assert_eq!(origin("pg.port"), ("5".to_owned(), "flags".to_owned()));
    assert_eq!(origin("http.port"), ("8080".to_owned(), "default".to_owned()));
    let keys: usize = ::settings::shipped().values().map(|section| section.as_table().unwrap().len()).sum();
    assert_eq!(list.len(), keys);
    assert!(list.iter().all(|setting| !setting.meaning.is_empty() && !setting.value.is_empty()));
}
