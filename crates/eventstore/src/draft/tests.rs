//! Tests of the draft: decisions on top of each other, and a base that stays as it was.

use super::{Append, Command, Decision, Draft, Proposal};
use crate::{
    CommandRequest, EventStoreSettings,
    ExpectedVersion::{self, Any, Exact, NoStream},
    NewEvent, StreamName,
    digest::ContentDigest,
    event::CommandId,
    index::Index,
    outcome::{CommandEnd, Outcome},
};
use serde_json::value::RawValue;
use uuid::Uuid;

fn command(stream: &StreamName, id: &str, content: &str) -> Command {
    let data = RawValue::from_string(content.to_owned()).unwrap();
    let request = CommandRequest::new(CommandId::new(id).unwrap(), "make", data);
    Command { digest: ContentDigest::of(stream, &request).unwrap(), id: request.command_id }
}

/// An append, perhaps by a command: its id and its content.
fn append(name: &str, expected: ExpectedVersion, ids: &[u128], by: Option<(&str, &str)>) -> Proposal {
    let event = |id: &u128| NewEvent::new(Uuid::from_u128(*id), "made", "{}");
    let stream = StreamName::new(name).unwrap();
    let command = by.map(|(id, content)| command(&stream, id, content));
    Proposal::Append(Append { stream, expected, events: ids.iter().map(event).collect(), command })
}

fn keep(name: &str, (id, content): (&str, &str)) -> Proposal {
    let stream = StreamName::new(name).unwrap();
    let Command { id: command_id, digest } = command(&stream, id, content);
    let end = CommandEnd { rejection: None, version: None, next_offset: 0 };
    Proposal::Keep(Outcome { stream, command_id, command_type: "make".to_owned(), digest, end })
}

#[test]
fn decisions_build_on_each_other() {
    let index = Index::new(&EventStoreSettings::shipped());
    let mut draft = Draft::new(&index, 3);
    let cases = [
        (append("s", NoStream, &[1, 2], None), "append 0..=1"),
        (append("s", NoStream, &[1, 2], None), "there 0..=1"),
        (append("s", Exact(1), &[3], Some(("c", "1"))), "append 2..=2"),
        (append("s", Exact(9), &[4], Some(("c", "1"))), "handled"),
        (append("other", Exact(1), &[5], Some(("c", "1"))), "refuse"),
        (append("other", Any, &[3], Some(("c", "1"))), "append 0..=0"),
        (append("s", Any, &[3, 6], None), "refuse"),
        (append("s", Exact(1), &[7], None), "refuse"),
        (append("s", Exact(2), &[7], None), "append 3..=3"),
        (append("s", Any, &[8], Some(("c", "2"))), "refuse"),
        (keep("s", ("c", "1")), "handled"),
        (keep("s", ("c", "2")), "refuse"),
        (keep("kept", ("d", "1")), "keep"),
        (keep("kept", ("d", "1")), "handled"),
        (append("kept", Any, &[9], Some(("d", "1"))), "handled"),
        (append("kept", Any, &[9], Some(("d", "2"))), "refuse"),
        (append("third", Any, &[1], None), "append 0..=0"),
        (append("fourth", Any, &[1], None), "refuse"),
    ];
    for (proposal, expected) in cases {
        let decided = match draft.decide(&proposal) {
            Decision::Append(versions) => format!("append {}..={}", versions.first, versions.last),
            Decision::Duplicate(versions) => format!("there {}..={}", versions.first, versions.last),
            Decision::Keep => "keep".to_owned(),
            Decision::DuplicateCommand(_) => "handled".to_owned(),
            Decision::Damaged(_) | Decision::Refuse(_) => "refuse".to_owned(),
        };
        assert_eq!(decided, expected, "{proposal:?}");
    }
    assert!(draft.touches(&StreamName::new("s").unwrap()));
    assert!(draft.touches(&StreamName::new("kept").unwrap()));
    assert!(!draft.touches(&StreamName::new("none").unwrap()));
    drop(draft);
    assert_eq!(index, Index::new(&EventStoreSettings::shipped()), "a draft changes nothing underneath");
}
