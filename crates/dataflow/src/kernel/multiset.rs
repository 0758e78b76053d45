//! `min`, `max`, `first_value` and `last_value` over rows that can be taken back: all values of a group, in order, with how
//! often each is there.
//!
//! What must hold: a value whose weight is not positive counts as absent, also while a retraction has come before what it
//! takes back; what is kept depends on the sum of the rows alone.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, new_null_array},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Int32Type, Int64Type},
    row::RowConverter,
};

use super::{Input, Kernel, column, extreme::End, for_each, position::Which, shape};
use crate::{
    error::{Error, Result},
    normal::{normal_key, plain, plain_text, with_one_nan},
    value_rows::new_converter,
};

/// Bytes of a place in the log before a value: arrival time, partition, offset.
const PLACE_BYTES: usize = 20;
/// What an entry takes besides its bytes.
const ENTRY_BYTES: usize = 48;

type Place = (i64, i32, i64);

/// The values of each group, in order.
pub(super) struct Multiset {
    data_type: DataType,
    converter: RowConverter,
    groups: Vec<BTreeMap<Box<[u8]>, i64>>,
    bytes: usize,
}

impl Multiset {
    pub(super) fn new(output: &DataType) -> Result<Self> {
        let data_type = plain_text(output);
        Ok(Self { converter: new_converter(&data_type)?, data_type, groups: Vec::new(), bytes: 0 })
    }

    pub(super) fn resize(&mut self, group_count: usize) {
        self.groups.resize_with(group_count, BTreeMap::new);
    }

    /// How often an entry is there.
    pub(super) fn count(&self, group: usize, entry: &[u8]) -> i64 {
        self.groups[group].get(entry).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, group: usize, entry: &[u8], weight: i64) {
        let entries = &mut self.groups[group];
        match entries.get_mut(entry) {
            Some(count) if *count + weight == 0 => {
                entries.remove(entry);
                self.bytes -= entry.len() + ENTRY_BYTES;
            }
            Some(count) => *count += weight,
            None if weight == 0 => {}
            None => {
                self.bytes += entry.len() + ENTRY_BYTES;
                entries.insert(entry.into(), weight);
            }
        }
    }

    pub(super) fn clear(&mut self, group: usize) {
        let entries = std::mem::take(&mut self.groups[group]);
        self.bytes -= entries.keys().map(|entry| entry.len() + ENTRY_BYTES).sum::<usize>();
    }

    /// The first or last entry that is there.
    fn end(&self, group: u32, is_first: bool) -> Option<&[u8]> {
        let mut entries = self.groups[group as usize].iter().filter(|(_, weight)| **weight > 0);
        let found = if is_first { entries.next() } else { entries.next_back() };
        found.map(|(entry, _)| &**entry)
    }

    /// Values in the form of keys.
    pub(super) fn normal(&self, values: &ArrayRef) -> Result<ArrayRef> {
        Ok(normal_key(&plain(values, &self.data_type)?))
    }

    /// Encoded values, in the order of rows.
    pub(super) fn encode(&self, values: &ArrayRef) -> Result<arrow::row::Rows> {
        let values = with_one_nan(&plain(values, &self.data_type)?);
        self.converter.convert_columns(&[values]).map_err(Error::arrow("keep values"))
    }

