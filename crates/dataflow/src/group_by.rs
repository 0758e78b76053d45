//! [`GroupBy`]: rows in groups, and what each group comes to.
//!
//! What must hold: a group's row depends on the set of rows that were pushed, and on nothing else; a change that goes out
//! has the row that went out before with -1 and the new one with +1, and neither where both are the same.

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_empty_array},
    compute::{concat, take},
    datatypes::{Field, Schema, SchemaRef},
};
use std::sync::Arc;

use crate::{
    aggregate::AggregateSignature,
    change::{Change, Weights},
    error::{Error, Result},
    groups::GroupTable,
    kernel::{self, Input, Kernel, Places},
    normal::{plain, plain_text},
    run::column_comparator,
};

/// The group changed since the last [`GroupBy::finish`].
const CHANGED: u8 = 1;
/// The group was touched since the last [`GroupBy::forget_dirty`].
const DIRTY: u8 = 2;
/// The group's row is out.
const SHOWN: u8 = 4;

/// What an aggregate takes of some rows.
#[derive(Clone, Debug, Default)]
pub struct Argument {
    /// What is aggregated; `None` for `count(*)`.
    pub values: Option<ArrayRef>,
    /// Which rows count; all without it.
    pub filter: Option<BooleanArray>,
}

/// Some rows, as a group-by sees them.
pub struct GroupInput<'a> {
    /// How many.
    pub row_count: usize,
    /// What groups them.
    pub keys: Vec<ArrayRef>,
    /// What each aggregate takes.
    pub arguments: Vec<Argument>,
    /// How often each row comes or goes; each comes once without it.
    pub weights: Option<&'a Int64Array>,
    /// Where the rows are in the log, where an aggregate needs to know.
    pub places: Option<Places<'a>>,
}

/// Groups and what is kept of them. Without keys there is one group, which always has a row.
pub struct GroupBy {
    aggregates: Vec<AggregateSignature>,
    takes_back: bool,
    key_count: usize,
    /// Finished groups: keys, then aggregates.
    schema: SchemaRef,
    state_schema: SchemaRef,
    groups: GroupTable,
    /// How many rows each group has.
    rows: Vec<i64>,
    kernels: Vec<Box<dyn Kernel>>,
    flags: Vec<u8>,
    changed: Vec<u32>,
    dirty: Vec<u32>,
    live_count: usize,
    /// What is out of changed groups, taken when each was touched first; the groups are in the order of `changed`.
    before: Vec<Groups>,
}

/// Groups with what their aggregates come to.
struct Groups {
    numbers: Vec<u32>,
    values: Vec<ArrayRef>,
}

impl GroupBy {
    /// No groups yet. `schema` is that of finished groups: the keys, then what the aggregates give. Where no row is ever
    /// taken back the states are more compact.
    ///
    /// # Errors
    /// [`Error::Arrow`] when a type cannot be a key; [`Error::Shape`] when an aggregate is not over its type.
    pub fn new(
        schema: SchemaRef,
        key_count: usize,
        aggregates: Vec<AggregateSignature>,
        takes_back: bool,
    ) -> Result<Self> {
        if schema.fields().len() != key_count + aggregates.len() {
            let reason = format!("{schema} for {key_count} keys and {} aggregates", aggregates.len());
            return Err(Error::shape("the schema of groups", reason));
        }
        let types = schema.fields().iter().take(key_count).map(|field| plain_text(field.data_type()));
        let mut group_by = Self {
            groups: GroupTable::new(types.collect())?,
            kernels: aggregates.iter().map(|call| kernel::new(call, takes_back)).collect::<Result<Vec<_>>>()?,
            state_schema: state_schema(&schema, key_count, &aggregates, takes_back),
            schema,
            key_count,
            aggregates,
            takes_back,
            rows: Vec::new(),
            flags: Vec::new(),
            changed: Vec::new(),
            dirty: Vec::new(),
            live_count: 0,
            before: Vec::new(),
        };
        group_by.resize();
        if group_by.is_global() {
            // An aggregate over nothing has a row: count(*) is 0.
            group_by.touch(&[0], CHANGED)?;
        }
        Ok(group_by)
    }

    /// The schema of states: key columns, `rows` (how many rows the group has), then each aggregate's columns.
    #[must_use]
    pub fn state_schema(&self) -> &SchemaRef {
        &self.state_schema
    }

    /// Whether rows can be taken, without taking them.
    ///
    /// # Errors
    /// [`Error::Retraction`] when one is taken back that an aggregate did not keep.
    pub fn check(&mut self, keys: &[ArrayRef], weights: &Int64Array) -> Result<()> {
        let groups = self.groups.intern(keys, weights.len())?;
        self.resize();
        self.check_retractions(&groups, Some(weights.values()))
    }

