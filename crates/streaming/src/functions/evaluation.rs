//! What one statement may spend on its expressions, while it is planned and while it runs.
//!
//! What it is: [`Evaluation`], which travels to the functions in the options of the session. Planners compute what is
//! constant in a statement on the way; here it is decided what is cheap enough for that, and what is left to the threads
//! that compute, where it can be given up.
//!
//! What it is not: a bound for one value. That depends on the value's own arguments alone and holds with or without a
//! statement ([`Bounded`](super::bounded)).
//!
//! What must hold: no planning thread computes for long; the constants of one statement are bounded all together, and
//! reserved from the budget of memory until it ends; large arrays are reserved for as long as anybody holds them; a
//! statement that is given up stops at the next call.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};

use arrow::{
    array::{Array, ArrayData},
    buffer::Buffer,
};
use datafusion::{
    common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions},
    error::{DataFusionError, Result},
};
use model::{MemoryBudget, MemoryExhausted, MemoryReservation};
use sql::{SqlError, sqlstate};

/// What a planner may compute on the way: one value, and the steps of all together.
const PLANNED_VALUE_BYTES_MAX: u64 = 64 * 1024;
const PLANNED_VALUE_WORK_MAX: u64 = 1024 * 1024;
const PLANNED_WORK_MAX: u64 = 32 * 1024 * 1024;

/// The constants of a statement all together, in bytes. Smaller ones than the least are not counted.
const CONSTANT_BYTES_MAX: u64 = 64 * 1024 * 1024;
const CONSTANT_BYTES_LEAST: u64 = 4 * 1024;
/// While rows are computed the same constant may be made for each batch, so only what is large is counted.
const CONSTANT_BYTES_LEAST_RUNNING: u64 = 1024 * 1024;

/// How often a constant is there: while it is computed in the array that a function builds, with room to grow, in the value
/// that is taken out of it, and in the expressions around it; afterwards in two plans.
const CONSTANT_COPIES: u64 = 4;
const CONSTANT_COPIES_RUNNING: u64 = 2;

/// Buffers from this size on are reserved one by one.
const HELD_BYTES_LEAST: usize = 64 * 1024;

/// Where a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On a thread that plans: only what is cheap is computed.
    Planning,
    /// Its constants are computed, once, on a thread that computes.
    Constants,
    /// Its rows are computed.
    Rows,
}

/// What one statement spends. Clones are the same statement.
#[derive(Clone)]
pub struct Evaluation(Arc<Shared>);

struct Shared {
    budget: MemoryBudget,
    stage: AtomicU8,
    planned_work: AtomicU64,
    constant_bytes: AtomicU64,
    deferred: AtomicBool,
    given_up: AtomicBool,
    held: Mutex<Vec<Held>>,
    constants: Mutex<MemoryReservation>,
}

/// A buffer that somebody else holds too, or has held.
struct Held {
    buffer: Buffer,
    _reservation: MemoryReservation,
}

/// What a call is about to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) bytes: u64,
    pub(super) work: u64,
}

impl Evaluation {
    /// What all values may have together that a planner computes on the way.
    pub const PLANNED_BYTES_MAX: u64 = 4 * 1024 * 1024;

    /// A statement that begins to be planned.
    pub fn new(budget: MemoryBudget) -> Self {
        Self(Arc::new(Shared {
            constants: Mutex::new(budget.reservation("queries")),
            budget,
            stage: AtomicU8::new(Stage::Planning as u8),
            planned_work: AtomicU64::new(0),
            constant_bytes: AtomicU64::new(0),
            deferred: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            held: Mutex::default(),
        }))
    }

    /// Puts it into the options of a session's state, where the functions find it.
    pub fn attach(&self, options: &mut ConfigOptions) {
        options.extensions.insert(self.clone());
    }

