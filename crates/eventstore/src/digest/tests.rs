//! What makes two commands one, and what two.

use serde_json::value::RawValue;

use super::ContentDigest;
use crate::{CommandId, CommandRequest, ExpectedVersion, StreamName};

fn request(command_type: &str, data: &str) -> CommandRequest {
    let data = RawValue::from_string(data.to_owned()).unwrap();
    CommandRequest::new(CommandId::new("c").unwrap(), command_type, data)
}

fn digest(request: &CommandRequest) -> ContentDigest {
    ContentDigest::of(&StreamName::new("flight-1").unwrap(), request).unwrap()
}

#[test]
fn the_digest_is_that_of_the_format() {
    // printf '["1","flight-1","depart",{"a":1,"b":[2]},null,null,null,null,null]' | sha256sum
    let found = digest(&request("depart", r#"{ "b": [2], "a": 1 }"#)).to_string();
    assert_eq!(found, DEPART_HEX);
    assert_eq!(ContentDigest::parse(&found).map(|digest| digest.to_string()), Some(found));
    for wrong in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
        assert_eq!(ContentDigest::parse(wrong), None, "{wrong}");
    }
}

const DEPART_HEX: &str = "0384e1f351baaff19b1ddc1f82b98f5db09313cabdd1166de38071005432629b";

#[test]
fn commands_that_say_the_same_have_one_digest() {
    let same = [(r#"{"a":1,"b":2}"#, "{\n \"b\" : 2, \"a\": 1}"), ("null", "{ }"), (r#""\u0041""#, r#""A""#)];
    for (left, right) in same {
        assert_eq!(digest(&request("depart", left)), digest(&request("depart", right)), "{left} and {right}");
    }
    let mut other_id = request("depart", "1");
    other_id.command_id = CommandId::new("d").unwrap();
    other_id.principal = model::Principal::named("somebody else");
    assert_eq!(digest(&other_id), digest(&request("depart", "1")), "neither the id nor the sender is content");
}

#[test]
fn whatever_else_a_command_says_makes_it_another() {
    let plain = || request("depart", r#"{"gate": 1}"#);
    let others = [
        request("arrive", r#"{"gate": 1}"#),
        request("depart", r#"{"gate": 2}"#),
        request("depart", r#"{"gate": 1.0}"#),
        request("depart", r#"{"gate": "1"}"#),
        request("depart", r#"{"gate": 1, "more": null}"#),
        CommandRequest { expected: Some(ExpectedVersion::Any), ..plain() },
        CommandRequest { expected: Some(ExpectedVersion::NoStream), ..plain() },
        CommandRequest { expected: Some(ExpectedVersion::Exact(0)), ..plain() },
        CommandRequest { effective_time_ms: Some(0), ..plain() },
        CommandRequest { correlation_id: Some("a".to_owned()), ..plain() },
        CommandRequest { causation_id: Some("a".to_owned()), ..plain() },
        CommandRequest { metadata: Some(RawValue::from_string("{}".to_owned()).unwrap()), ..plain() },
    ];
    let mut digests: Vec<String> = others.iter().chain([&plain()]).map(|other| digest(other).to_string()).collect();
    digests.push(ContentDigest::of(&StreamName::new("flight-2").unwrap(), &plain()).unwrap().to_string());
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn content_that_is_nested_too_deep_is_refused() {
    let error = ContentDigest::of(
        &StreamName::new("flight-1").unwrap(),
        &request("depart", &format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "the command depart cannot be understood: its data is nested more than 128 deep"
    );
}
