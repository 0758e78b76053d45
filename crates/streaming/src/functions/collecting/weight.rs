//! What rows weigh in an aggregate: what it may keep of them, and what they add to its value.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
};
use datafusion::{error::Result, logical_expr::function::AccumulatorArgs, scalar::ScalarValue};

use crate::functions::bounded::{ELEMENT_BYTES, VALUE_BYTES_MAX, bytes_of, refused};

/// What a value takes in an accumulator beside its bytes: a number more, or one value and the values that order it.
const PLACE_BYTES: u64 = 32;
const ORDERED_PLACE_BYTES: u64 = 192;

/// What the value of an aggregate is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Makes {
    /// A list of all values.
    List,
    /// A text of all values, with something between them.
    Text,
    /// One of the values, or a number.
    One,
}

/// How the rows of an aggregate are weighed.
#[derive(Clone, Debug)]
pub(super) struct Weight {
    name: String,
    makes: Makes,
    is_distinct: bool,
    is_ordered: bool,
}

impl Weight {
    pub(super) fn of(name: &str, args: &AccumulatorArgs<'_>) -> Self {
        let makes = match name {
            "array_agg" => Makes::List,
            "string_agg" => Makes::Text,
            _ => Makes::One,
        };
        let (is_distinct, is_ordered) = (args.is_distinct, !args.order_bys.is_empty());
        Self { name: name.to_owned(), makes, is_distinct, is_ordered }
    }

    /// Whether the arrays that come in are kept as they are.
    pub(super) fn keeps_arrays(&self) -> bool {
        self.makes == Makes::List && !self.is_distinct && !self.is_ordered
    }

    /// Whether each row adds to the value of its group.
    pub(super) fn adds_up(&self) -> bool {
        self.makes != Makes::One && !self.is_distinct
    }

    /// Whether what is held are texts that grow.
    pub(super) fn makes_texts(&self) -> bool {
        self.makes == Makes::Text && !self.is_distinct && !self.is_ordered
    }

    /// Whether the value has everything that is held.
    pub(super) fn is_everything(&self) -> bool {
        self.makes != Makes::One
    }

    /// How many copies there are of what is held while it becomes a value: single values and lists on the way to an array.
    pub(super) fn copies(&self) -> u64 {
        match (self.is_distinct, self.is_ordered) {
            (true, _) => 3,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    /// At most what may be kept of these columns. What grows is moved on the way.
    pub(super) fn kept_bytes(&self, columns: &[ArrayRef]) -> u64 {
        let place = if self.is_distinct || self.is_ordered { ORDERED_PLACE_BYTES } else { PLACE_BYTES };
        let values: usize = columns.iter().map(|column| elements(column.as_ref())).max().unwrap_or(0);
        let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0) as u64;
        2 * columns.iter().map(bytes).sum::<u64>() + place * values as u64
    }

    /// What each row adds to the value of its group, from the columns of the arguments.
    pub(super) fn added_by_rows(&self, columns: &[ArrayRef]) -> Vec<u64> {
        let Some(values) = columns.first().filter(|_| self.adds_up()) else { return Vec::new() };
        let mut added = bytes_of(values.as_ref());
        if self.makes == Makes::List {
            added.iter_mut().for_each(|bytes| *bytes = bytes.saturating_add(ELEMENT_BYTES));
            return added;
        }
        let between = columns.get(1).map(|column| bytes_of(column.as_ref())).unwrap_or_default();
        for (row, bytes) in added.iter_mut().enumerate() {
            let has_value = values.is_valid(row) && !values.data_type().is_null();
            *bytes = if has_value { *bytes + between.get(row).copied().unwrap_or(0) } else { 0 };
        }
        added
    }

    /// What each row adds to the value of its group, from the columns of a state.
    pub(super) fn added_by_states(&self, columns: &[ArrayRef]) -> Vec<u64> {
        let Some(values) = columns.first().filter(|_| self.adds_up()) else { return Vec::new() };
        let mut added = bytes_of(values.as_ref());
        if let (Makes::Text, DataType::List(_)) = (self.makes, values.data_type()) {
            // The texts are in order, and not together yet.
            let lists = values.as_list::<i32>();
            for (row, bytes) in added.iter_mut().enumerate() {
                *bytes -= ELEMENT_BYTES * lists.value_length(row) as u64;
            }
        }
        added
    }

    /// Refuses a value that would be too large.
    pub(super) fn check(&self, bytes: u64) -> Result<()> {
        if bytes <= VALUE_BYTES_MAX {
            return Ok(());
        }
        let message = format!("{} would make a value of more than {VALUE_BYTES_MAX} bytes", self.name);
        Err(refused(message, "let it collect fewer or shorter values"))
    }

    /// Refuses a value that is too large.
    pub(super) fn check_value(&self, value: &ScalarValue) -> Result<()> {
        match value {
            ScalarValue::List(list) => self.check_values(list.as_ref()),
            ScalarValue::LargeUtf8(Some(text)) => self.check(text.len() as u64),
            _ => Ok(()),
        }
    }

    /// Refuses values that are too large.
    pub(super) fn check_values(&self, values: &dyn Array) -> Result<()> {
        match self.makes {
            Makes::One => Ok(()),
            _ => bytes_of(values).into_iter().try_for_each(|bytes| self.check(bytes)),
        }
    }
}

/// How many values there are in a column, with those in its lists.
fn elements(column: &dyn Array) -> usize {
    match column.data_type() {
        DataType::List(_) => {
            let offsets = column.as_list::<i32>().value_offsets();
            let ends = offsets.first().zip(offsets.last());
            column.len() + ends.map_or(0, |(first, last)| (last - first) as usize)
        }
        _ => column.len(),
    }
}
