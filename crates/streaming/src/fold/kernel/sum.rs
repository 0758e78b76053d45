//! `sum(x)`: of integers (modulo 2^64, as DataFusion has it), of decimals (modulo 2^128), and of floats, exact.
//!
//! All three are linear: any order, any split, and a row can be taken back. A sum over no value is NULL, so each keeps
//! how many values there are.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, UInt64Array},
    datatypes::DataType,
};

use super::{
    Input, Kernel, column,
    count::{add_counts, counts_of},
    downcast, for_each, shape,
};
use crate::{
    error::{Error, Result},
    fold::exact_sum::ExactSum,
};

/// A sum of 64-bit integers.
pub(super) struct IntegerSum {
    unsigned: bool,
    sums: Vec<i64>,
    counts: Vec<i64>,
}

impl IntegerSum {
    pub(super) fn new(output: &DataType) -> Self {
        Self { unsigned: *output == DataType::UInt64, sums: Vec::new(), counts: Vec::new() }
    }
}

impl Kernel for IntegerSum {
    fn resize(&mut self, group_count: usize) {
        self.sums.resize(group_count, 0);
        self.counts.resize(group_count, 0);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let (sums, counts, valid) = (&mut self.sums, &mut self.counts, input.valid());
        let mut add = |group: usize, value: i64, weight: i64| {
            sums[group] = sums[group].wrapping_add(value.wrapping_mul(weight));
            counts[group] += weight;
        };
        if self.unsigned {
            // Modulo 2^64 the two are the same.
            let values = downcast::<UInt64Array>(input.values()?)?.values();
            for_each(input.groups, valid.as_ref(), input.weights, |row, group, weight| {
                add(group, values[row].cast_signed(), weight);
            });
        } else {
            let values = downcast::<Int64Array>(input.values()?)?.values();
            for_each(input.groups, valid.as_ref(), input.weights, |row, group, weight| add(group, values[row], weight));
        }
        Ok(())
    }

    fn reset(&mut self, group: usize) {
        self.sums[group] = 0;
        self.counts[group] = 0;
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = Int64Array::from_iter_values(groups.iter().map(|group| self.sums[*group as usize]));
        Ok(vec![counts_of(&self.counts, groups), Arc::new(sums)])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        add_counts(&mut self.counts, groups, column(state, 0)?)?;
        let (sums, added): (_, &Int64Array) = (&mut self.sums, downcast(column(state, 1)?)?);
        for_each(groups, added.nulls(), None, |row, group, _| sums[group] = sums[group].wrapping_add(added.value(row)));
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let sums = groups.iter().map(|g| (self.counts[*g as usize] != 0).then(|| self.sums[*g as usize]));
        Ok(if self.unsigned {
            Arc::new(sums.map(|sum| sum.map(i64::cast_unsigned)).collect::<UInt64Array>())
        } else {
            Arc::new(sums.collect::<Int64Array>())
        })
    }

    fn memory_bytes(&self) -> usize {
        (self.sums.capacity() + self.counts.capacity()) * size_of::<i64>()
    }
}

/// Sums of decimals, with their counts: what `sum` and `avg` share.
#[derive(Default)]
pub(super) struct DecimalTotals {
    pub(super) sums: Vec<i128>,
    pub(super) counts: Vec<i64>,
}

impl DecimalTotals {
    pub(super) fn resize(&mut self, group_count: usize) {
        self.sums.resize(group_count, 0);
        self.counts.resize(group_count, 0);
    }

    pub(super) fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let (sums, counts) = (&mut self.sums, &mut self.counts);
        let values = downcast::<Decimal128Array>(input.values()?)?.values();
        for_each(input.groups, input.valid().as_ref(), input.weights, |row, group, weight| {
            sums[group] = sums[group].wrapping_add(values[row].wrapping_mul(i128::from(weight)));
            counts[group] += weight;
        });
        Ok(())
    }

    pub(super) fn reset(&mut self, group: usize) {
        self.sums[group] = 0;
        self.counts[group] = 0;
    }

    pub(super) fn state(&self, scale: i8, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = Decimal128Array::from_iter_values(groups.iter().map(|group| self.sums[*group as usize]));
        let sums = sums.with_data_type(DataType::Decimal128(38, scale));
        Ok(vec![counts_of(&self.counts, groups), Arc::new(sums)])
    }

    pub(super) fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        add_counts(&mut self.counts, groups, column(state, 0)?)?;
        let (sums, added): (_, &Decimal128Array) = (&mut self.sums, downcast(column(state, 1)?)?);
        for_each(groups, added.nulls(), None, |row, group, _| sums[group] = sums[group].wrapping_add(added.value(row)));
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<i64>()
    }
}

