//! `bool_and(x)` and `bool_or(x)`: how often each of the two is there.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};

use super::{
    Input, Kernel, column,
    count::{add_counts, counts_of},
    downcast, for_each,
};
use crate::error::Result;

/// Which of the two decides a group in which it is there.
pub(super) struct Truth {
    decides: bool,
    trues: Vec<i64>,
    falses: Vec<i64>,
}

impl Truth {
    /// True wherever one is: `bool_or`.
    pub(super) fn any() -> Self {
        Self { decides: true, trues: Vec::new(), falses: Vec::new() }
    }

    /// False wherever one is: `bool_and`.
    pub(super) fn all() -> Self {
        Self { decides: false, ..Self::any() }
    }
}

impl Kernel for Truth {
    fn resize(&mut self, group_count: usize) {
        self.trues.resize(group_count, 0);
        self.falses.resize(group_count, 0);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let values: &BooleanArray = downcast(input.values()?)?;
        let (trues, falses) = (&mut self.trues, &mut self.falses);
        for_each(input.groups, input.valid().as_ref(), input.weights, |row, group, weight| {
            let counts = if values.value(row) { &mut *trues } else { &mut *falses };
            counts[group] += weight;
        });
        Ok(())
    }

    fn reset(&mut self, group: usize) {
        self.trues[group] = 0;
        self.falses[group] = 0;
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![counts_of(&self.trues, groups), counts_of(&self.falses, groups)])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        add_counts(&mut self.trues, groups, column(state, 0)?)?;
        add_counts(&mut self.falses, groups, column(state, 1)?)
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let (decisive, other) = if self.decides { (&self.trues, &self.falses) } else { (&self.falses, &self.trues) };
        let value = |group: &u32| match (decisive[*group as usize] > 0, other[*group as usize] > 0) {
            (true, _) => Some(self.decides),
            (false, true) => Some(!self.decides),
            (false, false) => None,
        };
        Ok(Arc::new(groups.iter().map(value).collect::<BooleanArray>()))
    }

    fn memory_bytes(&self) -> usize {
        (self.trues.capacity() + self.falses.capacity()) * size_of::<i64>()
    }
}
