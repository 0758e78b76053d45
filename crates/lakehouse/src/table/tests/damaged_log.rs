//! A bit that turns over in the Delta log of a table: the file is named, and nothing is answered.

use futures::TryStreamExt;
use model::ErrorKind;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{LakeTable, MaintenanceSettings, at, check, definition, epoch, in_store, memory, open, rows_of};

#[tokio::test]
async fn a_bit_that_turns_over_in_the_log_is_named_and_nothing_is_answered() {
    let store = memory();
    let table = open(&store).await;
    let commit = async |from: &str, to: &str| {
        let epoch = epoch(from, to);
        table.commit(rows_of(&epoch), &epoch).await.unwrap();
    };
    commit("", "readings/0:9").await;
    commit("readings/0:9", "readings/0:14").await;
    table.maintain(&MaintenanceSettings::shipped()).await.unwrap();
    commit("", "readings/1:3").await;
    let mut read = 0;
    for object in store.list(None).try_collect::<Vec<_>>().await.unwrap() {
        let name = object.location.filename().unwrap().to_owned();
        // A reader begins with the checkpoint, and goes on with what comes after it.
        if !name.ends_with(".checkpoint.parquet") && name != format!("{:020}.json", table.version()) {
            continue;
        }
        read += 1;
        let whole = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        for place in (0..whole.len()).step_by(whole.len() / 40) {
            let mut bytes = whole.to_vec();
            bytes[place] ^= 1 << (place % 8);
            store.put(&object.location, bytes.into()).await.unwrap();
            let refused = LakeTable::open_or_create(&in_store(&store), definition()).await.err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Corrupt, "{name} {place}: {refused}");
            assert!(refused.message().contains(&name), "{name} {place}: {refused}");
            assert!(refused.hint().unwrap().contains("from a backup"), "{refused:?}");
            assert!(in_store(&store).check_files().await.is_err(), "{name} {place}");
        }
        store.put(&object.location, whole.into()).await.unwrap();
    }
    assert_eq!(read, 2);
    check(&*open(&store).await, &at("readings/0:14,readings/1:3")).await;
}
