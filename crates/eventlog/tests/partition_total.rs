//! The bound on the partitions of all topics together: what counts, and what does not keep a log from opening.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use eventlog::{Error, EventLog, EventLogSettings, TopicSpec};
use support::*;
use tempfile::tempdir;

fn at_most(partitions_max: usize) -> EventLogSettings {
    EventLogSettings { partitions_max, ..small() }
}

fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec::new(topic(name), partitions)
}

#[tokio::test]
async fn all_topics_together_have_no_more_partitions_than_are_allowed() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), at_most(10)).await;
    create(&log, "a", 4).await;
    create(&log, "b", 5).await;
    let error = log.create_topic(spec("c", 2)).await.unwrap_err();
    assert!(matches!(error, Error::TooManyPartitions { asked: 2, partitions: 9, partitions_max: 10, .. }), "{error}");
    assert!(error.to_string().contains("log.partitions_max"), "{error}");
    assert!(matches!(log.check_topic(&spec("c", 2)), Err(Error::TooManyPartitions { .. })), "asking tells the same");
    log.check_topic(&spec("c", 1)).unwrap();
    create(&log, "c", 1).await;
    assert!(log.create_topic(spec("d", 1)).await.is_err());
    log.delete_topic(&topic("a")).await.unwrap();
    create(&log, "d", 4).await;
    assert!(log.create_topic(spec("e", 1)).await.is_err(), "what a deletion gave back is given once");
}

#[tokio::test]
async fn of_topics_that_are_created_at_the_same_time_only_those_that_fit_are() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), at_most(10)).await;
    let creations = (0..8).map(|number| {
        let log = std::sync::Arc::clone(&log);
        tokio::spawn(async move { log.create_topic(spec(&format!("t{number}"), 3)).await.is_ok() })
    });
    let mut created = 0;
    for creation in creations.collect::<Vec<_>>() {
        created += i32::from(creation.await.unwrap());
    }
    assert_eq!(created, 3);
}

#[tokio::test]
async fn a_log_that_has_more_partitions_than_are_allowed_now_opens_and_works() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), at_most(10)).await;
    create(&log, "a", 4).await;
    create(&log, "b", 4).await;
    drop(log);
    // Once from the write-ahead log, once from a checkpoint.
    for _ in 0..2 {
        let log = open(directory.path(), at_most(5)).await;
        append(&log, &partition("b", 3), &["v"]).await;
        assert!(matches!(log.create_topic(spec("c", 1)).await, Err(Error::TooManyPartitions { partitions: 8, .. })));
        log.close().await.unwrap();
    }
    let log = open(directory.path(), at_most(5)).await;
    log.delete_topic(&topic("a")).await.unwrap();
    create(&log, "c", 1).await;
}
