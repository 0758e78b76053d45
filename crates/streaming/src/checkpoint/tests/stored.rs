//! Checkpoints as earlier releases left them on disk, in `tests/stored`, are loaded by this one, and are what they were.
//!
//! A fixture that is not there is written by the code as it is, and its test fails, so that somebody looks at it before
//! it is kept. docs/formats/README.md says when there has to be another one.

use std::{path::Path as FilePath, sync::Arc};

use arrow::array::RecordBatch;
use eventlog::{Acks, EventLog, TopicSpec};
use futures::TryStreamExt;
use model::{TopicName, TopicPartition};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, memory::InMemory};

use super::{plan, positions};
use crate::{
    CheckpointStore, Fold, ViewState,
    testing::{MemoryLog, all_rows, batch, flights, lines, record},
};

/// Version 1 of the manifest, and version 3 of the states, in `docs/formats/checkpoint.md`.
const CHECKPOINT_1: &str = "tests/stored/checkpoint-1-states-3";

const RECORDS: [&str; 7] = [
    r#"{"carrier": "AA", "flight": 1, "delay": 0.1, "fare": 19.99, "miles": 9223372036854775807, "day": "2024-01-02", "departed": "2024-01-02T03:04:05.678901Z"}"#,
    r#"{"carrier": "AA", "flight": 2, "delay": 1e300, "fare": -0.01, "miles": 9223372036854775807, "day": "2024-01-01"}"#,
    r#"{"carrier": "Ñandú", "flight": 3, "cancelled": true}"#,
    r#"{"flight": 4, "delay": 5e-324, "fare": 99999999.99, "miles": -1, "departed": "1969-12-31T23:59:59Z"}"#,
    r#"{"carrier": "DL", "flight": 5, "delay": -2.5, "miles": 7}"#,
    r#"{"carrier": "AA", "flight": 6, "delay": -1e300, "fare": 0.03, "day": "2023-12-31"}"#,
    r#"{"carrier": "DL", "flight": 7, "delay": 2.5, "cancelled": false, "departed": "2024-01-01T00:00:00Z"}"#,
];

/// A view by its name, its query, and its rows.
const VIEWS: [(&str, &str, &[&str]); 3] = [
    (
        "groups",
        "SELECT carrier, count(*) AS n, count(delay) AS d, sum(miles) AS m, sum(fare) AS f, sum(delay) AS s,
         avg(delay) AS a, min(fare) AS lo, min(day) AS day, max(departed) AS hi, first_value(flight) AS first,
         last_value(flight) AS last FROM flights GROUP BY carrier",
        &[
            "AA | 3 | 3 | 18446744073709551614 | 20.01 | 0.1 | 0.03333333333333333 | -0.01 | 2023-12-31 \
             | 2024-01-02T03:04:05.678901 | 1 | 6",
            "DL | 2 | 2 | 7 | NULL | 0.0 | 0.0 | NULL | NULL | 2024-01-01T00:00:00 | 5 | 7",
            "NULL | 1 | 1 | -1 | 99999999.99 | 5e-324 | 5e-324 | 99999999.99 | NULL | 1969-12-31T23:59:59 | 4 | 4",
            "Ñandú | 1 | 0 | NULL | NULL | NULL | NULL | NULL | NULL | NULL | 3 | 3",
        ],
    ),
    ("whole", "SELECT count(*) AS n, sum(delay) AS s, max(carrier) AS c FROM flights", &["7 | 0.1 | Ñandú"]),
    (
        "rows",
        "SELECT carrier, fare FROM flights WHERE delay > 0",
        // With the partition and the offset of each.
        &["AA | -0.01 | 1 | 1", "AA | 19.99 | 1 | 0", "DL | NULL | 1 | 6", "NULL | 99999999.99 | 1 | 3"],
    ),
];

async fn rows() -> RecordBatch {
    let log = MemoryLog::new();
    let topic = TopicName::new("flights").unwrap();
    log.create_topic(TopicSpec::new(topic.clone(), 3)).await.unwrap();
    for text in RECORDS {
        let place = TopicPartition::new(topic.clone(), 1);
        log.append(&place, batch(vec![record("k", text)]), Acks::Durable).await.unwrap();
    }
    all_rows(log, &flights()).await
}

/// What the fixture is made by: two checkpoints of each view.
async fn write(store: &Arc<dyn ObjectStore>) {
    let rows = rows().await;
    for (name, query, _) in VIEWS {
        let plan = plan(query);
        let (mut fold, mut checkpoints) = (Fold::new(&plan).unwrap(), CheckpointStore::new(Arc::clone(store), name));
        for (from, to) in [(0, 5), (5, RECORDS.len())] {
            fold.apply(&rows.slice(from, to - from), None).unwrap();
            let dirty = fold.drain_dirty_state().unwrap();
            checkpoints.publish(&plan.hash(), &positions(to as i64), &[fold.part(dirty)]).await.unwrap();
        }
    }
}

async fn copy(from: &dyn ObjectStore, to: &dyn ObjectStore) {
    for object in from.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let bytes = from.get(&object.location).await.unwrap().bytes().await.unwrap();
        to.put(&object.location, bytes.into()).await.unwrap();
    }
}

#[tokio::test]
async fn checkpoints_of_version_1_are_what_they_were() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    if !FilePath::new(CHECKPOINT_1).exists() {
        write(&store).await;
        std::fs::create_dir_all(CHECKPOINT_1).unwrap();
        copy(&store, &LocalFileSystem::new_with_prefix(CHECKPOINT_1).unwrap()).await;
        panic!("{CHECKPOINT_1} was not there, and was written: look at it, and keep it");
    }
    copy(&LocalFileSystem::new_with_prefix(CHECKPOINT_1).unwrap(), store.as_ref()).await;
    for (name, query, expected) in VIEWS {
        let plan = plan(query);
        let mut checkpoints = CheckpointStore::new(Arc::clone(&store), name);
        for at in [RECORDS.len() as i64, 9] {
            let restored = checkpoints.load(&plan.hash()).await.unwrap().expect(name);
            assert_eq!(restored.positions, positions(at), "{name}");
            let mut fold = Fold::new(&plan).unwrap();
            fold.restore(&restored.parts).unwrap();
            let found = lines(&fold.rows().unwrap(), plan.output_schema().fields().len());
            assert_eq!(found, expected, "{name}: {found:#?}");
            // It goes on from there.
            checkpoints.publish(&plan.hash(), &positions(9), &fold.dirty_parts().unwrap()).await.unwrap();
        }
    }
}
