//! [`View`]: keyed rows in memory that one writer changes in whole batches and any number of readers read.
//!
//! What must hold: a change and its Positions become visible in one step or not at all; a reader holds the lock only
//! to copy two pointers, so it never keeps the writer waiting, and what it has read never changes under it.

use std::{
    collections::HashSet,
    ops::Bound,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{
    common::ScalarValue, error::DataFusionError, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::stream;
use imbl::OrdMap;
use model::{Error, Positions, Result, TopicName};
use parking_lot::{Mutex, RwLock};
use streaming::Change;

use super::{
    Frontier, Relation, Rows, Snapshot, ViewGroup,
    projection::{projected_schema, same_columns},
    row_codec::{RowBytes, RowCodec},
};

/// Rows decoded at a time, and their bytes: at least one row, and no further one beyond.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What a row takes besides its bytes: two counted pointers, and its share of the map.
const ROW_BYTES: usize = 128;

/// A materialised view.
#[derive(Debug)]
pub struct View {
    name: String,
    topics: Vec<TopicName>,
    codec: Arc<RowCodec>,
    current: RwLock<Contents>,
    /// Held while a change is applied: there is one writer.
    writing: Mutex<()>,
    /// What the rows take.
    bytes: AtomicUsize,
    frontier: Frontier,
    /// The views that move on with it, where there are others.
    group: OnceLock<Arc<ViewGroup>>,
}

/// What a view has after a change, before anybody sees it.
pub(super) struct After {
    contents: Contents,
    came_bytes: usize,
    left_bytes: usize,
}

/// What a view had, to be freed.
pub(super) struct Before(#[allow(dead_code, reason = "it is there to be freed")] Contents);

/// Key bytes to the bytes of the other columns; copies share what has not changed.
type RowMap = OrdMap<RowBytes, RowBytes>;

#[derive(Clone, Debug)]
struct Contents {
    rows: RowMap,
    positions: Positions,
}

impl View {
    /// An empty view; `key_columns` are indices into `schema`, `topics` are what it is folded from.
    ///
    /// # Errors
    /// [`Unsupported`](model::ErrorKind::Unsupported) when a column's type cannot be held.
    pub fn new(name: &str, schema: SchemaRef, key_columns: &[usize], topics: Vec<TopicName>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            topics,
            codec: Arc::new(RowCodec::new(schema, key_columns)?),
            current: RwLock::new(Contents { rows: OrdMap::new(), positions: Positions::new() }),
            writing: Mutex::new(()),
            bytes: AtomicUsize::new(0),
            frontier: Frontier::new(name, Positions::new()),
            group: OnceLock::new(),
        })
    }

    /// Applies a change in one step: a positive weight puts the row in place of the one with its key, a negative weight
    /// removes the row with that key. `positions` say what the view reflects afterwards.
    ///
    /// # Errors
    /// [`Internal`](model::ErrorKind::Internal) when the change is not of this view's schema; nothing is changed then.
    pub fn apply(&self, change: &Change, positions: &Positions) -> Result<()> {
        let _one_writer = self.writing.lock();
        let after = self.after(change, positions)?;
        self.show(after);
        Ok(())
    }

    /// What the view has after a change.
    pub(super) fn after(&self, change: &Change, positions: &Positions) -> Result<After> {
        let (rows, weights) = (change.rows(), change.weights());
        self.check(rows)?;
        let mut contents = self.current.read().clone();
        let (mut came_bytes, mut left_bytes) = (0, 0);
        if rows.num_rows() > 0 {
            let (keys, values) = self.codec.encode(rows)?;
            let (put, removed): (Vec<usize>, Vec<usize>) =
                (0..rows.num_rows()).partition(|row| weights.value(*row) > 0);
            // Most rows that go are replaced, which is one step.
            let replaced: HashSet<&[u8]> =
                if removed.is_empty() { HashSet::new() } else { put.iter().map(|row| keys.bytes(*row)).collect() };
            for key in removed.into_iter().map(|row| keys.bytes(row)).filter(|key| !replaced.contains(key)) {
                left_bytes += contents.rows.remove(key).map_or(0, |value| row_bytes(key, &value));
            }
            for row in put {
                let (key, value) = (keys.row(row), values.row(row));
                let key_bytes = key.len();
                came_bytes += row_bytes(&key, &value);
                left_bytes += contents.rows.insert(key, value).map_or(0, |old| ROW_BYTES + key_bytes + old.len());
            }
        }
        contents.positions.advance_all(positions);
        Ok(After { contents, came_bytes, left_bytes })
    }

    /// Lets readers see it.
    pub(super) fn show(&self, after: After) {
        drop(self.put(after));
        self.tell();
    }

    /// Puts it in the place of what there was, which whoever calls frees after the locks: the last owner of many nodes takes
    /// a while.
    pub(super) fn put(&self, after: After) -> Before {
        self.bytes.fetch_add(after.came_bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(after.left_bytes, Ordering::Relaxed);
        Before(std::mem::replace(&mut *self.current.write(), after.contents))
    }

    /// Tells whoever waits how far the view is.
    pub(super) fn tell(&self) {
        self.frontier.arrive(self.positions());
    }

    /// Makes the view one of a group, once.
    pub(super) fn join(&self, group: &Arc<ViewGroup>) {
        let _ = self.group.set(Arc::clone(group));
    }

    /// What readers see now.
    pub(super) fn snapshot_now(&self) -> Snapshot {
        let Contents { rows, positions } = self.contents();
        Snapshot::new(Arc::new(ViewRows { codec: Arc::clone(&self.codec), rows }), positions)
    }

    /// About how much memory its rows take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The Positions that the view reflects now.
    pub fn positions(&self) -> Positions {
        self.current.read().positions.clone()
    }

    fn check(&self, rows: &RecordBatch) -> Result<()> {
        if same_columns(&rows.schema(), self.codec.schema()) {
            return Ok(());
        }
        let message =
            format!("a change with the columns {} for view {} with {}", rows.schema(), self.name, self.schema());
        Err(Error::internal(message))
    }

    fn contents(&self) -> Contents {
        self.current.read().clone()
    }
}

#[async_trait]
impl Relation for View {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.codec.schema())
    }

    fn key_columns(&self) -> &[usize] {
        self.codec.key_columns()
    }

    fn topics(&self) -> &[TopicName] {
        &self.topics
    }

    fn row_count(&self) -> Option<usize> {
        Some(self.current.read().rows.len())
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        Ok(self.snapshot_now())
    }

    fn snapshots_together(&self) -> Vec<(String, Snapshot)> {
        self.group.get().map(|group| group.snapshots()).unwrap_or_default()
    }

    async fn get(&self, key: &[ScalarValue]) -> Result<(Option<RecordBatch>, Positions)> {
        let key = self.codec.encode_key(key)?;
        let (value, positions) = {
            let current = self.current.read();
            (current.rows.get(&key).map(Arc::clone), current.positions.clone())
        };
        let Some(value) = value else { return Ok((None, positions)) };
        let row = self.codec.decode([(&*key, &*value)].into_iter(), None, self.codec.schema());
        let row =
            row.map_err(|e| Error::internal(format!("cannot decode a row of view {}", self.name)).with_source(e))?;
        Ok((Some(row), positions))
    }

    fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

fn row_bytes(key: &[u8], value: &[u8]) -> usize {
    ROW_BYTES + key.len() + value.len()
}

/// The rows of one version, decoded as they are read.
#[derive(Debug)]
struct ViewRows {
    codec: Arc<RowCodec>,
    rows: RowMap,
}

impl Rows for ViewRows {
    fn schema(&self) -> &SchemaRef {
        self.codec.schema()
    }

    fn row_count(&self) -> Option<usize> {
        Some(self.rows.len())
    }

    fn stream(&self, projection: Option<&[usize]>) -> Result<SendableRecordBatchStream> {
        let schema = projected_schema(self.codec.schema(), projection)?;
        let cursor = Cursor {
            codec: Arc::clone(&self.codec),
            rows: self.rows.clone(),
            projection: projection.map(<[usize]>::to_vec),
            schema: Arc::clone(&schema),
            after: None,
        };
        let batches = stream::unfold(Some(cursor), |cursor| async { cursor?.next_batch() });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// A place in the rows of one version.
struct Cursor {
    codec: Arc<RowCodec>,
    rows: RowMap,
    projection: Option<Vec<usize>>,
    schema: SchemaRef,
    /// The last key that was read.
    after: Option<RowBytes>,
}

impl Cursor {
    fn next_batch(mut self) -> Option<(Result<RecordBatch, DataFusionError>, Option<Self>)> {
        let from = self.after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(Arc::clone(key)));
        let mut bytes = 0;
        let fitting = self.rows.range((from, Bound::Unbounded)).take(BATCH_ROWS).take_while(|(key, value)| {
            let fits = bytes < BATCH_BYTES;
            bytes += row_bytes(key, value);
            fits
        });
        let rows: Vec<(&RowBytes, &RowBytes)> = fitting.collect();
        let last = rows.last().map(|(key, _)| Arc::clone(key))?;
        let ended = rows.len() < BATCH_ROWS && bytes < BATCH_BYTES;
        let bytes = rows.iter().map(|(key, value)| (&***key, &***value));
        let batch = self.codec.decode(bytes, self.projection.as_deref(), &self.schema).map_err(DataFusionError::from);
        let ended = ended || batch.is_err();
        drop(rows);
        self.after = Some(last);
        Some((batch, (!ended).then_some(self)))
    }
}
