//! Tests of the catalogue.

use super::{Catalogue, StoredView};

#[test]
fn definitions_survive_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    let view = |version, text: &str| StoredView { name: "v".into(), version, text: text.into() };
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