/// A sum of decimals.
pub(super) struct DecimalSum {
    output: DataType,
    totals: DecimalTotals,
}

impl DecimalSum {
    pub(super) fn new(output: &DataType) -> Self {
        Self { output: output.clone(), totals: DecimalTotals::default() }
    }

    fn scale(&self) -> i8 {
        match self.output {
            DataType::Decimal128(_, scale) => scale,
            _ => 0,
        }
    }
}

impl Kernel for DecimalSum {
    fn resize(&mut self, group_count: usize) {
        self.totals.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.totals.update(input)
    }

    fn reset(&mut self, group: usize) {
        self.totals.reset(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.totals.state(self.scale(), groups)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.totals.merge(groups, state)
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let totals = &self.totals;
        let sums = groups.iter().map(|g| (totals.counts[*g as usize] != 0).then(|| totals.sums[*g as usize]));
        Ok(Arc::new(sums.collect::<Decimal128Array>().with_data_type(self.output.clone())))
    }

    fn memory_bytes(&self) -> usize {
        self.totals.memory_bytes()
    }
}

/// Exact sums of floats, with their counts: what `sum` and `avg` share.
#[derive(Default)]
pub(super) struct FloatTotals {
    pub(super) sums: Vec<ExactSum>,
    pub(super) counts: Vec<i64>,
}

impl FloatTotals {
    pub(super) fn resize(&mut self, group_count: usize) {
        self.sums.resize_with(group_count, ExactSum::default);
        self.counts.resize(group_count, 0);
    }

    pub(super) fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let (sums, counts) = (&mut self.sums, &mut self.counts);
        let values = downcast::<Float64Array>(input.values()?)?.values();
        for_each(input.groups, input.valid().as_ref(), input.weights, |row, group, weight| {
            sums[group].add(values[row], weight);
            counts[group] += weight;
        });
        Ok(())
    }

    pub(super) fn reset(&mut self, group: usize) {
        self.sums[group] = ExactSum::default();
        self.counts[group] = 0;
    }

    pub(super) fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let sums = BinaryArray::from_iter_values(groups.iter().map(|group| self.sums[*group as usize].to_bytes()));
        vec![counts_of(&self.counts, groups), Arc::new(sums)]
    }

    pub(super) fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        let added: &BinaryArray = downcast(column(state, 1)?)?;
        let added = added.iter().map(|bytes| ExactSum::from_bytes(bytes.unwrap_or_default()).map_err(shape));
        let added = added.collect::<Result<Vec<_>, Error>>()?;
        add_counts(&mut self.counts, groups, column(state, 0)?)?;
        for (group, added) in groups.iter().zip(&added) {
            self.sums[*group as usize].merge(added);
        }
        Ok(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.sums.iter().map(|sum| size_of::<ExactSum>() + sum.heap_bytes()).sum::<usize>()
            + self.counts.capacity() * size_of::<i64>()
    }
}

/// An exact sum of floats.
#[derive(Default)]
pub(super) struct FloatSum {
    totals: FloatTotals,
}

impl Kernel for FloatSum {
    fn resize(&mut self, group_count: usize) {
        self.totals.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.totals.update(input)
    }

    fn reset(&mut self, group: usize) {
        self.totals.reset(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.totals.state(groups))
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.totals.merge(groups, state)
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let totals = &self.totals;
        let sums = groups.iter().map(|g| (totals.counts[*g as usize] != 0).then(|| totals.sums[*g as usize].value()));
        Ok(Arc::new(sums.collect::<Float64Array>()))
    }

    fn memory_bytes(&self) -> usize {
        self.totals.memory_bytes()
    }
}
