//! What an accumulator has reserved.
//!
//! Measuring an accumulator can take as long as reading all that it holds. So it is measured when it may have grown by a
//! part of what it had, and until then what came in counts, as an estimate that is not too small.

use std::collections::VecDeque;

use datafusion::error::{DataFusionError, Result};
use model::{MemoryBudget, MemoryExhausted, MemoryReservation};
use sql::SqlError;

/// Less than this is not worth measuring.
const MEASURED_BYTES_LEAST: u64 = 64 * 1024;

/// So many results of one accumulator are held together: the rows of a batch, of which a window makes an array.
const RESULTS_HELD_MAX: usize = 8192;

/// Smaller results are not counted.
const RESULT_BYTES_LEAST: u64 = 256;

/// What an accumulator has reserved from the budget.
#[derive(Debug)]
pub(super) struct Account {
    memory: MemoryBudget,
    reservation: MemoryReservation,
    /// What it held when it was measured.
    measured_bytes: u64,
    /// What came in since then, and what went.
    since_bytes: u64,
    gone_bytes: u64,
    /// The last results.
    results: VecDeque<u64>,
    results_bytes: u64,
}

impl Account {
    pub(super) fn new(memory: &MemoryBudget) -> Self {
        Self {
            memory: memory.clone(),
            reservation: memory.reservation("queries"),
            measured_bytes: 0,
            since_bytes: 0,
            gone_bytes: 0,
            results: VecDeque::new(),
            results_bytes: 0,
        }
    }

    pub(super) fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// At most what it holds.
    pub(super) fn held_bytes(&self) -> u64 {
        self.measured_bytes.saturating_add(self.since_bytes)
    }

    /// Reserves what is about to come in. Before it is refused, what is there is measured.
    pub(super) fn expect(&mut self, bytes: u64, measure: impl FnOnce() -> usize) -> Result<()> {
        if self.reservation.grow(bytes).is_err() {
            self.settle(measure())?;
            self.reservation.grow(bytes).map_err(refused)?;
        }
        self.since_bytes = self.since_bytes.saturating_add(bytes);
        Ok(())
    }

    /// Notes that something was taken out.
    pub(super) fn went(&mut self, bytes: u64) {
        self.gone_bytes = self.gone_bytes.saturating_add(bytes);
    }

    /// Whether it should be measured.
    pub(super) fn is_due(&self) -> bool {
        let changed_bytes = self.since_bytes.max(self.gone_bytes);
        changed_bytes >= MEASURED_BYTES_LEAST.max(self.measured_bytes / 2)
    }

    /// Reserves what it holds, now that it is known.
    pub(super) fn settle(&mut self, measured_bytes: usize) -> Result<()> {
        self.measured_bytes = measured_bytes as u64;
        (self.since_bytes, self.gone_bytes) = (0, 0);
        self.fit()
    }

    /// Reserves what making a result takes, until [`settle`](Self::settle) or [`hand_out`](Self::hand_out).
    pub(super) fn make_room(&mut self, bytes: u64) -> Result<()> {
        self.reservation.grow(bytes).map_err(refused)
    }

    /// Counts a result that others hold now, and that becomes a part of an array.
    pub(super) fn hand_out(&mut self, bytes: usize) -> Result<()> {
        let bytes = 2 * bytes as u64;
        if bytes >= RESULT_BYTES_LEAST {
            if self.results.len() == RESULTS_HELD_MAX {
                self.results_bytes -= self.results.pop_front().unwrap_or(0);
            }
            self.results.push_back(bytes);
            self.results_bytes += bytes;
        }
        self.fit()
    }

    fn fit(&mut self) -> Result<()> {
        self.reservation.resize(self.held_bytes().saturating_add(self.results_bytes)).map_err(refused)
    }
}

pub(super) fn refused(exhausted: MemoryExhausted) -> DataFusionError {
    DataFusionError::External(Box::new(SqlError::from(&exhausted)))
}
