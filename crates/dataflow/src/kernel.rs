//! Aggregates as columns: each keeps its state in typed vectors, one entry a group.
//!
//! What it is: [`Kernel`], what every aggregate can do, and [`for_each`], the loop they share. One call a batch is
//! dynamic; inside, the loops are over slices.
//!
//! What must hold: `merge` of the states of two parts is the state of the whole, in any split and order; the state's
//! columns depend on the rows alone, not on how they were batched.

mod average;
mod count;
mod distinct;
mod extreme;
mod multiset;
mod position;
mod sum;
mod total;
mod truth;
mod variance;

use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    buffer::NullBuffer,
    datatypes::{DataType, Field, i256},
};

use crate::{
    aggregate::{AggregateKind, AggregateSignature},
    error::{Error, Result},
    exact_sum::ExactSum,
    normal::plain_text,
};
pub(crate) use count::counts_of;
pub use position::Places;
use total::Total;

/// The rows of one batch, as an aggregate sees them.
pub struct Input<'a> {
    /// The group of each row.
    pub groups: &'a [u32],
    /// What is aggregated; `None` for `count(*)`.
    pub values: Option<ArrayRef>,
    /// Which rows count; all without it.
    pub filter: Option<BooleanArray>,
    /// How often each row counts; once without it.
    pub weights: Option<&'a [i64]>,
    /// Where the rows are in the log, when the aggregate needs to know.
    pub places: Option<Places<'a>>,
}

/// The state of one aggregate for all groups.
pub trait Kernel: Send + Sync {
    /// Makes room for `group_count` groups; new ones are empty.
    fn resize(&mut self, group_count: usize);

