//! The memory of DataFusion's operators, reserved from the budget that all share.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::{
    error::DataFusionError,
    execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation},
};
use model::MemoryBudget;

/// What sorts, joins and aggregates of all queries hold.
#[derive(Debug)]
pub(super) struct BudgetPool {
    budget: MemoryBudget,
    reserved: Mutex<model::MemoryReservation>,
}

impl BudgetPool {
    pub(super) fn new(budget: &MemoryBudget) -> Arc<Self> {
        Arc::new(Self { reserved: Mutex::new(budget.reservation("queries")), budget: budget.clone() })
    }

    fn reservation(&self) -> std::sync::MutexGuard<'_, model::MemoryReservation> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for BudgetPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "budget({})", self.budget.bytes_max())
    }
}

impl MemoryPool for BudgetPool {
    fn name(&self) -> &str {
        "budget"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.reservation().grow_beyond(additional as u64);
    }

    fn shrink(&self, _: &MemoryReservation, shrink: usize) {
        self.reservation().shrink(shrink as u64);
    }

    fn try_grow(&self, _: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        // An operator that can do with less, such as a sort, asks for this very kind of error.
        let grown = self.reservation().grow(additional as u64);
        grown.map_err(|exhausted| DataFusionError::ResourcesExhausted(exhausted.to_string()))
    }

    fn reserved(&self) -> usize {
        usize::try_from(self.reservation().bytes()).unwrap_or(usize::MAX)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(usize::try_from(self.budget.bytes_max()).unwrap_or(usize::MAX))
    }
}
