//! Tests of the layers.

use super::Settings;

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
    std::fs::write(&file, "[kafka]\nport = 1\nhost = 'a'\n[pg]\nport = 2\n[data]\ndirectory = 'x'\n").unwrap();
    let environment =
        [("FOURFOLD_KAFKA_PORT".to_owned(), "3".to_owned()), ("FOURFOLD_PG_PORT".to_owned(), "4".to_owned())];
    let settings = Settings::load(Some(&file), environment, &[("pg.port", "5".to_owned())]).unwrap();
    assert_eq!((settings.kafka.host.as_str(), settings.kafka.port, settings.pg.port), ("a", 3, 5));
    assert_eq!(settings.http.port, 8080);
}

#[test]
fn what_is_wrong_is_named() {
    for (environment, flags, expected) in [
        (&[("FOURFOLD_KAFKA_PORT", "x")][..], &[][..], "environment variable FOURFOLD_KAFKA_PORT"),
        (&[], &[("kafka.prot", "1")], "there is no setting kafka.prot"),
        (&[], &[("kafka.port", "70000")], "settings: "),
    ] {
        let error = load(environment, flags).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(load(&[("FOURFOLD_UNRELATED", "1"), ("FOURFOLD_KAFKA", "127.0.0.1:1")], &[]).is_ok());
}

#[test]
fn a_directory_of_digits_is_text() {
    assert_eq!(load(&[], &[("data.directory", "2013")]).unwrap().data.directory.to_str(), Some("2013"));
}
