//! Catalogues as earlier releases left them on disk, in `tests/stored`, are opened by this one, and are what they were.
//!
//! A fixture that is not there is written by the code as it is, and its test fails, so that somebody looks at it before
//! it is kept. docs/formats/README.md says when there has to be another one.

use std::{collections::BTreeMap, path::Path};

use uuid::Uuid;

use super::{Catalogue, KeptVersion, StoredView};

const CATALOGUE_3: &str = "tests/stored/catalogue-3.redb";
const CATALOGUE_4: &str = "tests/stored/catalogue-4.redb";
const CATALOGUE_5: &str = "tests/stored/catalogue-5.redb";
const CATALOGUE_6: &str = "tests/stored/catalogue-6.redb";

const GATES: &str = "CREATE SOURCE gates (gate TEXT, \"Höhe\" INT) WITH (topic = 'gates')";
const GROWN: &str =
    "CREATE SOURCE gates (gate TEXT);\nALTER SOURCE gates ADD COLUMN seats INT;\nALTER TABLE gates ADD a TEXT";
const SEATS: &str = "CREATE MATERIALIZED VIEW seats AS SELECT gate, count(*) AS n FROM gates GROUP BY gate";
const BOTH: &str = "CREATE MATERIALIZED VIEW both WITH (pattern = 'lambda') AS SELECT count(*) AS n FROM gates";

fn views() -> [StoredView; 2] {
    let view = |name: &str, version, topic_id, text: &str, built| StoredView {
        name: name.to_owned(),
        version,
        topic_ids: BTreeMap::from([(String::new(), Uuid::from_u128(topic_id))]),
        text: text.to_owned(),
        added_columns: BTreeMap::new(),
        built,
    };
    [view("both", 1, u128::MAX, BOTH, false), view("seats", 3, 7, SEATS, true)]
}

/// A view of two topics, beside those of one.
fn joined() -> StoredView {
    let topic_ids = [("gates", 7), ("planes", u128::MAX)].map(|(topic, id)| (topic.to_owned(), Uuid::from_u128(id)));
    StoredView {
        name: "joined".to_owned(),
        version: 2,
        topic_ids: topic_ids.into(),
        text: "CREATE MATERIALIZED VIEW joined AS SELECT gates.gate FROM gates JOIN planes USING (gate)".to_owned(),
        added_columns: BTreeMap::new(),
        built: true,
    }
}

/// Versions that are kept, of views of one topic and of two; one is forgotten.
fn kept() -> [KeptVersion; 2] {
    let [_, seats] = views();
    let until_ms = 1_798_761_600_000;
    let joined = KeptVersion { stored: StoredView { version: 1, ..joined() }, until_ms, replayed_from: None };
    let seats = StoredView { version: 2, ..seats };
    [joined, KeptVersion { stored: seats, until_ms: until_ms + 1, replayed_from: None }]
}

/// And one that was replayed.
fn replayed() -> KeptVersion {
    let replayed_from = Some("gates/0:5,planes/1:7".parse().unwrap());
    KeptVersion { stored: StoredView { version: 3, ..joined() }, until_ms: 1_798_761_600_002, replayed_from }
}

/// The view of two topics, defined when columns had been added to one of them, and a version of it before that is kept.
fn grown() -> (StoredView, KeptVersion) {
    let with = |view: StoredView, columns| StoredView { added_columns: [("gates".to_owned(), columns)].into(), ..view };
    let [joined_before, _] = kept();
    (with(joined(), 2), KeptVersion { stored: with(joined_before.stored.clone(), 1), ..joined_before })
}

/// What the fixture is made by.
fn write(file: &Path) {
    let catalogue = Catalogue::open(file).unwrap();
    for name in ["gates", "gone"] {
        catalogue.put_source(name, GATES).unwrap();
    }
    for view in views() {
        let first = StoredView { version: 1, text: "an earlier one".to_owned(), built: false, ..view.clone() };
        catalogue.change(&[first], &[], &[]).unwrap();
        catalogue.change(&[view], &[], &[]).unwrap();
    }
    for name in ["gone", "joined"] {
        catalogue.change(&[StoredView { name: name.to_owned(), ..joined() }], &[], &[]).unwrap();
    }
    catalogue.remove_source("gone").unwrap();
    catalogue.change(&[], &["gone".to_owned()], &kept()).unwrap();
    let ((current, before), [_, seats]) = (grown(), kept());
    catalogue.change_with(("gates", GROWN), &[current], &[], &[before, seats]).unwrap();
    let forgotten = KeptVersion { stored: StoredView { version: 9, ..joined() }, until_ms: 1, ..replayed() };
    catalogue.change(&[], &[], &[forgotten, replayed()]).unwrap();
    catalogue.forget_kept("joined", 9).unwrap();
}

#[test]
fn a_catalogue_of_format_3_is_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    std::fs::copy(CATALOGUE_3, &file).unwrap();
    is_what_it_was(&file, &views());
}

#[test]
fn a_catalogue_of_format_4_is_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    std::fs::copy(CATALOGUE_4, &file).unwrap();
    let [both, seats] = views();
    is_what_it_was(&file, &[both, joined(), seats]);
    assert_eq!(Catalogue::open(&file).unwrap().kept().unwrap(), []);
}

#[test]
fn a_catalogue_of_format_5_is_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    std::fs::copy(CATALOGUE_5, &file).unwrap();
    let [both, seats] = views();
    is_what_it_was(&file, &[both, joined(), seats]);
    let copy = directory.path().join("copy.redb");
    Catalogue::open(&file).unwrap().copy_to(&copy).unwrap();
    for file in [file, copy] {
        assert_eq!(Catalogue::open(&file).unwrap().kept().unwrap(), kept());
    }
}

#[test]
fn a_catalogue_of_format_6_is_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalogue.redb");
    if !Path::new(CATALOGUE_6).exists() {
        write(&file);
        std::fs::create_dir_all("tests/stored").unwrap();
        std::fs::copy(&file, CATALOGUE_6).unwrap();
        panic!("{CATALOGUE_6} was not there, and was written: look at it, and keep it");
    }
    std::fs::copy(CATALOGUE_6, &file).unwrap();
    let ([both, seats], (joined, joined_before), [_, seats_before]) = (views(), grown(), kept());
    has(&file, GROWN, &[both, joined, seats]);
    let copy = directory.path().join("copy.redb");
    Catalogue::open(&file).unwrap().copy_to(&copy).unwrap();
    let all = [joined_before, replayed(), seats_before];
    for file in [file, copy] {
        assert_eq!(Catalogue::open(&file).unwrap().kept().unwrap(), all);
    }
}

fn is_what_it_was(file: &Path, expected: &[StoredView]) {
    has(file, GATES, expected);
}

fn has(file: &Path, source: &str, expected: &[StoredView]) {
    for _ in 0..2 {
        let catalogue = Catalogue::open(file).unwrap();
        assert_eq!(catalogue.sources().unwrap(), [("gates".to_owned(), source.to_owned())]);
        assert_eq!(catalogue.views().unwrap(), expected);
        // It goes on from there.
        for view in expected {
            catalogue
                .change(&[StoredView { version: 9, topic_ids: joined().topic_ids, ..view.clone() }], &[], &[])
                .unwrap();
            catalogue.change(std::slice::from_ref(view), &[], &[]).unwrap();
        }
    }
}
