//! [`MergedView`]: the answer of a Lambda view, merged from its layers when it is read.
//!
//! What must hold: an answer is merged from layers pinned in one step, so its Positions are exact; a merge is reused
//! only for the very same layers; a read of one key merges that group alone, and gives the row of the whole merge.

use std::{fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use lakehouse::BatchVersion;
use model::{Positions, Result, TopicName};
use parking_lot::Mutex;
use serving::views::{Frontier, Relation, Snapshot};
use streaming::{EvaluatedRows, ViewPlan};

use super::{
    keyed_states::GroupKeys,
    layers::{BatchLayer, Layers},
};

/// A view over a batch layer and a speed layer.
pub(crate) struct MergedView {
    name: String,
    topics: Vec<TopicName>,
    plan: Arc<ViewPlan>,
    keys: Arc<GroupKeys>,
    layers: Mutex<Layers>,
    /// How far the speed layer is.
    frontier: Frontier,
    last_merge: Mutex<Option<Merge>>,
}

// A merge and what it was made of.
struct Merge {
    batch_version: Option<u64>,
    positions: Positions,
    rows: RecordBatch,
}

impl Merge {
    fn is_of(&self, layers: &Layers) -> bool {
        self.batch_version == layers.batch_version() && self.positions == *layers.positions()
    }
}

impl MergedView {
    /// The view from `batch` on, or from the start of the log when there is none.
    pub(crate) fn new(plan: &Arc<ViewPlan>, batch: Option<BatchVersion>) -> Result<Self> {
        let keys = GroupKeys::new(plan)?;
        let batch = batch.map(|batch| BatchLayer::new(&keys, batch)).transpose()?;
        let layers = Layers::new(Arc::clone(plan), Arc::clone(&keys), batch)?;
        Ok(Self {
            name: plan.name().to_owned(),
            topics: vec![plan.source().topic.clone()],
            plan: Arc::clone(plan),
            keys,
            frontier: Frontier::new(plan.name(), layers.positions().clone()),
            layers: Mutex::new(layers),
            last_merge: Mutex::new(None),
        })
    }

    /// Begins again at the end of `batch`, before anything was folded from the log.
    pub(crate) fn begin_at(&self, batch: BatchVersion) -> Result<()> {
        let batch = BatchLayer::new(&self.keys, batch)?;
        let layers = Layers::new(Arc::clone(&self.plan), Arc::clone(&self.keys), Some(batch))?;
        let reached = layers.positions().clone();
        *self.layers.lock() = layers;
        self.frontier.arrive(reached);
        Ok(())
    }

    /// Folds source rows that end at `positions` into the speed layer.
    pub(crate) fn fold(&self, rows: EvaluatedRows, positions: &Positions) -> Result<()> {
        self.layers.lock().fold(rows, positions)?;
        self.frontier.arrive(positions.clone());
        Ok(())
    }

    /// Closes the open epoch.
    pub(crate) fn close_epoch(&self) -> Result<()> {
        self.layers.lock().close_epoch().map(drop)
    }

    /// Closes the open epoch at the place where the next batch version will end, and returns it.
    pub(crate) fn cut(&self) -> Result<Positions> {
        self.layers.lock().cut()
    }

    /// The rows that the layers give for everything before `boundary`, which must be an epoch's end.
    pub(crate) fn rows_at(&self, boundary: &Positions) -> Result<RecordBatch> {
        let pinned = self.layers.lock().pin_at(boundary);
        pinned.rows()
    }

    /// Puts a new batch version in place of the old one and the epochs that it covers.
    pub(crate) fn replace_batch(&self, batch: BatchVersion) -> Result<()> {
        // Without the lock: queries and the speed layer go on meanwhile.
        let batch = BatchLayer::new(&self.keys, batch)?;
        self.layers.lock().replace_batch(batch)
    }

    /// How much memory the layers hold, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.layers.lock().memory_bytes()
    }

    /// H of the batch in use, and the Delta version that holds it.
    pub(crate) fn batch(&self) -> (Option<u64>, Positions) {
        let layers = self.layers.lock();
        (layers.batch_version(), layers.batch_positions())
    }

    fn rows(&self) -> Result<(RecordBatch, Positions)> {
        let (pinned, batch_version) = {
            let layers = self.layers.lock();
            if let Some(merge) = self.last_merge.lock().as_ref().filter(|merge| merge.is_of(&layers)) {
                return Ok((merge.rows.clone(), merge.positions.clone()));
            }
            (layers.pin()?, layers.batch_version())
        };
        // The merge itself runs without the lock: the speed layer goes on meanwhile.
        let rows = pinned.rows()?;
        let positions = pinned.positions;
        *self.last_merge.lock() = Some(Merge { batch_version, positions: positions.clone(), rows: rows.clone() });
        Ok((rows, positions))
    }
}

impl fmt::Debug for MergedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergedView").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Relation for MergedView {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.output_schema())
    }

    fn key_columns(&self) -> &[usize] {
        self.plan.key_columns()
    }

    fn topics(&self) -> &[TopicName] {
        &self.topics
    }

    // As many as the last merge had, where nothing came since: counting is merging.
    fn row_count(&self) -> Option<usize> {
        let layers = self.layers.lock();
        let last_merge = self.last_merge.lock();
        last_merge.as_ref().filter(|merge| merge.is_of(&layers)).map(|merge| merge.rows.num_rows())
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let (rows, positions) = self.rows()?;
        Snapshot::from_batches(self.schema(), vec![rows], positions)
    }

    async fn get(&self, key: &[ScalarValue]) -> Result<(Option<RecordBatch>, Positions)> {
        let key = self.keys.encode(key)?;
        let pinned = self.layers.lock().pin_group(&key)?;
        let row = pinned.rows()?;
        Ok(((row.num_rows() > 0).then_some(row), pinned.positions))
    }

    fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}
