//! Tests of batch tables: what was committed is loaded, bit by bit, by whoever comes next.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use model::{ErrorKind, Positions};
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::BatchTable;
use crate::LakeLocation;
use crate::stored_schema::tests::{assert_same_bits, every_type};
use crate::table::tests::faulty_store::{Fault, FaultyStore};

fn memory() -> BatchTable {
    BatchTable::new("v", LakeLocation::in_store(Arc::new(InMemory::new()), "memory:///views/v/1"))
}

fn at(text: &str) -> Positions {
    text.parse().unwrap()
}

/// An entry of the Delta log as somebody else would have written it.
fn without_checksum(entry: &str) -> String {
    let (head, tail) = entry.split_once("\"fourfold.entryCrc32c\":\"").unwrap();
    format!("{head}{}", tail.split_once("\",").unwrap().1)
}

fn counts(values: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([("sum(t.x)[count]", Arc::new(Int64Array::from(values.to_vec())) as _)]).unwrap()
}

#[tokio::test]
async fn states_of_every_type_come_back_bit_by_bit() {
    let directory = tempfile::tempdir().unwrap();
    let table = BatchTable::new("v", LakeLocation::directory(directory.path()));
    assert!(table.load().await.unwrap().is_none());
    let states = every_type();
    let committed = table.commit("h1", &at("f/0:5,f/1:7"), vec![states.clone()]).await.unwrap();

    let loaded =
        BatchTable::new("Delays by day", LakeLocation::directory(directory.path())).load().await.unwrap().unwrap();
    assert_eq!((loaded.version, loaded.plan_hash.as_str()), (committed.version, "h1"));
    assert_eq!(loaded.positions, at("f/0:5,f/1:7"));
    assert_eq!(loaded.states.len(), 1);
    assert_same_bits(&loaded.states[0], &states);
}

#[tokio::test]
async fn a_version_replaces_the_one_before_whole() {
    let table = memory();
    table.commit("h1", &at("f/0:5"), vec![counts(&[1, 2]), counts(&[3])]).await.unwrap();
    table.commit("h1", &at("f/0:9"), vec![counts(&[4])]).await.unwrap();
    let loaded = table.load().await.unwrap().unwrap();
    assert_eq!(loaded.positions, at("f/0:9"));
    assert_same_bits(&loaded.states[0], &counts(&[4]));

    // Another plan: other columns, and Positions may go back.
    table.commit("h2", &at("f/0:2"), vec![every_type()]).await.unwrap();
    let loaded = table.load().await.unwrap().unwrap();
    assert_eq!((loaded.positions, loaded.plan_hash.as_str()), (at("f/0:2"), "h2"));
    assert_same_bits(&loaded.states[0], &every_type());

    // No group at all is a result as well.
    table.commit("h3", &Positions::new(), vec![counts(&[])]).await.unwrap();
    let loaded = table.load().await.unwrap().unwrap();
    assert!(loaded.states.is_empty() && loaded.positions.is_empty());
}

