//! One budget of memory for all who hold much of it: queries, the state of views, answers that are being sent.
//!
//! What it is: [`MemoryBudget`], a number that is shared, and [`MemoryReservation`], a part of it under a name. Who is
//! about to grow asks first, and gives back what it has dropped.
//!
//! What it is not: an allocator. What nobody reserves (code, buffers of connections, the pages of the log) comes on top.
//!
//! What must hold: all reservations together never pass the budget; a reservation that is dropped gives everything
//! back; a refusal says how much was asked for, how much there is, and which setting says so.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::Error;

/// The setting that says how large the budget is.
pub const MEMORY_SETTING: &str = "memory.budget_bytes";

/// A number of bytes that is shared by all who reserve from it. Clones are the same budget.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Shared>);

struct Shared {
    bytes_max: u64,
    reserved_bytes: AtomicU64,
    by_name: Mutex<BTreeMap<&'static str, Arc<AtomicU64>>>,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Shared { bytes_max, reserved_bytes: AtomicU64::new(0), by_name: Mutex::default() }))
    }

    /// A reservation of nothing yet. `name` says what it is for, such as `queries`; many may have the same.
    pub fn reservation(&self, name: &'static str) -> MemoryReservation {
        let mut names = self.0.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let named_bytes = Arc::clone(names.entry(name).or_default());
        MemoryReservation { budget: self.clone(), name, named_bytes, bytes: 0 }
    }

    /// A reservation of so many bytes.
    ///
    /// # Errors
    /// [`MemoryExhausted`] when so many are not there.
    pub fn reserve(&self, name: &'static str, bytes: u64) -> Result<MemoryReservation, MemoryExhausted> {
        let mut reservation = self.reservation(name);
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// How large it is.
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    /// How much of it is reserved.
    pub fn reserved_bytes(&self) -> u64 {
        self.0.reserved_bytes.load(Ordering::Acquire)
    }

    /// How much is reserved under each name.
    pub fn by_name(&self) -> BTreeMap<&'static str, u64> {
        let names = self.0.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(|(name, bytes)| (*name, bytes.load(Ordering::Acquire))).collect()
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget").field("bytes_max", &self.bytes_max()).field("reserved", &self.by_name()).finish()
    }
}

/// A part of a budget. It gives back what it has when it is dropped.
pub struct MemoryReservation {
    budget: MemoryBudget,
    name: &'static str,
    named_bytes: Arc<AtomicU64>,
    bytes: u64,
}

impl MemoryReservation {
    /// How much it has.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// [`MemoryExhausted`] when so many are not there; the reservation is what it was.
    pub fn grow(&mut self, bytes: u64) -> Result<(), MemoryExhausted> {
        let shared = &self.budget.0;
        let grown = |reserved: u64| reserved.checked_add(bytes).filter(|grown| *grown <= shared.bytes_max);
        match shared.reserved_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown) {
            Ok(_) => {
                self.grew(bytes);
                Ok(())
            }
            Err(reserved) => Err(MemoryExhausted {
                name: self.name,
                asked_bytes: bytes,
                free_bytes: shared.bytes_max.saturating_sub(reserved),
                budget_bytes: shared.bytes_max,
            }),
        }
    }

    /// Takes so many bytes more, also where they are not there: for what has been allocated already, and cannot be
    /// refused any more. Until it is given back, others are refused.
    pub fn grow_beyond(&mut self, bytes: u64) {
        self.budget.0.reserved_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.grew(bytes);
    }

    /// Gives so many bytes back; never more than it has.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.named_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.budget.0.reserved_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Takes or gives back what is between what it has and `bytes`.
    ///
    /// # Errors
    /// [`MemoryExhausted`] when it would have to grow and cannot; the reservation is what it was.
    pub fn resize(&mut self, bytes: u64) -> Result<(), MemoryExhausted> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }

    fn grew(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.named_bytes.fetch_add(bytes, Ordering::AcqRel);
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

impl fmt::Debug for MemoryReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReservation").field("name", &self.name).field("bytes", &self.bytes).finish()
    }
}

/// A budget does not have what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryExhausted {
    /// What it was asked for.
    pub name: &'static str,
    /// How much was asked for.
    pub asked_bytes: u64,
    /// How much there was.
    pub free_bytes: u64,
    /// How large the budget is.
    pub budget_bytes: u64,
}

impl MemoryExhausted {
    /// What to do about it.
    pub fn hint(&self) -> String {
        format!("raise the setting `{MEMORY_SETTING}`, ask for less at a time, or drop a view")
    }
}

impl fmt::Display for MemoryExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, asked_bytes, free_bytes, budget_bytes } = self;
        write!(
            f,
            "out of memory: {asked_bytes} bytes more are needed for {name}, and {free_bytes} of the {budget_bytes} bytes \
             of {MEMORY_SETTING} are free"
        )
    }
}

impl std::error::Error for MemoryExhausted {}

impl From<MemoryExhausted> for Error {
    fn from(error: MemoryExhausted) -> Self {
        Self::unavailable(error.to_string()).with_hint(error.hint())
    }
}

#[cfg(test)]
mod tests;
