//! What was defined, kept in one small database file: sources, and views with their current version.
//!
//! It is not where views keep their rows or state: those are folds of the log and live in checkpoints.
//!
//! What must hold: a change is on disk when its method returns; a definition is stored as the text that the user
//! wrote, so that a later release reads it with its own parser; a failure of the disk ends with the failure: the file
//! is opened again for the next change.
//!
//! docs/formats/catalogue.md is the format.

mod added_columns;

use std::{
    collections::BTreeMap,
    fmt,
    ops::RangeBounds,
    path::{Path, PathBuf},
};

use model::{Error, Positions, Result};
use parking_lot::RwLock;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use uuid::Uuid;

const SOURCES: TableDefinition<'_, &str, &str> = TableDefinition::new("sources");
const VIEWS: TableDefinition<'_, &str, (u64, u128, &str)> = TableDefinition::new("views");
// Which version of a view has answered once: one that was whole.
const BUILT: TableDefinition<'_, &str, u64> = TableDefinition::new("built");
// The topics of views that fold several, by view and name.
const TOPICS: TableDefinition<'_, (&str, &str), u128> = TableDefinition::new("topics");
// Versions that are kept beside the current one, by view and version: until when, the topics, and the definition.
const KEPT: TableDefinition<'_, (&str, u64), (i64, &str, &str)> = TableDefinition::new("kept");
// Which of those were never current, but replayed beside the current one: where in the log each begins.
const REPLAYED: TableDefinition<'_, (&str, u64), &str> = TableDefinition::new("replayed");
const FORMAT: TableDefinition<'_, &str, u64> = TableDefinition::new("format");
const FORMAT_VERSION: u64 = 6;
// Without the tables `replayed` and `added`: no version was replayed beside another, and no source has got columns.
const FORMAT_WITHOUT_ADDED: u64 = 5;
// Without the table `kept` too: no version is.
const FORMAT_WITHOUT_KEPT: u64 = 4;
// Without the table `topics` too: every view of it folds one.
const FORMAT_OF_ONE_TOPIC: u64 = 3;
// Without the table `built` too: every view of it has answered.
const FORMAT_WITHOUT_BUILT: u64 = 2;

/// The definitions on disk.
pub(crate) struct Catalogue {
    file: PathBuf,
    open: Open,
    /// Absent when it could not be opened again.
    database: RwLock<Option<Database>>,
}

// How the file is opened; tests have others.
type Open = Box<dyn Fn(&Path) -> Result<Database, redb::Error> + Send + Sync>;

/// A view as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredView {
    /// Its name.
    pub(crate) name: String,
    /// Which version is current; the first is 1.
    pub(crate) version: u64,
    /// The topics whose offsets its state speaks of, by name: one that was deleted and created again has another id. A view
    /// of one topic may not know its name.
    pub(crate) topic_ids: BTreeMap<String, Uuid>,
    /// Its definition.
    pub(crate) text: String,
    /// How many columns had been added to each source when it was defined; none to those that are not there.
    pub(crate) added_columns: BTreeMap<String, usize>,
    /// Whether this version has answered once.
    pub(crate) built: bool,
}

/// A version of a view that is kept beside the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptVersion {
    pub(crate) stored: StoredView,
    /// When its time is over, in milliseconds since 1970.
    pub(crate) until_ms: i64,
    /// Where in the log it begins, if it was replayed beside the current one; one that was replaced begins where the log did.
    pub(crate) replayed_from: Option<Positions>,
}

impl StoredView {
    /// The name under which this version is read once it was replaced.
    pub(crate) fn kept_name(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The topic of this name as its state knows it.
    pub(crate) fn topic_id(&self, topic: &str) -> Uuid {
        let only = || self.topic_ids.get("").filter(|_| self.topic_ids.len() == 1);
        self.topic_ids.get(topic).or_else(only).copied().unwrap_or_default()
    }
}

impl Catalogue {
    /// Whether there is a catalogue at `file`; one without content is none.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn exists(file: &Path) -> Result<bool> {
        match std::fs::metadata(file) {
            Ok(metadata) => Ok(metadata.len() > 0),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(cannot_open(file, error)),
        }
    }

