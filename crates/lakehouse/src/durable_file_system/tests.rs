//! Tests of the durable store: put-if-absent, replacement, large objects, and nothing left behind.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::DurableFileSystem;

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

#[tokio::test]
async fn an_object_is_created_once_and_replaced_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = DurableFileSystem::new();
    let root = Path::from_absolute_path(directory.path()).unwrap();
    let path = root.clone().join("_delta_log").join("0.json");

    store.put_opts(&path, "first".into(), create()).await.unwrap();
    let again = store.put_opts(&path, "second".into(), create()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "first");

    store.put(&path, "third".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "third");

    let large = root.clone().join("part.parquet");
    let mut upload = store.put_multipart(&large).await.unwrap();
    upload.put_part("one ".into()).await.unwrap();
    upload.put_part("two".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(store.get(&large).await.unwrap().bytes().await.unwrap(), "one two");

    let files = std::fs::read_dir(directory.path().join("_delta_log")).unwrap().count();
    assert_eq!(files, 1, "a refused put leaves no staged file");
    let listed: Vec<_> = store.list(Some(&root)).try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
}
