//! [`CheckedFiles`]: an object store that knows the checksums of data files: it takes them of what is written, and holds
//! against them what is read.
//!
//! What it is not: a check of objects that it knows no checksum of. Those pass as they are: files that were written
//! before there were checksums, and the Delta log, which [`CheckedLog`](crate::checked_log::CheckedLog) checks.
//!
//! What must hold: bytes of a file whose checksum is known are answered only if they are those that were written.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::Add;
use deltalake_core::logstore::LogStoreRef;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::LakeLocation;
use crate::checked_read::get_checked;
use crate::checksum::{FileChecksum, Summing, TAG};
use crate::error::{FileDamage, LakeError};

// By file name: each has a random part, so that there is one of it in a table.
type Known = Arc<Mutex<HashMap<String, Arc<FileChecksum>>>>;

/// A store that checks what is read from it.
#[derive(Debug)]
pub(crate) struct CheckedFiles {
    inner: Arc<dyn ObjectStore>,
    known: Known,
    /// The damage that was met first: those who read pass its text on, and not the error itself.
    damage: OnceLock<FileDamage>,
}

/// What a table says of the checksums of its files.
#[derive(Debug, Default)]
pub(crate) struct TableChecksums {
    files: HashMap<String, Arc<FileChecksum>>,
    /// How many files have none: they were written before there were any, or by somebody else.
    pub(crate) unchecked_files: usize,
}

impl TableChecksums {
    /// Of the files of the table's version.
    ///
    /// # Errors
    /// `DamagedFile` when a file's checksum cannot be read.
    pub(crate) fn of(table: &DeltaTable) -> crate::error::Result<Self> {
        let state = table.snapshot().map_err(LakeError::delta("read the files of a lake table"))?;
        let mut checksums = Self::default();
        for file in state.log_data().iter() {
            #[expect(deprecated, reason = "nothing else tells a file's tags")]
            let Add { path, tags, .. } = file.add_action();
            match tags.and_then(|mut tags| tags.remove(TAG).flatten()) {
                Some(text) => {
                    let checksum = text.parse().map_err(|reason| FileDamage { file: path.clone(), reason })?;
                    checksums.files.insert(name_of(&path).to_owned(), Arc::new(checksum));
                }
                None => checksums.unchecked_files += 1,
            }
        }
        Ok(checksums)
    }

    /// Whether the file at `path` has one.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(name_of(path))
    }
}

impl LakeLocation {
    /// Reads every file of the table here, to see that it is as it was written. Of files without a checksum it sees that
    /// they are there.
    ///
    /// # Errors
    /// `Corrupt` when one is not; `Unavailable` when the storage fails.
    pub async fn check_files(&self) -> model::Result<()> {
        let mut table = self.table().await?;
        let failed = || LakeError::delta(format!("read the table at {self}"));
        table.load().await.map_err(failed())?;
        let checksums = TableChecksums::of(&table)?;
        let paths: Vec<String> =
            table.snapshot().map_err(failed())?.log_data().iter().map(|f| f.path().to_string()).collect();
        let store = CheckedFiles::new(table.object_store(), checksums);
        for path in paths {
            let read = store.read_through(&Path::from(path)).await;
            read.map_err(|error| failed()(error.into()))?;
        }
        Ok(())
    }
}

/// The root of a table's storage, whose files are checked when queries read them.
#[derive(Clone, Debug)]
pub(crate) struct CheckedRoot {
    log_store: LogStoreRef,
    store: Arc<CheckedFiles>,
}

impl CheckedRoot {
    /// Of the table's version.
    ///
    /// # Errors
    /// `DamagedFile` when a file's checksum cannot be read.
    pub(crate) fn of(table: &DeltaTable) -> crate::error::Result<Self> {
        let log_store = table.log_store();
        let store = CheckedFiles::new(log_store.root_object_store(None), TableChecksums::of(table)?);
        Ok(Self { log_store, store: Arc::new(store) })
    }

    /// Makes the queries of an environment read from here. Delta leaves a store alone that is there, and DataFusion has
    /// one of its own for files.
    pub(crate) fn register(&self, environment: &RuntimeEnv) {
        environment.register_object_store(self.log_store.root_url(), Arc::clone(&self.store) as _);
    }

    /// What a failure of a query that reads from here is.
    pub(crate) fn failed(&self, doing: impl Into<String>, error: DataFusionError) -> LakeError {
        match self.store.damage.get() {
            Some(damage) => damage.clone().into(),
            None => LakeError::query(doing)(error),
        }
    }

    /// A session whose queries read from here.
    pub(crate) fn session(&self) -> SessionContext {
        let session = SessionContext::new();
        self.register(&session.runtime_env());
        session
    }
}

impl CheckedFiles {
    /// The store `inner`, whose files have `checksums`.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, checksums: TableChecksums) -> Self {
        Self { inner, known: Arc::new(Mutex::new(checksums.files)), damage: OnceLock::new() }
    }

    /// Names the checksum of a file that was written here.
    pub(crate) fn tag(&self, file: &mut Add) {
        if let Some(checksum) = self.checksum(&file.path) {
            file.tags.get_or_insert_default().insert(TAG.to_owned(), Some(checksum.to_string()));
        }
    }

    /// Reads a whole file, a block at a time; one without a checksum only has to be there.
    ///
    /// # Errors
    /// Damage, and those of reading.
    pub(crate) async fn read_through(&self, path: &Path) -> Result<()> {
        self.head(path).await?;
        let Some(checksum) = self.checksum(path.as_ref()) else { return Ok(()) };
        for block in checksum.blocks() {
            self.get_range(path, block).await?;
        }
        Ok(())
    }

    fn checksum(&self, path: &str) -> Option<Arc<FileChecksum>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name_of(path)).cloned()
    }
}

impl fmt::Display for CheckedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckedFiles({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for CheckedFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mut summing = Summing::default();
        payload.iter().for_each(|part| summing.push(part));
        let result = self.inner.put_opts(location, payload, options).await?;
        know(&self.known, location, summing);
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, options).await?;
        let (known, location) = (Arc::clone(&self.known), location.clone());
        Ok(Box::new(SummedUpload { upload, summing: Summing::default(), known, location }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.checksum(location.as_ref()) {
            Some(checksum) if !options.head => {
                let read = get_checked(self.inner.as_ref(), location, options, &checksum).await;
                if let Some(damage) = read.as_ref().err().and_then(|error| FileDamage::behind(error)) {
                    self.damage.get_or_init(|| damage);
                }
                read
            }
            _ => self.inner.get_opts(location, options).await,
        }
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
        self.inner.copy_opts(from, to, options).await
    }
}

/// A large object: its parts come in the order of the file.
#[derive(Debug)]
struct SummedUpload {
    upload: Box<dyn MultipartUpload>,
    summing: Summing,
    known: Known,
    location: Path,
}

#[async_trait]
impl MultipartUpload for SummedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        data.iter().for_each(|part| self.summing.push(part));
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        know(&self.known, &self.location, std::mem::take(&mut self.summing));
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

fn know(known: &Known, location: &Path, summing: Summing) {
    let (name, checksum) = (name_of(location.as_ref()).to_owned(), Arc::new(summing.finish()));
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, checksum);
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
