//! Checkpoints that are torn, missing, of another plan, or of many segments.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use model::Positions;
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, memory::InMemory, path::Path};

use super::{CheckpointStore, SEGMENTS_MAX};
use crate::{
    Error, Fold, ViewPlan, ViewState,
    testing::{all_rows, flights, lines, log_of_flights, sorted, view},
};

mod stored;

const PREFIX: &str = "views/v";

fn plan(query: &str) -> ViewPlan {
    ViewPlan::new(&view(query), &[flights()]).unwrap()
}

fn counting() -> ViewPlan {
    plan("SELECT carrier, day, count(*) AS n, sum(delay) AS s FROM flights GROUP BY carrier, day")
}

async fn rows() -> RecordBatch {
    all_rows(log_of_flights(600, 11).await, &flights()).await
}

fn positions(n: i64) -> Positions {
    format!("flights/0:{n},flights/1:{n}").parse().unwrap()
}

async fn objects(store: &dyn ObjectStore) -> Vec<String> {
    let mut paths: Vec<String> = store.list(None).map_ok(|o| o.location.to_string()).try_collect().await.unwrap();
    paths.sort();
    paths
}

/// Folds `rows` in steps, with a checkpoint after each.
async fn publish_steps(store: &mut CheckpointStore, plan: &ViewPlan, rows: &RecordBatch, steps: usize) -> Fold {
    let mut fold = Fold::new(plan).unwrap();
    let length = rows.num_rows() / steps;
    for step in 0..steps {
        fold.apply(&rows.slice(step * length, length), None).unwrap();
        let dirty = fold.drain_dirty_state().unwrap();
        store.publish(&plan.hash(), &positions(step as i64 + 1), &[fold.part(dirty)]).await.unwrap();
    }
    fold
}

async fn restore(store: &Arc<dyn ObjectStore>, plan: &ViewPlan) -> Option<(Positions, Fold)> {
    let restored = CheckpointStore::new(Arc::clone(store), PREFIX).load(&plan.hash()).await.unwrap()?;
    let mut fold = Fold::new(plan).unwrap();
    fold.restore(&restored.parts).unwrap();
    Some((restored.positions, fold))
}

#[tokio::test]
async fn what_was_published_is_loaded_from_memory_and_from_disk() {
    let (rows, directory) = (rows().await, tempfile::tempdir().unwrap());
    let disk = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let queries = [
        "SELECT carrier, count(*) AS n, avg(delay) AS a, max(fare) AS m, last_value(day) AS l FROM flights GROUP BY carrier",
        "SELECT count(*) AS n, sum(fare) AS s FROM flights",
        "SELECT carrier, fare FROM flights WHERE delay > 0",
    ];
    let stores: [Arc<dyn ObjectStore>; 2] = [Arc::new(InMemory::new()), Arc::new(disk)];
    for (store, query) in stores.iter().flat_map(|store| queries.map(|query| (store, query))) {
        let plan = plan(query);
        assert!(restore(store, &plan).await.is_none(), "{query}");
        let fold = publish_steps(&mut CheckpointStore::new(Arc::clone(store), PREFIX), &plan, &rows, 5).await;
        let (at, restored) = restore(store, &plan).await.unwrap();
        assert_eq!(at, positions(5));
        let width = plan.output_schema().fields().len();
        assert_eq!(lines(&restored.rows().unwrap(), width), lines(&fold.rows().unwrap(), width), "{query}");
    }
}

#[tokio::test]
async fn a_checkpoint_writes_only_what_was_touched() {
    let (rows, plan) = (rows().await, counting());
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut checkpoints = CheckpointStore::new(Arc::clone(&store), PREFIX);
    let mut fold = publish_steps(&mut checkpoints, &plan, &rows, 1).await;
    fold.apply(&rows.slice(0, 1), None).unwrap();
    let dirty = fold.drain_dirty_state().unwrap();
    assert_eq!(dirty.num_rows(), 1);
    checkpoints.publish(&plan.hash(), &positions(2), &[fold.part(dirty)]).await.unwrap();
    let written = objects(store.as_ref()).await;
    assert_eq!(
        written,
        ["views/v/manifest.json", "views/v/segment-0000000000.arrow", "views/v/segment-0000000001.arrow"]
    );
    // Nothing touched: only the Positions move.
    checkpoints.publish(&plan.hash(), &positions(3), &fold.dirty_parts().unwrap()).await.unwrap();
    assert_eq!(objects(store.as_ref()).await, written);
    let (at, restored) = restore(&store, &plan).await.unwrap();
    assert_eq!(at, positions(3));
    assert_eq!(sorted(&restored.all_state().unwrap(), 2), sorted(&fold.all_state().unwrap(), 2));
}