    /// Adds rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are not of its types.
    fn update(&mut self, input: &Input<'_>) -> Result<()>;

    /// Empties a group.
    fn reset(&mut self, group: usize);

    /// The state's columns for some groups; the fields are [`state_fields`]'s.
    ///
    /// # Errors
    /// [`Error::Arrow`] when they cannot be built.
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Adds states, one a row.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are not of its types.
    fn merge(&mut self, groups: &[u32], state: &[ArrayRef]) -> Result<()>;

    /// The finished values of some groups.
    ///
    /// # Errors
    /// [`Error::Arrow`] when they cannot be built.
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef>;

    /// Memory held, in bytes.
    fn memory_bytes(&self) -> usize;
}

/// The kernel of an aggregate: over rows that only come, or rows that are also taken back.
///
/// # Errors
/// [`Error::Shape`] when it is not built for its types.
pub fn new(call: &AggregateSignature, takes_back: bool) -> Result<Box<dyn Kernel>> {
    let output = &call.output_type;
    if call.keeps_distinct_values() {
        let aggregate = new(&AggregateSignature { is_distinct: false, ..call.clone() }, true)?;
        return Ok(Box::new(distinct::Distinct::new(&call.argument_type, aggregate)?));
    }
    Ok(match (call.kind, &call.argument_type) {
        (AggregateKind::Variance { is_sample, is_root }, DataType::Float64) => {
            Box::new(variance::Variance::new(variance::Form { is_sample, is_root }))
        }
        (kind @ AggregateKind::Variance { .. }, other) => return Err(shape(format!("{kind} of {other}"))),
        (AggregateKind::All, _) => Box::new(truth::Truth::all()),
        (AggregateKind::Any, _) => Box::new(truth::Truth::any()),
        (AggregateKind::Min, _) if takes_back => Box::new(multiset::Extreme::new(output, extreme::End::Least)?),
        (AggregateKind::Max, _) if takes_back => Box::new(multiset::Extreme::new(output, extreme::End::Greatest)?),
        (AggregateKind::First { ignore_nulls }, _) if takes_back => {
            Box::new(multiset::ByPlace::new(output, position::Which::First, ignore_nulls)?)
        }
        (AggregateKind::Last { ignore_nulls }, _) if takes_back => {
            Box::new(multiset::ByPlace::new(output, position::Which::Last, ignore_nulls)?)
        }
        (AggregateKind::Count, _) => Box::new(count::Count::default()),
        (AggregateKind::Sum, argument) => sum::sum(argument, output)?,
        (AggregateKind::Avg, argument) => sum::average(argument, output)?,
        (AggregateKind::Min, data_type) => extreme::new(data_type, output, extreme::End::Least)?,
        (AggregateKind::Max, data_type) => extreme::new(data_type, output, extreme::End::Greatest)?,
        (AggregateKind::First { ignore_nulls }, _) => {
            Box::new(position::ByPlace::new(output, position::Which::First, ignore_nulls)?)
        }
        (AggregateKind::Last { ignore_nulls }, _) => {
            Box::new(position::ByPlace::new(output, position::Which::Last, ignore_nulls)?)
        }
    })
}

/// The fields of an aggregate's state, named after its number.
#[must_use]
pub fn state_fields(number: usize, call: &AggregateSignature, takes_back: bool) -> Vec<Field> {
    let field = |name: &str, data_type: DataType| Field::new(format!("a{number}_{name}"), data_type, true);
    let count = || field("count", DataType::Int64);
    if call.keeps_distinct_values() {
        return distinct::Distinct::fields(field, &call.argument_type);
    }
    match (call.kind, &call.argument_type) {
        (AggregateKind::Variance { .. }, _) => variance::Variance::fields(field),
        (AggregateKind::All | AggregateKind::Any, _) => {
            vec![field("trues", DataType::Int64), field("falses", DataType::Int64)]
        }
        (AggregateKind::Count, _) => vec![count()],
        (AggregateKind::Sum | AggregateKind::Avg, DataType::Float64) => {
            vec![count(), field("exact_sum", ExactSum::STATE)]
        }
        (AggregateKind::Sum | AggregateKind::Avg, DataType::Decimal128(_, _)) => {
            vec![count(), field("wide_sum", i256::STATE)]
        }
        (AggregateKind::Sum | AggregateKind::Avg, _) => vec![count(), field("sum", i128::STATE)],
        (AggregateKind::Min | AggregateKind::Max, _) if takes_back => multiset::value_fields(field, &call.output_type),
        (AggregateKind::First { .. } | AggregateKind::Last { .. }, _) if takes_back => {
            multiset::place_fields(field, &call.output_type)
        }
        (AggregateKind::Min | AggregateKind::Max, _) => {
            vec![field("value", plain_text(&call.output_type))]
        }
        (AggregateKind::First { .. } | AggregateKind::Last { .. }, _) => vec![
            field("arrival_us", DataType::Int64),
            field("partition", DataType::Int32),
            field("offset", DataType::Int64),
            field("value", plain_text(&call.output_type)),
        ],
    }
}

/// Calls `each(row, group, weight)` for the rows that are valid.
#[inline]
fn for_each(
    groups: &[u32],
    valid: Option<&NullBuffer>,
    weights: Option<&[i64]>,
    mut each: impl FnMut(usize, usize, i64),
) {
    match (valid, weights) {
        (None, None) => groups.iter().enumerate().for_each(|(row, group)| each(row, *group as usize, 1)),
        (Some(valid), None) => valid.valid_indices().for_each(|row| each(row, groups[row] as usize, 1)),
        (None, Some(weights)) => {
            groups
                .iter()
                .zip(weights)
                .enumerate()
                .for_each(|(row, (group, weight))| each(row, *group as usize, *weight));
        }
        (Some(valid), Some(weights)) => {
            valid.valid_indices().for_each(|row| each(row, groups[row] as usize, weights[row]));
        }
    }
}

impl Input<'_> {
    /// The rows that pass the filter.
    fn selected(&self) -> Option<NullBuffer> {
        let filter = self.filter.as_ref()?;
        // A condition that is NULL leaves its row out.
        NullBuffer::union(Some(&NullBuffer::new(filter.values().clone())), filter.nulls())
    }

    /// The rows that pass the filter and whose value is not NULL.
    fn valid(&self) -> Option<NullBuffer> {
        let nulls = self.values.as_ref().and_then(|values| values.logical_nulls());
        NullBuffer::union(self.selected().as_ref(), nulls.as_ref()).filter(|valid| valid.null_count() > 0)
    }

    fn values(&self) -> Result<&ArrayRef> {
        self.values.as_ref().ok_or_else(|| shape("an aggregate over nothing".to_owned()))
    }
}

fn shape(reason: String) -> Error {
    Error::Shape { what: "the input or state of an aggregate", reason }
}

/// A state's column as the type it must have.
fn downcast<T: 'static>(column: &ArrayRef) -> Result<&T> {
    column.as_any().downcast_ref().ok_or_else(|| shape(format!("a column is {}", column.data_type())))
}

fn column(state: &[ArrayRef], index: usize) -> Result<&ArrayRef> {
    state.get(index).ok_or_else(|| shape(format!("column {index} is missing")))
}
