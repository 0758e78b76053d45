//! [`Building`]: what a relation still has to fold before it may answer, and [`BuildProgress`]: how far it is with that.
//!
//! What it is not: lag. A relation that has folded everything that was in the log when it began is whole; what arrives
//! later is lag, and makes no answer a part of the truth.
//!
//! What must hold: a share is never more than what was folded, and an estimate is given only once something was.

use std::{fmt, time::Duration};

use model::Positions;
use tokio::time::Instant;

/// What a relation began with: it answers once it reflects everything before `target`.
#[derive(Clone, Debug)]
pub struct Building {
    from: Positions,
    target: Positions,
    note: Option<String>,
    started: Instant,
}

/// How far a relation is with what it has to fold before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildProgress {
    /// Records that it has folded since it began.
    pub folded_records: i64,
    /// Records that it has to fold, those among them.
    pub records: i64,
    /// How long it has been at it.
    pub elapsed: Duration,
    /// Why it is built, where that is not plain.
    pub note: Option<String>,
}

impl Building {
    /// Begins now at `from` (what a checkpoint or batch has, or where the log begins), and ends at `target`.
    pub fn new(from: Positions, target: Positions) -> Self {
        Self { from, target, note: None, started: Instant::now() }
    }

    /// Adds why it is built.
    #[must_use]
    pub fn with_note(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }

    /// Whether a relation that reflects everything before `reached` is whole.
    pub fn ends_at(&self, reached: &Positions) -> bool {
        reached.covers(&self.target)
    }

    /// How far it is.
    pub fn progress(&self, reached: &Positions) -> BuildProgress {
        let (mut folded_records, mut records) = (0, 0);
        for (partition, end) in self.target.iter() {
            let from = self.from.next_offset(partition).min(end);
            records += end - from;
            folded_records += reached.next_offset(partition).clamp(from, end) - from;
        }
        BuildProgress { folded_records, records, elapsed: self.started.elapsed(), note: self.note.clone() }
    }
}

impl BuildProgress {
    /// The share that is folded, from 0 to 1.
    #[allow(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    pub fn share(&self) -> f64 {
        if self.records == 0 { 0.0 } else { self.folded_records as f64 / self.records as f64 }
    }

    /// Records folded a second; `None` before the first.
    pub fn records_per_second(&self) -> Option<u64> {
        let folded = u128::try_from(self.folded_records).ok().filter(|folded| *folded > 0)?;
        u64::try_from(folded * 1_000_000 / self.elapsed.as_micros().max(1)).ok()
    }

    /// How long it will still take at that rate.
    pub fn remaining(&self) -> Option<Duration> {
        let left = u64::try_from(self.records - self.folded_records).ok()?;
        Some(Duration::from_secs(left.div_ceil(self.records_per_second()?.max(1))))
    }
}

impl fmt::Display for BuildProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folded_records, records, .. } = self;
        // Whole percents, rounded down: 100% is whole.
        let percent = if *records == 0 { 0 } else { i128::from(*folded_records) * 100 / i128::from(*records) };
        write!(f, "{percent}% ({folded_records} of {records} records")?;
        if let (Some(rate), Some(remaining)) = (self.records_per_second(), self.remaining()) {
            write!(f, ", {rate} records/s, {} s left", remaining.as_secs())?;
        }
        f.write_str(")")?;
        match &self.note {
            Some(note) => write!(f, "; {note}"),
            None => Ok(()),
        }
    }
}