#[tokio::test]
async fn many_segments_become_one_and_old_ones_are_swept() {
    let rows = rows().await;
    for query in [
        "SELECT carrier, day, count(*) AS n, sum(delay) AS s FROM flights GROUP BY carrier, day",
        "SELECT count(*) AS n, sum(fare) AS s FROM flights",
        "SELECT carrier FROM flights",
    ] {
        let plan = plan(query);
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut checkpoints = CheckpointStore::new(Arc::clone(&store), PREFIX);
        let fold = publish_steps(&mut checkpoints, &plan, &rows, SEGMENTS_MAX * 2 + 5).await;
        assert!(objects(store.as_ref()).await.len() <= SEGMENTS_MAX + 1, "{query}");
        let (_, restored) = restore(&store, &plan).await.unwrap();
        let keys = plan.state_key_count();
        assert_eq!(sorted(&restored.all_state().unwrap(), keys), sorted(&fold.all_state().unwrap(), keys), "{query}");
    }
}

#[tokio::test]
async fn another_plan_starts_anew() {
    let (rows, old) = (rows().await, counting());
    let new = plan("SELECT carrier, count(*) AS n FROM flights GROUP BY carrier");
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    publish_steps(&mut CheckpointStore::new(Arc::clone(&store), PREFIX), &old, &rows, 3).await;
    assert!(restore(&store, &new).await.is_none());
    let fold = publish_steps(&mut CheckpointStore::new(Arc::clone(&store), PREFIX), &new, &rows, 2).await;
    let (_, restored) = restore(&store, &new).await.unwrap();
    assert_eq!(sorted(&restored.all_state().unwrap(), 1), sorted(&fold.all_state().unwrap(), 1));
    assert_eq!(objects(store.as_ref()).await.len(), 3, "the old plan's segments are gone");
    assert!(restore(&store, &old).await.is_none());
}

#[tokio::test]
async fn damage_is_reported_wherever_it_is() {
    let (rows, plan) = (rows().await, counting());
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    publish_steps(&mut CheckpointStore::new(Arc::clone(&store), PREFIX), &plan, &rows, 3).await;
    for path in objects(store.as_ref()).await {
        let path = Path::from(path);
        let good = store.get(&path).await.unwrap().bytes().await.unwrap();
        let torn = good.slice(..good.len() / 2);
        let mut turned = good.to_vec();
        let middle = turned.len() / 2;
        turned[middle] ^= 0x10;
        let is_manifest = path.filename() == Some("manifest.json");
        for damaged in [Some(torn), Some(turned.into()), Some(bytes::Bytes::new()), None] {
            match &damaged {
                Some(bytes) => drop(store.put(&path, bytes.clone().into()).await.unwrap()),
                None if is_manifest => continue,
                None => store.delete(&path).await.unwrap(),
            }
            let mut checkpoints = CheckpointStore::new(Arc::clone(&store), PREFIX);
            let loaded = checkpoints.load(&plan.hash()).await;
            assert!(matches!(loaded, Err(Error::CheckpointCorrupt { .. })), "{path} {damaged:?}: {loaded:?}");
        }
        store.put(&path, good.into()).await.unwrap();
        assert!(restore(&store, &plan).await.is_some());
    }
    // What cannot be read can be deleted, and the view starts anew.
    store.put(&Path::from("views/v/manifest.json"), "{".into()).await.unwrap();
    let mut checkpoints = CheckpointStore::new(Arc::clone(&store), PREFIX);
    checkpoints.delete().await.unwrap();
    assert!(checkpoints.load(&plan.hash()).await.unwrap().is_none());
    assert_eq!(objects(store.as_ref()).await, Vec::<String>::new());
}

#[test]
fn a_manifest_is_what_the_format_says() {
    let document = include_str!("../../tests/golden/manifest-1.json");
    let manifest = super::Manifest::from_bytes(document.as_bytes()).unwrap();
    assert_eq!(manifest.positions, "flights/0:17,flights/2:4".parse().unwrap());
    assert_eq!((manifest.next_segment, manifest.segments.len()), (4, 1));
    assert_eq!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap(), document.trim_end());
    let newer = document.replace("\"version\": 1", "\"version\": 3");
    assert!(super::Manifest::from_bytes(newer.as_bytes()).unwrap_err().contains("version 3"));
    let escaping = document.replace("segment-0000000003", "../../etc/passwd");
    assert!(super::Manifest::from_bytes(escaping.as_bytes()).is_err());
}
