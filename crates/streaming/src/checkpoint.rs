//! Checkpoints of a view.

use std::sync::Arc;

use arrow::array::RecordBatch;
use model::Positions;
use object_store::ObjectStore;

use crate::{
    error::{Error, Result},
    plan::ViewPlan,
};

/// A checkpoint that was loaded.
#[derive(Clone, Debug)]
pub struct RestoredCheckpoint {
    /// Where the view stood.
    pub positions: Positions,
    /// The states, to be given to [`Fold::restore_state`](crate::Fold::restore_state) in this order.
    pub states: Vec<RecordBatch>,
}

/// The checkpoints of one view.
pub struct CheckpointStore {
    store: Arc<dyn ObjectStore>,
    prefix: String,
}

impl CheckpointStore {
    /// The checkpoints under `prefix`, a path such as `views/carrier_hours`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: prefix.to_owned() }
    }

    /// Publishes a checkpoint: the groups touched since the last one, and where the view stands.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store fails; the checkpoint before is still the one then.
    pub async fn publish(&mut self, plan: &ViewPlan, positions: &Positions, dirty: &RecordBatch) -> Result<()> {
        let _ = (plan, positions, dirty, &self.store, &self.prefix);
        Err(Error::TaskLost("checkpoint".into()))
    }

    /// Loads the last checkpoint; `None` when there is none, or when it is one of another plan (the view has to be
    /// rebuilt then).
    ///
    /// # Errors
    /// [`Error::CheckpointCorrupt`] when a part is missing or damaged.
    pub async fn load(&mut self, plan: &ViewPlan) -> Result<Option<RestoredCheckpoint>> {
        let _ = plan;
        Ok(None)
    }
}
