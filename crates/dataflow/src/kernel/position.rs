//! `first_value(x)` and `last_value(x)`: by place in the log, which is (arrival time, partition, offset).
//!
//! Arrival times do not decrease along a partition, so along a partition this is the order of offsets; between
//! partitions it is the order in which the log received the records. It does not depend on how rows are batched.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, Int32Array, Int64Array, UInt32Array},
    compute::take,
    datatypes::DataType,
};

use super::{Input, Kernel, column, downcast, for_each, shape};
use crate::{
    error::{Error, Result},
    normal::plain_text,
    value_rows::{ValueRows, new_converter},
};

/// The places of a batch's rows.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// When the log received each, in microseconds.
    pub arrivals_us: &'a [i64],
    /// The partition of each.
    pub partitions: &'a [i32],
    /// The offset of each.
    pub offsets: &'a [i64],
}

/// Which end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Last,
}

type Place = (i64, i32, i64);

/// The value at the first or last place.
pub(super) struct ByPlace {
    which: Which,
    ignore_nulls: bool,
    places: Vec<Option<Place>>,
    values: ValueRows,
}

impl ByPlace {
    pub(super) fn new(output: &DataType, which: Which, ignore_nulls: bool) -> Result<Self> {
        Ok(Self { which, ignore_nulls, places: Vec::new(), values: ValueRows::new(&plain_text(output))? })
    }

    fn take(
        &mut self,
        groups: &[u32],
        valid: Option<&arrow::buffer::NullBuffer>,
        values: &ArrayRef,
        place: impl Fn(usize) -> Place,
    ) -> Result<()> {
        // First the winners, so that only their values are encoded.
        let (kept, which) = (&mut self.places, self.which);
        let mut winners: HashMap<usize, u32> = HashMap::new();
        for_each(groups, valid, None, |row, group, _| {
            let place = place(row);
            let better = match (kept[group], which) {
                (None, _) => true,
                (Some(old), Which::First) => place < old,
                (Some(old), Which::Last) => place > old,
            };
            if better {
                kept[group] = Some(place);
                winners.insert(group, row as u32);
            }
        });
        let (groups, rows): (Vec<usize>, Vec<u32>) = winners.into_iter().unzip();
        let winning = take(values, &UInt32Array::from(rows), None).map_err(Error::arrow("keep values"))?;
        let winning = self.values.plain(&winning)?;
        let converter = new_converter(winning.data_type())?;
        let encoded = converter.convert_columns(&[winning]).map_err(Error::arrow("keep values"))?;
        for (group, row) in groups.into_iter().zip(&encoded) {
            self.values.put(group, row.data());
        }
        Ok(())
    }
}

impl Kernel for ByPlace {
    fn resize(&mut self, group_count: usize) {
        self.places.resize(group_count, None);
        self.values.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let places = input.places.ok_or_else(|| shape("the rows' places are missing".to_owned()))?;
        let valid = if self.ignore_nulls { input.valid() } else { input.selected() };
        self.take(input.groups, valid.as_ref(), input.values()?, |row| {
            (places.arrivals_us[row], places.partitions[row], places.offsets[row])
        })
    }

    fn reset(&mut self, group: usize) {
        self.places[group] = None;
        self.values.clear(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let places = || groups.iter().map(|group| self.places[*group as usize]);
        Ok(vec![
            Arc::new(places().map(|place| place.map(|p| p.0)).collect::<Int64Array>()),
            Arc::new(places().map(|place| place.map(|p| p.1)).collect::<Int32Array>()),
            Arc::new(places().map(|place| place.map(|p| p.2)).collect::<Int64Array>()),
            self.values.column(groups)?,
        ])
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        let arrivals: &Int64Array = downcast(column(state, 0)?)?;
        let partitions: &Int32Array = downcast(column(state, 1)?)?;
        let offsets: &Int64Array = downcast(column(state, 2)?)?;
        self.take(groups, arrivals.nulls(), column(state, 3)?, |row| {
            (arrivals.value(row), partitions.value(row), offsets.value(row))
        })
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.values.column(groups)
    }

    fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Option<Place>>() + self.values.memory_bytes()
    }
}
