//! Tests of batch views: what was committed is loaded, bit by bit, by whoever comes next.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use model::{ErrorKind, Positions};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::BatchViews;
use crate::LakeLocation;
use crate::stored_schema::tests::{assert_same_bits, every_type};
use crate::table::tests::faulty_store::{Fault, FaultyStore};

fn memory() -> BatchViews {
    BatchViews::new(LakeLocation::in_store(Arc::new(InMemory::new()), "memory:///views"))
}

fn at(text: &str) -> Positions {
    text.parse().unwrap()
}

fn counts(values: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([("sum(t.x)[count]", Arc::new(Int64Array::from(values.to_vec())) as _)]).unwrap()
}

#[tokio::test]
async fn states_of_every_type_come_back_bit_by_bit() {
    let directory = tempfile::tempdir().unwrap();
    let views = BatchViews::new(LakeLocation::directory(directory.path()));
    assert!(views.load("Delays by day").await.unwrap().is_none());
    let states = every_type();
    let committed = views.commit("Delays by day", "h1", &at("f/0:5,f/1:7"), vec![states.clone()]).await.unwrap();

    let loaded =
        BatchViews::new(LakeLocation::directory(directory.path())).load("Delays by day").await.unwrap().unwrap();
    assert_eq!((loaded.version, loaded.plan_hash.as_str()), (committed.version, "h1"));
    assert_eq!(loaded.positions, at("f/0:5,f/1:7"));
    assert_eq!(loaded.states.len(), 1);
    assert_same_bits(&loaded.states[0], &states);
}

#[tokio::test]
async fn a_version_replaces_the_one_before_whole() {
    let views = memory();
    views.commit("v", "h1", &at("f/0:5"), vec![counts(&[1, 2]), counts(&[3])]).await.unwrap();
    views.commit("v", "h1", &at("f/0:9"), vec![counts(&[4])]).await.unwrap();
    let loaded = views.load("v").await.unwrap().unwrap();
    assert_eq!(loaded.positions, at("f/0:9"));
    assert_same_bits(&loaded.states[0], &counts(&[4]));

    // Another plan: other columns, and Positions may go back.
    views.commit("v", "h2", &at("f/0:2"), vec![every_type()]).await.unwrap();
    let loaded = views.load("v").await.unwrap().unwrap();
    assert_eq!((loaded.positions, loaded.plan_hash.as_str()), (at("f/0:2"), "h2"));
    assert_same_bits(&loaded.states[0], &every_type());

    // No group at all is a result as well.
    views.commit("v", "h3", &Positions::new(), vec![counts(&[])]).await.unwrap();
    let loaded = views.load("v").await.unwrap().unwrap();
    assert!(loaded.states.is_empty() && loaded.positions.is_empty());
}

#[tokio::test]
async fn a_run_is_committed_once_and_never_replaces_a_newer_one() {
    let views = memory();
    let first = views.commit("v", "h1", &at("f/0:5,f/1:5"), vec![counts(&[1])]).await.unwrap();
    let again = views.commit("v", "h1", &at("f/0:5,f/1:5"), vec![counts(&[1])]).await.unwrap();
    assert_eq!(again.version, first.version);
    for older in ["f/0:4,f/1:5", "f/0:9", ""] {
        let refused = views.commit("v", "h1", &at(older), vec![counts(&[2])]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{older}");
    }
    assert_eq!(views.load("v").await.unwrap().unwrap().version, first.version);
    assert_eq!(views.commit("v", "h1", &at("f/0:6"), vec![]).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_removed_view_is_gone_and_can_come_back() {
    let views = memory();
    views.remove("v").await.unwrap();
    views.commit("v", "h1", &at("f/0:5"), vec![counts(&[1])]).await.unwrap();
    views.remove("v").await.unwrap();
    assert!(views.load("v").await.unwrap().is_none());
    views.commit("v", "h1", &at("f/0:3"), vec![counts(&[2])]).await.unwrap();
    let loaded = views.load("v").await.unwrap().unwrap();
    assert_eq!(loaded.positions, at("f/0:3"));
    assert_same_bits(&loaded.states[0], &counts(&[2]));
}

#[tokio::test]
async fn many_versions_are_maintained_on_the_way() {
    let views = memory();
    for run in 1..=21 {
        views.commit("v", "h1", &at(&format!("f/0:{run}")), vec![counts(&[run])]).await.unwrap();
    }
    let loaded = views.load("v").await.unwrap().unwrap();
    assert_eq!(loaded.positions, at("f/0:21"));
    assert_same_bits(&loaded.states[0], &counts(&[21]));
}

#[tokio::test]
async fn a_crash_at_any_put_leaves_the_version_before_or_the_one_after() {
    for fault in [Fault::NotDone, Fault::DoneButLost] {
        for put in 0.. {
            let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let faulty = Arc::new(FaultyStore::new(Arc::clone(&disk), put, fault));
            let failing = BatchViews::new(LakeLocation::in_store(faulty, "memory:///views"));
            let mut last = 0;
            let mut crashed = false;
            for run in 1..=3 {
                last = run;
                crashed = failing.commit("v", "h1", &at(&format!("f/0:{run}")), vec![counts(&[run])]).await.is_err();
                if crashed {
                    break;
                }
            }
            let views = BatchViews::new(LakeLocation::in_store(disk, "memory:///views"));
            let found = views.load("v").await.unwrap();
            let h = found.as_ref().map_or(0, |version| version.positions.next_offset(&"f/0".parse().unwrap()));
            assert!(h == last || (crashed && h == last - 1), "{h} after run {last}, put {put}");
            if let Some(version) = found {
                assert_same_bits(&version.states[0], &counts(&[h]));
            }
            views.commit("v", "h1", &at("f/0:4"), vec![counts(&[4])]).await.unwrap();
            assert_same_bits(&views.load("v").await.unwrap().unwrap().states[0], &counts(&[4]));
            if !crashed {
                // The table, and three commits with their files.
                assert!(put >= 7, "{put}");
                break;
            }
        }
    }
}
