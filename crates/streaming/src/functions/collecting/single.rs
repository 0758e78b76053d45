//! The accumulator of one group, or of one window, within bounds.

use arrow::array::ArrayRef;
use datafusion::{error::Result, logical_expr::Accumulator, scalar::ScalarValue};

use super::{account::Account, claim::compact, weight::Weight};

/// An accumulator of one group that reserves what it holds and what it hands out.
#[derive(Debug)]
pub(super) struct Single {
    inner: Box<dyn Accumulator>,
    weight: Weight,
    account: Account,
    /// The size of the value, where each row adds to it.
    value_bytes: u64,
}

impl Single {
    pub(super) fn new(inner: Box<dyn Accumulator>, weight: Weight, account: Account) -> Self {
        Self { inner, weight, account, value_bytes: 0 }
    }

    /// Takes in what is about to come: the value becomes no larger than it may be, and what may be kept is reserved.
    fn admit(&mut self, added: &[u64], columns: &[ArrayRef]) -> Result<()> {
        self.value_bytes = added.iter().fold(self.value_bytes, |sum, bytes| sum.saturating_add(*bytes));
        self.weight.check(self.value_bytes)?;
        self.account.expect(self.weight.kept_bytes(columns), || self.inner.size())
    }

    fn settle_if_due(&mut self) -> Result<()> {
        if self.account.is_due() { self.account.settle(self.inner.size()) } else { Ok(()) }
    }

    fn made_room(&mut self, is_everything: bool) -> Result<()> {
        if is_everything { self.account.make_room(self.weight.copies() * self.account.held_bytes()) } else { Ok(()) }
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.admit(&self.weight.added_by_rows(columns), columns)?;
        if self.weight.keeps_arrays() {
            let columns: Vec<_> = columns.iter().map(compact).collect::<Result<_>>()?;
            self.inner.update_batch(&columns)?;
        } else {
            self.inner.update_batch(columns)?;
        }
        self.settle_if_due()
    }

    fn merge_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.admit(&self.weight.added_by_states(columns), columns)?;
        if self.weight.keeps_arrays() {
            let columns: Vec<_> = columns.iter().map(compact).collect::<Result<_>>()?;
            self.inner.merge_batch(&columns)?;
        } else {
            self.inner.merge_batch(columns)?;
        }
        self.settle_if_due()
    }

    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(columns)?;
        let gone = self.weight.added_by_rows(columns);
        self.value_bytes = gone.iter().fold(self.value_bytes, |rest, bytes| rest.saturating_sub(*bytes));
        self.account.went(self.weight.kept_bytes(columns));
        self.settle_if_due()
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let is_everything = self.weight.is_everything();
        self.made_room(is_everything)?;
        let value = self.inner.evaluate()?;
        self.weight.check_value(&value)?;
        self.account.hand_out(value.size())?;
        Ok(value)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.made_room(true)?;
        let values = self.inner.state()?;
        self.account.settle(self.inner.size())?;
        self.account.hand_out(values.iter().map(ScalarValue::size).sum())?;
        Ok(values)
    }

    /// Only itself: what it holds is reserved, and is not to be reserved again by whoever drives it.
    fn size(&self) -> usize {
        size_of_val(self)
    }
}
