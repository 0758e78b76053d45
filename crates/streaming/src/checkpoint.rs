//! Checkpoints of a view: its state and its Positions, published together.
//!
//! What it is: [`CheckpointStore`], segments and a manifest in an object store. A checkpoint writes only the groups that
//! were touched since the one before, as a new segment; then one atomic write of the manifest makes it the view's
//! checkpoint. Whatever the manifest does not name is rubbish, and is swept away.
//!
//! What it is not: durable beyond what the store is. A checkpoint can be deleted at any time: the view is then rebuilt
//! from the log.
//!
//! What must hold: a reader sees the checkpoint before or the one after, never a mixture; a segment is never changed;
//! damage is reported ([`Error::CheckpointCorrupt`]), nothing is guessed.

mod manifest;
mod segment;

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use dataflow::{PartKind, StatePart};
use futures::TryStreamExt;
use model::Positions;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use crate::error::{Error, Result};
use manifest::{Manifest, Segment};

const MANIFEST: &str = "manifest.json";
/// With more segments of a part than this, those that are not much smaller than the newer ones together are merged with them.
const SEGMENTS_MAX: usize = 16;

/// A checkpoint that was loaded.
#[derive(Clone, Debug)]
pub struct RestoredCheckpoint {
    /// Where the view stood.
    pub positions: Positions,
    /// What was written down: which part, and what; to be restored in this order.
    pub parts: Vec<(String, RecordBatch)>,
}

/// The checkpoints of one view. Only one task at a time may publish to a prefix.
#[derive(Clone, Debug)]
pub struct CheckpointStore {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The manifest that is there, once it was read or written.
    manifest: Option<Manifest>,
    /// Whether everything that the manifest does not name is gone.
    swept: bool,
}

