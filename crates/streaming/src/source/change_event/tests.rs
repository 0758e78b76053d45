//! Records as Debezium writes them, and what they say.

use eventlog::Record;

use super::{RowChange, change};

fn record(key: Option<&str>, value: Option<&str>) -> Record {
    let bytes = |text: &str| text.to_owned().into();
    Record { key: key.map(bytes), value: value.map(bytes), ..Record::default() }
}

#[test]
fn a_change_is_a_row_that_is_there_or_gone_or_a_reason() {
    let is = |object: &str| Ok(RowChange::Is(object.to_owned().into()));
    let gone = |object: &str| Ok(RowChange::Gone(object.to_owned().into()));
    for (key, value, expected) in [
        (None, Some(r#"{"op":"c","before":null,"after":{"id":1,"v":"a"},"ts_ms":1}"#), is(r#"{"id":1,"v":"a"}"#)),
        (None, Some(r#"{"before":{"id":1},"after":{"id":1},"source":{"op":"x"},"op":"u"}"#), is(r#"{"id":1}"#)),
        (None, Some(r#"{"after": {"id":1} , "op":"r"}"#), is(r#"{"id":1}"#)),
        (None, Some(r#"{"schema":{"type":"struct"},"payload":{"op":"c","after":{"id":2}}}"#), is(r#"{"id":2}"#)),
        (None, Some(r#"{"op":"d","before":{"id":1,"v":null},"after":null}"#), gone(r#"{"id":1,"v":null}"#)),
        (Some(r#"{"id":7}"#), Some(r#"{"op":"d","before":null,"after":null}"#), gone(r#"{"id":7}"#)),
        (Some(r#"{"schema":{},"payload":{"id":7}}"#), None, gone(r#"{"id":7}"#)),
        (Some(r#"{"id":7}"#), None, gone(r#"{"id":7}"#)),
        (Some("7"), None, Err("not a JSON object")),
        (Some("[7]"), None, Err("not a JSON object")),
        (None, None, Err("no key that says which")),
        (None, Some(r#"{"op":"d"}"#), Err("no key that says which")),
        (None, Some(r#"{"op":"t"}"#), Err("truncated")),
        (None, Some(r#"{"op":"m","message":{}}"#), Err("none of a row")),
        (None, Some(r#"{"op":"u","after":null}"#), Err("no row in \"after\"")),
        (None, Some(r#"{"op":"u","after":{"id":1,"v":"__debezium_unavailable_value"}}"#), Err("REPLICA IDENTITY FULL")),
        (None, Some(r#"{"id":1,"v":"a"}"#), Err("no \"op\"")),
        (None, Some(r#"{"op":"c","after":{"id":1}"#), Err("not JSON")),
        (None, Some("{}"), Err("no \"op\"")),
        (None, Some(""), Err("not a JSON object")),
        (None, Some(r#"["c",null,{"id":1}]"#), Err("not a JSON object")),
    ] {
        let found = change(&record(key, value));
        match (&found, &expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{key:?} {value:?}"),
            (Err(found), Err(part)) => assert!(found.to_string().contains(part), "{key:?} {value:?}: {found}"),
            _ => panic!("{key:?} {value:?}: {found:?}"),
        }
    }
}
