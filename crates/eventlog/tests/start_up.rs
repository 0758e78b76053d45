//! Every case of docs/formats/recovery.md: what may be missing, older, younger, damaged or too much when a log is opened,
//! and what becomes of it. Whatever is refused stays as it was, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use eventlog::{Acks, DamagedPart, EmbeddedLog, Error, EventLog, EventLogSettings, Result, record::HEADER_BYTES};
use model::{ManualClock, Metrics};
use support::*;
use tempfile::{TempDir, tempdir};

/// How many records `t` has at each stage of its life.
const STAGES: [i64; 3] = [60, 180, 200];

/// A log at three moments: closed, closed again much later, and killed some records after that.
struct Life {
    stages: [TempDir; 3],
}

impl Life {
    async fn new() -> Self {
        let stages = [tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap()];
        let directory = tempdir().unwrap();
        let mut from = 0;
        for (stage, (copied, to)) in stages.iter().zip(STAGES).enumerate() {
            // The last frames stay in the write-ahead log alone, and in segments behind the checkpoint.
            let settings = EventLogSettings { checkpoint_wal_bytes: 1 << 30, ..small() };
            let log = open(directory.path(), if stage == 2 { settings } else { small() }).await;
            if stage == 0 {
                create(&log, "t", 1).await;
                create(&log, "u", 1).await;
                append(&log, &partition("u", 0), &["u"]).await;
            }
            for i in from..to {
                append(&log, &partition("t", 0), &[&value(i)]).await;
            }
            from = to;
            if stage < 2 {
                log.close().await.unwrap();
            }
            drop(log);
            copy(directory.path(), copied.path());
        }
        Self { stages }
    }

    fn at(&self, stage: usize) -> &Path {
        self.stages[stage].path()
    }
}

fn value(i: i64) -> String {
    format!("value {i}")
}

/// All that a case may use.
struct Lives {
    /// The log that is opened is this one's last stage.
    own: Life,
    /// Another log with the same history.
    foreign: Life,
}