    /// Opens the file, and creates it when it is missing.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when another release wrote the file, otherwise what the file system says.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        Self::open_with(file, Box::new(|file| Ok(Database::create(file)?)))
    }

    fn open_with(file: &Path, open: Open) -> Result<Self> {
        let database = open(file).map_err(|error| cannot_open(file, error))?;
        let found = prepare(&database).map_err(|error| cannot_open(file, error))?;
        if found != FORMAT_VERSION {
            return Err(Error::conflict(format!("the catalogue {} has format {found}", file.display()))
                .with_hint(format!("this release reads format {FORMAT_VERSION}; use the release that wrote it")));
        }
        Ok(Self { file: file.to_owned(), open, database: RwLock::new(Some(database)) })
    }

    /// All sources: name and text.
    pub(crate) fn sources(&self) -> Result<Vec<(String, String)>> {
        self.read(sources_in)
    }

    /// All views.
    pub(crate) fn views(&self) -> Result<Vec<StoredView>> {
        self.read(views_in)
    }

    /// Writes everything, as of one moment, to a catalogue of its own at `file`, where none is.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn copy_to(&self, file: &Path) -> Result<()> {
        let read = |transaction: &redb::ReadTransaction| {
            Ok((sources_in(transaction)?, views_in(transaction)?, kept_in(transaction)?))
        };
        let (sources, views, kept) = self.read(read)?;
        let copy = Self::open(file)?;
        sources.iter().try_for_each(|(name, text)| copy.put_source(name, text))?;
        copy.change(&views, &[], &kept)
    }

    /// Stores a source.
    pub(crate) fn put_source(&self, name: &str, text: &str) -> Result<()> {
        self.write(|transaction| transaction.open_table(SOURCES)?.insert(name, text).map(drop).map_err(Into::into))
    }

    /// All versions that are kept.
    pub(crate) fn kept(&self) -> Result<Vec<KeptVersion>> {
        self.read(kept_in)
    }

    /// Forgets a version that was kept.
    pub(crate) fn forget_kept(&self, name: &str, version: u64) -> Result<()> {
        self.write(|transaction| {
            transaction.open_table(REPLAYED)?.remove((name, version))?;
            transaction.open_table(KEPT)?.remove((name, version))?;
            added_columns::forget(transaction, name, version)
        })
    }

    /// Stores views, replacing their older versions, of which some are kept, and forgets others, in one step.
    pub(crate) fn change(&self, views: &[StoredView], removed: &[String], kept: &[KeptVersion]) -> Result<()> {
        self.write(|transaction| change(transaction, views, removed, kept))
    }

    /// As [`change`](Self::change), with a source in the same step.
    pub(crate) fn change_with(
        &self,
        source: (&str, &str),
        views: &[StoredView],
        removed: &[String],
        kept: &[KeptVersion],
    ) -> Result<()> {
        self.write(|transaction| {
            transaction.open_table(SOURCES)?.insert(source.0, source.1)?;
            change(transaction, views, removed, kept)
        })
    }

    /// Notes that this version of a view has answered, where it is still the current one.
    pub(crate) fn note_built(&self, name: &str, version: u64) -> Result<()> {
        self.write(|transaction| {
            let current = transaction.open_table(VIEWS)?.get(name)?.map(|view| view.value().0);
            if current == Some(version) {
                transaction.open_table(BUILT)?.insert(name, version)?;
            }
            Ok(())
        })
    }

    /// Forgets a source.
    pub(crate) fn remove_source(&self, name: &str) -> Result<()> {
        self.write(|transaction| transaction.open_table(SOURCES)?.remove(name).map(drop).map_err(Into::into))
    }

    fn read<T>(&self, read: impl Fn(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T> {
        self.attempt(&|database| read(&database.begin_read()?))
            .map_err(|error| Error::internal("cannot read the catalogue").with_source(error))
    }

    fn write(&self, write: impl Fn(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<()> {
        let attempt = |database: &Database| {
            let transaction = database.begin_write()?;
            write(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        self.attempt(&attempt).map_err(|error| {
            Error::internal(format!("cannot write the catalogue {}", self.file.display()))
                .with_hint("nothing was changed; see that its disk has room, and try again")
                .with_source(error)
        })
    }

    // After one failure of the disk the database refuses everything until it is opened again, which also takes back
    // what the failed change has left behind.
    fn attempt<T>(&self, attempt: &dyn Fn(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        let outcome = match &*self.database.read() {
            Some(database) => attempt(database),
            None => Err(redb::Error::PreviousIo),
        };
        match outcome {
            Err(redb::Error::PreviousIo) => {
                let mut database = self.database.write();
                // Closed before it is opened again: a file has one owner.
                drop(database.take());
                let reopened = database.insert((self.open)(&self.file)?);
                attempt(reopened)
            }
            outcome => outcome,
        }
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("file", &self.file).finish_non_exhaustive()
    }
}

fn change(
    transaction: &redb::WriteTransaction,
    views: &[StoredView],
    removed: &[String],
    kept: &[KeptVersion],
) -> Result<(), redb::Error> {
    kept.iter().try_for_each(|kept| put_kept(transaction, kept))?;
    views.iter().try_for_each(|view| put_view(transaction, view))?;
    removed.iter().try_for_each(|name| remove_view(transaction, name))
}

fn put_view(transaction: &redb::WriteTransaction, view: &StoredView) -> Result<(), redb::Error> {
    let (name, first) = (view.name.as_str(), view.topic_ids.values().next().copied().unwrap_or_default());
    transaction.open_table(VIEWS)?.insert(name, (view.version, first.as_u128(), view.text.as_str()))?;
    let mut topics = transaction.open_table(TOPICS)?;
    topics.retain_in(of_view(name), |_, _| false)?;
    if view.topic_ids.len() > 1 {
        for (topic, id) in &view.topic_ids {
            topics.insert((name, topic.as_str()), id.as_u128())?;
        }
    }
    let mut built = transaction.open_table(BUILT)?;
    match view.built {
        true => drop(built.insert(name, view.version)?),
        false => drop(built.remove(name)?),
    }
    added_columns::forget_replaced(transaction, name)?;
    added_columns::put(transaction, view)
}

fn put_kept(transaction: &redb::WriteTransaction, kept: &KeptVersion) -> Result<(), redb::Error> {
    let KeptVersion { stored, until_ms, replayed_from } = kept;
    // No name of a topic has such characters.
    let topics = stored.topic_ids.iter().map(|(topic, id)| format!("{topic}={id}"));
    let topics = topics.collect::<Vec<_>>().join(";");
    let key = (stored.name.as_str(), stored.version);
    transaction.open_table(KEPT)?.insert(key, (*until_ms, topics.as_str(), stored.text.as_str()))?;
    if let Some(from) = replayed_from {
        transaction.open_table(REPLAYED)?.insert(key, from.to_string().as_str())?;
    }
    added_columns::put(transaction, stored)
}

fn kept_in(transaction: &redb::ReadTransaction) -> Result<Vec<KeptVersion>, redb::Error> {
    let (table, replayed) = (transaction.open_table(KEPT)?, transaction.open_table(REPLAYED)?);
    let entries = table.iter()?.map(|entry| {
        let (key, kept) = entry?;
        // What is no place any more is that of a version all the same that was never current.
        let replayed_from = replayed.get(key.value())?.map(|from| from.value().parse().unwrap_or_default());
        let ((name, version), (until_ms, topics, text)) = (key.value(), kept.value());
        let ids = topics.split(';').filter_map(|topic| topic.split_once('='));
        // What is no id is that of no topic: the version is then given up.
        let topic_ids = ids.map(|(topic, id)| (topic.to_owned(), Uuid::parse_str(id).unwrap_or_default())).collect();
        let added_columns = added_columns::of(transaction, name, version)?;
        let (name, text) = (name.to_owned(), text.to_owned());
        let stored = StoredView { name, version, topic_ids, text, added_columns, built: true };
        Ok(KeptVersion { stored, until_ms, replayed_from })
    });
    entries.collect()
}

fn remove_view(transaction: &redb::WriteTransaction, name: &str) -> Result<(), redb::Error> {
    transaction.open_table(BUILT)?.remove(name)?;
    added_columns::forget_replaced(transaction, name)?;
    transaction.open_table(TOPICS)?.retain_in(of_view(name), |_, _| false)?;
    transaction.open_table(VIEWS)?.remove(name).map(drop).map_err(Into::into)
}

fn sources_in(transaction: &redb::ReadTransaction) -> Result<Vec<(String, String)>, redb::Error> {
    let table = transaction.open_table(SOURCES)?;
    let entries = table.iter()?.map(|entry| {
        let (name, text) = entry?;
        Ok((name.value().to_owned(), text.value().to_owned()))
    });
    entries.collect()
}

fn views_in(transaction: &redb::ReadTransaction) -> Result<Vec<StoredView>, redb::Error> {
    let (table, built) = (transaction.open_table(VIEWS)?, transaction.open_table(BUILT)?);
    let topics = transaction.open_table(TOPICS)?;
    let entries = table.iter()?.map(|entry| {
        let (name, view) = entry?;
        let (version, topic_id, text) = view.value();
        let (text, name) = (text.to_owned(), name.value().to_owned());
        let built = built.get(name.as_str())?.is_some_and(|built| built.value() == version);
        let several = topics.range(of_view(&name))?.map(|entry| {
            let (topic, id) = entry?;
            Ok((topic.value().1.to_owned(), Uuid::from_u128(id.value())))
        });
        let mut topic_ids = several.collect::<Result<BTreeMap<_, _>, redb::Error>>()?;
        if topic_ids.is_empty() {
            topic_ids.insert(String::new(), Uuid::from_u128(topic_id));
        }
        let added_columns = added_columns::of(transaction, &name, version)?;
        Ok(StoredView { name, version, topic_ids, text, added_columns, built })
    });
    entries.collect()
}

/// Copies the catalogue at `from`, which nobody has open, to `to`, where none is.
///
/// # Errors
/// What the file system says, and those of reading it.
pub fn copy_catalogue(from: &Path, to: &Path) -> Result<()> {
    Catalogue::open(from)?.copy_to(to)
}

/// Reads everything in the catalogue at `file`, which nobody has open.
///
/// # Errors
/// When it cannot be read.
pub fn check_catalogue(file: &Path) -> Result<()> {
    let catalogue = Catalogue::open(file)?;
    catalogue.sources()?;
    catalogue.kept()?;
    catalogue.views().map(drop)
}

fn cannot_open(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal(format!("cannot open the catalogue {}", file.display())).with_source(error)
}

/// Makes the tables that are missing; answers the format that is there then.
fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut format = transaction.open_table(FORMAT)?;
        let found = format.get("version")?.map_or(FORMAT_VERSION, |version| version.value());
        format.insert("version", upgraded(found))?;
        found
    };
    // Only then are the other tables known to be of the types that are meant here.
    if upgraded(found) == FORMAT_VERSION {
        transaction.open_table(SOURCES)?;
        transaction.open_table(TOPICS)?;
        transaction.open_table(KEPT)?;
        transaction.open_table(REPLAYED)?;
        added_columns::prepare(&transaction)?;
        let (views, mut built) = (transaction.open_table(VIEWS)?, transaction.open_table(BUILT)?);
        if found == FORMAT_WITHOUT_BUILT {
            for entry in views.iter()? {
                let (name, view) = entry?;
                built.insert(name.value(), view.value().0)?;
            }
        }
    }
    transaction.commit()?;
    Ok(upgraded(found))
}

/// The format that a file of another one becomes by being opened.
fn upgraded(found: u64) -> u64 {
    let known = [FORMAT_WITHOUT_ADDED, FORMAT_WITHOUT_KEPT, FORMAT_OF_ONE_TOPIC, FORMAT_WITHOUT_BUILT];
    if known.contains(&found) { FORMAT_VERSION } else { found }
}

/// The keys of a view's topics.
fn of_view(view: &str) -> impl RangeBounds<(&str, &str)> {
    // No topic's name has a character as high.
    (view, "")..(view, "\u{10FFFF}")
}

#[cfg(test)]
mod tests;
