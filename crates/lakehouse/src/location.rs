//! Where a lake is: a directory, a URL, or a place in an object store that the caller provides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deltalake_core::{DeltaTable, DeltaTableBuilder, ensure_table_uri};
use object_store::ObjectStore;

use crate::DurableFileSystem;
use crate::error::{LakeError, Result};

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
        builder.with_storage_backend(store, parsed).build().map_err(bad)
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
    use super::safe_name;

    #[test]
    fn names_become_path_segments_and_stay_different() {
        for (name, safe) in [("delays", "delays"), ("Delays", "~44elays"), ("a/b..", "a~2fb~2e~2e"), ("~44", "~7e44")] {
            assert_eq!(safe_name(name), safe);
        }
    }
}
