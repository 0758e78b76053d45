//! Tests of the catalogue.

use model::ErrorKind;
use uuid::Uuid;

use super::{Catalogue, FORMAT, FORMAT_VERSION, StoredView, TableDefinition};

#[test]
fn definitions_survive_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    let topic_id = Uuid::from_u128(u128::MAX - 1);
    let view = |version, text: &str| StoredView { name: "v".into(), version, topic_id, text: text.into() };
    {
        let catalogue = Catalogue::open(&file).unwrap();
        catalogue.put_source("flights", "CREATE SOURCE flights ...").unwrap();
        catalogue.put_source("gone", "CREATE SOURCE gone ...").unwrap();
        catalogue.remove_source("gone").unwrap();
        catalogue.put_view(&view(1, "first")).unwrap();
        catalogue.put_view(&view(2, "second")).unwrap();
    }
    let catalogue = Catalogue::open(&file).unwrap();
    assert_eq!(catalogue.sources().unwrap(), [("flights".to_owned(), "CREATE SOURCE flights ...".to_owned())]);
    assert_eq!(catalogue.views().unwrap(), [view(2, "second")]);
    catalogue.remove_view("v").unwrap();
    assert!(catalogue.views().unwrap().is_empty());
}

#[test]
fn a_file_of_another_format_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for format in [FORMAT_VERSION - 1, FORMAT_VERSION + 1] {
        let file = directory.path().join(format!("{format}.redb"));
        {
            let database = redb::Database::create(&file).unwrap();
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
