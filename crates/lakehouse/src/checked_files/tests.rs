//! Ranges of checked files, and damage in each byte of a file.

use std::sync::Arc;

use deltalake_core::kernel::Add;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};

use super::{CheckedFiles, TableChecksums};
use crate::checksum::TAG;
use crate::error::FileDamage;

const SIZE: usize = (1 << 20) + 100;

fn content() -> Vec<u8> {
    (0..SIZE).map(|index| (index % 253) as u8).collect()
}

fn path() -> Path {
    Path::from("lake/sources/s/part-1.parquet")
}

/// A store that has seen the file being written, and the store below it.
async fn written() -> (CheckedFiles, Arc<InMemory>) {
    let disk = Arc::new(InMemory::new());
    let store = CheckedFiles::new(Arc::clone(&disk) as _, TableChecksums::default());
    store.put(&path(), PutPayload::from(content())).await.unwrap();
    (store, disk)
}

#[tokio::test]
async fn any_range_is_answered_as_the_store_below_answers_it() {
    let (store, disk) = written().await;
    let size = SIZE as u64;
    for range in [
        None,
        Some(GetRange::Bounded(0..1)),
        Some(GetRange::Bounded(5..size)),
        Some(GetRange::Bounded((1 << 20) - 1..(1 << 20) + 1)),
        Some(GetRange::Bounded(size - 8..size + 8)),
        Some(GetRange::Offset(1 << 20)),
        Some(GetRange::Suffix(8)),
        Some(GetRange::Bounded(size..size + 1)),
    ] {
        let get = async |store: &dyn ObjectStore| {
            let result =
                store.get_opts(&path(), GetOptions { range: range.clone(), ..GetOptions::default() }).await.ok()?;
            Some((result.range.clone(), result.meta.size, result.bytes().await.unwrap()))
        };
        assert!(get(&store).await == get(&*disk).await, "{range:?}");
    }
    store.read_through(&path()).await.unwrap();
    let mut file = Add { path: "part-1.parquet".to_owned(), ..Add::default() };
    store.tag(&mut file);
    assert!(file.tags.unwrap()[TAG].as_ref().unwrap().starts_with("1048676/1048576:"));
}

#[tokio::test]
async fn large_files_are_summed_by_the_part() {
    let disk = Arc::new(InMemory::new());
    let store = CheckedFiles::new(Arc::clone(&disk) as _, TableChecksums::default());
    let mut upload = store.put_multipart(&path()).await.unwrap();
    for part in content().chunks(300_000) {
        upload.put_part(PutPayload::from(part.to_vec())).await.unwrap();
    }
    upload.complete().await.unwrap();
    let (whole, _) = written().await;
    assert_eq!(store.checksum("part-1.parquet"), whole.checksum("part-1.parquet"));
    store.read_through(&path()).await.unwrap();
}

#[tokio::test]
async fn damage_is_named_wherever_it_is_and_read_where_it_is_not() {
    let (store, disk) = written().await;
    let put = async |bytes: Vec<u8>| drop(disk.put(&path(), bytes.into()).await.unwrap());
    let range_of = async |from: u64| store.get_range(&path(), from..from + 4).await;
    for (place, block) in [(0, "0 to 1048575"), (1_048_575, "0 to 1048575"), (1_048_576, "1048576 to 1048675")] {
        let mut bytes = content();
        bytes[place] ^= 1;
        put(bytes).await;
        let (damaged, whole) = if place < 1 << 20 { (7, 1 << 20) } else { (1 << 20, 7) };
        let error = range_of(damaged).await.unwrap_err();
        let damage = FileDamage::behind(&error).unwrap().to_string();
        assert!(damage.contains("part-1.parquet") && damage.contains(block), "{damage}");
        range_of(whole).await.unwrap();
        assert_eq!(FileDamage::behind(&store.read_through(&path()).await.unwrap_err()).unwrap().to_string(), damage);
    }
    for size in [0, 5, SIZE - 1, SIZE + 1] {
        let mut bytes = content();
        bytes.resize(size, 0);
        put(bytes).await;
        for from in [0, 1 << 20] {
            let error = range_of(from).await.unwrap_err();
            assert!(FileDamage::behind(&error).unwrap().reason.contains("when it was written"), "{size}: {error}");
        }
    }
    // What nobody knows a checksum of passes.
    let other = Path::from("lake/sources/s/part-2.parquet");
    disk.put(&other, PutPayload::from_static(b"x")).await.unwrap();
    assert_eq!(store.get(&other).await.unwrap().bytes().await.unwrap(), "x");
}
