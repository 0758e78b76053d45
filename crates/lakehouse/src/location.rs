//! Where a lake is: a directory, a URL, or a place in an object store that the caller provides.

use std::collections::BTreeSet;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use deltalake_core::{DeltaTable, DeltaTableBuilder, ensure_table_uri};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::{Path as ObjectPath, PathPart};

use crate::DurableFileSystem;
use crate::checked_log::CheckedLog;
use crate::error::{LakeError, Result};

// What was set aside is for people to look at, and does not pile up by itself.
const ASIDE_MAX: u32 = 1_000;

/// A place for one Delta table, or for a family of them below it.
#[derive(Clone, Debug)]
pub struct LakeLocation {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(PathBuf),
    Store { store: Arc<dyn ObjectStore>, url: String },
}

impl LakeLocation {
    /// A local directory, created when needed. Files there are synced to disk before a commit names them.
    pub fn directory(path: impl AsRef<Path>) -> Self {
        Self { place: Place::Directory(path.as_ref().to_owned()) }
    }

    /// A place in `store`; `url` has the scheme by which others name the store and the path inside it, for example
    /// `memory:///lake`.
    pub fn in_store(store: Arc<dyn ObjectStore>, url: impl Into<String>) -> Self {
        Self { place: Place::Store { store, url: url.into() } }
    }

    /// The place `name` below this one. Characters that are not safe in paths are replaced, each name by its own.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let name = safe_name(name);
        let place = match &self.place {
            Place::Directory(path) => Place::Directory(path.join(name)),
            Place::Store { store, url } => {
                let url = format!("{}/{name}", url.trim_end_matches('/'));
                Place::Store { store: Arc::clone(store), url }
            }
        };
        Self { place }
    }

    /// Whether there is a Delta table at this place.
    ///
    /// # Errors
    /// `Unavailable` when the storage fails.
    pub async fn has_table(&self) -> model::Result<bool> {
        if let Place::Directory(path) = &self.place
            && !tokio::fs::try_exists(path).await.map_err(|e| self.failed("look for a table in", e))?
        {
            return Ok(false);
        }
        let table = self.table().await?;
        table.verify_deltatable_existence().await.map_err(|e| self.failed("look for a table in", e))
    }

    /// Moves what is at this place to a free place beside it, whose name no child can have, and answers that.
    ///
    /// # Errors
    /// `Unavailable` when the storage fails; `Unsupported` in an object store, which cannot move in one step.
    pub async fn set_aside(&self) -> model::Result<Self> {
        let Place::Directory(path) = &self.place else {
            return Err(model::Error::unsupported(format!("{self} cannot be set aside: it is in an object store"))
                .with_hint("copy it elsewhere and delete it"));
        };
        let failed = |e: io::Error| self.failed("set aside", e);
        for number in 1..=ASIDE_MAX {
            let aside = path.with_added_extension(number.to_string());
            if !tokio::fs::try_exists(&aside).await.map_err(failed)? {
                tokio::fs::rename(path, &aside).await.map_err(failed)?;
                if let Some(parent) = path.parent() {
                    tokio::fs::File::open(parent).await.map_err(failed)?.sync_all().await.map_err(failed)?;
                }
                return Ok(Self::directory(aside));
            }
        }
        Err(model::Error::conflict(format!("{ASIDE_MAX} tables were set aside from {self} already"))
            .with_hint("delete those that nobody needs"))
    }

    /// Deletes everything at this place and below it.
    ///
    /// # Errors
    /// `Unavailable` when the storage fails; deleting again goes on from there.
    pub async fn remove(&self) -> model::Result<()> {
        match &self.place {
            Place::Directory(path) => remove_path(path).await.map_err(|e| self.failed("delete", e)),
            Place::Store { .. } => {
                let store = self.table().await?.log_store().object_store(None);
                let objects = store.list(None).map_ok(|object| object.location).boxed();
                let removed: Result<Vec<_>, _> = store.delete_stream(objects).try_collect().await;
                removed.map(drop).map_err(|e| self.failed("delete", e))
            }
        }
    }

    /// Deletes everything below this place but the children with these names.
    ///
    /// # Errors
    /// `Unavailable` when the storage fails; deleting again goes on from there.
    pub async fn remove_all_but(&self, names: &[String]) -> model::Result<()> {
        let kept = names.iter().map(|name| safe_name(name));
        match &self.place {
            Place::Directory(path) => remove_entries(path, &kept.collect()).await.map_err(|e| self.failed("delete", e)),
            Place::Store { .. } => {
                let store = self.table().await?.log_store().object_store(None);
                let kept: BTreeSet<PathPart<'static>> = kept.map(PathPart::from).collect();
                let is_kept = move |path: &ObjectPath| path.parts().next().is_some_and(|first| kept.contains(&first));
                let objects = store.list(None).map_ok(|object| object.location);
                let strays = objects.try_filter(move |path| ready(!is_kept(path))).boxed();
                let removed: Result<Vec<_>, _> = store.delete_stream(strays).try_collect().await;
                removed.map(drop).map_err(|e| self.failed("delete", e))
            }
        }
    }

    fn failed(&self, doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> model::Error {
        let error = model::Error::unavailable(format!("cannot {doing} {self}")).with_source(error);
        error.with_hint("check the lake's storage")
    }

    /// The table at this place, not loaded yet.
    pub(crate) async fn table(&self) -> Result<DeltaTable> {
        let refuse = |location: String, reason: String| LakeError::Location { location, reason };
        let (store, url) = match &self.place {
            Place::Store { store, url } => (Arc::clone(store), url.clone()),
            Place::Directory(path) => {
                let shown = path.display().to_string();
                tokio::fs::create_dir_all(path).await.map_err(|e| refuse(shown.clone(), e.to_string()))?;
                let path = path.to_str().ok_or_else(|| refuse(shown, "its path is not valid UTF-8".to_owned()))?;
                (Arc::new(DurableFileSystem::new()) as Arc<dyn ObjectStore>, path.to_owned())
            }
        };
        let bad = |error: deltalake_core::DeltaTableError| refuse(url.clone(), error.to_string());
        let parsed = ensure_table_uri(&url).map_err(bad)?;
        let builder = DeltaTableBuilder::from_url(parsed.clone()).map_err(bad)?;
        builder.with_storage_backend(Arc::new(CheckedLog::new(store)), parsed).build().map_err(bad)
    }
}

