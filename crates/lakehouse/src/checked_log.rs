//! [`CheckedLog`]: an object store in which the entries and checkpoints of Delta logs have checksums.
//!
//! An entry gets one as it is written, and is held against it whenever it is read, by whoever reads through here: the
//! Delta library too. A checkpoint has its own beside it, in one more file whose name readers pass over.
//!
//! What it is not: a check of data files, of which [`CheckedFiles`](crate::checked_files::CheckedFiles) knows more; nor of
//! what was written by an earlier release or by somebody else.
//!
//! What must hold: of an entry or a checkpoint that has a checksum nothing is answered but what was written; a checksum
//! never speaks of another file than the one beside it, wherever a crash comes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::path::{Path, PathPart};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::checked_read::get_checked;
use crate::checksum::{FileChecksum, Summing};
use crate::error::FileDamage;
use crate::log_entry;

pub(crate) const STORE: &str = "checked log";
const FOLDER: &str = "_delta_log";

/// A store that checks what is read of Delta logs.
#[derive(Clone, Debug)]
pub(crate) struct CheckedLog {
    inner: Arc<dyn ObjectStore>,
}

/// What a file is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Entry,
    Checkpoint,
    Other,
}

impl CheckedLog {
    /// The store `inner`.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }

    async fn get_entry(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let wanted = options.range.clone();
        let result = self.inner.get_opts(path, GetOptions { range: None, ..options }).await?;
        let (meta, attributes) = (result.meta.clone(), result.attributes.clone());
        let entry = result.bytes().await?;
        log_entry::check(&entry).map_err(|reason| damaged(path, reason))?;
        let bytes = entry.len() as u64;
        let range = wanted.map_or(Ok(0..bytes), |range| range.as_range(bytes));
        let range = range.map_err(|source| Error::Generic { store: STORE, source: source.into() })?;
        let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        let answer = entry.slice(place(range.start)..place(range.end));
        let payload = GetResultPayload::Stream(stream::once(async { Ok(answer) }).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn get_checkpoint(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let text: Bytes = match self.inner.get(&checksum_of(path)).await {
            Ok(found) => found.bytes().await?,
            Err(Error::NotFound { .. }) => return self.inner.get_opts(path, options).await,
            Err(error) => return Err(error),
        };
        let checksum = std::str::from_utf8(&text).map_err(|error| error.to_string());
        let checksum: FileChecksum = checksum
            .and_then(str::parse)
            .map_err(|reason| damaged(path, format!("the file with its checksum is damaged: {reason}")))?;
        get_checked(self.inner.as_ref(), path, options, &checksum).await
    }

    /// Removes the checksum of a checkpoint that is to be written, or is gone.
    async fn forget(&self, checkpoint: &Path) -> Result<()> {
        match self.inner.delete(&checksum_of(checkpoint)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            deleted => deleted,
        }
    }
}

async fn remember(store: &dyn ObjectStore, checkpoint: &Path, summing: Summing) -> Result<()> {
    store.put(&checksum_of(checkpoint), summing.finish().to_string().into()).await.map(drop)
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Generic { store: STORE, source: FileDamage { file: path.to_string(), reason }.into() }
}

/// Where the checksum of a checkpoint is. Whatever begins with a dot is nothing to a reader of a Delta log.
fn checksum_of(checkpoint: &Path) -> Path {
    let mut parts: Vec<PathPart<'_>> = checkpoint.parts().collect();
    let name = parts.pop().map_or_else(String::new, |name| format!(".{}.fourfold-crc32c", name.as_ref()));
    Path::from_iter(parts).join(name)
}

fn kind_of(path: &Path) -> Kind {
    let mut names = path.as_ref().rsplit('/');
    let (Some(name), Some(FOLDER)) = (names.next(), names.next()) else { return Kind::Other };
    let (version, rest) = name.split_once('.').unwrap_or((name, ""));
    if version.len() != 20 || !version.bytes().all(|byte| byte.is_ascii_digit()) {
        return Kind::Other;
    }
    match rest {
        "json" => Kind::Entry,
        rest if rest.starts_with("checkpoint.") && rest.ends_with("parquet") => Kind::Checkpoint,
        _ => Kind::Other,
    }
}

impl fmt::Display for CheckedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedLog({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CheckedLog {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match kind_of(location) {
            Kind::Other => self.inner.put_opts(location, payload, options).await,
            Kind::Entry => {
                let entry = log_entry::with_checksum(&Bytes::from(payload));
                self.inner.put_opts(location, entry.into(), options).await
            }
            Kind::Checkpoint => {
                // In between it has none, and is read unchecked.
                self.forget(location).await?;
                let mut summing = Summing::default();
                payload.iter().for_each(|part| summing.push(part));
                let result = self.inner.put_opts(location, payload, options).await?;
                remember(self.inner.as_ref(), location, summing).await?;
                Ok(result)
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, options).await?;
        if kind_of(location) != Kind::Checkpoint {
            return Ok(upload);
        }
        let (log, location) = (self.clone(), location.clone());
        Ok(Box::new(CheckpointUpload { upload, summing: Summing::default(), log, location }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match kind_of(location) {
            Kind::Entry if !options.head => self.get_entry(location, options).await,
            Kind::Checkpoint if !options.head => self.get_checkpoint(location, options).await,
            _ => self.inner.get_opts(location, options).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let log = self.clone();
        let deleted = self.inner.delete_stream(locations).then(move |deleted| {
            let log = log.clone();
            async move {
                match deleted {
                    Ok(path) if kind_of(&path) == Kind::Checkpoint => log.forget(&path).await.map(|()| path),
                    deleted => deleted,
                }
            }
        });
        deleted.boxed()
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
        self.inner.copy_opts(from, to, options).await
    }
}

/// A large checkpoint: its parts come in the order of the file.
#[derive(Debug)]
struct CheckpointUpload {
    upload: Box<dyn MultipartUpload>,
    summing: Summing,
    log: CheckedLog,
    location: Path,
}

#[async_trait]
impl MultipartUpload for CheckpointUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        data.iter().for_each(|part| self.summing.push(part));
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.log.forget(&self.location).await?;
        let result = self.upload.complete().await?;
        remember(self.log.inner.as_ref(), &self.location, std::mem::take(&mut self.summing)).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests;
