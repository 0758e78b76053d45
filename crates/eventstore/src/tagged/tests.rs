//! Tags and contents that are values, and those that are none.

use serde::{Deserialize, Serialize};

use super::{Mismatch, from_tagged, to_tagged};

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum Event {
    Struct { a: u32 },
    Optional { a: Option<u32> },
    Newtype(u32),
    Tuple(u32, u32),
    Unit,
}

#[test]
fn variants_of_every_shape_survive_the_round_trip() {
    let cases = [
        (Event::Struct { a: 1 }, "struct", r#"{"a":1}"#),
        (Event::Optional { a: None }, "optional", r#"{"a":null}"#),
        (Event::Newtype(2), "newtype", "2"),
        (Event::Tuple(3, 4), "tuple", "[3,4]"),
        (Event::Unit, "unit", "{}"),
    ];
    for (event, event_type, data) in cases {
        let (tag, content) = to_tagged(&event).unwrap();
        assert_eq!((tag.as_str(), &*content), (event_type, data.as_bytes()));
        assert_eq!(from_tagged::<Event>(event_type, data.as_bytes()).unwrap(), event);
    }
    assert_eq!(from_tagged::<Event>("unit", b"null").unwrap(), Event::Unit);
    assert_eq!(from_tagged::<Event>("optional", b" {} ").unwrap(), Event::Optional { a: None });
}

#[test]
fn what_does_not_fit_is_refused() {
    for (event_type, data) in [
        ("struct", "{}"),
        ("struct", r#"{"a":-1}"#),
        ("unit", "1"),
        ("other", "{}"),
        ("", "{}"),
        ("struct", ""),
        // Nothing gets out of the content.
        ("unit", r#"null,"type":"newtype""#),
        ("struct", r#"{"a":1}} "#),
        (r#"unit","data":null,"x":""#, "null"),
    ] {
        assert!(from_tagged::<Event>(event_type, data.as_bytes()).is_err(), "{event_type} {data}");
    }
}

#[test]
fn what_is_wrong_is_told_without_places_in_a_text_that_nobody_wrote() {
    let mismatch = |tag: &str, content: &str| from_tagged::<Event>(tag, content.as_bytes()).unwrap_err();
    let tags: &'static [&'static str] = &["struct", "optional", "newtype", "tuple", "unit"];
    assert_eq!(mismatch("strut", "{}"), Mismatch::UnknownTag(tags));
    for (tag, content, reason) in [
        ("struct", "{}", "missing field `a`"),
        ("struct", r#"{"a": "x"}"#, "invalid type: string \"x\", expected u32"),
        ("newtype", "", "EOF while parsing a value"),
        ("unit", "1", "invalid type: integer `1`, expected unit variant Event::Unit"),
    ] {
        assert_eq!(mismatch(tag, content), Mismatch::Content(reason.to_owned()), "{tag} {content}");
    }
}

#[test]
fn an_event_that_is_not_tagged_is_refused() {
    #[derive(Serialize)]
    struct Extra {
        r#type: &'static str,
        more: u32,
    }
    for (refused, reason) in [
        (to_tagged(&7), "invalid type: integer `7`"),
        (to_tagged(&serde_json::json!({"a": 1})), "serde(tag"),
        (to_tagged(&Extra { r#type: "a", more: 1 }), "unknown field `more`"),
    ] {
        let error = refused.unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}
