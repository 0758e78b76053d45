//! Tests of the words.

use crate::{
    Access, Clock, Entropy, Epoch, ErrorKind, ManualClock, Metrics, Positions, Principal, Resource, SeededEntropy,
    SystemEntropy, TopicName, TopicPartition, metrics::CATALOGUE, principal::authorise,
};

fn partition(text: &str) -> TopicPartition {
    text.parse().unwrap()
}

#[test]
fn topic_names_follow_kafkas_rule() {
    for legal in ["flights", "a.b-c_9", &"x".repeat(249)] {
        assert!(TopicName::new(legal).is_ok(), "{legal}");
    }
    for illegal in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(250)] {
        assert_eq!(TopicName::new(illegal).unwrap_err().kind(), ErrorKind::Invalid, "{illegal}");
    }
}

#[test]
fn positions_survive_a_round_trip_through_text() {
    for text in ["", "flights/0:12", "a/0:1,a/1:2,b.c/10:9223372036854775807"] {
        let positions: Positions = text.parse().unwrap();
        assert_eq!(positions.to_string(), text);
    }
    assert_eq!("a/0:0,a/1:2".parse::<Positions>().unwrap().to_string(), "a/1:2", "the start is not written");
    for wrong in
        ["flights", "flights/0", "flights/0:-1", "flights/-1:1", "flights/x:1", "/0:1", "a/0:1;b/0:2", "a/0:1,a/0:2"]
    {
        assert!(wrong.parse::<Positions>().is_err(), "{wrong}");
    }
}

#[test]
fn positions_cover_what_they_have_read() {
    let served: Positions = "a/0:5,a/1:7".parse().unwrap();
    for (demanded, covered) in [("", true), ("a/0:5", true), ("a/0:6", false), ("a/1:7,a/0:1", true), ("b/0:1", false)]
    {
        assert_eq!(served.covers(&demanded.parse().unwrap()), covered, "{demanded}");
    }
    assert!(served.covers(&"b/0:0".parse().unwrap()), "an absent entry is the start");
}

#[test]
fn advancing_never_goes_back() {
    let mut positions: Positions = "a/0:5".parse().unwrap();
    positions.advance(partition("a/0"), 3);
    assert_eq!(positions.to_string(), "a/0:5");
    positions.advance_all(&"a/0:9,b/0:1".parse().unwrap());
    assert_eq!(positions.to_string(), "a/0:9,b/0:1");
}

#[test]
fn an_epoch_contains_its_start_and_not_its_end() {
    let epoch = Epoch::new("a/0:5".parse().unwrap(), "a/0:7,a/1:1".parse().unwrap()).unwrap();
    let inside: Vec<_> = (4..8).filter(|offset| epoch.contains(&partition("a/0"), *offset)).collect();
    assert_eq!(inside, [5, 6]);
    assert!(epoch.contains(&partition("a/1"), 0));
    assert!(Epoch::new("a/0:5".parse().unwrap(), "a/0:4".parse().unwrap()).is_err());
}

#[test]
fn an_owned_topic_is_read_by_all_and_written_by_none() {
    let anonymous = Principal::anonymous();
    let events = Resource::OwnedTopic { topic: "events", owner: "the event store" };
    for access in [Access::Describe, Access::Read, Access::Write, Access::Alter] {
        assert!(authorise(&anonymous, access, Resource::Topic("flights")).is_ok(), "{access:?}");
        let writes = matches!(access, Access::Write | Access::Alter);
        let answer = authorise(&anonymous, access, events);
        assert_eq!(answer.is_err(), writes, "{access:?}");
        if let Err(error) = answer {
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert_eq!(error.to_string(), "topic events is the event store's: nobody else writes it");
        }
    }
}

#[test]
fn metrics_are_served_with_unit_and_label() {
    let metrics = Metrics::default();
    let view = [("view", "v".to_owned())];
    metrics.view_rows.get_or_create(&view).set(3);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
    for metric in ["log_appended_records", "log_commit_seconds", "query_seconds"] {
        assert!(text.contains(&format!("# HELP fourfold_{metric} ")), "{metric} is not served");
    }
    assert!(text.contains("fourfold_view_rows{view=\"v\"} 3"), "{text}");
    let mut names: Vec<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CATALOGUE.len(), "every metric has a name of its own");
}

#[test]
fn a_seeded_source_repeats_itself_and_no_id() {
    let ids = |seed| {
        let source = SeededEntropy::new(seed);
        (0..1_000).map(|_| source.uuid()).collect::<Vec<_>>()
    };
    assert_eq!(ids(1), ids(1));
    let mut all = [ids(1), ids(2), (0..1_000).map(|_| SystemEntropy.uuid()).collect()].concat();
    assert!(all.iter().all(|id| id.get_version_num() == 4));
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "no id comes twice");
}

#[test]
fn a_manual_clock_that_is_set_back_still_measures_forward() {
    let clock = ManualClock::at(1_000);
    let begin = clock.instant();
    for (set_to, elapsed_ms) in [(1_500, 500), (200, 500), (300, 600), (90_300, 90_600)] {
        clock.set(set_to);
        assert_eq!(clock.now_ms(), set_to);
        assert_eq!(i64::try_from(clock.instant().duration_since(begin).as_millis()).ok(), Some(elapsed_ms));
    }
    clock.set(0);
    clock.advance(7);
    assert_eq!(clock.now_ms(), 7);
}
