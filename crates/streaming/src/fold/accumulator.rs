//! The kernels as DataFusion's accumulators, so that a query that runs once computes what a view does.

use std::{collections::HashSet, fmt};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    datatypes::{DataType, Field},
};
use dataflow::{
    AggregateKind, AggregateSignature,
    kernel::{self, Input, Kernel},
    normal_key,
};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{Accumulator, EmitTo, GroupsAccumulator},
    scalar::ScalarValue,
};

/// An aggregate over values of one type.
#[derive(Clone)]
pub(crate) struct Aggregate {
    call: AggregateSignature,
}

impl Aggregate {
    pub(crate) fn new(kind: AggregateKind, argument: &DataType, output: &DataType) -> Self {
        Self {
            call: AggregateSignature {
                kind,
                is_distinct: false,
                argument_type: argument.clone(),
                output_type: output.clone(),
            },
        }
    }

    /// The fields of its state.
    pub(crate) fn state_fields(&self) -> Vec<Field> {
        kernel::state_fields(0, &self.call, false)
    }

    /// All rows as one group.
    pub(crate) fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        let mut kernel = kernel::new(&self.call, false).map_err(external)?;
        kernel.resize(1);
        Ok(Box::new(OneGroup { kernel, is_linear: self.call.kind.is_linear() }))
    }

    /// The fields of its state where each value counts once.
    pub(crate) fn distinct_state_fields(&self) -> Vec<Field> {
        vec![Field::new_list("distinct", Field::new_list_field(self.call.argument_type.clone(), true), false)]
    }

    /// All rows as one group, each value once.
    pub(crate) fn distinct_accumulator(&self) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(DistinctValues { aggregate: self.clone(), values: HashSet::new() }))
    }

    /// Groups that are numbered by whoever asks.
    pub(crate) fn groups_accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups { aggregate: self.clone(), kernel: self.kernel()?, group_count: 0 }))
    }

    fn kernel(&self) -> Result<Box<dyn Kernel>> {
        kernel::new(&self.call, false).map_err(external)
    }
}

fn external(error: dataflow::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn input<'a>(
    groups: &'a [u32],
    values: &[ArrayRef],
    filter: Option<&BooleanArray>,
    weights: Option<&'a [i64]>,
) -> Input<'a> {
    Input { groups, values: values.first().map(ArrayRef::clone), filter: filter.cloned(), weights, places: None }
}

/// One group: an aggregate over everything, or over a window.
struct OneGroup {
    kernel: Box<dyn Kernel>,
    is_linear: bool,
}

impl OneGroup {
    fn add(&mut self, values: &[ArrayRef], weight: Option<i64>) -> Result<()> {
        let row_count = values.first().map_or(0, |values| values.len());
        let weights = weight.map(|weight| vec![weight; row_count]);
        let groups = vec![0; row_count];
        self.kernel.update(&input(&groups, values, None, weights.as_deref())).map_err(external)
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, None)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.kernel.evaluate(&[0]).map_err(external)?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.kernel.memory_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = self.kernel.state(&[0]).map_err(external)?;
        state.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states.first().map_or(0, |states| states.len())];
        self.kernel.merge(&groups, states).map_err(external)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, Some(-1))
    }

    fn supports_retract_batch(&self) -> bool {
        self.is_linear
    }
}

impl fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneGroup")
    }
}

/// The values of one group, each once.
struct DistinctValues {
    aggregate: Aggregate,
    values: HashSet<ScalarValue>,
}

impl DistinctValues {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            self.values.insert(ScalarValue::try_from_array(values, row)?);
        }
        Ok(())
    }
}

impl Accumulator for DistinctValues {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values.first().map_or(Ok(()), |values| self.add(&normal_key(values)))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut accumulator = self.aggregate.accumulator()?;
        if !self.values.is_empty() {
            accumulator.update_batch(&[ScalarValue::iter_to_array(self.values.iter().cloned())?])?;
        }
        accumulator.evaluate()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<ScalarValue>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.values.iter().cloned().collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.aggregate.call.argument_type))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states.first().map(|states| states.as_list::<i32>());
        lists.into_iter().flat_map(|lists| lists.iter().flatten()).try_for_each(|values| self.add(&values))
    }
}

impl fmt::Debug for DistinctValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DistinctValues")
    }
}

/// Many groups.
struct Groups {
    aggregate: Aggregate,
    kernel: Box<dyn Kernel>,
    group_count: usize,
}

impl Groups {
    fn resize(&mut self, group_count: usize) {
        if group_count > self.group_count {
            self.group_count = group_count;
            self.kernel.resize(group_count);
        }
    }

    /// The numbers of the groups that are emitted. They are gone afterwards, and the others begin at 0.
    fn emit<T>(&mut self, emit_to: EmitTo, of: impl FnOnce(&dyn Kernel, &[u32]) -> dataflow::Result<T>) -> Result<T> {
        let emitted = match emit_to {
            EmitTo::All => self.group_count,
            EmitTo::First(count) => count.min(self.group_count),
        };
        let groups: Vec<u32> = (0..number(self.group_count)?).collect();
        let (first, rest) = groups.split_at(emitted);
        let values = of(&*self.kernel, first).map_err(external)?;
        let mut left = self.aggregate.kernel()?;
        left.resize(rest.len());
        if !rest.is_empty() {
            let state = self.kernel.state(rest).map_err(external)?;
            left.merge(&groups[..rest.len()], &state).map_err(external)?;
        }
        (self.kernel, self.group_count) = (left, rest.len());
        Ok(values)
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let groups = numbers(group_indices)?;
        self.kernel.update(&input(&groups, values, opt_filter, None)).map_err(external)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to, |kernel, groups| kernel.evaluate(groups))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.emit(emit_to, |kernel, groups| kernel.state(groups))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.resize(total_num_groups);
        self.kernel.merge(&numbers(group_indices)?, values).map_err(external)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let row_count = values.first().map_or(0, |values| values.len());
        let groups: Vec<u32> = (0..number(row_count)?).collect();
        let mut kernel = self.aggregate.kernel()?;
        kernel.resize(row_count);
        kernel.update(&input(&groups, values, opt_filter, None)).map_err(external)?;
        kernel.state(&groups).map_err(external)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.kernel.memory_bytes()
    }
}

fn number(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| DataFusionError::Execution("a query has at most 4294967295 groups".to_owned()))
}

fn numbers(groups: &[usize]) -> Result<Vec<u32>> {
    groups.iter().map(|group| number(*group)).collect()
}