#[tokio::test]
async fn a_run_is_committed_once_and_never_replaces_a_newer_one() {
    let table = memory();
    let first = table.commit("h1", &at("f/0:5,f/1:5"), vec![counts(&[1])]).await.unwrap();
    let again = table.commit("h1", &at("f/0:5,f/1:5"), vec![counts(&[1])]).await.unwrap();
    assert_eq!(again.version, first.version);
    for older in ["f/0:4,f/1:5", "f/0:9", ""] {
        let refused = table.commit("h1", &at(older), vec![counts(&[2])]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{older}");
    }
    assert_eq!(table.load().await.unwrap().unwrap().version, first.version);
    assert_eq!(table.commit("h1", &at("f/0:6"), vec![]).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_removed_table_is_gone_and_can_come_back() {
    let table = memory();
    table.remove().await.unwrap();
    table.commit("h1", &at("f/0:5"), vec![counts(&[1])]).await.unwrap();
    table.remove().await.unwrap();
    assert!(table.load().await.unwrap().is_none());
    table.commit("h1", &at("f/0:3"), vec![counts(&[2])]).await.unwrap();
    let loaded = table.load().await.unwrap().unwrap();
    assert_eq!(loaded.positions, at("f/0:3"));
    assert_same_bits(&loaded.states[0], &counts(&[2]));
}

#[tokio::test]
async fn many_versions_are_maintained_on_the_way() {
    let table = memory();
    for run in 1..=21 {
        table.commit("h1", &at(&format!("f/0:{run}")), vec![counts(&[run])]).await.unwrap();
    }
    let loaded = table.load().await.unwrap().unwrap();
    assert_eq!(loaded.positions, at("f/0:21"));
    assert_same_bits(&loaded.states[0], &counts(&[21]));
}

#[tokio::test]
async fn a_crash_at_any_put_leaves_the_version_before_or_the_one_after() {
    for fault in [Fault::NotDone, Fault::DoneButLost] {
        for put in 0.. {
            let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let faulty = Arc::new(FaultyStore::new(Arc::clone(&disk), put, fault));
            let failing = BatchTable::new("v", LakeLocation::in_store(faulty, "memory:///views"));
            let mut last = 0;
            let mut crashed = false;
            for run in 1..=3 {
                last = run;
                crashed = failing.commit("h1", &at(&format!("f/0:{run}")), vec![counts(&[run])]).await.is_err();
                if crashed {
                    break;
                }
            }
            let table = BatchTable::new("v", LakeLocation::in_store(disk, "memory:///views"));
            let found = table.load().await.unwrap();
            let h = found.as_ref().map_or(0, |version| version.positions.next_offset(&"f/0".parse().unwrap()));
            assert!(h == last || (crashed && h == last - 1), "{h} after run {last}, put {put}");
            if let Some(version) = found {
                assert_same_bits(&version.states[0], &counts(&[h]));
            }
            table.commit("h1", &at("f/0:4"), vec![counts(&[4])]).await.unwrap();
            assert_same_bits(&table.load().await.unwrap().unwrap().states[0], &counts(&[4]));
            if !crashed {
                // The table, and three commits with their files.
                assert!(put >= 7, "{put}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_by_name_wherever_it_is_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let table = BatchTable::new("v", LakeLocation::directory(directory.path()));
    table.commit("h1", &at("f/0:5"), vec![every_type()]).await.unwrap();
    let is_data = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    let file = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).find(is_data).unwrap();
    let whole = std::fs::read(&file).unwrap();
    for place in (0..whole.len()).step_by(whole.len() / 150) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&file, bytes).unwrap();
        let refused = table.load().await.unwrap_err();
        let name = file.file_name().unwrap().to_str().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{place}: {refused}");
        assert!(refused.message().contains(name), "{place}: {refused}");
        assert!(refused.hint().unwrap().contains("REFRESH MATERIALIZED VIEW"), "{refused:?}");
    }
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert!(table.load().await.unwrap_err().message().contains("when it was written"));
    std::fs::write(&file, whole).unwrap();
    assert_same_bits(&table.load().await.unwrap().unwrap().states[0], &every_type());
}

#[tokio::test]
async fn a_flipped_bit_in_the_log_is_refused_by_name_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let table = BatchTable::new("v", LakeLocation::directory(directory.path()));
    for (plan, value) in [("h1", 1), ("h2", 2)] {
        table.commit(plan, &at("f/0:5"), vec![counts(&[value])]).await.unwrap();
    }
    for version in [0, 1, 2] {
        let name = format!("{version:020}.json");
        let entry = directory.path().join("_delta_log").join(&name);
        let whole = std::fs::read(&entry).unwrap();
        for place in (0..whole.len()).step_by(whole.len() / 40) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            std::fs::write(&entry, bytes).unwrap();
            let refused = table.load().await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{version} {place}: {refused}");
            assert!(refused.message().contains(&name), "{version} {place}: {refused}");
        }
        std::fs::write(&entry, whole).unwrap();
    }
    assert_same_bits(&table.load().await.unwrap().unwrap().states[0], &counts(&[2]));
}

#[tokio::test]
async fn files_without_a_checksum_are_read_and_a_checksum_that_is_none_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let table = BatchTable::new("v", LakeLocation::directory(directory.path()));
    table.commit("h1", &at("f/0:5"), vec![counts(&[1, 2])]).await.unwrap();
    let entry = directory.path().join("_delta_log/00000000000000000001.json");
    let written = without_checksum(&std::fs::read_to_string(&entry).unwrap());
    assert!(written.contains("\"fourfold.crc32c\":\"") && written.contains("/1048576:"), "{written}");
    for (from, to, reason) in [
        ("fourfold.crc32c", "other", None),
        ("/1048576:", "/1048576?", Some("cannot be read")),
        ("\"fourfold.rows\":2", "\"fourfold.rows\":3", Some("it has 2 rows, and says 3")),
    ] {
        std::fs::write(&entry, written.replace(from, to)).unwrap();
        let loaded = table.load().await;
        match reason {
            None => assert_same_bits(&loaded.unwrap().unwrap().states[0], &counts(&[1, 2])),
            Some(reason) => {
                let refused = loaded.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::Corrupt);
                assert!(refused.message().contains(reason), "{refused}");
            }
        }
    }
}
