//! Idempotent producers: what Kafka's clients rely on, as a table.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use eventlog::{Acks, Error, EventLog, EventLogSettings};
use support::*;
use tempfile::tempdir;

/// What a batch of an idempotent producer is answered with.
#[derive(Debug, PartialEq)]
enum Answer {
    /// Appended at this offset.
    At(i64),
    /// Appended before, at this offset.
    Before(i64),
    /// This sequence number was expected.
    Expected(i32),
    /// This epoch is the newest.
    Fenced(i16),
}

use Answer::{At, Before, Expected, Fenced};

/// Sends batches of `(producer, epoch, first sequence, records)` one after the other.
async fn check(name: &str, settings: EventLogSettings, steps: &[(i64, i16, i32, usize, Answer)]) {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let mut log = open(directory.path(), settings.clone()).await;
    create(&log, "t", 1).await;
    for (step, (id, epoch, sequence, count, expected)) in steps.iter().enumerate() {
        let batch = producer_batch(&vec!["v"; *count], *id, *epoch, *sequence);
        let answer = match log.append(&p, batch, Acks::Durable).await {
            Ok(appended) if appended.duplicate => Before(appended.base_offset),
            Ok(appended) => At(appended.base_offset),
            Err(Error::OutOfOrderSequence { expected, .. }) => Expected(expected),
            Err(Error::ProducerFenced { current, .. }) => Fenced(current),
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(answer, *expected, "{name}, step {step}");
        // The answers are the same whether or not the process dies in between.
        if step % 2 == 1 {
            drop(log);
            log = open(directory.path(), settings.clone()).await;
        }
    }
}

#[tokio::test]
async fn sequences_and_epochs() {
    let default = EventLogSettings::shipped;
    check("in order", default(), &[(1, 0, 0, 2, At(0)), (1, 0, 2, 1, At(2)), (1, 0, 3, 4, At(3))]).await;
    check(
        "repeated",
        default(),
        &[(1, 0, 0, 2, At(0)), (1, 0, 0, 2, Before(0)), (1, 0, 2, 1, At(2)), (1, 0, 0, 2, Before(0))],
    )
    .await;
    check("skipped", default(), &[(1, 0, 0, 1, At(0)), (1, 0, 2, 1, Expected(1)), (1, 0, 1, 1, At(1))]).await;
    check(
        "the last five are remembered",
        default(),
        &[
            (1, 0, 0, 1, At(0)),
            (1, 0, 1, 1, At(1)),
            (1, 0, 2, 1, At(2)),
            (1, 0, 3, 1, At(3)),
            (1, 0, 4, 1, At(4)),
            (1, 0, 0, 1, Before(0)),
            (1, 0, 5, 1, At(5)),
            (1, 0, 0, 1, Expected(6)),
            (1, 0, 1, 1, Before(1)),
        ],
    )
    .await;
    check(
        "a repetition is whole",
        default(),
        &[(1, 0, 0, 2, At(0)), (1, 0, 0, 1, Expected(2)), (1, 0, 1, 1, Expected(2))],
    )
    .await;
    check(
        "epochs",
        default(),
        &[
            (1, 0, 0, 1, At(0)),
            (1, 2, 1, 1, Expected(0)),
            (1, 2, 0, 1, At(1)),
            (1, 1, 0, 1, Fenced(2)),
            (1, 0, 1, 1, Fenced(2)),
            (1, 2, 0, 1, Before(1)),
            (1, 2, 1, 1, At(2)),
        ],
    )
    .await;
    check(
        "sequences wrap to zero",
        default(),
        &[
            (1, 0, i32::MAX - 1, 1, At(0)),
            (1, 0, i32::MAX, 2, At(1)),
            (1, 0, i32::MAX, 2, Before(1)),
            (1, 0, 1, 1, At(3)),
        ],
    )
    .await;
    check("strangers begin anywhere", default(), &[(1, 3, 77, 1, At(0)), (1, 3, 78, 1, At(1)), (2, 0, 5, 1, At(2))])
        .await;
    let two = EventLogSettings { producers_max: 2, ..default() };
    check(
        "the idle are forgotten",
        two,
        &[(1, 0, 0, 1, At(0)), (1, 0, 1, 1, At(1)), (2, 0, 0, 1, At(2)), (3, 0, 0, 1, At(3)), (3, 0, 0, 1, Before(3))],
    )
    .await;
}

#[tokio::test]
async fn a_repetition_in_the_same_commit_is_noticed() {
    let directory = tempdir().unwrap();
    let p = partition("t", 0);
    let log = open(directory.path(), EventLogSettings::shipped()).await;
    create(&log, "t", 1).await;
    let append = || log.append(&p, producer_batch(&["v"], 1, 0, 0), Acks::Durable);
    let (a, b, c) = tokio::join!(append(), append(), append());
    let answers = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert!(answers.iter().all(|answer| answer.base_offset == 0));
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    assert_eq!(values(&log, &p).await.len(), 1);
}
