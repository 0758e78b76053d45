//! `count(*)` and `count(x)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};

use super::{Input, Kernel, column, downcast, for_each};
use crate::error::Result;

/// How many rows, less those taken back.
#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Kernel for Count {
    fn resize(&mut self, group_count: usize) {
        self.counts.resize(group_count, 0);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let counts = &mut self.counts;
        for_each(input.groups, input.valid().as_ref(), input.weights, |_, group, weight| counts[group] += weight);
        Ok(())
    }

    fn reset(&mut self, group: usize) {
        self.counts[group] = 0;
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        add_counts(&mut self.counts, groups, column(state, 0)?)
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(counts_of(&self.counts, groups))
    }

    fn memory_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}

/// The counts of some groups as a column.
pub(crate) fn counts_of(counts: &[i64], groups: &[u32]) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| counts[*group as usize])))
}

/// Adds a column of counts.
pub(super) fn add_counts(counts: &mut [i64], groups: &[u32], added: &ArrayRef) -> Result<()> {
    let added: &Int64Array = downcast(added)?;
    for_each(groups, added.nulls(), None, |row, group, _| counts[group] += added.value(row));
    Ok(())
}
