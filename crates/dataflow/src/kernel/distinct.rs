//! Aggregates over distinct values: a value counts from when it is there until it is not, however often.
//!
//! What must hold: the aggregate inside has each value that is there once, and nothing else. It is made anew from the
//! values when a state comes in, so that the values are all there is to a state.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, UInt32Array},
    compute::take,
    datatypes::{DataType, Field},
};

use super::{Input, Kernel, for_each, multiset::Multiset, shape};
use crate::error::{Error, Result};

/// An aggregate, and the values that it has.
pub(super) struct Distinct {
    values: Multiset,
    aggregate: Box<dyn Kernel>,
}

/// Values that came to be there, or ceased to be.
#[derive(Default)]
struct Turned {
    groups: Vec<u32>,
    rows: Vec<u32>,
    weights: Vec<i64>,
}

impl Distinct {
    /// `aggregate` takes values of a type, and rows back.
    pub(super) fn new(argument: &DataType, aggregate: Box<dyn Kernel>) -> Result<Self> {
        Ok(Self { values: Multiset::new(argument)?, aggregate })
    }

    /// The fields of its state.
    pub(super) fn fields(field: impl Fn(&str, DataType) -> Field, argument: &DataType) -> Vec<Field> {
        super::multiset::value_fields(field, argument)
    }

    fn turn(&mut self, values: &ArrayRef, turned: Turned) -> Result<()> {
        if turned.groups.is_empty() {
            return Ok(());
        }
        let values = take(values, &UInt32Array::from(turned.rows), None).map_err(Error::arrow("keep values"))?;
        self.aggregate.update(&Input {
            groups: &turned.groups,
            values: Some(values),
            filter: None,
            weights: Some(&turned.weights),
            places: None,
        })
    }
}

impl Turned {
    fn note(&mut self, values: &mut Multiset, group: usize, row: usize, entry: &[u8], weight: i64) {
        let before = values.count(group, entry) > 0;
        values.add(group, entry, weight);
        let sign = i64::from(values.count(group, entry) > 0) - i64::from(before);
        if sign != 0 {
            self.groups.push(group as u32);
            self.rows.push(row as u32);
            self.weights.push(sign);
        }
    }
}

impl Kernel for Distinct {
    fn resize(&mut self, group_count: usize) {
        self.values.resize(group_count);
        self.aggregate.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        // Zeros of either sign are one value, as they are one key.
        let values = self.values.normal(input.values()?)?;
        let (encoded, mut turned) = (self.values.encode(&values)?, Turned::default());
        for_each(input.groups, input.valid().as_ref(), input.weights, |row, group, weight| {
            turned.note(&mut self.values, group, row, encoded.row(row).data(), weight);
        });
        self.turn(&values, turned)
    }

    fn reset(&mut self, group: usize) {
        self.values.clear(group);
        self.aggregate.reset(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.values.state(groups)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        let [values, weights] = state else {
            return Err(shape(format!("{} columns for values and weights", state.len())));
        };
        let (values, mut turned) = (Arc::clone(values), Turned::default());
        let all = self.values.read(&values, weights, groups, |multiset, group, row, entry, weight| {
            turned.note(multiset, group, row, entry, weight);
        })?;
        self.turn(&all, turned)
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.aggregate.evaluate(groups)
    }

    fn memory_bytes(&self) -> usize {
        self.values.memory_bytes() + self.aggregate.memory_bytes()
    }
}

#[cfg(test)]
mod tests;
