//! One budget of memory for all who hold much of it: queries, the state of views, answers that are being sent.
//!
//! What it is: [`MemoryBudget`], a number that is shared, and [`MemoryReservation`], what somebody has of it under a name.
//! Who is about to grow asks first, and gives back what it has dropped. Those who would keep it for ever ask a *part* of the
//! budget, so that something is left for the others.
//!
//! What it is not: an allocator. What nobody reserves (code, buffers of connections, the pages of the log) comes on top.
//!
//! What must hold: all reservations together never pass the budget, and those of a part never pass the part; a reservation
//! that is dropped gives everything back; a refusal says how much was asked for, how much there is, and which setting says
//! so.

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
    /// What it is a part of.
    whole: Option<MemoryBudget>,
}

impl Shared {
    /// Counts so many bytes more, here and in the whole, or nowhere.
    fn take(&self, bytes: u64) -> Result<(), Full> {
        let grown = |reserved: u64| reserved.checked_add(bytes).filter(|grown| *grown <= self.bytes_max);
        let taken = self.reserved_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown);
        taken.map_err(|reserved| Full {
            free_bytes: self.bytes_max.saturating_sub(reserved),
            bytes_max: self.bytes_max,
            is_part: self.whole.is_some(),
        })?;
        let of_whole = self.whole.as_ref().map_or(Ok(()), |whole| whole.0.take(bytes));
        of_whole.inspect_err(|_| {
            self.reserved_bytes.fetch_sub(bytes, Ordering::AcqRel);
        })
    }

    fn take_beyond(&self, bytes: u64) {
        self.reserved_bytes.fetch_add(bytes, Ordering::AcqRel);
        if let Some(whole) = &self.whole {
            whole.0.take_beyond(bytes);
        }
    }

    fn give_back(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if let Some(whole) = &self.whole {
            whole.0.give_back(bytes);
        }
    }
}

/// There is not as much.
struct Full {
    free_bytes: u64,
    bytes_max: u64,
    is_part: bool,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self::of(bytes_max, None)
    }

    /// A part of it: what is reserved there is reserved here too, and is never more than `bytes_max`.
    #[must_use]
    pub fn part(&self, bytes_max: u64) -> Self {
        Self::of(bytes_max, Some(self.clone()))
    }

    fn of(bytes_max: u64, whole: Option<Self>) -> Self {
        Self(Arc::new(Shared { bytes_max, reserved_bytes: AtomicU64::new(0), by_name: Mutex::default(), whole }))
    }

    /// A reservation of nothing yet. `name` says what it is for, such as `queries`; many may have the same.
    pub fn reservation(&self, name: &'static str) -> MemoryReservation {
        // The whole tells of all.
        let mut whole = self;
        while let Some(wider) = &whole.0.whole {
            whole = wider;
        }
        let mut names = whole.0.by_name.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// How much is reserved under each name; of a part, its whole tells.
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
        let taken = self.budget.0.take(bytes);
        taken.map_err(|Full { free_bytes, bytes_max, is_part }| MemoryExhausted {
            name: self.name,
            asked_bytes: bytes,
            free_bytes,
            budget_bytes: bytes_max,
            is_part,
        })?;
        self.grew(bytes);
        Ok(())
    }

    /// Takes so many bytes more, also where they are not there: for what has been allocated already, and cannot be
    /// refused any more. Until it is given back, others are refused.
    pub fn grow_beyond(&mut self, bytes: u64) {
        self.budget.0.take_beyond(bytes);
        self.grew(bytes);
    }

    /// Gives so many bytes back; never more than it has.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.named_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.budget.0.give_back(bytes);
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
    /// How large the budget is, or the part of it that there was not enough of.
    pub budget_bytes: u64,
    /// Whether it is the part that is used up, which no one else can give back, and not the whole.
    pub is_part: bool,
}

impl MemoryExhausted {
    /// What to do about it.
    pub fn hint(&self) -> String {
        format!("raise the setting `{MEMORY_SETTING}`, ask for less at a time, or drop a view")
    }
}

impl fmt::Display for MemoryExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, asked_bytes, free_bytes, budget_bytes, is_part } = self;
        let part = if *is_part { format!(" that {name} may take") } else { String::new() };
        write!(
            f,
            "out of memory: {asked_bytes} bytes more are needed for {name}, and {free_bytes} of the {budget_bytes} bytes\
             {part} of {MEMORY_SETTING} are free"
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
