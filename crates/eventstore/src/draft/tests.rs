//! Tests of the draft: decisions on top of each other, and a base that stays as it was.

use super::{Decision, Draft, Proposal};
use crate::{
    EventStoreSettings,
    ExpectedVersion::{self, Any, Exact, NoStream},
    NewEvent, StreamName,
    event::CommandId,
    index::Index,
};
use uuid::Uuid;

fn proposal(name: &str, expected: ExpectedVersion, ids: &[u128], command: Option<&str>) -> Proposal {
    let event = |id: &u128| NewEvent { event_id: Uuid::from_u128(*id), ..NewEvent::new("made", "{}") };
    Proposal {
        stream: StreamName::new(name).unwrap(),
        expected,
        events: ids.iter().map(event).collect(),
        command_id: command.map(|id| CommandId::new(id).unwrap()),
    }
}

#[test]
fn decisions_build_on_each_other() {
    let index = Index::new(&EventStoreSettings::shipped());
    let mut draft = Draft::new(&index);
    let cases = [
        (proposal("s", NoStream, &[1, 2], None), "append 0..=1"),
        (proposal("s", NoStream, &[1, 2], None), "there 0..=1"),
        (proposal("s", Exact(1), &[3], Some("c")), "append 2..=2"),
        (proposal("s", Exact(9), &[4], Some("c")), "there 2..=2"),
        (proposal("other", Exact(1), &[5], Some("c")), "refuse"),
        (proposal("other", Any, &[3], Some("c")), "append 0..=0"),
        (proposal("s", Any, &[3, 6], None), "refuse"),
        (proposal("s", Exact(1), &[7], None), "refuse"),
        (proposal("s", Exact(2), &[7], None), "append 3..=3"),
    ];
    for (proposal, expected) in cases {
        let decided = match draft.decide(&proposal) {
            Decision::Append(versions) => format!("append {}..={}", versions.first, versions.last),
            Decision::Duplicate(versions) => format!("there {}..={}", versions.first, versions.last),
            Decision::Refuse(_) => "refuse".to_owned(),
        };
        assert_eq!(decided, expected, "{proposal:?}");
    }
    assert!(draft.touches(&StreamName::new("s").unwrap()));
    assert!(!draft.touches(&StreamName::new("none").unwrap()));
    drop(draft);
    assert_eq!(index, Index::new(&EventStoreSettings::shipped()), "a draft changes nothing underneath");
}