    /// Takes rows.
    ///
    /// # Errors
    /// [`Error::Retraction`] when one is taken back that an aggregate did not keep: nothing has changed then.
    /// [`Error::Shape`] when they are not what the aggregates take.
    pub fn push(&mut self, input: GroupInput<'_>) -> Result<()> {
        let GroupInput { row_count, keys, arguments, weights, places } = input;
        if arguments.len() != self.kernels.len() {
            return Err(Error::shape("the rows", format!("{} arguments for the aggregates", arguments.len())));
        }
        let groups = self.groups.intern(&keys, row_count)?;
        self.resize();
        let weights = weights.map(|weights| weights.values().as_ref());
        self.check_retractions(&groups, weights)?;
        self.touch(&groups, CHANGED | DIRTY)?;
        for (kernel, Argument { values, filter }) in self.kernels.iter_mut().zip(arguments) {
            kernel.update(&Input { groups: &groups, values, filter, weights, places })?;
        }
        for (row, group) in groups.iter().enumerate() {
            self.add_rows(*group as usize, weights.map_or(1, |weights| weights[row]));
        }
        Ok(())
    }

    /// What changed since the last call; after [`restore_state`](Self::restore_state), also what was restored.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the rows cannot be built.
    pub fn finish(&mut self) -> Result<Change> {
        let live: Vec<u32> = self.changed.iter().copied().filter(|group| self.is_live(*group)).collect();
        let after = Groups { values: self.values(&live)?, numbers: live };
        let before = self.gather_before()?;
        let change = self.difference(&before, &after)?;
        // Only now that nothing can fail.
        self.before.clear();
        for group in before.numbers {
            self.flags[group as usize] &= !SHOWN;
        }
        for group in after.numbers {
            self.flags[group as usize] |= SHOWN;
        }
        for group in std::mem::take(&mut self.changed) {
            self.flags[group as usize] &= !CHANGED;
        }
        Ok(change)
    }

    /// The state of the groups that were touched since the last [`forget_dirty`](Self::forget_dirty). A group without
    /// rows (`rows` is 0) is gone.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the state cannot be written as Arrow.
    pub fn dirty_state(&self) -> Result<RecordBatch> {
        self.states(&self.dirty)
    }

    /// Forgets which groups are dirty: their states are safe.
    pub fn forget_dirty(&mut self) {
        for group in std::mem::take(&mut self.dirty) {
            self.flags[group as usize] &= !DIRTY;
        }
    }

    /// The state of all groups.
    ///
    /// # Errors
    /// As [`dirty_state`](Self::dirty_state).
    pub fn all_state(&self) -> Result<RecordBatch> {
        self.states(&self.live_groups())
    }

    /// Adds the states of another group-by of the same kind, over other rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when the states are of another kind.
    pub fn merge_state(&mut self, states: &RecordBatch) -> Result<()> {
        let groups = self.intern_states(states)?;
        self.touch(&groups, CHANGED | DIRTY)?;
        self.merge(&groups, states)
    }

    /// Puts states, each key once, in the place of what the groups have. They count as changed, but not as dirty: they
    /// come from a checkpoint.
    ///
    /// # Errors
    /// As [`merge_state`](Self::merge_state).
    pub fn restore_state(&mut self, states: &RecordBatch) -> Result<()> {
        let groups = self.intern_states(states)?;
        self.touch(&groups, CHANGED)?;
        for group in &groups {
            self.add_rows(*group as usize, -self.rows[*group as usize]);
            self.kernels.iter_mut().for_each(|kernel| kernel.reset(*group as usize));
        }
        self.merge(&groups, states)
    }

    /// The row of each group.
    ///
    /// # Errors
    /// [`Error::Arrow`] when the rows cannot be built.
    pub fn rows(&self) -> Result<RecordBatch> {
        let groups = self.live_groups();
        self.rows_of(&groups, self.values(&groups)?)
    }

