//! An object store on the local file system whose objects are on disk when a put returns.
//!
//! What it is not: faster or different in any other way. The plain local store renames files into place without
//! syncing them, so that a power cut could leave an empty log entry under its final name, and with it a table that
//! nobody can open.
//!
//! What must hold: an object is visible under its name only with its whole content synced; when a put returns, the
//! name is synced as well.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, io};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

const STORE: &str = "local file system";

/// The whole local file system, with durable puts.
#[derive(Debug, Default)]
pub struct DurableFileSystem {
    inner: LocalFileSystem,
    staged: AtomicU64,
}

impl DurableFileSystem {
    /// A store whose root is the file system's root.
    pub fn new() -> Self {
        Self::default()
    }

    // The inner store leaves files whose names end in '#' and digits out of its lists.
    fn staging_path(&self, path: &FilePath) -> PathBuf {
        let unique = format!("{}{:010}", std::process::id(), self.staged.fetch_add(1, Ordering::Relaxed));
        let mut name = path.as_os_str().to_owned();
        name.push(format!("#{unique}"));
        PathBuf::from(name)
    }
}

impl fmt::Display for DurableFileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableFileSystem")
    }
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) || !options.attributes.is_empty() {
            // Not possible on a file system: the inner store says so.
            return self.inner.put_opts(location, payload, options).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let staging = self.staging_path(&path);
        let create = matches!(options.mode, PutMode::Create);
        blocking(move || {
            let put = put_file(&path, &staging, &payload, create);
            if put.is_err() {
                // A staged file is not visible, and one that cannot be removed does no harm.
                let _ = fs::remove_file(&staging);
            }
            put.map_err(|source| failed(&path, source))
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let upload = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload { upload, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let path = self.inner.path_to_filesystem(to)?;
        self.inner.copy_opts(from, to, options).await?;
        blocking(move || sync(&path).map_err(|source| failed(&path, source))).await
    }
}

/// A large object: its parts go to a staged file, which is synced once it is complete. Delta names a data file only
/// after that, so nobody looks for it earlier.
#[derive(Debug)]
struct DurableUpload {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        let path = self.path.clone();
        blocking(move || sync(&path).map_err(|source| failed(&path, source))).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

fn put_file(path: &FilePath, staging: &FilePath, payload: &PutPayload, create: bool) -> io::Result<()> {
    if let Some(directory) = path.parent()
        && !directory.exists()
    {
        create_directory(directory)?;
    }
    let mut file = File::create_new(staging)?;
    for part in payload {
        file.write_all(part)?;
    }
    file.sync_all()?;
    if create {
        // A hard link fails when the name exists, which a rename does not.
        fs::hard_link(staging, path)?;
        fs::remove_file(staging)?;
    } else {
        fs::rename(staging, path)?;
    }
    sync_directory_of(path)
}

// Creates a directory and syncs the names of all that were missing.
fn create_directory(directory: &FilePath) -> io::Result<()> {
    let missing: Vec<&FilePath> = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    fs::create_dir_all(directory)?;
    missing.into_iter().try_for_each(sync_directory_of)
}

fn sync(path: &FilePath) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    sync_directory_of(path)
}

fn sync_directory_of(path: &FilePath) -> io::Result<()> {
    match path.parent() {
        // Elsewhere a directory cannot be opened as a file, and its names are journalled.
        Some(directory) if cfg!(unix) => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

fn failed(path: &FilePath, source: io::Error) -> Error {
    let path = path.display().to_string();
    match source.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: source.into() },
        io::ErrorKind::NotFound => Error::NotFound { path, source: source.into() },
        _ => Error::Generic { store: STORE, source: source.into() },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::Generic { store: STORE, source: source.into() })?
}

#[cfg(test)]
mod tests;
