//! Tests of what can be said on the command line.

use clap::Parser as _;

use super::{Cli, Command, TailStart, TopicCommand};

fn parse(arguments: &[&str]) -> Result<Command, String> {
    let arguments = ["fourfold"].iter().chain(arguments);
    Cli::try_parse_from(arguments).map(|cli| cli.command).map_err(|error| error.to_string())
}

#[test]
fn only_commands_that_use_a_door_take_its_address() {
    for arguments in [
        &["tail", "t", "--kafka", "h:1"][..],
        &["topic", "list", "--kafka", "h:1"],
        &["topic", "delete", "t", "--http", "h:2", "--force"],
        &["sql", "--http", "h:1"],
        &["events", "read", "s", "--http", "h:1", "--json"],
        &["status", "--http", "h:1"],
    ] {
        assert!(parse(arguments).is_ok(), "{arguments:?}");
    }
    for arguments in [
        &["dev", "--http", "h:1"][..],
        &["demo", "--kafka", "h:1"],
        &["status", "--kafka", "h:1"],
        &["topic", "list", "--http", "h:1"],
        &["topic", "delete", "t", "--kafka", "h:1"],
        &["--kafka", "h:1", "topic", "list"],
    ] {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains("unexpected argument"), "{arguments:?}: {error}");
    }
}

#[test]
fn an_http_address_may_come_with_its_scheme() {
    for (given, expected) in [
        ("h:1", Ok("h:1")),
        ("http://h:1", Ok("h:1")),
        ("http://h:1/", Ok("h:1")),
        ("https://h:1", Err("speaks no TLS")),
        ("http://", Err("write HOST:PORT")),
        ("h:1/v1", Err("write HOST:PORT")),
    ] {
        let found = parse(&["status", "--http", given]);
        match (found, expected) {
            (Ok(Command::Status(door)), Ok(expected)) => assert_eq!(door.http, expected),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{given}: {error}"),
            (found, _) => panic!("{given}: {found:?}"),
        }
    }
}

#[test]
fn values_may_begin_with_a_hyphen_and_wrong_ones_are_explained() {
    assert!(matches!(parse(&["sql", "-c", "-- c"]), Ok(Command::Sql(sql)) if sql.command.as_deref() == Some("-- c")));
    for (arguments, expected) in [
        (&["topic", "create", "t", "--partitions", "-1"][..], "-1 is not in 1.."),
        (&["topic", "create", "t", "--partitions", "0"], "0 is not in 1.."),
        (&["tail", "t", "--from", "-5"], "none of beginning, end, or an offset"),
        (&["produce", "t", "-K", ""], "an empty text separates nothing"),
        (&["sql", "--min-position", "nonsense"], "is not a position"),
    ] {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn a_tab_can_be_written() {
    for (given, expected) in [("\\t", "\t"), ("--", "--"), ("a\\tb", "a\tb")] {
        match parse(&["produce", "t", "-K", given]) {
            Ok(Command::Produce(produce)) => assert_eq!(produce.key_separator.as_deref(), Some(expected)),
            other => panic!("{given}: {other:?}"),
        }
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    match parse(&["tail", "t"]) {
        Ok(Command::Tail(tail)) => assert_eq!((tail.from, tail.partition), (TailStart::Beginning, None)),
        other => panic!("{other:?}"),
    }
    match parse(&["topic", "delete", "t"]) {
        Ok(Command::Topic(topic)) => assert!(matches!(topic.command, TopicCommand::Delete { force: false, .. })),
        other => panic!("{other:?}"),
    }
}
