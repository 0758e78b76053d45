//! Logs of tables: their entries and checkpoints with a bit turned over, and what other stores wrote.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::{CheckedLog, Kind, checksum_of, kind_of};
use crate::error::FileDamage;

const ENTRY: &str = "lake/s/_delta_log/00000000000000000001.json";
const CHECKPOINT: &str = "lake/s/_delta_log/00000000000000000001.checkpoint.parquet";

#[test]
fn files_are_told_by_their_names() {
    for (path, kind) in [
        (ENTRY, Kind::Entry),
        (CHECKPOINT, Kind::Checkpoint),
        ("_delta_log/00000000000000000001.checkpoint.0000000001.0000000002.parquet", Kind::Checkpoint),
        ("lake/s/_delta_log/_last_checkpoint", Kind::Other),
        ("lake/s/_delta_log/.00000000000000000001.json.crc", Kind::Other),
        ("lake/s/_delta_log/00000000000000000001.json#1", Kind::Other),
        ("lake/s/00000000000000000001.json", Kind::Other),
        ("lake/s/part-1.parquet", Kind::Other),
        ("00000000000000000001.json", Kind::Other),
    ] {
        assert_eq!(kind_of(&Path::from(path)), kind, "{path}");
    }
    let beside = checksum_of(&Path::from(CHECKPOINT));
    assert_eq!(beside.as_ref(), "lake/s/_delta_log/.00000000000000000001.checkpoint.parquet.fourfold-crc32c");
}

#[tokio::test]
async fn what_was_written_is_read_and_damage_is_named() {
    let disk = Arc::new(InMemory::new());
    let log = CheckedLog::new(Arc::clone(&disk) as _);
    for (path, content) in [(ENTRY, r#"{"commitInfo":{"timestamp":1}}"#), (CHECKPOINT, "PAR1 and more")] {
        let path = Path::from(path);
        log.put(&path, content.into()).await.unwrap();
        let written = disk.get(&path).await.unwrap().bytes().await.unwrap();
        let size = written.len() as u64;
        for range in [None, Some(GetRange::Bounded(3..7)), Some(GetRange::Suffix(4)), Some(GetRange::Offset(size - 1))]
        {
            let get = async |store: &dyn ObjectStore| {
                let options = GetOptions { range: range.clone(), ..GetOptions::default() };
                let result = store.get_opts(&path, options).await.unwrap();
                (result.range.clone(), result.meta.size, result.bytes().await.unwrap())
            };
            assert_eq!(get(&log).await, get(&*disk).await, "{path} {range:?}");
        }
        for byte in 0..written.len() {
            let mut damaged = written.to_vec();
            damaged[byte] ^= 4;
            disk.put(&path, damaged.into()).await.unwrap();
            for options in
                [GetOptions::default(), GetOptions { range: Some(GetRange::Bounded(1..2)), ..GetOptions::default() }]
            {
                let error = log.get_opts(&path, options).await.unwrap_err();
                assert_eq!(FileDamage::behind(&error).unwrap().file, path.as_ref(), "byte {byte}: {error}");
            }
        }
        // What somebody else writes has no checksum.
        disk.put(&path, content.into()).await.unwrap();
        if kind_of(&path) == Kind::Checkpoint {
            disk.delete(&checksum_of(&path)).await.unwrap();
        }
        assert_eq!(log.get(&path).await.unwrap().bytes().await.unwrap(), content);
    }
}

#[tokio::test]
async fn the_checksum_of_a_checkpoint_is_that_of_the_one_beside_it() {
    let disk = Arc::new(InMemory::new());
    let log = CheckedLog::new(Arc::clone(&disk) as _);
    let path = Path::from(CHECKPOINT);
    for content in ["first", "second"] {
        log.put(&path, content.into()).await.unwrap();
        assert_eq!(log.get(&path).await.unwrap().bytes().await.unwrap(), content);
    }
    let mut upload = log.put_multipart(&path).await.unwrap();
    for part in ["thi", "rd"] {
        upload.put_part(part.into()).await.unwrap();
    }
    upload.complete().await.unwrap();
    assert_eq!(log.get(&path).await.unwrap().bytes().await.unwrap(), "third");
    disk.put(&path, "fifth".into()).await.unwrap();
    assert!(log.get(&path).await.is_err());
    log.delete(&path).await.unwrap();
    assert!(disk.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
}
