//! What was defined, kept in one small database file: sources, and views with their current version.
//!
//! It is not where views keep their rows or state: those are folds of the log and live in checkpoints.
//!
//! What must hold: a change is on disk when its method returns; a definition is stored as the text that the user
//! wrote, so that a later release reads it with its own parser.
//!
//! Format: a redb file with the tables `sources` (name -> text), `views` (name -> version, id of the topic that it
//! folds, text), and `format` (`version` -> 2).

use std::path::Path;

use model::{Error, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use uuid::Uuid;

const SOURCES: TableDefinition<'_, &str, &str> = TableDefinition::new("sources");
const VIEWS: TableDefinition<'_, &str, (u64, u128, &str)> = TableDefinition::new("views");
const FORMAT: TableDefinition<'_, &str, u64> = TableDefinition::new("format");
const FORMAT_VERSION: u64 = 2;

/// The definitions on disk.
#[derive(Debug)]
pub(crate) struct Catalogue(Database);

/// A view as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredView {
    /// Its name.
    pub(crate) name: String,
    /// Which version is current; the first is 1.
    pub(crate) version: u64,
    /// The topic whose offsets its state speaks of: one that was deleted and created again has another id.
    pub(crate) topic_id: Uuid,
    /// Its definition.
    pub(crate) text: String,
}

impl Catalogue {
    /// Opens the file, and creates it when it is missing.
    ///
    /// # Errors
    /// [`Conflict`](model::ErrorKind::Conflict) when another release wrote the file, otherwise what the file system says.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        let failed =
            |e: redb::Error| Error::internal(format!("cannot open the catalogue {}", file.display())).with_source(e);
        let database = Database::create(file).map_err(|e| failed(e.into()))?;
        let create = || -> Result<u64, redb::Error> {
            let transaction = database.begin_write()?;
            let found = {
                let mut format = transaction.open_table(FORMAT)?;
                let found = format.get("version")?.map_or(FORMAT_VERSION, |version| version.value());
                format.insert("version", found)?;
                found
            };
            // Only then are the other tables known to be of the types that are meant here.
            if found == FORMAT_VERSION {
                transaction.open_table(SOURCES)?;
                transaction.open_table(VIEWS)?;
            }
            transaction.commit()?;
            Ok(found)
        };
        let found = create().map_err(failed)?;
        if found != FORMAT_VERSION {
            return Err(Error::conflict(format!("the catalogue {} has format {found}", file.display()))
                .with_hint(format!("this release reads format {FORMAT_VERSION}; use the release that wrote it")));
        }
        Ok(Self(database))
    }

    /// All sources: name and text.
    pub(crate) fn sources(&self) -> Result<Vec<(String, String)>> {
        self.read(|transaction| {
            let table = transaction.open_table(SOURCES)?;
            let entries = table.iter()?.map(|entry| {
                let (name, text) = entry?;
                Ok((name.value().to_owned(), text.value().to_owned()))
            });
            entries.collect()
        })
    }

    /// All views.
    pub(crate) fn views(&self) -> Result<Vec<StoredView>> {
        self.read(|transaction| {
            let table = transaction.open_table(VIEWS)?;
            let entries = table.iter()?.map(|entry| {
                let (name, view) = entry?;
                let (version, topic_id, text) = view.value();
                let topic_id = Uuid::from_u128(topic_id);
                Ok(StoredView { name: name.value().to_owned(), version, topic_id, text: text.to_owned() })
            });
            entries.collect()
        })
    }

    /// Stores a source.
    pub(crate) fn put_source(&self, name: &str, text: &str) -> Result<()> {
        self.write(|transaction| transaction.open_table(SOURCES)?.insert(name, text).map(drop).map_err(Into::into))
    }

    /// Stores a view, replacing its older version.
    pub(crate) fn put_view(&self, view: &StoredView) -> Result<()> {
        let value = (view.version, view.topic_id.as_u128(), view.text.as_str());
        self.write(|transaction| {
            transaction.open_table(VIEWS)?.insert(view.name.as_str(), value).map(drop).map_err(Into::into)
        })
    }

    /// Forgets a source.
    pub(crate) fn remove_source(&self, name: &str) -> Result<()> {
        self.write(|transaction| transaction.open_table(SOURCES)?.remove(name).map(drop).map_err(Into::into))
    }

    /// Forgets a view.
    pub(crate) fn remove_view(&self, name: &str) -> Result<()> {
        self.write(|transaction| transaction.open_table(VIEWS)?.remove(name).map(drop).map_err(Into::into))
    }

    fn read<T>(&self, read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T> {
        let transaction = self.0.begin_read().map_err(redb::Error::from);
        transaction
            .and_then(|transaction| read(&transaction))
            .map_err(|e| Error::internal("cannot read the catalogue").with_source(e))
    }

    fn write(&self, write: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<()> {
        let attempt = || {
            let transaction = self.0.begin_write()?;
            write(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        attempt().map_err(|e: redb::Error| Error::internal("cannot write the catalogue").with_source(e))
    }
}

#[cfg(test)]
mod tests;
