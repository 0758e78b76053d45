//! Lakes as earlier releases left them on disk, in `tests/stored`, are opened by this one, and are what they were.
//!
//! A fixture that is not there is written by the code as it is, and its test fails, so that somebody looks at it before
//! it is kept. docs/formats/README.md says when there has to be another one.

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt};
use uuid::Uuid;

use super::{MaintenanceSettings, at, check, epoch, in_store, memory, open, rows_of};
use crate::stored_schema::tests::{assert_same_bits, every_type};
use crate::{BatchTable, LakeLocation};

/// Checksums of data files, none of the Delta log.
const LAKE_1: &str = "tests/stored/lake-1";
/// Checksums of both.
const LAKE_2: &str = "tests/stored/lake-2";

const TOPIC: Uuid = Uuid::from_u128(7);

fn batches(store: &Arc<dyn ObjectStore>) -> BatchTable {
    BatchTable::new("v", LakeLocation::in_store(Arc::clone(store), "memory:///lake/batch/v/1"))
}

/// What a fixture is made by: files that were merged, a checkpoint of the Delta log, and a commit after it.
async fn write(store: &Arc<dyn ObjectStore>) {
    let table = open(store).await;
    table.bind(TOPIC).await.unwrap();
    for (from, to) in [("", "readings/0:9,readings/1:3"), ("readings/0:9", "readings/0:14")] {
        let epoch = epoch(from, to);
        table.commit(rows_of(&epoch), &epoch).await.unwrap();
    }
    let done = table.maintain(&MaintenanceSettings::shipped()).await.unwrap();
    assert!(done.files_merged > 0, "{done:?}");
    let epoch = epoch("readings/1:3", "readings/1:5,readings/2:12");
    table.commit(rows_of(&epoch), &epoch).await.unwrap();
    for positions in ["readings/0:9", "readings/0:14,readings/2:1"] {
        batches(store).commit("a plan", &at(positions), vec![every_type()]).await.unwrap();
    }
}

async fn copy(from: &dyn ObjectStore, to: &dyn ObjectStore) {
    for object in from.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let bytes = from.get(&object.location).await.unwrap().bytes().await.unwrap();
        to.put(&object.location, bytes.into()).await.unwrap();
    }
}

/// Opens a copy of a fixture; answers how many entries of its Delta logs have a checksum, and how many there are.
async fn check_fixture(fixture: &str) -> (usize, usize) {
    let store = memory();
    if !Path::new(fixture).exists() {
        write(&store).await;
        std::fs::create_dir_all(fixture).unwrap();
        copy(store.as_ref(), &LocalFileSystem::new_with_prefix(fixture).unwrap()).await;
        panic!("{fixture} was not there, and was written: look at it, and keep it");
    }
    copy(&LocalFileSystem::new_with_prefix(fixture).unwrap(), store.as_ref()).await;
    let (mut checked, mut entries) = (0, 0);
    for object in store.list(None).try_collect::<Vec<_>>().await.unwrap() {
        if object.location.as_ref().ends_with(".json") {
            let entry = store.get(&object.location).await.unwrap().bytes().await.unwrap();
            checked += usize::from(entry.starts_with(br#"{"commitInfo":{"fourfold.entryCrc32c":""#));
            entries += 1;
        }
    }
    in_store(&store).check_files().await.unwrap();
    let table = open(&store).await;
    table.bind(TOPIC).await.unwrap();
    assert!(table.bind(Uuid::from_u128(8)).await.is_err(), "it is tied to its topic");
    assert_eq!(table.contradiction().unwrap(), None);
    check(&table, &at("readings/0:14,readings/1:5,readings/2:12")).await;
    let batch = batches(&store).load().await.unwrap().unwrap();
    assert_eq!((batch.plan_hash.as_str(), batch.positions), ("a plan", at("readings/0:14,readings/2:1")));
    assert_eq!(batch.states.len(), 1);
    assert_same_bits(&batch.states[0], &every_type());

    // It goes on from there.
    let epoch = epoch("readings/2:12", "readings/2:20");
    table.commit(rows_of(&epoch), &epoch).await.unwrap();
    table.maintain(&MaintenanceSettings::shipped()).await.unwrap();
    let all = at("readings/0:14,readings/1:5,readings/2:20");
    check(&table, &all).await;
    check(&*open(&store).await, &all).await;
    batches(&store).commit("a plan", &all, vec![every_type()]).await.unwrap();
    assert_eq!(batches(&store).load().await.unwrap().unwrap().positions, all);
    (checked, entries)
}

#[tokio::test]
async fn a_lake_of_version_1_is_what_it_was() {
    assert_eq!(check_fixture(LAKE_1).await, (0, 9));
}

#[tokio::test]
async fn a_lake_of_version_2_is_what_it_was() {
    assert_eq!(check_fixture(LAKE_2).await, (9, 9));
}