    /// A column of encoded values; NULL where there is none.
    fn decode<'a>(&self, entries: impl Iterator<Item = Option<&'a [u8]>>) -> Result<ArrayRef> {
        let null = self.converter.convert_columns(&[new_null_array(&self.data_type, 1)]);
        let null = null.map_err(Error::arrow("read values"))?;
        let (parser, nothing) = (self.converter.parser(), null.row(0));
        let rows = entries.map(|entry| entry.map_or(nothing, |entry| parser.parse(entry)));
        let columns = self.converter.convert_rows(rows).map_err(Error::arrow("read values"))?;
        columns.into_iter().next().ok_or_else(|| shape("a value has no column".to_owned()))
    }

    fn entries(&self, groups: &[u32]) -> impl Iterator<Item = (&Box<[u8]>, &i64)> {
        groups.iter().flat_map(|group| self.groups[*group as usize].iter())
    }

    /// A column of lists, one for each group, of what is in `values` for each entry.
    fn lists(&self, groups: &[u32], values: ArrayRef) -> Result<ArrayRef> {
        let lengths = groups.iter().map(|group| self.groups[*group as usize].len());
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let lists = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, None);
        Ok(Arc::new(lists.map_err(Error::arrow("write values"))?))
    }

    fn weights(&self, groups: &[u32]) -> Result<ArrayRef> {
        let weights = Int64Array::from_iter_values(self.entries(groups).map(|(_, weight)| *weight));
        self.lists(groups, Arc::new(weights))
    }

    /// The values of some groups, and how often each is there.
    pub(super) fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let values = self.decode(self.entries(groups).map(|(entry, _)| Some(&**entry)))?;
        Ok(vec![self.lists(groups, values)?, self.weights(groups)?])
    }

    /// Calls `each(self, group, number, entry, weight)` for each value of a state; the values, in which they are numbered.
    pub(super) fn read(
        &mut self,
        values: &ArrayRef,
        weights: &ArrayRef,
        groups: &[u32],
        mut each: impl FnMut(&mut Self, usize, usize, &[u8], i64),
    ) -> Result<ArrayRef> {
        let (lists, weights) = (lists_of(values)?, lists_of(weights)?);
        let encoded = self.encode(lists.values())?;
        let counts = weights.values().as_primitive::<Int64Type>();
        for (row, group) in groups.iter().enumerate() {
            let (from, to) = (lists.value_offsets()[row] as usize, lists.value_offsets()[row + 1] as usize);
            (from..to)
                .for_each(|entry| each(self, *group as usize, entry, encoded.row(entry).data(), counts.value(entry)));
        }
        Ok(Arc::clone(lists.values()))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.groups.capacity() * size_of::<BTreeMap<Box<[u8]>, i64>>()
    }
}

/// The fields of the state of `min` and `max`: the values of each group, and how often each is there.
pub(super) fn value_fields(field: impl Fn(&str, DataType) -> Field, output: &DataType) -> Vec<Field> {
    vec![field("values", list_of(plain_text(output))), field("weights", list_of(DataType::Int64))]
}

/// The fields of the state of `first_value` and `last_value`.
pub(super) fn place_fields(field: impl Fn(&str, DataType) -> Field, output: &DataType) -> Vec<Field> {
    let mut fields = vec![
        field("arrivals_us", list_of(DataType::Int64)),
        field("partitions", list_of(DataType::Int32)),
        field("offsets", list_of(DataType::Int64)),
    ];
    fields.extend(value_fields(field, output));
    fields
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(data_type, true)))
}

/// A state's column of lists: for each row the range of its values, and all values.
fn lists_of(column: &ArrayRef) -> Result<&ListArray> {
    column.as_list_opt().ok_or_else(|| shape(format!("a column of lists is {}", column.data_type())))
}

fn lists(state: &[ArrayRef], index: usize) -> Result<&ListArray> {
    lists_of(column(state, index)?)
}

/// `min(x)` or `max(x)`.
pub(super) struct Extreme {
    end: End,
    values: Multiset,
}

impl Extreme {
    pub(super) fn new(output: &DataType, end: End) -> Result<Self> {
        Ok(Self { end, values: Multiset::new(output)? })
    }
}

impl Kernel for Extreme {
    fn resize(&mut self, group_count: usize) {
        self.values.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let encoded = self.values.encode(input.values()?)?;
        for_each(input.groups, input.valid().as_ref(), input.weights, |row, group, weight| {
            self.values.add(group, encoded.row(row).data(), weight);
        });
        Ok(())
    }