enum Outcome {
    /// With this in what is said.
    Refused(&'static str),
    /// With so many of the records of `t` that can be read from its beginning on, and what is reported.
    Opens(i64, &'static [DamagedPart]),
}

use DamagedPart::{ArrivalTimes, Records, WriteAheadLog};
use Outcome::{Opens, Refused};

type Change = fn(&Lives, &Path);

/// As the rows of the table in docs/formats/recovery.md.
const CASES: &[(&str, Change, Outcome)] = &[
    ("nothing", |_, _| {}, Opens(200, &[])),
    ("checkpoint missing", |_, log| remove(&log.join("checkpoint")), Refused("so there was one: put it back")),
    ("checkpoint empty", |_, log| write(&log.join("checkpoint"), &[]), Refused("it is too short")),
    ("checkpoint half", |_, log| halve(&log.join("checkpoint")), Refused("its checksum is wrong")),
    ("checkpoint damaged", |_, log| flip(&log.join("checkpoint"), 0.5), Refused("its checksum is wrong")),
    ("checkpoint older", |lives, log| take(lives.own.at(0), log, "checkpoint"), Refused("so the checkpoint is older")),
    ("checkpoint younger", |lives, log| take(lives.own.at(0), log, "wal"), Refused("it is older than the checkpoint")),
    ("checkpoint foreign", |lives, log| take(lives.foreign.at(2), log, "checkpoint"), Refused("not of one log")),
    (
        "checkpoint and wal missing",
        |_, log| {
            remove(&log.join("checkpoint"));
            remove(&log.join("wal"));
        },
        Refused("so is the write-ahead log"),
    ),
    ("wal missing", |_, log| remove(&log.join("wal")), Refused("it is empty")),
    (
        "wal without files",
        |_, log| {
            remove(&log.join("wal"));
            fs::create_dir(log.join("wal")).unwrap();
        },
        Refused("it is empty"),
    ),
    ("wal foreign", |lives, log| take(lives.foreign.at(2), log, "wal"), Refused("not of one log")),
    (
        "wal file renamed",
        |_, log| {
            let path = last(log, "wal", ".wal");
            let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            fs::rename(&path, path.with_file_name(format!("{:020}.wal", first + 1))).unwrap();
        },
        Refused("its name says otherwise"),
    ),
    (
        "wal damaged",
        |_, log| flip_text(&last(log, "wal", ".wal"), "value 185"),
        Opens(200, &[WriteAheadLog, WriteAheadLog]),
    ),
    (
        "wal damaged, and not moved",
        |_, log| {
            flip_text(&last(log, "wal", ".wal"), "value 185");
            cut_text(&last(log, "topics", ".log"), "value 180");
        },
        Opens(200, &[WriteAheadLog]),
    ),
    (
        "wal's last frame damaged",
        |_, log| flip_text(&last(log, "wal", ".wal"), "value 199"),
        Opens(200, &[WriteAheadLog]),
    ),
    ("topics missing", |_, log| remove(&log.join("topics")), Opens(0, &[Records, Records])),
    ("partition missing", |_, log| remove(last(log, "topics", ".log").parent().unwrap()), Opens(0, &[Records])),
    (".log missing", |_, log| remove(&first(log, ".log")), Opens(0, &[Records])),
    (".log empty", |_, log| write(&first(log, ".log"), &[]), Opens(0, &[Records])),
    (".log half", |_, log| cut_text(&first(log, ".log"), "value 30"), Opens(30, &[Records])),
    (".log damaged", |_, log| flip_text(&first(log, ".log"), "value 30"), Opens(30, &[])),
    (".log longer", |_, log| extend(&last(log, "topics", ".log")), Opens(200, &[])),
    (
        ".log younger than the checkpoint missing",
        |_, log| {
            // All of it is in the write-ahead log.
            let path = last(log, "topics", ".log");
            cut_text(&path, "value 180");
        },
        Opens(200, &[]),
    ),
    (".index missing", |_, log| remove(&first(log, ".index")), Opens(200, &[])),
    (".index half", |_, log| halve(&first(log, ".index")), Opens(200, &[])),
    (".index damaged", |_, log| flip(&first(log, ".index"), 0.5), Opens(200, &[])),
    (".timeindex missing", |_, log| remove(&first(log, ".timeindex")), Opens(200, &[])),
    (".timeindex half", |_, log| halve(&first(log, ".timeindex")), Opens(200, &[])),
    (".arrivals missing", |_, log| remove(&first(log, ".arrivals")), Opens(200, &[ArrivalTimes])),
    (".arrivals half", |_, log| halve(&first(log, ".arrivals")), Opens(200, &[ArrivalTimes])),
    (".arrivals damaged", |_, log| flip(&first(log, ".arrivals"), 0.5), Opens(200, &[ArrivalTimes])),
    ("lock missing", |_, log| remove(&log.join("lock")), Opens(200, &[])),
    ("strays", |_, log| strays(log).iter().for_each(|path| stray(path)), Opens(200, &[])),
];

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn halve(path: &Path) {
    let bytes = fs::read(path).unwrap();
    write(path, &bytes[..bytes.len() / 2]);
}

fn extend(path: &Path) {
    write(path, &[fs::read(path).unwrap(), vec![0xa5; 100]].concat());
}

fn flip(path: &Path, part: f64) {
    let mut bytes = fs::read(path).unwrap();
    let at = (bytes.len() as f64 * part) as usize;
    bytes[at] ^= 0b100;
    write(path, &bytes);
}

fn position_of(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

fn flip_text(path: &Path, text: &str) {
    let mut bytes = fs::read(path).unwrap();
    let at = position_of(&bytes, text);
    bytes[at] ^= 0b100;
    write(path, &bytes);
}

/// How many bytes of a batch stand before its first value, where the record has no key: the batch's header, then a byte
/// each for the record's length, attributes, two deltas, and the lengths of key and value.
const VALUE_AT: usize = HEADER_BYTES + 6;

/// Cuts a segment where the batch that has this text begins.
fn cut_text(path: &Path, text: &str) {
    let mut bytes = fs::read(path).unwrap();
    let batch_at = position_of(&bytes, text) - VALUE_AT;
    bytes.truncate(batch_at);
    write(path, &bytes);
}

/// Puts a file or folder of another directory in the place of this one's.
fn take(from: &Path, log: &Path, name: &str) {
    remove(&log.join(name));
    if from.join(name).is_dir() {
        copy(&from.join(name), &log.join(name));
    } else {
        fs::copy(from.join(name), log.join(name)).unwrap();
    }
}

fn all_files(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut rest) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Files of topic `t`, or of the write-ahead log.
fn files(log: &Path, folder: &str, end: &str) -> Vec<PathBuf> {
    let mut files = all_files(&log.join(folder));
    files.retain(|path| {
        let of_t = path.parent().unwrap().file_name().unwrap().to_str().unwrap().starts_with("t-0.");
        path.to_str().unwrap().ends_with(end) && (of_t || folder == "wal")
    });
    files
}

fn first(log: &Path, end: &str) -> PathBuf {
    files(log, "topics", end).remove(0)
}

/// The last one in which something is written.
fn last(log: &Path, folder: &str, end: &str) -> PathBuf {
    let has_text = |path: &PathBuf| fs::read(path).unwrap().windows(5).any(|window| window == b"value");
    files(log, folder, end).into_iter().rev().find(has_text).unwrap()
}

/// What people and systems leave in folders.
fn strays(log: &Path) -> Vec<PathBuf> {
    let topics = log.join("topics");
    let partition = last(log, "topics", ".log").parent().unwrap().to_owned();
    let copy_of_partition = topics.join(format!("{} copy", partition.file_name().unwrap().to_str().unwrap()));
    let foreign = topics.join("t-0.0123456789abcdef0123456789abcdef");
    [log, &log.join("wal"), &topics, &partition, &copy_of_partition, &foreign]
        .into_iter()
        .flat_map(|folder| [folder.join(".DS_Store"), folder.join("lost+found").join("#12"), folder.join("notes.txt~")])
        .chain([foreign.join("00000000000000000000.log"), partition.join("00000000000000000000.log.bak")])
        .collect()
}

fn stray(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(path, b"not the log's");
}

fn snapshot(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    all_files(directory).into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

async fn try_open(directory: &Path) -> Result<Arc<EmbeddedLog>> {
    EmbeddedLog::open(directory, small(), Arc::new(ManualClock::at(5_000)), Metrics::default()).await
}

async fn check(name: &'static str, lives: Arc<Lives>, change: Change, outcome: &'static Outcome) {
    let directory = tempdir().unwrap();
    let log_directory = directory.path();
    copy(lives.own.at(2), log_directory);
    change(&lives, log_directory);
    let before = snapshot(log_directory);
    let opened = try_open(log_directory).await;
    match outcome {
        Refused(expected) => {
            let error = opened.err().unwrap_or_else(|| panic!("{name}: it opens"));
            assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains(expected), "{name}: {error}");
            assert!(error.to_string().contains(log_directory.to_str().unwrap()), "{name}: {error}");
            assert!(snapshot(log_directory) == before, "{name}: something was changed");
        }
        Opens(readable, expected) => {
            let log = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
            let parts: Vec<_> = log.damage().iter().map(|damage| damage.part).collect();
            assert_eq!(parts, *expected, "{name}: {:?}", log.damage());
            check_log(name, &log, *readable).await;
            log.close().await.unwrap();
            let log = try_open(log_directory).await.unwrap();
            check_log(name, &log, *readable).await;
            let after = snapshot(log_directory);
            for path in strays(log_directory).iter().filter(|path| before.contains_key(*path)) {
                assert_eq!(after.get(path), before.get(path), "{name}: {}", path.display());
            }
        }
    }
}

async fn check_log(name: &str, log: &EmbeddedLog, readable: i64) {
    let (t, u) = (partition("t", 0), partition("u", 0));
    let mut from = 0;
    let error = loop {
        match log.read(&t, from, 700).await {
            Ok(read) if read.batches.is_empty() => break None,
            Ok(read) => {
                for batch in &read.batches {
                    // A batch that is in nobody's hands any more is passed over, no other.
                    let skipped = name == "wal damaged, and not moved" && from == 185 && batch.base_offset() == 186;
                    assert!(batch.base_offset() == from || skipped, "{name}: {from} {}", batch.base_offset());
                    assert_eq!(values_of(batch), [(batch.base_offset(), value(batch.base_offset()))], "{name}");
                    from = batch.next_offset();
                }
            }
            Err(error) => break Some(error),
        }
    };
    assert_eq!(from, readable, "{name}: {error:?}");
    assert_eq!(error.is_some(), readable < STAGES[2], "{name}: {error:?}");
    if log.append(&u, batch(&["v"]), Acks::Durable).await.is_ok() {
        assert_eq!(log.read(&u, 0, 1).await.unwrap().batches.len(), 1, "{name}");
    } else {
        assert_eq!(name, "topics missing");
    }
}

#[tokio::test]
async fn every_start_has_its_outcome_and_harms_nothing() {
    let lives = Arc::new(Lives { own: Life::new().await, foreign: Life::new().await });
    let mut failed = Vec::new();
    for (name, change, outcome) in CASES {
        let checked = tokio::spawn(check(name, Arc::clone(&lives), *change, outcome));
        failed.extend(checked.await.err().map(|_| *name));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn the_table_of_starts_is_the_documents() {
    let document = fs::read_to_string("../../docs/formats/recovery.md").unwrap();
    let rows: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let cases: Vec<&str> = CASES.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(rows, cases, "the table has a row for each case, in its order");
}

#[tokio::test]
async fn a_directory_whose_lock_file_was_removed_is_still_locked() {
    let directory = tempdir().unwrap();
    let log = open(directory.path(), small()).await;
    create(&log, "t", 1).await;
    append(&log, &partition("t", 0), &["v"]).await;
    fs::remove_file(directory.path().join("lock")).unwrap();
    assert!(matches!(try_open(directory.path()).await.err(), Some(Error::DirectoryInUse(_))));
    assert!(!directory.path().join("lock").exists(), "who is refused leaves nothing");
    append(&log, &partition("t", 0), &["w"]).await;
    log.close().await.unwrap();
    let log = open(directory.path(), small()).await;
    assert_eq!(values(&log, &partition("t", 0)).await.len(), 2);
    assert!(directory.path().join("lock").exists());
}

#[tokio::test]
async fn a_log_of_the_first_format_is_read() {
    let directory = tempdir().unwrap();
    copy(Path::new("tests/stored/log-1"), directory.path());
    for _ in 0..2 {
        let log = try_open(directory.path()).await.unwrap();
        assert!(log.damage().is_empty(), "{:?}", log.damage());
        let expected: Vec<_> = (0..70).map(|i| (i, value(i))).collect();
        assert_eq!(values(&log, &partition("t", 0)).await, expected);
        assert_eq!(values(&log, &partition("t", 1)).await, [(0, "of a producer".to_owned())]);
        assert_eq!(values(&log, &partition("later", 0)).await, [(0, "x".to_owned())]);
        let arrived: Vec<_> = log.read(&partition("t", 0), 59, 300).await.unwrap().batches;
        assert_eq!((arrived[0].arrival_time_ms, arrived[1].arrival_time_ms), (1_000, 2_000));
        assert!(log.estimated_arrivals(&partition("t", 0)).await.unwrap().is_empty());
        let again = log.append(&partition("t", 1), producer_batch(&["of a producer"], 7, 0, 0), Acks::Durable).await;
        assert!(again.unwrap().duplicate);
        let committed = log.committed_offsets("g");
        assert_eq!(committed[&partition("t", 0)].offset, 17);
        log.close().await.unwrap();
    }
}
