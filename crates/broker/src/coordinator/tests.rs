//! The group's decisions, as data: requests and times in, replies out.

use bytes::Bytes;
use kafka_wire::ErrorCode;

use super::group::Group;
use super::member::{Identity, Join, Joined, Protocol, Reply, Sync};
use crate::settings::GroupSettings;

const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;
const DELAY_MS: i64 = 100;

type Replies = Vec<(u32, Reply)>;

fn group() -> Group<u32> {
    Group::new(GroupSettings { initial_rebalance_delay_ms: DELAY_MS, members_max: 4, ..GroupSettings::shipped() })
}

fn id(member_id: &str) -> Identity {
    Identity { member_id: member_id.to_owned(), instance_id: None }
}

fn named(member_id: &str, instance: &str) -> Identity {
    Identity { member_id: member_id.to_owned(), instance_id: Some(instance.to_owned()) }
}

fn join(identity: Identity, protocols: &[&str]) -> Join {
    let protocol = |name: &&str| Protocol { name: (*name).to_owned(), metadata: format!("{name}!").into() };
    Join {
        identity,
        client_id: "client".to_owned(),
        client_host: "host".to_owned(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".to_owned(),
        protocols: protocols.iter().map(protocol).collect(),
        takes_id_first: false,
        may_skip_assignment: true,
    }
}

fn sync(identity: Identity, generation: i32, assignments: &[(&str, &str)]) -> Sync {
    let assignment = |(member, work): &(&str, &str)| ((*member).to_owned(), Bytes::from((*work).to_owned()));
    Sync {
        identity,
        generation,
        protocol_type: Some("consumer".to_owned()),
        protocol: None,
        assignments: assignments.iter().map(assignment).collect(),
    }
}

fn joined(replies: &Replies, ticket: u32) -> &Joined {
    match replies.iter().find(|(to, _)| *to == ticket) {
        Some((_, Reply::Joined(joined))) => joined,
        other => panic!("ticket {ticket} got {other:?}"),
    }
}

fn assignment(replies: &Replies, ticket: u32) -> &[u8] {
    match replies.iter().find(|(to, _)| *to == ticket) {
        Some((_, Reply::Synced(synced))) => &synced.assignment,
        other => panic!("ticket {ticket} got {other:?}"),
    }
}

fn failed(replies: &Replies, ticket: u32) -> ErrorCode {
    match replies.iter().find(|(to, _)| *to == ticket) {
        Some((_, Reply::Failed(code))) => *code,
        other => panic!("ticket {ticket} got {other:?}"),
    }
}

/// Members "a" and "b" in generation 1, "a" leading, with the work "wa" and "wb"; at time `DELAY_MS`.
fn stable_pair() -> Group<u32> {
    let mut group = group();
    assert_eq!(group.join(join(id(""), &["range"]), "a".to_owned(), 1, 0), []);
    assert_eq!(group.join(join(id(""), &["range"]), "b".to_owned(), 2, 10), []);
    assert_eq!(group.next_deadline_ms(), Some(DELAY_MS));
    let replies = group.tick(DELAY_MS);
    assert_eq!((joined(&replies, 1).generation, joined(&replies, 2).leader.as_str()), (1, "a"));
    assert_eq!(group.sync(sync(id("b"), 1, &[]), 3, DELAY_MS), []);
    let replies = group.sync(sync(id("a"), 1, &[("a", "wa"), ("b", "wb")]), 4, DELAY_MS);
    assert_eq!((assignment(&replies, 3), assignment(&replies, 4)), (&b"wb"[..], &b"wa"[..]));
    assert_eq!(group.describe().state, "Stable");
    group
}

#[test]
fn members_that_come_together_share_the_first_generation() {
    let group = stable_pair();
    let shown = group.describe();
    assert_eq!(shown.protocol, "range");
    assert_eq!(shown.members.iter().map(|m| &m.assignment[..]).collect::<Vec<_>>(), [b"wa", b"wb"]);
}

#[test]
fn only_the_leader_is_told_who_is_in() {
    let mut group = group();
    group.join(join(id(""), &["range"]), "a".to_owned(), 1, 0);
    group.join(join(id(""), &["range"]), "b".to_owned(), 2, 0);
    let replies = group.tick(DELAY_MS);
    assert_eq!(joined(&replies, 1).members.len(), 2);
    assert_eq!(joined(&replies, 2).members.len(), 0);
}

#[test]
fn a_new_client_is_given_an_id_first_and_must_come_back_with_it() {
    let mut group = group();
    let first = Join { takes_id_first: true, ..join(id(""), &["range"]) };
    let replies = group.join(first, "a".to_owned(), 1, 0);
    assert_eq!(replies, [(1, Reply::MemberIdRequired("a".to_owned()))]);
    assert!(!group.is_forgettable());
    assert_eq!(group.join(join(id("a"), &["range"]), "x".to_owned(), 2, 1), []);
    assert_eq!(joined(&group.tick(1 + DELAY_MS), 2).member_id, "a");
}

#[test]
fn an_id_that_does_not_come_back_is_forgotten() {
    let mut group = group();
    let first = Join { takes_id_first: true, ..join(id(""), &["range"]) };
    group.join(first, "a".to_owned(), 1, 0);
    group.tick(i64::from(SESSION_MS));
    assert!(group.is_forgettable());
    let replies = group.join(join(id("a"), &["range"]), "x".to_owned(), 2, i64::from(SESSION_MS));
    assert_eq!(failed(&replies, 2), ErrorCode::UnknownMemberId);
}

#[test]
fn a_third_member_makes_the_others_join_again() {
    let mut group = stable_pair();
    assert_eq!(group.join(join(id(""), &["range"]), "c".to_owned(), 5, 200), []);
    assert_eq!(group.heartbeat(&id("a"), 1, 300), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(failed(&group.sync(sync(id("a"), 1, &[]), 6, 300), 6), ErrorCode::RebalanceInProgress);
    // What was worked on may still be committed.
    assert_eq!(group.check_commit(&id("a"), 1, 300), Ok(()));
    assert_eq!(group.join(join(id("b"), &["range"]), "x".to_owned(), 7, 400), []);
    let replies = group.join(join(id("a"), &["range"]), "x".to_owned(), 8, 500);
    assert_eq!(joined(&replies, 8).generation, 2);
    assert_eq!(joined(&replies, 8).members.len(), 3, "the leader stays the leader");
    assert_eq!(joined(&replies, 5).leader, "a");
    assert_eq!(group.heartbeat(&id("a"), 1, 600), Err(ErrorCode::IllegalGeneration));
    assert_eq!(group.check_commit(&id("a"), 2, 600), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut group = stable_pair();
    group.join(join(id(""), &["range"]), "c".to_owned(), 5, 200);
    group.join(join(id("a"), &["range"]), "x".to_owned(), 6, 300);
    // "b" still sends heartbeats, so that its session lives on.
    for at in (1..12).map(|step| step * 5_000) {
        assert_eq!(group.heartbeat(&id("b"), 1, at), Err(ErrorCode::RebalanceInProgress));
        assert_eq!(group.tick(at), []);
    }
    let replies = group.tick(200 + i64::from(REBALANCE_MS));
    assert_eq!(joined(&replies, 6).members.iter().map(|(m, _)| &*m.member_id).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(group.heartbeat(&id("b"), 2, 70_000), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut group = stable_pair();
    assert_eq!(group.heartbeat(&id("a"), 1, 5_000), Ok(()));
    assert_eq!(group.next_deadline_ms(), Some(DELAY_MS + i64::from(SESSION_MS)));
    assert_eq!(group.tick(DELAY_MS + i64::from(SESSION_MS)), []);
    assert_eq!(group.describe().members.len(), 1);
    assert_eq!(group.heartbeat(&id("a"), 1, 12_000), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn a_leader_that_does_not_assign_is_out_and_the_rest_go_on() {
    let mut group = group();
    group.join(join(id(""), &["range"]), "a".to_owned(), 1, 0);
    group.join(join(id(""), &["range"]), "b".to_owned(), 2, 0);
    group.tick(DELAY_MS);
    assert_eq!(group.sync(sync(id("b"), 1, &[]), 3, 200), []);
    for at in (1..12).map(|step| step * 5_000) {
        assert_eq!(group.heartbeat(&id("a"), 1, at), Ok(()));
        assert_eq!(group.tick(at), []);
    }
    let replies = group.tick(DELAY_MS + i64::from(REBALANCE_MS));
    assert_eq!(failed(&replies, 3), ErrorCode::RebalanceInProgress);
    assert_eq!(group.describe().members.len(), 1);
}

#[test]
fn the_last_member_that_leaves_leaves_nothing() {
    let mut group = stable_pair();
    assert_eq!(group.leave(&id("x"), 200), Err(ErrorCode::UnknownMemberId));
    assert_eq!(group.leave(&id("a"), 200), Ok(vec![]));
    assert_eq!(group.leave(&id("b"), 201), Ok(vec![]));
    assert_eq!(group.describe().state, "Empty");
    assert!(group.is_forgettable());
    assert_eq!(group.next_deadline_ms(), None);
}

#[test]
fn a_static_member_that_restarts_keeps_its_work_without_a_rebalance() {
    let mut group = group();
    group.join(join(named("", "one"), &["range"]), "a".to_owned(), 1, 0);
    group.join(join(named("", "two"), &["range"]), "b".to_owned(), 2, 0);
    group.tick(DELAY_MS);
    group.sync(sync(named("b", "two"), 1, &[]), 3, 200);
    group.sync(sync(named("a", "one"), 1, &[("a", "wa"), ("b", "wb")]), 4, 200);

    let replies = group.join(join(named("", "two"), &["range"]), "b2".to_owned(), 5, 300);
    assert_eq!((joined(&replies, 5).generation, joined(&replies, 5).member_id.as_str()), (1, "b2"));
    assert_eq!(assignment(&group.sync(sync(named("b2", "two"), 1, &[]), 6, 300), 6), b"wb");
    assert_eq!(group.heartbeat(&named("b", "two"), 1, 400), Err(ErrorCode::FencedInstanceId));
    assert_eq!(group.heartbeat(&named("a", "one"), 1, 400), Ok(()));

    // The leader as well: it is told not to assign.
    let replies = group.join(join(named("", "one"), &["range"]), "a2".to_owned(), 7, 500);
    assert!(joined(&replies, 7).skip_assignment);
    assert_eq!(assignment(&group.sync(sync(named("a2", "one"), 1, &[]), 8, 500), 8), b"wa");
    let old = Join { may_skip_assignment: false, ..join(named("", "one"), &["range"]) };
    let replies = group.join(old, "a3".to_owned(), 9, 600);
    assert_eq!(joined(&replies, 9).leader, "a2", "an older client is told that it does not lead");
}

#[test]
fn an_administrator_can_remove_a_static_member_by_name() {
    let mut group = group();
    group.join(join(named("", "one"), &["range"]), "a".to_owned(), 1, 0);
    let replies = group.leave(&named("", "one"), 10).unwrap();
    assert_eq!(failed(&replies, 1), ErrorCode::UnknownMemberId);
    assert!(group.is_forgettable());
}

#[test]
fn the_protocol_is_one_that_all_speak_and_most_prefer() {
    let mut group = group();
    group.join(join(id(""), &["sticky", "range"]), "a".to_owned(), 1, 0);
    group.join(join(id(""), &["range", "sticky"]), "b".to_owned(), 2, 0);
    group.join(join(id(""), &["range", "other", "sticky"]), "c".to_owned(), 3, 0);
    let replies = group.join(join(id(""), &["other"]), "d".to_owned(), 4, 0);
    assert_eq!(failed(&replies, 4), ErrorCode::InconsistentGroupProtocol);
    let replies = group.tick(DELAY_MS);
    assert_eq!(joined(&replies, 1).protocol, "range");
    assert_eq!(joined(&replies, 1).members[0].1, &b"range!"[..]);
}

#[test]
fn limits_are_kept() {
    let mut group = group();
    let short = Join { session_timeout_ms: 10, ..join(id(""), &["range"]) };
    assert_eq!(failed(&group.join(short, "a".to_owned(), 1, 0), 1), ErrorCode::InvalidSessionTimeout);
    for member in 0..4 {
        assert_eq!(group.join(join(id(""), &["range"]), member.to_string(), member, 0), []);
    }
    let replies = group.join(join(id(""), &["range"]), "x".to_owned(), 9, 0);
    assert_eq!(failed(&replies, 9), ErrorCode::GroupMaxSizeReached);
}

#[test]
fn offsets_are_committed_by_members_or_by_nobody_in_particular() {
    let mut empty = group();
    assert_eq!(empty.check_commit(&id(""), -1, 0), Ok(()));
    let mut group = stable_pair();
    assert_eq!(group.check_commit(&id(""), -1, 200), Err(ErrorCode::UnknownMemberId));
    assert_eq!(group.check_commit(&id("a"), 0, 200), Err(ErrorCode::IllegalGeneration));
    assert_eq!(group.check_commit(&id("a"), 1, 200), Ok(()));
}

#[test]
fn a_lost_answer_is_given_again() {
    let mut group = group();
    group.join(join(id(""), &["range"]), "a".to_owned(), 1, 0);
    group.tick(DELAY_MS);
    let replies = group.join(join(id("a"), &["range"]), "x".to_owned(), 2, 200);
    assert_eq!(joined(&replies, 2).generation, 1, "the same generation, not another");
    assert_eq!(joined(&replies, 2).members.len(), 1);
}
