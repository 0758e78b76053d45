//! Which texts say the same.

use proptest::prelude::*;
use serde_json::{Value, value::RawValue};

use super::canonical;

fn form(json: &str) -> Option<String> {
    canonical(serde_json::from_str::<&RawValue>(json).unwrap())
}

#[test]
fn texts_that_say_the_same_have_one_form() {
    let cases = [
        ("null", "null"),
        (" true ", "true"),
        ("{ }", "{}"),
        ("[ ]", "[]"),
        ("[1,\n 2 ,[ ] ]", "[1,2,[]]"),
        (r#"{"b": 1, "a": {"d": [], "c": "x"}}"#, r#"{"a":{"c":"x","d":[]},"b":1}"#),
        (r#""\u0041\/\n\u00e9\"""#, r#""A/\né\"""#),
        (r#"{"\u0061": "\\"}"#, r#"{"a":"\\"}"#),
        // Numbers stay as they are written.
        ("[1.0, 1, 1e0, -0, 12345678901234567890.10]", "[1.0,1,1e0,-0,12345678901234567890.10]"),
        // A name twice, and half of a surrogate pair: neither is confused with anything else.
        (r#"{"a": 2, "a": 1}"#, r#"{"a":2,"a":1}"#),
        (r#""\ud800""#, r#""\ud800""#),
    ];
    for (json, expected) in cases {
        assert_eq!(form(json).as_deref(), Some(expected), "{json}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(form(&nested(128)).is_some());
    assert_eq!(form(&nested(200_000)), None);
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// serde_json writes objects in the order of their names and without white space too: another way to the form.
    #[test]
    fn the_form_of_a_value_is_what_serde_writes(value in json()) {
        let compact = value.to_string();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(form(&pretty), form(&compact));
        prop_assert_eq!(serde_json::from_str::<Value>(&form(&pretty).unwrap()).unwrap(), value);
    }
}
