//! A dataflow in memory, what of it is written down, and its death: what a restart has to bring back.

use std::{collections::HashSet, sync::Arc};

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use streaming::{DataflowPlan, DataflowState, ViewState};

use super::rows::Kept;

/// The views of a plan, as someone has them who takes their changes.
pub(crate) struct Life {
    plan: Arc<DataflowPlan>,
    state: DataflowState,
    kept: Vec<Kept>,
    /// What was written down, in order.
    written: Vec<(String, RecordBatch)>,
    /// What came since, and of which source.
    since: Vec<(usize, RecordBatch)>,
}

impl Life {
    pub(crate) fn new(plan: &Arc<DataflowPlan>) -> Self {
        let mut life = Self {
            plan: Arc::clone(plan),
            state: DataflowState::new(plan).unwrap(),
            kept: plan.views().iter().map(|_| Kept::default()).collect(),
            written: Vec::new(),
            since: Vec::new(),
        };
        // Views over nothing have their rows too.
        life.take_all();
        life
    }

    /// The rows of a view, by its number.
    pub(crate) fn rows(&self, view: usize) -> RecordBatch {
        self.kept[view].batch(self.plan.views()[view].output_schema())
    }

    pub(crate) fn apply(&mut self, source: usize, rows: &RecordBatch) {
        let (changes, failed) = self.state.apply(source, rows).unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        self.kept.iter_mut().zip(&changes).for_each(|(kept, change)| kept.take(change));
        self.since.push((source, rows.clone()));
    }

    pub(crate) fn checkpoint(&mut self) {
        let parts = self.state.dirty_parts().unwrap();
        self.written.extend(parts.into_iter().map(|part| (part.name, part.rows)));
        self.state.forget_dirty();
        self.since.clear();
    }

    /// Everything that was not written down is gone, and comes again.
    pub(crate) fn die(&mut self) {
        self.state = DataflowState::new(&self.plan).unwrap();
        self.kept = self.kept.iter().map(|_| Kept::default()).collect();
        if !self.written.is_empty() {
            self.state.restore(&self.written).unwrap();
        }
        self.take_all();
        for (source, rows) in std::mem::take(&mut self.since) {
            self.apply(source, &rows);
        }
    }

    fn take_all(&mut self) {
        let changes = self.state.drain_changes().unwrap();
        self.kept.iter_mut().zip(&changes).for_each(|(kept, change)| kept.take(change));
    }
}

/// What a table shows after these records, which are in order: the last one of each key, if it does not delete.
pub(crate) fn last_rows(records: &RecordBatch, key: &[usize], columns: usize) -> RecordBatch {
    let keys: Vec<_> = key.iter().map(|column| Arc::clone(records.column(*column))).collect();
    let fields = keys.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let keys = RowConverter::new(fields).unwrap().convert_columns(&keys).unwrap();
    let deletes = records.column_by_name("_deleted").unwrap().as_boolean();
    let mut seen = HashSet::new();
    let is_last = |row: &usize| seen.insert(keys.row(*row).owned()) && !deletes.value(*row);
    let last: Vec<usize> = (0..records.num_rows()).rev().filter(is_last).collect();
    let last = UInt64Array::from_iter_values(last.into_iter().map(|row| row as u64));
    take_record_batch(&records.project(&(0..columns).collect::<Vec<_>>()).unwrap(), &last).unwrap()
}