    /// The statement comes to another stage.
    pub fn enter(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Release);
        if stage == Stage::Rows {
            let mut constants = self.constants();
            let kept = constants.bytes() / CONSTANT_COPIES * CONSTANT_COPIES_RUNNING;
            let given_back = constants.bytes() - kept;
            constants.shrink(given_back);
        }
    }

    /// Whether something constant was too much for the planner and is left to be computed.
    pub fn has_deferred(&self) -> bool {
        self.0.deferred.load(Ordering::Acquire)
    }

    /// Nobody waits for the statement any more: its functions stop at the next call.
    pub fn give_up(&self) {
        self.0.given_up.store(true, Ordering::Release);
    }

    pub(super) fn of(options: &ConfigOptions) -> Option<&Self> {
        options.extensions.get::<Self>()
    }

    /// Refuses to go on for nobody.
    pub(super) fn check(&self) -> Result<()> {
        match self.0.given_up.load(Ordering::Acquire) {
            true => Err(refused(SqlError::new(sqlstate::QUERY_CANCELED, "the statement was given up"))),
            false => Ok(()),
        }
    }

    /// Refuses a constant that is too much where the statement is now.
    pub(super) fn admit_constant(&self, function: &str, cost: Cost) -> Result<()> {
        self.check()?;
        let stage = self.0.stage.load(Ordering::Acquire);
        if stage == Stage::Planning as u8 {
            let is_cheap = cost.bytes <= PLANNED_VALUE_BYTES_MAX
                && cost.work <= PLANNED_VALUE_WORK_MAX
                && spend(&self.0.planned_work, cost.work, PLANNED_WORK_MAX)
                && spend(&self.0.constant_bytes, cost.bytes, Self::PLANNED_BYTES_MAX);
            if is_cheap {
                return Ok(());
            }
            self.0.deferred.store(true, Ordering::Release);
            // A planner leaves what fails to be computed later.
            return Err(DataFusionError::Execution(format!("{function} is not computed while planning")));
        }
        let least = if stage == Stage::Constants as u8 { CONSTANT_BYTES_LEAST } else { CONSTANT_BYTES_LEAST_RUNNING };
        if cost.bytes < least {
            return Ok(());
        }
        if !spend(&self.0.constant_bytes, cost.bytes, CONSTANT_BYTES_MAX) {
            let message = format!("the constants of the statement would have more than {CONSTANT_BYTES_MAX} bytes");
            return Err(refused(
                SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
                    .with_hint("let the statement make fewer or shorter values"),
            ));
        }
        let reserved = self.constants().grow(CONSTANT_COPIES.saturating_mul(cost.bytes));
        reserved.map_err(|exhausted| out_of_memory(&exhausted))
    }

    fn constants(&self) -> MutexGuard<'_, MemoryReservation> {
        self.0.constants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves what an array takes, until nobody holds it any more.
    pub(super) fn hold(&self, array: &dyn Array) -> Result<()> {
        let mut buffers = Vec::new();
        collect(&array.to_data(), &mut buffers);
        if buffers.is_empty() {
            return Ok(());
        }
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|one| one.buffer.strong_count() > 1);
        for buffer in buffers {
            if held.iter().any(|one| one.buffer.data_ptr() == buffer.data_ptr()) {
                continue;
            }
            let reserved = self.0.budget.reserve("queries", buffer.capacity() as u64);
            let reservation = reserved.map_err(|exhausted| out_of_memory(&exhausted))?;
            held.push(Held { buffer, _reservation: reservation });
        }
        Ok(())
    }
}

/// Adds to what was spent, where it stays within the limit.
fn spend(spent: &AtomicU64, amount: u64, most: u64) -> bool {
    let within = |spent: u64| spent.checked_add(amount).filter(|spent| *spent <= most);
    spent.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).is_ok()
}

fn refused(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn out_of_memory(exhausted: &MemoryExhausted) -> DataFusionError {
    refused(SqlError::from(exhausted))
}

fn collect(data: &ArrayData, buffers: &mut Vec<Buffer>) {
    buffers.extend(data.buffers().iter().filter(|buffer| buffer.capacity() >= HELD_BYTES_LEAST).cloned());
    data.child_data().iter().for_each(|child| collect(child, buffers));
}

impl std::fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluation").field("constant_bytes", &self.0.constant_bytes).finish_non_exhaustive()
    }
}

impl ConfigExtension for Evaluation {
    const PREFIX: &'static str = "evaluation";
}

/// It has no options that could be set: it only travels with them.
impl ExtensionOptions for Evaluation {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!("there is no option evaluation.{key}")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
