//! A store that fails at the nth put, and at everything after it, as seen by a process that dies there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What the failing put did before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    NotDone,
    /// All of it; only the answer was lost.
    DoneButLost,
}

#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    puts_left: AtomicI64,
    fault: Fault,
}

impl FaultyStore {
    /// A store whose puts work `puts` times.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, puts: i64, fault: Fault) -> Self {
        Self { inner, puts_left: AtomicI64::new(puts), fault }
    }

    /// From here on everything works.
    pub(crate) fn mend(&self) {
        self.puts_left.store(i64::MAX, Ordering::SeqCst);
    }

    fn crashed() -> Error {
        Error::Generic { store: "faulty", source: "the process died here".into() }
    }

    fn alive(&self) -> Result<()> {
        if self.puts_left.load(Ordering::SeqCst) < 0 { Err(Self::crashed()) } else { Ok(()) }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.puts_left.fetch_sub(1, Ordering::SeqCst) {
            left if left > 0 => self.inner.put_opts(location, payload, options).await,
            0 if self.fault == Fault::DoneButLost => {
                self.inner.put_opts(location, payload, options).await?;
                Err(Self::crashed())
            }
            _ => Err(Self::crashed()),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if self.puts_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(Self::crashed());
        }
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.alive() {
            Ok(()) => self.inner.delete_stream(locations),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.alive() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}