impl fmt::Display for LakeLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Directory(path) => path.display().fmt(f),
            Place::Store { url, .. } => url.fmt(f),
        }
    }
}

async fn remove_entries(directory: &Path, kept: &BTreeSet<String>) -> io::Result<()> {
    let mut entries = match tokio::fs::read_dir(directory).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    while let Some(entry) = entries.next_entry().await? {
        if !entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
            remove_path(&entry.path()).await?;
        }
    }
    Ok(())
}

async fn remove_path(path: &Path) -> io::Result<()> {
    let removed = match tokio::fs::symlink_metadata(path).await {
        Ok(metadata) if metadata.is_dir() => tokio::fs::remove_dir_all(path).await,
        Ok(_) => tokio::fs::remove_file(path).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A name that is one safe path segment; different names stay different.
fn safe_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-' {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("~{byte:02x}"));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    //! Names as path segments, and what is deleted.

    use std::sync::Arc;

    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::{LakeLocation, safe_name};

    #[test]
    fn names_become_path_segments_and_stay_different() {
        for (name, safe) in [("delays", "delays"), ("Delays", "~44elays"), ("a/b..", "a~2fb~2e~2e"), ("~44", "~7e44")] {
            assert_eq!(safe_name(name), safe);
        }
    }

    #[tokio::test]
    async fn what_is_set_aside_gets_a_place_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let lake = LakeLocation::directory(directory.path());
        let place = lake.child("s");
        assert!(!place.has_table().await.unwrap());
        for expected in ["s.1", "s.2"] {
            let log = directory.path().join("s/_delta_log");
            std::fs::create_dir_all(&log).unwrap();
            std::fs::write(log.join("00000000000000000000.json"), expected).unwrap();
            assert!(place.has_table().await.unwrap());
            let aside = place.set_aside().await.unwrap();
            assert_eq!(aside.to_string(), directory.path().join(expected).display().to_string());
            assert!(aside.has_table().await.unwrap() && !place.has_table().await.unwrap());
        }
        let store = LakeLocation::in_store(Arc::new(InMemory::new()), "memory:///lake");
        assert!(!store.has_table().await.unwrap());
        assert_eq!(store.set_aside().await.unwrap_err().kind(), model::ErrorKind::Unsupported);
    }

    const FILES: [&str; 5] = ["1/_delta_log/0.json", "1/a.parquet", "12/a.parquet", "~44/a.parquet", "a.parquet"];

    async fn check(location: &LakeLocation, left: impl AsyncFn() -> Vec<String>) {
        assert_eq!(left().await, FILES);
        let kept = [(vec!["1", "D"], vec![0, 1, 3]), (vec!["1"], vec![0, 1]), (vec!["2"], vec![])];
        for (names, files) in kept {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            location.remove_all_but(&names).await.unwrap();
            assert_eq!(left().await, files.into_iter().map(|i: usize| FILES[i]).collect::<Vec<_>>(), "{names:?}");
        }
        location.child("absent").remove().await.unwrap();
        location.child("absent").remove_all_but(&[]).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_kept_is_deleted_from_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        for file in FILES {
            let path = directory.path().join("batch").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let location = LakeLocation::directory(directory.path()).child("batch");
        let left = async || {
            let path = directory.path().join("batch");
            FILES.iter().filter(|file| path.join(file).exists()).map(|file| (*file).to_owned()).collect()
        };
        check(&location, left).await;
        location.remove().await.unwrap();
        assert!(!directory.path().join("batch").exists());
    }

    #[tokio::test]
    async fn what_is_not_kept_is_deleted_from_a_store() {
        let store = Arc::new(InMemory::new());
        for file in FILES.iter().map(|file| format!("lake/batch/{file}")).chain(["lake/other".to_owned()]) {
            store.put(&Path::from(file), Vec::new().into()).await.unwrap();
        }
        let lake = LakeLocation::in_store(Arc::clone(&store) as _, "memory:///lake");
        let left = async || {
            let exists = async |path: &Path| store.head(path).await.is_ok();
            let mut left = Vec::new();
            for file in FILES {
                if exists(&Path::from(format!("lake/batch/{file}"))).await {
                    left.push(file.to_owned());
                }
            }
            left
        };
        check(&lake.child("batch"), left).await;
        assert!(store.head(&Path::from("lake/other")).await.is_ok());
        lake.remove().await.unwrap();
        assert!(store.head(&Path::from("lake/other")).await.is_err());
    }
}
