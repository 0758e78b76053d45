//! Tests of the catalogue.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use model::ErrorKind;
use redb::{Builder, Database, StorageBackend, backends::FileBackend};
use uuid::Uuid;

use super::{Catalogue, FORMAT, FORMAT_VERSION, FORMAT_WITHOUT_BUILT, KeptVersion, StoredView, TableDefinition};

mod stored;

#[test]
fn definitions_survive_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    let topic_ids = BTreeMap::from([(String::new(), Uuid::from_u128(u128::MAX - 1))]);
    let view = |version, text: &str| StoredView {
        name: "v".into(),
        version,
        topic_ids: topic_ids.clone(),
        text: text.into(),
        added_columns: BTreeMap::from([(format!("source {version}"), 2)]),
        built: false,
    };
    {
        let catalogue = Catalogue::open(&file).unwrap();
        catalogue.put_source("flights", "CREATE SOURCE flights ...").unwrap();
        catalogue.put_source("gone", "CREATE SOURCE gone ...").unwrap();
        catalogue.remove_source("gone").unwrap();
        catalogue.change(&[view(1, "first")], &[], &[]).unwrap();
        catalogue.change(&[view(2, "second")], &[], &[]).unwrap();
    }
    let catalogue = Catalogue::open(&file).unwrap();
    assert_eq!(catalogue.sources().unwrap(), [("flights".to_owned(), "CREATE SOURCE flights ...".to_owned())]);
    assert_eq!(catalogue.views().unwrap(), [view(2, "second")]);
    catalogue.note_built("v", 1).unwrap();
    assert_eq!(catalogue.views().unwrap(), [view(2, "second")], "another version has answered");
    catalogue.note_built("v", 2).unwrap();
    assert_eq!(catalogue.views().unwrap(), [StoredView { built: true, ..view(2, "second") }]);
    catalogue.change(&[view(3, "third")], &[], &[]).unwrap();
    assert_eq!(catalogue.views().unwrap(), [view(3, "third")]);
    catalogue.change(&[], &["v".to_owned()], &[]).unwrap();
    assert!(catalogue.views().unwrap().is_empty());
}

#[test]
fn a_file_of_another_format_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for format in [FORMAT_WITHOUT_BUILT - 1, FORMAT_VERSION + 1] {
        let file = directory.path().join(format!("{format}.redb"));
        {
            let database = Database::create(&file).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction.open_table(FORMAT).unwrap().insert("version", format).unwrap();
            let views: TableDefinition<'_, &str, &str> = TableDefinition::new("views");
            transaction.open_table(views).unwrap().insert("v", "of other types").unwrap();
            transaction.commit().unwrap();
        }
        for _ in 0..2 {
            let refused = Catalogue::open(&file).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        }
    }
}

#[test]
fn every_view_of_a_catalogue_of_format_2_has_answered() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    {
        let database = Database::create(&file).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(FORMAT).unwrap().insert("version", FORMAT_WITHOUT_BUILT).unwrap();
        transaction.open_table(super::VIEWS).unwrap().insert("v", (3, 7, "third")).unwrap();
        transaction.open_table(super::SOURCES).unwrap();
        transaction.commit().unwrap();
    }
    for _ in 0..2 {
        let views = Catalogue::open(&file).unwrap().views().unwrap();
        let topic_ids = BTreeMap::from([(String::new(), Uuid::from_u128(7))]);
        let (text, added_columns) = ("third".into(), BTreeMap::new());
        let expected = StoredView { name: "v".into(), version: 3, topic_ids, text, added_columns, built: true };
        assert_eq!(views, [expected]);
    }
}

/// A file on a disk that can be full.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    is_full: Arc<AtomicBool>,
}

impl Disk {
    fn written(&self) -> io::Result<()> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.written()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.written()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[test]
fn a_full_disk_fails_what_is_written_then_and_nothing_after() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    let is_full = Arc::new(AtomicBool::new(false));
    let disk = Arc::clone(&is_full);
    let open = move |file: &Path| -> Result<Database, redb::Error> {
        let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file)?;
        let disk = Disk { file: FileBackend::new(file).map_err(redb::Error::from)?, is_full: Arc::clone(&disk) };
        Ok(Builder::new().create_with_backend(disk)?)
    };
    let catalogue = Catalogue::open_with(&file, Box::new(open)).unwrap();
    let names = || catalogue.sources().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    catalogue.put_source("before", "CREATE SOURCE before ...").unwrap();
    for round in 0..3 {
        is_full.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let refused = catalogue.put_source("lost", "CREATE SOURCE lost ...").unwrap_err();
            assert!(refused.hint().unwrap().contains("try again"), "{refused:?}");
        }
        is_full.store(false, Ordering::Relaxed);
        catalogue.put_source(&format!("round {round}"), "CREATE SOURCE ...").unwrap();
    }
    assert_eq!(names(), ["before", "round 0", "round 1", "round 2"]);
}
