//! [`LateFailures`]: an object store in which the writing of an object never fails before somebody asks whether it has.
//!
//! The writer of Delta's data files aborts an upload that failed while it was completed, and `object_store`'s `BufWriter`
//! answers that with a panic: nothing is left to be aborted. So an upload is told to be complete, and its failure here.
//!
//! What must hold: whoever names an object has asked for the failure after it was written; what is left of an upload that
//! failed is aborted.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// A store that keeps the first failure for itself.
#[derive(Debug)]
pub(crate) struct LateFailures {
    inner: Arc<dyn ObjectStore>,
    failure: Failure,
}

#[derive(Clone, Debug, Default)]
struct Failure(Arc<Mutex<Option<Error>>>);

impl LateFailures {
    /// The store `inner`.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, failure: Failure::default() }
    }

    /// What failed first since the last question.
    ///
    /// # Errors
    /// That.
    pub(crate) fn check(&self) -> Result<()> {
        self.failure.0.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

impl Failure {
    fn note(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn is_noted(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn put(&self, result: Result<PutResult>) -> PutResult {
        result.unwrap_or_else(|error| {
            self.note(error);
            PutResult { e_tag: None, version: None }
        })
    }
}

impl fmt::Display for LateFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LateFailures({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for LateFailures {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        Ok(self.failure.put(self.inner.put_opts(location, payload, options).await))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(LateUpload { upload, failure: self.failure.clone() }))
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
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct LateUpload {
    upload: Box<dyn MultipartUpload>,
    failure: Failure,
}

#[async_trait]
impl MultipartUpload for LateUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, failure) = (self.upload.put_part(data), self.failure.clone());
        async move {
            if let Err(error) = part.await {
                failure.note(error);
            }
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if self.failure.is_noted() {
            // The first failure is the one to tell.
            let _ = self.upload.abort().await;
            return Ok(PutResult { e_tag: None, version: None });
        }
        let completed = self.upload.complete().await;
        Ok(self.failure.put(completed))
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
