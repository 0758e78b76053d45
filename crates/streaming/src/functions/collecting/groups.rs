//! The accumulator of many groups, within bounds.

use std::borrow::Cow;

use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    compute::filter,
};
use datafusion::{
    error::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::{
    account::Account,
    claim::{claimed, compact},
    weight::Weight,
};

/// An accumulator of many groups that reserves what it holds and what it hands out.
pub(super) struct Groups {
    inner: Box<dyn GroupsAccumulator>,
    weight: Weight,
    account: Account,
    /// The size of each group's value, where each row adds to it.
    values_bytes: Vec<u64>,
}

impl Groups {
    pub(super) fn new(inner: Box<dyn GroupsAccumulator>, weight: Weight, account: Account) -> Self {
        Self { inner, weight, account, values_bytes: Vec::new() }
    }

    /// Takes in what is about to come: the values of the groups become no larger than they may be, and what may be kept
    /// is reserved.
    fn admit(&mut self, added: &[u64], columns: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<()> {
        if self.weight.adds_up() {
            self.values_bytes.resize(group_count.max(self.values_bytes.len()), 0);
        }
        for (bytes, group) in added.iter().zip(groups) {
            let value_bytes = &mut self.values_bytes[*group];
            *value_bytes = value_bytes.saturating_add(*bytes);
            self.weight.check(*value_bytes)?;
        }
        let own_bytes = size_of::<u64>() * groups.len();
        let kept_bytes = self.weight.kept_bytes(columns) + own_bytes as u64;
        self.account.expect(kept_bytes, || measure(&*self.inner, &self.weight, &self.values_bytes))
    }

    fn settle_if_due(&mut self) -> Result<()> {
        if self.account.is_due() { self.settle() } else { Ok(()) }
    }

    fn settle(&mut self) -> Result<()> {
        self.account.settle(measure(&*self.inner, &self.weight, &self.values_bytes))
    }

    /// Before the groups are handed out: there is room for them beside what is held.
    fn begin_emitting(&mut self, is_everything: bool) -> Result<()> {
        self.settle()?;
        if is_everything { self.account.make_room(self.weight.copies() * self.account.held_bytes()) } else { Ok(()) }
    }

    /// After they were handed out.
    fn end_emitting(&mut self, emit_to: EmitTo) -> Result<()> {
        match emit_to {
            EmitTo::All => self.values_bytes = Vec::new(),
            EmitTo::First(count) => drop(self.values_bytes.drain(..count.min(self.values_bytes.len()))),
        }
        self.settle()
    }
}

fn measure(inner: &dyn GroupsAccumulator, weight: &Weight, values_bytes: &Vec<u64>) -> usize {
    // Texts that grow have up to as much room again, which they do not tell.
    let times = if weight.makes_texts() { 2 } else { 1 };
    times * inner.size() + values_bytes.capacity() * size_of::<u64>()
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        chosen: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        let (mut columns, mut groups) = (Cow::Borrowed(columns), Cow::Borrowed(groups));
        if let Some(chosen) = chosen {
            // What is not chosen is not kept.
            let is_chosen = |row: &usize| chosen.is_valid(*row) && chosen.value(*row);
            groups = (0..groups.len()).filter(is_chosen).map(|row| groups[row]).collect();
            columns = columns.iter().map(|column| filter(column, chosen)).collect::<Result<_, _>>()?;
        }
        self.admit(&self.weight.added_by_rows(&columns), &columns, &groups, group_count)?;
        if self.weight.keeps_arrays() {
            columns = columns.iter().map(compact).collect::<Result<_>>()?;
        }
        self.inner.update_batch(&columns, &groups, None, group_count)?;
        self.settle_if_due()
    }

    fn merge_batch(&mut self, columns: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<()> {
        self.admit(&self.weight.added_by_states(columns), columns, groups, group_count)?;
        if self.weight.keeps_arrays() {
            let columns: Vec<_> = columns.iter().map(compact).collect::<Result<_>>()?;
            self.inner.merge_batch(&columns, groups, group_count)?;
        } else {
            self.inner.merge_batch(columns, groups, group_count)?;
        }
        self.settle_if_due()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.begin_emitting(self.weight.is_everything())?;
        let values = self.inner.evaluate(emit_to)?;
        self.weight.check_values(values.as_ref())?;
        self.end_emitting(emit_to)?;
        claimed(values, self.account.memory(), 1)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.begin_emitting(true)?;
        let columns = self.inner.state(emit_to)?;
        self.end_emitting(emit_to)?;
        columns.into_iter().map(|column| claimed(column, self.account.memory(), 1)).collect()
    }

    fn convert_to_state(&self, columns: &[ArrayRef], chosen: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(columns, chosen)
    }

    /// Only itself: what it holds is reserved, and is not to be reserved again by whoever drives it.
    fn size(&self) -> usize {
        size_of_val(self)
    }
}
