//! What `sum` and `avg` add up: exact totals, whatever the type.
//!
//! Integers add up in 128 bits and decimals in 256, which no number of rows can fill; floats as [`ExactSum`]s. So all
//! are linear: any order, any split, and a row can be taken back.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, UInt64Array},
    compute::cast,
    datatypes::{DataType, i256},
};

use super::{
    Input, column,
    count::{add_counts, counts_of},
    downcast, for_each, shape,
};
use crate::{
    error::{Error, Result},
    exact_sum::ExactSum,
};

/// The digits of a total of integers as a column.
const INTEGER_DIGITS: u8 = 38;

/// A total of one type of values.
pub(super) trait Total: Default + Send + Sync {
    /// The type of its column in a state.
    const STATE: DataType;

    /// Adds the rows that count to the totals and the counts of their groups.
    fn add_rows(input: &Input<'_>, totals: &mut [Self], counts: &mut [i64]) -> Result<()>;

    /// Totals as a column.
    fn column<'a>(totals: impl Iterator<Item = &'a Self>) -> Result<ArrayRef>
    where
        Self: 'a;

    /// The totals of a column; those that are NULL are nothing.
    fn of_column(column: &ArrayRef) -> Result<Vec<Self>>;

    /// Adds another total.
    fn merge(&mut self, other: &Self);

    /// What it holds besides itself, in bytes.
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Total for i128 {
    const STATE: DataType = DataType::Decimal128(INTEGER_DIGITS, 0);

    fn add_rows(input: &Input<'_>, totals: &mut [Self], counts: &mut [i64]) -> Result<()> {
        let (valid, values) = (input.valid(), input.values()?);
        let mut add = |group: usize, value: i128, weight: i64| {
            totals[group] = totals[group].wrapping_add(value.wrapping_mul(i128::from(weight)));
            counts[group] += weight;
        };
        if *values.data_type() == DataType::UInt64 {
            let values = downcast::<UInt64Array>(values)?.values();
            let add = |row: usize, group, weight| add(group, i128::from(values[row]), weight);
            for_each(input.groups, valid.as_ref(), input.weights, add);
            return Ok(());
        }
        let values = match values.data_type() {
            DataType::Int64 => ArrayRef::clone(values),
            _ => cast(values, &DataType::Int64).map_err(Error::arrow("widen integers"))?,
        };
        let values = downcast::<Int64Array>(&values)?.values();
        for_each(input.groups, valid.as_ref(), input.weights, |row, group, weight| {
            add(group, i128::from(values[row]), weight);
        });
        Ok(())
    }

    fn column<'a>(totals: impl Iterator<Item = &'a Self>) -> Result<ArrayRef> {
        let totals = Decimal128Array::from_iter_values(totals.copied());
        Ok(Arc::new(totals.with_data_type(Self::STATE)))
    }

    fn of_column(column: &ArrayRef) -> Result<Vec<Self>> {
        let totals: &Decimal128Array = downcast(column)?;
        Ok(totals.iter().map(Option::unwrap_or_default).collect())
    }

    fn merge(&mut self, other: &Self) {
        *self = self.wrapping_add(*other);
    }
}

impl Total for i256 {
    const STATE: DataType = DataType::Binary;

    fn add_rows(input: &Input<'_>, totals: &mut [Self], counts: &mut [i64]) -> Result<()> {
        let values = downcast::<Decimal128Array>(input.values()?)?.values();
        for_each(input.groups, input.valid().as_ref(), input.weights, |row, group, weight| {
            let value = Self::from_i128(values[row]);
            let value = if weight == 1 { value } else { value.wrapping_mul(Self::from_i128(i128::from(weight))) };
            totals[group] = totals[group].wrapping_add(value);
            counts[group] += weight;
        });
        Ok(())
    }

    fn column<'a>(totals: impl Iterator<Item = &'a Self>) -> Result<ArrayRef> {
        Ok(Arc::new(BinaryArray::from_iter_values(totals.map(|total| total.to_le_bytes()))))
    }

    fn of_column(column: &ArrayRef) -> Result<Vec<Self>> {
        let totals: &BinaryArray = downcast(column)?;
        let total = |bytes: Option<&[u8]>| match bytes {
            None => Ok(Self::default()),
            Some(bytes) => {
                let bytes = bytes.try_into().map_err(|_| shape(format!("a sum has {} bytes, not 32", bytes.len())))?;
                Ok(Self::from_le_bytes(bytes))
            }
        };
        totals.iter().map(total).collect()
    }

    fn merge(&mut self, other: &Self) {
        *self = self.wrapping_add(*other);
    }
}

impl Total for ExactSum {
    const STATE: DataType = DataType::Binary;

    fn add_rows(input: &Input<'_>, totals: &mut [Self], counts: &mut [i64]) -> Result<()> {
        let values = downcast::<Float64Array>(input.values()?)?.values();
        for_each(input.groups, input.valid().as_ref(), input.weights, |row, group, weight| {
            totals[group].add(values[row], weight);
            counts[group] += weight;
        });
        Ok(())
    }

    fn column<'a>(totals: impl Iterator<Item = &'a Self>) -> Result<ArrayRef> {
        Ok(Arc::new(BinaryArray::from_iter_values(totals.map(Self::to_bytes))))
    }

    fn of_column(column: &ArrayRef) -> Result<Vec<Self>> {
        let totals: &BinaryArray = downcast(column)?;
        totals.iter().map(|bytes| bytes.map_or(Ok(Self::default()), Self::from_bytes).map_err(shape)).collect()
    }

    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }

    fn heap_bytes(&self) -> usize {
        Self::heap_bytes(self)
    }
}

/// Totals with how many values they have: a sum over none is NULL.
pub(super) struct Totals<T> {
    totals: Vec<T>,
    counts: Vec<i64>,
}

impl<T> Default for Totals<T> {
    fn default() -> Self {
        Self { totals: Vec::new(), counts: Vec::new() }
    }
}

impl<T: Total> Totals<T> {
    /// A group's total and how many values it has; `None` over no value.
    pub(super) fn of_group(&self, group: u32) -> Option<(&T, i64)> {
        let count = self.counts[group as usize];
        (count != 0).then(|| (&self.totals[group as usize], count))
    }

    pub(super) fn resize(&mut self, group_count: usize) {
        self.totals.resize_with(group_count, T::default);
        self.counts.resize(group_count, 0);
    }

    pub(super) fn update(&mut self, input: &Input<'_>) -> Result<()> {
        T::add_rows(input, &mut self.totals, &mut self.counts)
    }

    pub(super) fn reset(&mut self, group: usize) {
        self.totals[group] = T::default();
        self.counts[group] = 0;
    }

    pub(super) fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let totals = T::column(groups.iter().map(|group| &self.totals[*group as usize]))?;
        Ok(vec![counts_of(&self.counts, groups), totals])
    }

    pub(super) fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        let added = T::of_column(column(state, 1)?)?;
        add_counts(&mut self.counts, groups, column(state, 0)?)?;
        for (group, added) in groups.iter().zip(&added) {
            self.totals[*group as usize].merge(added);
        }
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let held: usize = self.totals.iter().map(T::heap_bytes).sum();
        held + self.totals.capacity() * size_of::<T>() + self.counts.capacity() * size_of::<i64>()
    }
}
