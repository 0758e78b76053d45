//! [`StateMemory`]: the memory of one view, reserved before it grows.
//!
//! What it is: a reservation, and the two ways in which it can be refused. When the views together have all that they may,
//! the view fails: nobody will give anything back. When queries have what is left, the view waits for them: what it has not
//! read stays in the log.
//!
//! What must hold: what is reserved is what the fold keeps and what is kept of its rows for those who read them.

use std::{sync::Arc, time::Duration};

use model::{MemoryBudget, MemoryReservation};

use crate::error::{Error, Result};

/// The name under which all views reserve.
const NAME: &str = "views";

/// How long to wait before asking again, where others have to give back first.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// What one view has of the memory of all views.
#[derive(Debug)]
pub struct StateMemory {
    view: String,
    reservation: MemoryReservation,
    served: Served,
}

/// How much is kept of a view's rows for those who read them.
#[derive(Clone)]
struct Served(Arc<dyn Fn() -> usize + Send + Sync>);

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", (self.0)())
    }
}

impl StateMemory {
    /// The memory of `view`, from that of all views; nothing yet.
    pub fn new(view: &str, budget: &MemoryBudget) -> Self {
        Self { view: view.to_owned(), reservation: budget.reservation(NAME), served: Served(Arc::new(|| 0)) }
    }

    /// Adds to the fold's state what `bytes` says is kept of its rows elsewhere.
    #[must_use]
    pub fn with_served(self, bytes: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Self { served: Served(Arc::new(bytes)), ..self }
    }

    /// Takes so many bytes more, if they are there.
    pub(crate) fn try_grow(&mut self, bytes: u64) -> bool {
        self.reservation.grow(bytes).is_ok()
    }

    /// Gives back what a state of `bytes` does not take.
    pub(crate) fn have_no_more_than(&mut self, state_bytes: u64) {
        let bytes = state_bytes.saturating_add((self.served.0)() as u64);
        self.reservation.shrink(self.reservation.bytes().saturating_sub(bytes));
    }

    /// The state is gone; what is served of it is not.
    pub(crate) fn keep_served(&mut self) {
        self.have_no_more_than(0);
    }

    /// Has what a state of `bytes` takes, with what is served of it; waits while it is only queries that have it.
    ///
    /// # Errors
    /// [`Error::StateTooLarge`] when the views have all that they may.
    pub async fn have(&mut self, state_bytes: u64) -> Result<()> {
        let bytes = state_bytes.saturating_add((self.served.0)() as u64);
        let mut waited = false;
        let mut attempts = tokio::time::interval(ASK_AGAIN);
        while let Err(exhausted) = self.reservation.resize(bytes) {
            if exhausted.is_part || bytes > exhausted.budget_bytes {
                let budget_bytes = exhausted.budget_bytes;
                return Err(Error::StateTooLarge { view: self.view.clone(), bytes, budget_bytes });
            }
            if !std::mem::replace(&mut waited, true) {
                tracing::warn!(view = self.view, %exhausted, "a view waits for memory that queries have");
            }
            attempts.tick().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops where it fails")]
    use super::*;

    #[tokio::test]
    async fn a_view_waits_for_queries_and_fails_for_views() {
        let budget = MemoryBudget::new(100);
        let views = budget.part(75);
        let mut memory = StateMemory::new("v", &views).with_served(|| 10);
        memory.have(20).await.unwrap();
        assert_eq!(views.reserved_bytes(), 30);
        let queries = budget.reserve("queries", 60).unwrap();
        let waits = tokio::time::timeout(ASK_AGAIN * 5, memory.have(50)).await;
        assert!(waits.is_err(), "queries may give back what they have");
        drop(queries);
        memory.have(50).await.unwrap();
        let refused = memory.have(66).await.unwrap_err();
        assert!(matches!(refused, Error::StateTooLarge { bytes: 76, budget_bytes: 75, .. }), "{refused}");
        memory.have_no_more_than(1);
        assert_eq!(views.reserved_bytes(), 11);
        memory.keep_served();
        assert_eq!(views.reserved_bytes(), 10);
    }
}
