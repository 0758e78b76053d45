//! The log against a model of it: whatever is done, and whenever the process dies, both say the same.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;

use eventlog::{Acks, CommittedOffset, EventLog};
use proptest::prelude::*;
use support::*;
use tempfile::tempdir;

#[derive(Clone, Debug)]
enum Step {
    Append { partition: i32, records: usize, bytes: usize },
    Read { partition: i32, from: i64, bytes_max: usize },
    Commit { partition: i32, offset: i64 },
    Recreate,
    Kill,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..3, 1..5_usize, 0..400_usize).prop_map(|(partition, records, bytes)| Step::Append { partition, records, bytes }),
        6 => (0..3, 0..60_i64, 0..2_000_usize).prop_map(|(partition, from, bytes_max)| Step::Read { partition, from, bytes_max }),
        2 => (0..3, 0..60_i64).prop_map(|(partition, offset)| Step::Commit { partition, offset }),
        1 => Just(Step::Recreate),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..80)
}

/// By partition: each batch's base offset and values.
type Model = BTreeMap<i32, Vec<(i64, Vec<String>)>>;

fn end(model: &Model, partition: i32) -> i64 {
    model.get(&partition).and_then(|batches| batches.last()).map_or(0, |(base, values)| base + values.len() as i64)
}

async fn run(steps: Vec<Step>) {
    let directory = tempdir().unwrap();
    let mut log = open(directory.path(), small()).await;
    create(&log, "t", 3).await;
    let mut model = Model::new();
    let mut committed = BTreeMap::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append { partition: index, records, bytes } => {
                let values: Vec<String> = (0..records).map(|i| format!("{number}.{i}.{}", "x".repeat(bytes))).collect();
                let borrowed: Vec<&str> = values.iter().map(String::as_str).collect();
                let base = append(&log, &partition("t", index), &borrowed).await;
                assert_eq!(base, end(&model, index));
                model.entry(index).or_default().push((base, values));
            }
            Step::Read { partition: index, from, bytes_max } => {
                let read = log.read(&partition("t", index), from, bytes_max).await;
                if from > end(&model, index) {
                    assert!(read.is_err());
                    continue;
                }
                let found: Vec<_> = read.unwrap().batches;
                let bytes: usize = found.iter().map(|batch| batch.bytes.len()).sum();
                assert!(found.len() <= 1 || bytes <= bytes_max);
                assert_eq!(found.is_empty(), from == end(&model, index));
                let batches = model.get(&index).cloned().unwrap_or_default();
                let expected = batches.into_iter().filter(|(base, values)| base + values.len() as i64 > from);
                for (batch, (base, values)) in found.iter().zip(expected) {
                    assert_eq!((batch.base_offset(), batch.record_count()), (base, values.len() as i32));
                    assert!(values_of(batch).into_iter().map(|(_, value)| value).eq(values));
                }
            }
            Step::Commit { partition: index, offset } => {
                let value = CommittedOffset { offset, leader_epoch: -1, metadata: number.to_string() };
                log.commit_offsets("g", vec![(partition("t", index), value.clone())]).await.unwrap();
                committed.insert(partition("t", index), value);
            }
            Step::Recreate => {
                log.delete_topic(&topic("t")).await.unwrap();
                create(&log, "t", 3).await;
                model.clear();
                committed.clear();
            }
            Step::Kill => {
                drop(log);
                log = open(directory.path(), small()).await;
            }
            Step::Close => {
                log.close().await.unwrap();
                log = open(directory.path(), small()).await;
            }
        }
        assert_eq!(log.committed_offsets("g"), committed);
    }
    for index in 0..3 {
        let expected: Vec<_> = model
            .get(&index)
            .into_iter()
            .flatten()
            .flat_map(|(base, values)| {
                values.iter().enumerate().map(move |(i, value)| (base + i as i64, value.clone()))
            })
            .collect();
        assert_eq!(values(&log, &partition("t", index)).await, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_does_what_the_model_does(steps in steps()) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(run(steps));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_writers_see_every_record_once_in_order() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), small()).await;
    create(&log, "t", 2).await;
    let count = 600;
    let writer = |index: i32| {
        let log = std::sync::Arc::clone(&log);
        tokio::spawn(async move {
            for i in 0..count {
                let acks = if i % 2 == 0 { Acks::Durable } else { Acks::Written };
                log.append(&partition("t", index), batch(&[&i.to_string()]), acks).await.unwrap();
            }
        })
    };
    let reader = |index: i32| {
        let log = std::sync::Arc::clone(&log);
        tokio::spawn(async move {
            let p = partition("t", index);
            let mut watch = log.watch(&p).unwrap();
            let (mut from, mut seen) = (0, Vec::new());
            while from < count {
                let read = log.read(&p, from, 900).await.unwrap();
                if read.batches.is_empty() {
                    watch.wait_for(|high_watermark| *high_watermark > from).await.unwrap();
                }
                for batch in &read.batches {
                    assert!(batch.next_offset() <= log.bounds(&p).unwrap().high_watermark);
                    seen.extend(values_of(batch).into_iter().filter(|(offset, _)| *offset >= from));
                    from = batch.next_offset();
                }
            }
            assert!(seen.into_iter().eq((0..count).map(|i| (i, i.to_string()))));
        })
    };
    for task in [writer(0), writer(1), reader(0), reader(0), reader(1)] {
        task.await.unwrap();
    }
}
