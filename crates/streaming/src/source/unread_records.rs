//! Records that a query over a source could not read, counted while it reads.
//!
//! What must hold: the count is that of one read of the range, however often the query reads it; it is complete once the
//! query's rows have been read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::SchemaRef;

use super::{
    RejectedRecord,
    reason::{Reason, ReasonClass},
    unmatched::Unmatched,
};

/// What the reads of one table have left out.
#[derive(Clone, Debug)]
pub struct UnreadRecords {
    columns: SchemaRef,
    scans: Vec<Arc<Scan>>,
}

/// One read of a table, by several partitions at once.
#[derive(Debug, Default)]
pub(super) struct Scan(Mutex<Counted>);

#[derive(Clone, Debug, Default)]
struct Counted {
    by_class: BTreeMap<ReasonClass, u64>,
    sample: Option<Reason>,
    unmatched: Unmatched,
}

impl Counted {
    fn records(&self) -> u64 {
        self.by_class.values().sum()
    }
}

impl Scan {
    /// Counts what one piece of a range has left out.
    pub(super) fn add(&self, rejected: &[RejectedRecord], unmatched: Unmatched) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for rejected in rejected {
            *counted.by_class.entry(rejected.reason.class).or_default() += 1;
        }
        if counted.sample.is_none() {
            counted.sample = rejected.first().map(|rejected| rejected.reason.clone());
        }
        counted.unmatched.then(unmatched);
    }
}

impl UnreadRecords {
    pub(super) fn new(columns: SchemaRef, scans: Vec<Arc<Scan>>) -> Self {
        Self { columns, scans }
    }

    /// How many records were left out.
    pub fn records(&self) -> u64 {
        self.counted().records()
    }

    /// What a user should know of them, one sentence each; `source` is the source's name.
    pub fn notices(&self, source: &str) -> Vec<String> {
        let counted = self.counted();
        let left_out = counted.sample.as_ref().map(|sample| {
            let records = counted.records();
            let verb = if records == 1 { "record of source {} is" } else { "records of source {} are" };
            let verb = verb.replace("{}", source);
            let classes = counted.by_class.iter().map(|(class, count)| format!("{class} {count}"));
            let classes = classes.collect::<Vec<_>>().join(", ");
            format!("{records} {verb} left out: they do not fit it ({classes}), for example because: {sample}")
        });
        let unmatched =
            counted.unmatched.sentence(&self.columns).map(|sentence| format!("source {source}: {sentence}"));
        left_out.into_iter().chain(unmatched).collect()
    }

    /// Of several reads of the same range the one that came farthest: a `LIMIT` ends a read early.
    fn counted(&self) -> Counted {
        let scans = self.scans.iter().map(|scan| scan.0.lock().unwrap_or_else(PoisonError::into_inner).clone());
        scans.max_by_key(Counted::records).unwrap_or_default()
    }
}