    /// How many groups have a row.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.live_count.max(usize::from(self.is_global()))
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let vectors = self.rows.capacity() * size_of::<i64>()
            + self.flags.capacity()
            + (self.changed.capacity() + self.dirty.capacity()) * size_of::<u32>();
        let before = self.before.iter().flat_map(|before| &before.values).map(Array::get_array_memory_size);
        let before: usize = before.sum();
        vectors + before + self.groups.memory_bytes() + self.kernels.iter().map(|k| k.memory_bytes()).sum::<usize>()
    }

    fn is_global(&self) -> bool {
        self.key_count == 0
    }

    fn is_live(&self, group: u32) -> bool {
        self.is_global() || self.rows[group as usize] != 0
    }

    fn live_groups(&self) -> Vec<u32> {
        (0..self.rows.len() as u32).filter(|group| self.is_live(*group)).collect()
    }

    /// Where states are compact a row can only be taken back from sums.
    fn check_retractions(&self, groups: &[u32], weights: Option<&[i64]>) -> Result<()> {
        if self.takes_back {
            return Ok(());
        }
        let Some(compact) = self.aggregates.iter().find(|call| !call.kind.is_linear()) else { return Ok(()) };
        let Some(row) = weights.and_then(|weights| weights.iter().position(|weight| *weight < 0)) else {
            return Ok(());
        };
        Err(Error::Retraction { aggregate: compact.kind.to_string(), group: self.describe(groups[row]) })
    }

    fn describe(&self, group: u32) -> String {
        let Ok(keys) = self.groups.columns(&[group]) else { return group.to_string() };
        let values = keys.iter().map(|key| arrow::util::display::array_value_to_string(key, 0).unwrap_or_default());
        format!("({})", values.collect::<Vec<_>>().join(", "))
    }

    fn resize(&mut self) {
        let group_count = self.groups.len();
        self.rows.resize(group_count, 0);
        self.flags.resize(group_count, 0);
        for kernel in &mut self.kernels {
            kernel.resize(group_count);
        }
    }

    fn add_rows(&mut self, group: usize, count: i64) {
        let (before, after) = (self.rows[group], self.rows[group] + count);
        self.rows[group] = after;
        match (before != 0, after != 0) {
            (false, true) => self.live_count += 1,
            (true, false) => self.live_count -= 1,
            _ => {}
        }
    }

    /// Marks groups that are about to change, and keeps what is out of them.
    fn touch(&mut self, groups: &[u32], flags: u8) -> Result<()> {
        let (first_changed, mut shown) = (self.changed.len(), Vec::new());
        for group in groups {
            let flags_now = &mut self.flags[*group as usize];
            let new = flags & !*flags_now;
            *flags_now |= flags;
            if new & CHANGED != 0 {
                self.changed.push(*group);
                if *flags_now & SHOWN != 0 {
                    shown.push(*group);
                }
            }
            if new & DIRTY != 0 {
                self.dirty.push(*group);
            }
        }
        if shown.is_empty() {
            return Ok(());
        }
        match self.values(&shown) {
            Ok(values) => self.before.push(Groups { numbers: shown, values }),
            Err(error) => {
                // Not touched after all.
                for group in self.changed.drain(first_changed..) {
                    self.flags[group as usize] &= !CHANGED;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn gather_before(&self) -> Result<Groups> {
        let values = (0..self.kernels.len()).map(|kernel| {
            let parts: Vec<&dyn Array> = self.before.iter().map(|before| before.values[kernel].as_ref()).collect();
            match parts.as_slice() {
                [] => Ok(new_empty_array(self.schema.field(self.key_count + kernel).data_type())),
                parts => concat(parts).map_err(Error::arrow("gather rows that were out")),
            }
        });
        let numbers = self.before.iter().flat_map(|before| before.numbers.iter().copied()).collect();
        Ok(Groups { numbers, values: values.collect::<Result<_>>()? })
    }

    /// What leads from `before` to `after`. Both are in the order of `changed`, each without some of it.
    fn difference(&self, before: &Groups, after: &Groups) -> Result<Change> {
        if before.numbers.is_empty() {
            return Ok(Change::of_rows(self.rows_of(&after.numbers, after.values.clone())?));
        }
        let same = column_comparator(&before.values, &after.values)?;
        let (mut gone, mut come) = (Picked::default(), Picked::default());
        let mut old = before.numbers.iter().enumerate().peekable();
        let mut new = after.numbers.iter().enumerate().peekable();
        for group in &self.changed {
            let old = old.next_if(|(_, number)| *number == group).map(|(row, _)| row);
            let new = new.next_if(|(_, number)| *number == group).map(|(row, _)| row);
            if let (Some(old), Some(new)) = (old, new)
                && same(old, new)
            {
                continue;
            }
            gone.pick(*group, old);
            come.pick(*group, new);
        }
        let values = before.values.iter().zip(&after.values).map(|(old, new)| {
            let (old, new) = (gone.of(old)?, come.of(new)?);
            concat(&[&old, &new]).map_err(Error::arrow("gather what changed"))
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        let signs = std::iter::repeat_n(-1, gone.groups.len()).chain(std::iter::repeat_n(1, come.groups.len()));
        let weights = Weights::of(signs.collect());
        gone.groups.extend(come.groups);
        Ok(Change::trusted(self.rows_of(&gone.groups, values)?, weights))
    }

    fn intern_states(&mut self, states: &RecordBatch) -> Result<Vec<u32>> {
        check_state(&self.state_schema, states)?;
        let groups = self.groups.intern(&states.columns()[..self.key_count], states.num_rows())?;
        self.resize();
        Ok(groups)
    }

    fn merge(&mut self, groups: &[u32], states: &RecordBatch) -> Result<()> {
        let rows = states.column(self.key_count).as_any().downcast_ref::<Int64Array>();
        let rows = rows.ok_or_else(|| Error::shape("the states", "rows is not a BIGINT"))?;
        let mut next = self.key_count + 1;
        for (i, kernel) in self.kernels.iter_mut().enumerate() {
            let width = kernel::state_fields(i, &self.aggregates[i], self.takes_back).len();
            kernel.merge(groups, &states.columns()[next..next + width])?;
            next += width;
        }
        for (row, group) in groups.iter().enumerate() {
            self.add_rows(*group as usize, rows.value(row));
        }
        Ok(())
    }

    fn states(&self, groups: &[u32]) -> Result<RecordBatch> {
        let mut columns = self.groups.columns(groups)?;
        columns.push(kernel::counts_of(&self.rows, groups));
        for kernel in &self.kernels {
            columns.extend(kernel.state(groups)?);
        }
        batch(&self.state_schema, columns, groups.len())
    }

    /// What the aggregates of some groups come to.
    fn values(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let types = self.schema.fields().iter().skip(self.key_count).map(|field| field.data_type());
        self.kernels.iter().zip(types).map(|(kernel, data_type)| plain(&kernel.evaluate(groups)?, data_type)).collect()
    }

    /// Rows of groups; what the aggregates come to stands beside the keys.
    fn rows_of(&self, groups: &[u32], values: Vec<ArrayRef>) -> Result<RecordBatch> {
        let keys = self.groups.columns(groups)?;
        let keys = keys.iter().zip(self.schema.fields()).map(|(key, field)| plain(key, field.data_type()));
        let mut columns = keys.collect::<Result<Vec<_>>>()?;
        columns.extend(values);
        batch(&self.schema, columns, groups.len())
    }
}

/// Groups that are picked, and which rows of their values.
#[derive(Default)]
struct Picked {
    groups: Vec<u32>,
    rows: Vec<u32>,
}

impl Picked {
    fn pick(&mut self, group: u32, row: Option<usize>) {
        if let Some(row) = row {
            self.groups.push(group);
            self.rows.push(row as u32);
        }
    }

    fn of(&self, values: &ArrayRef) -> Result<ArrayRef> {
        if self.rows.len() == values.len() {
            return Ok(ArrayRef::clone(values));
        }
        take(values, &UInt32Array::from(self.rows.clone()), None).map_err(Error::arrow("gather what changed"))
    }
}

/// The schema of states.
fn state_schema(schema: &Schema, key_count: usize, aggregates: &[AggregateSignature], takes_back: bool) -> SchemaRef {
    let keys = schema.fields().iter().take(key_count).enumerate();
    let keys = keys.map(|(i, key)| Field::new(format!("key_{i}"), plain_text(key.data_type()), true));
    let mut fields: Vec<Field> = keys.collect();
    fields.push(Field::new("rows", arrow::datatypes::DataType::Int64, false));
    fields.extend(aggregates.iter().enumerate().flat_map(|(i, call)| kernel::state_fields(i, call, takes_back)));
    Arc::new(Schema::new(fields))
}

/// Whether states have the schema that is expected (names and types; a store may have changed what can be NULL).
///
/// # Errors
/// [`Error::Shape`] with the first difference.
pub fn check_state(expected: &Schema, states: &RecordBatch) -> Result<()> {
    let (expected, found) = (expected.fields(), states.schema_ref().fields());
    let differs = |(e, f): &(&Arc<Field>, &Arc<Field>)| e.name() != f.name() || e.data_type() != f.data_type();
    let reason = match expected.iter().zip(found).find(differs) {
        Some((e, f)) => format!("{} {} stands where {} {} belongs", f.name(), f.data_type(), e.name(), e.data_type()),
        None if expected.len() != found.len() => format!("{} columns instead of {}", found.len(), expected.len()),
        None => return Ok(()),
    };
    Err(Error::shape("the states", reason))
}

/// A batch that also works without columns.
fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, row_count: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(Error::arrow("build a row batch"))
}

#[cfg(test)]
mod tests;