    fn reset(&mut self, group: usize) {
        self.values.clear(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.values.state(groups)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        let (values, weights) = (column(state, 0)?, column(state, 1)?);
        self.values
            .read(values, weights, groups, |values, group, _, entry, weight| values.add(group, entry, weight))?;
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let is_first = self.end == End::Least;
        self.values.decode(groups.iter().map(|group| self.values.end(*group, is_first)))
    }

    fn memory_bytes(&self) -> usize {
        self.values.memory_bytes()
    }
}

/// `first_value(x)` or `last_value(x)`: each entry is a place and, after it, the value.
pub(super) struct ByPlace {
    which: Which,
    ignore_nulls: bool,
    values: Multiset,
}

impl ByPlace {
    pub(super) fn new(output: &DataType, which: Which, ignore_nulls: bool) -> Result<Self> {
        Ok(Self { which, ignore_nulls, values: Multiset::new(output)? })
    }
}

impl Kernel for ByPlace {
    fn resize(&mut self, group_count: usize) {
        self.values.resize(group_count);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let places = input.places.ok_or_else(|| shape("the rows' places are missing".to_owned()))?;
        let valid = if self.ignore_nulls { input.valid() } else { input.selected() };
        let encoded = self.values.encode(input.values()?)?;
        let mut entry = Vec::new();
        for_each(input.groups, valid.as_ref(), input.weights, |row, group, weight| {
            let place = (places.arrivals_us[row], places.partitions[row], places.offsets[row]);
            write_entry(&mut entry, place, encoded.row(row).data());
            self.values.add(group, &entry, weight);
        });
        Ok(())
    }

    fn reset(&mut self, group: usize) {
        self.values.clear(group);
    }

    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let places = || self.values.entries(groups).map(|(entry, _)| read_place(entry));
        let values = self.values.decode(self.values.entries(groups).map(|(entry, _)| entry.get(PLACE_BYTES..)))?;
        let columns: [ArrayRef; 4] = [
            Arc::new(Int64Array::from_iter_values(places().map(|place| place.0))),
            Arc::new(Int32Array::from_iter_values(places().map(|place| place.1))),
            Arc::new(Int64Array::from_iter_values(places().map(|place| place.2))),
            values,
        ];
        let mut state =
            columns.into_iter().map(|column| self.values.lists(groups, column)).collect::<Result<Vec<_>>>()?;
        state.push(self.values.weights(groups)?);
        Ok(state)
    }

    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()> {
        let (values, weights) = (lists(state, 3)?, lists(state, 4)?);
        let arrivals = lists(state, 0)?.values().as_primitive::<Int64Type>();
        let partitions = lists(state, 1)?.values().as_primitive::<Int32Type>();
        let offsets = lists(state, 2)?.values().as_primitive::<Int64Type>();
        let (encoded, counts) = (self.values.encode(values.values())?, weights.values().as_primitive::<Int64Type>());
        let mut bytes = Vec::new();
        for (row, group) in groups.iter().enumerate() {
            let (from, to) = (values.value_offsets()[row] as usize, values.value_offsets()[row + 1] as usize);
            for entry in from..to {
                let place = (arrivals.value(entry), partitions.value(entry), offsets.value(entry));
                write_entry(&mut bytes, place, encoded.row(entry).data());
                self.values.add(*group as usize, &bytes, counts.value(entry));
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let is_first = self.which == Which::First;
        let end = |group: &u32| self.values.end(*group, is_first).and_then(|entry| entry.get(PLACE_BYTES..));
        self.values.decode(groups.iter().map(end))
    }

    fn memory_bytes(&self) -> usize {
        self.values.memory_bytes()
    }
}

/// An entry that sorts by its place: numbers with the sign turned over, most significant byte first.
fn write_entry(entry: &mut Vec<u8>, (arrival_us, partition, offset): Place, value: &[u8]) {
    entry.clear();
    entry.extend(((arrival_us as u64) ^ (1 << 63)).to_be_bytes());
    entry.extend(((partition as u32) ^ (1 << 31)).to_be_bytes());
    entry.extend(((offset as u64) ^ (1 << 63)).to_be_bytes());
    entry.extend(value);
}

fn read_place(entry: &[u8]) -> Place {
    let number =
        |from: usize, to: usize| entry[from..to].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let sign = 1_u64 << 63;
    ((number(0, 8) ^ sign) as i64, (number(8, 12) as u32 ^ (1 << 31)) as i32, (number(12, 20) ^ sign) as i64)
}

#[cfg(test)]
mod tests;
