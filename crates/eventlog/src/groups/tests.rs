//! Which offsets expire, as a table; and that the totals are those of what is there.

use super::*;

fn partition(name: &str, index: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(name).unwrap(), index)
}

fn committed(note: &str) -> CommittedOffset {
    CommittedOffset { offset: 1, leader_epoch: -1, metadata: note.to_owned() }
}

fn commit(groups: &mut Groups, name: &str, at_ms: i64, index: i32) {
    groups.commit(name, Some(at_ms), [(partition("t", index), committed("note"))].into_iter());
}

/// Reviews and applies at a time.
fn review(groups: &mut Groups, with_members: &[&str], now_ms: i64) -> usize {
    let with_members = with_members.iter().map(|name| (*name).to_owned()).collect();
    let changes = groups.review(&with_members, now_ms, 100);
    changes.iter().map(|change| groups.apply(change)).sum()
}

#[test]
fn offsets_expire_when_nobody_was_there_for_long() {
    // Commits (time, partition), looks (time, whether there were members), and how many offsets are left.
    type Case<'a> = (&'a str, &'a [(i64, i32)], &'a [(i64, bool)], usize);
    let cases: &[Case<'_>] = &[
        ("just not", &[(0, 0)], &[(99, false)], 1),
        ("just", &[(0, 0)], &[(100, false)], 0),
        ("each counts from its own commit", &[(0, 0), (50, 1)], &[(100, false)], 1),
        ("a commit begins anew", &[(0, 0), (50, 0)], &[(100, false), (149, false)], 1),
        ("a member keeps all", &[(0, 0)], &[(50, true), (500, true)], 1),
        ("after the last member", &[(0, 0)], &[(50, true), (500, false), (599, false)], 1),
        ("long after the last member", &[(0, 0)], &[(50, true), (500, false), (600, false)], 0),
        ("a member that came back", &[(0, 0)], &[(90, true), (150, false), (200, true), (290, false), (389, false)], 1),
        ("a clock that was set back", &[(1000, 0)], &[(100, false), (1099, false)], 1),
    ];
    for (name, commits, looks, left) in cases {
        let mut groups = Groups::default();
        commits.iter().for_each(|(at_ms, index)| commit(&mut groups, "g", *at_ms, *index));
        for (now_ms, has_members) in *looks {
            review(&mut groups, if *has_members { &["g"] } else { &[] }, *now_ms);
        }
        assert_eq!(groups.totals(), OffsetTotals { offsets: *left, note_bytes: 4 * left }, "{name}");
        assert_eq!(groups.len(), usize::from(*left > 0), "{name}: a group without offsets is forgotten");
    }
}

#[test]
fn offsets_without_a_time_count_from_the_first_look() {
    let mut groups = Groups::default();
    groups.commit("g", None, [(partition("t", 0), committed(""))].into_iter());
    assert_eq!(review(&mut groups, &[], 1_000_000), 0);
    assert_eq!(review(&mut groups, &[], 1_000_099), 0);
    assert_eq!(review(&mut groups, &[], 1_000_100), 1);
}

#[test]
fn nothing_expires_where_offsets_are_kept_for_ever() {
    let mut groups = Groups::default();
    commit(&mut groups, "g", 0, 0);
    assert_eq!(groups.review(&BTreeSet::new(), i64::MAX, -1), []);
}

/// A commit that comes between a look and what it led to is kept.
#[test]
fn what_was_committed_meanwhile_is_kept() {
    let mut groups = Groups::default();
    commit(&mut groups, "g", 0, 0);
    let changes = groups.review(&BTreeSet::new(), 200, 100);
    assert_eq!(changes, [GroupChange::Expire { group: "g".to_owned(), until_ms: 100 }]);
    commit(&mut groups, "g", 200, 0);
    assert_eq!(groups.apply(&changes[0]), 0);
    let joined = GroupChange::Members { group: "g".to_owned(), idle_since_ms: None };
    assert_eq!(groups.apply(&joined), 0);
    assert_eq!(groups.apply(&GroupChange::Expire { group: "g".to_owned(), until_ms: 1000 }), 0, "it has members");
}

#[test]
fn the_totals_are_those_of_what_is_there() {
    let mut groups = Groups::default();
    let commit = |groups: &mut Groups, name: &str, topic: &str, note: &str| {
        groups.commit(name, Some(0), [(partition(topic, 0), committed(note))].into_iter());
    };
    commit(&mut groups, "a", "t", "12345");
    commit(&mut groups, "a", "u", "1");
    commit(&mut groups, "b", "t", "");
    assert_eq!(groups.totals(), OffsetTotals { offsets: 3, note_bytes: 6 });
    commit(&mut groups, "a", "t", "12");
    assert_eq!(groups.totals(), OffsetTotals { offsets: 3, note_bytes: 3 });
    groups.forget_topic(&TopicName::new("t").unwrap());
    assert_eq!((groups.totals(), groups.len()), (OffsetTotals { offsets: 1, note_bytes: 1 }, 1));
    let group = groups.get("a").unwrap().clone();
    groups.insert("c".to_owned(), group.clone());
    groups.insert("c".to_owned(), group);
    assert_eq!(groups.totals(), OffsetTotals { offsets: 2, note_bytes: 2 });
    groups.delete("a");
    groups.delete("none");
    assert_eq!(groups.totals(), OffsetTotals { offsets: 1, note_bytes: 1 });
}