impl CheckpointStore {
    /// The checkpoints under `prefix`, a path such as `views/carrier_hours`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: Path::from(prefix), manifest: None, swept: false }
    }

    /// Publishes a checkpoint: where the view stands, and what has changed of its state since the last one (of the same plan;
    /// all of it when there is none).
    ///
    /// # Errors
    /// [`Error::Storage`] when the store fails (the checkpoint before is still the one then);
    /// [`Error::CheckpointCorrupt`] when the checkpoint before is damaged.
    pub async fn publish(&mut self, plan_hash: &str, positions: &Positions, dirty: &[StatePart]) -> Result<()> {
        let before = self.current().await?.unwrap_or_default();
        let kept = if before.plan_hash == plan_hash { before.segments } else { Vec::new() };
        let mut next = Manifest {
            plan_hash: plan_hash.to_owned(),
            positions: positions.clone(),
            next_segment: before.next_segment,
            segments: kept,
        };
        let mut has_compacted = false;
        for part in dirty.iter().filter(|part| part.rows.num_rows() > 0) {
            let rows = std::slice::from_ref(&part.rows);
            let segment = self.write(&mut next.next_segment, &part.name, &part.rows.schema(), rows).await?;
            next.segments.push(segment);
            has_compacted |= self.compact(&mut next, part).await?;
        }
        let bytes = next.to_bytes().map_err(|reason| self.corrupt(MANIFEST, reason))?;
        self.put(MANIFEST, bytes).await?;
        self.manifest = Some(next);
        if has_compacted || !self.swept {
            self.sweep().await;
        }
        Ok(())
    }

    /// Merges the newest segments of a part, where it has too many; tells whether it did. So what a checkpoint writes is about
    /// what has changed, a few times over.
    async fn compact(&self, next: &mut Manifest, part: &StatePart) -> Result<bool> {
        let of_part: Vec<usize> =
            (0..next.segments.len()).filter(|number| next.segments[*number].part == part.name).collect();
        if of_part.len() <= SEGMENTS_MAX {
            return Ok(false);
        }
        let mut merged_bytes = 0;
        let mut from = of_part.len();
        while from > 0 && (from + 2 > of_part.len() || next.segments[of_part[from - 1]].bytes <= 2 * merged_bytes) {
            from -= 1;
            merged_bytes += next.segments[of_part[from]].bytes;
        }
        let merged: Vec<Segment> = of_part[from..].iter().map(|number| next.segments[*number].clone()).collect();
        let rows = self.read_all(&merged).await?;
        let schema = part.rows.schema();
        let compacted = match part.kind {
            // What is gone can be left out only where nothing older says that it was there.
            PartKind::States { key_count } => segment::compact(&schema, key_count, rows, from == 0),
            PartKind::Rows => segment::sum(&schema, &rows),
        };
        let compacted = compacted.map_err(Error::arrow("merge the segments of a checkpoint"))?;
        let segment = self.write(&mut next.next_segment, &part.name, &schema, &compacted).await?;
        next.segments.retain(|segment| !merged.contains(segment));
        next.segments.push(segment);
        Ok(true)
    }

    /// Loads the last checkpoint; `None` when there is none, or when it is one of another plan (the view has to be
    /// rebuilt then).
    ///
    /// # Errors
    /// [`Error::CheckpointCorrupt`] when a part is missing or damaged.
    pub async fn load(&mut self, plan_hash: &str) -> Result<Option<RestoredCheckpoint>> {
        let Some(manifest) = self.of_plan(plan_hash).await? else { return Ok(None) };
        let rows = self.read_all(&manifest.segments).await?;
        let parts = manifest.segments.iter().map(|segment| segment.part.clone()).zip(rows).collect();
        Ok(Some(RestoredCheckpoint { positions: manifest.positions, parts }))
    }

    /// Where the last checkpoint stands, without its states; `None` as for [`load`](Self::load).
    ///
    /// # Errors
    /// [`Error::CheckpointCorrupt`] when the manifest is damaged.
    pub async fn positions(&mut self, plan_hash: &str) -> Result<Option<Positions>> {
        Ok(self.of_plan(plan_hash).await?.map(|manifest| manifest.positions))
    }

    /// How many bytes of states the last checkpoint has; 0 when there is none to load.
    ///
    /// # Errors
    /// As [`positions`](Self::positions).
    pub async fn state_bytes(&mut self, plan_hash: &str) -> Result<u64> {
        let manifest = self.of_plan(plan_hash).await?.unwrap_or_default();
        Ok(manifest.segments.iter().map(|segment| segment.bytes).sum())
    }

    async fn of_plan(&mut self, plan_hash: &str) -> Result<Option<Manifest>> {
        self.manifest = None;
        Ok(self.current().await?.filter(|manifest| manifest.plan_hash == plan_hash))
    }

    /// Copies the last checkpoint of another store, if it has one, to where none is.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store fails, [`Error::CheckpointCorrupt`] when a part is missing.
    pub async fn copy_from(&mut self, other: &mut Self) -> Result<()> {
        let Some(manifest) = other.current().await? else { return Ok(()) };
        for Segment { name, .. } in &manifest.segments {
            let bytes = other.get(name).await?.ok_or_else(|| other.corrupt(name, "it is missing".to_owned()))?;
            self.put(name, bytes.to_vec()).await?;
        }
        let bytes = manifest.to_bytes().map_err(|reason| self.corrupt(MANIFEST, reason))?;
        self.put(MANIFEST, bytes).await
    }

    /// Deletes everything under the prefix, damaged or not: the view is rebuilt from the log.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store fails.
    pub async fn delete(&mut self) -> Result<()> {
        self.manifest = None;
        let doing = |error| storage("delete", &self.prefix, error);
        // The manifest first: what is left without it is rubbish.
        self.remove(MANIFEST).await.map_err(doing)?;
        for path in self.list().await.map_err(doing)? {
            ignore_missing(self.store.delete(&path).await).map_err(doing)?;
        }
        Ok(())
    }

    async fn current(&mut self) -> Result<Option<Manifest>> {
        if self.manifest.is_none() {
            let Some(bytes) = self.get(MANIFEST).await? else { return Ok(None) };
            self.manifest = Some(Manifest::from_bytes(&bytes).map_err(|reason| self.corrupt(MANIFEST, reason))?);
        }
        Ok(self.manifest.clone())
    }

    async fn write(
        &self,
        next_segment: &mut u64,
        part: &str,
        schema: &SchemaRef,
        states: &[RecordBatch],
    ) -> Result<Segment> {
        let bytes = segment::encode(schema, states).map_err(Error::arrow("write a segment"))?;
        let name = format!("segment-{next_segment:010}.arrow");
        let written = Segment {
            name: name.clone(),
            part: part.to_owned(),
            bytes: bytes.len() as u64,
            rows: states.iter().map(|states| states.num_rows() as u64).sum(),
            crc32c: crc32c::crc32c(&bytes),
        };
        self.put(&name, bytes).await?;
        *next_segment += 1;
        Ok(written)
    }

    async fn read_all(&self, segments: &[Segment]) -> Result<Vec<RecordBatch>> {
        let mut states = Vec::with_capacity(segments.len());
        for segment in segments {
            states.push(self.read(segment).await?);
        }
        Ok(states)
    }

    async fn read(&self, segment: &Segment) -> Result<RecordBatch> {
        let corrupt = |reason: String| self.corrupt(&segment.name, reason);
        let bytes = self.get(&segment.name).await?.ok_or_else(|| corrupt("it is missing".to_owned()))?;
        if bytes.len() as u64 != segment.bytes {
            return Err(corrupt(format!("it has {} bytes instead of {}", bytes.len(), segment.bytes)));
        }
        let found = crc32c::crc32c(&bytes);
        if found != segment.crc32c {
            return Err(corrupt(format!("its checksum is {found:08x} instead of {:08x}", segment.crc32c)));
        }
        let states = segment::decode(&bytes).map_err(|error: ArrowError| corrupt(error.to_string()))?;
        if states.num_rows() as u64 != segment.rows {
            return Err(corrupt(format!("it has {} rows instead of {}", states.num_rows(), segment.rows)));
        }
        Ok(states)
    }

    /// Deletes what the manifest does not name. Failing costs space, not correctness: it is tried again.
    async fn sweep(&mut self) {
        let Some(manifest) = &self.manifest else { return };
        let is_named = |path: &Path| match path.filename() {
            Some(name) => name == MANIFEST || manifest.segments.iter().any(|segment| segment.name == name),
            None => true,
        };
        let swept = async {
            for path in self.list().await?.iter().filter(|path| !is_named(path)) {
                ignore_missing(self.store.delete(path).await)?;
            }
            Ok::<_, object_store::Error>(())
        };
        self.swept = match swept.await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(prefix = %self.prefix, %error, "old segments of a checkpoint could not be deleted");
                false
            }
        };
    }

    async fn list(&self) -> Result<Vec<Path>, object_store::Error> {
        self.store.list(Some(&self.prefix)).map_ok(|object| object.location).try_collect().await
    }

    async fn get(&self, name: &str) -> Result<Option<bytes::Bytes>> {
        let path = self.path(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(storage("read", &path, error)),
        }
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.path(name);
        self.store.put(&path, bytes.into()).await.map(drop).map_err(|error| storage("write", &path, error))
    }

    async fn remove(&self, name: &str) -> Result<(), object_store::Error> {
        ignore_missing(self.store.delete(&self.path(name)).await)
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    fn corrupt(&self, name: &str, reason: String) -> Error {
        Error::CheckpointCorrupt { path: self.path(name).to_string(), reason }
    }
}

fn ignore_missing(deleted: Result<(), object_store::Error>) -> Result<(), object_store::Error> {
    match deleted {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}

fn storage(doing: &str, path: &Path, source: object_store::Error) -> Error {
    Error::Storage { doing: format!("{doing} {path}"), source }
}

#[cfg(test)]
mod tests;
