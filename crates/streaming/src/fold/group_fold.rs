//! The state of a view that groups.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array},
    datatypes::DataType,
};

use super::{
    ViewChange,
    evaluated_rows::Piece,
    groups::{GroupTable, plain},
    kernel::{self, Input, Kernel, Places},
};
use crate::{
    error::{Error, Result},
    plan::{
        Grouping, ViewPlan, plain_text,
        step::{self, CarriedRows},
    },
};

/// The group changed since the last drain of changes.
const CHANGED: u8 = 1;
/// The group was touched since the last drain of states.
const DIRTY: u8 = 2;
/// The last change of the group was a row.
const SHOWN: u8 = 4;

/// Groups and what is kept of them.
pub(super) struct GroupFold {
    plan: Arc<ViewPlan>,
    grouping: Grouping,
    groups: GroupTable,
    /// How many rows each group has.
    rows: Vec<i64>,
    kernels: Vec<Box<dyn Kernel>>,
    flags: Vec<u8>,
    changed: Vec<u32>,
    dirty: Vec<u32>,
    live_count: usize,
    /// Why a value of a group was NULL in the last changes.
    failure: Option<String>,
}

/// Groups as rows of the view.
struct Finished {
    rows: RecordBatch,
    /// Which groups the rows are, in order: HAVING leaves some out.
    shown: Vec<u32>,
    /// The first reason why a value could not be computed.
    failure: Option<String>,
}

impl GroupFold {
    pub(super) fn new(plan: Arc<ViewPlan>, grouping: Grouping) -> Result<Self> {
        let types = grouping.schema.fields().iter().take(grouping.keys.len());
        let groups = GroupTable::new(types.map(|field| plain_text(field.data_type())).collect())?;
        let kernels = grouping.aggregates.iter().map(kernel::new).collect::<Result<Vec<_>>>()?;
        let mut fold = Self {
            plan,
            grouping,
            groups,
            rows: Vec::new(),
            kernels,
            flags: Vec::new(),
            changed: Vec::new(),
            dirty: Vec::new(),
            live_count: 0,
            failure: None,
        };
        fold.resize();
        if fold.is_global() {
            // An aggregate over nothing has a row: count(*) is 0.
            fold.touch(&[0], CHANGED);
        }
        Ok(fold)
    }

    /// Folds rows; what they carry are weights (if `weighted`), then places (if some aggregate needs them).
    pub(super) fn fold(&mut self, pieces: Vec<Piece>, weighted: bool) -> Result<()> {
        let mut grouped = Vec::with_capacity(pieces.len());
        for piece in pieces.into_iter().filter(|piece| piece.rows.num_rows() > 0) {
            let groups = self.groups.intern(&piece.keys, piece.rows.num_rows())?;
            self.resize();
            self.check_retractions(&groups, weights(&piece, weighted)?)?;
            grouped.push((groups, piece));
        }
        grouped.into_iter().try_for_each(|(groups, piece)| self.add(&groups, piece, weighted))
    }

    fn add(&mut self, groups: &[u32], mut piece: Piece, weighted: bool) -> Result<()> {
        let arguments = std::mem::take(&mut piece.arguments);
        let weights = weights(&piece, weighted)?;
        let places = self.places(&piece.carried, usize::from(weighted))?;
        for (kernel, (values, filter)) in self.kernels.iter_mut().zip(arguments) {
            kernel.update(&Input { groups, values, filter, weights, places })?;
        }
        for (i, group) in groups.iter().enumerate() {
            self.add_rows(*group as usize, weights.map_or(1, |weights| weights[i]));
        }
        self.touch(groups, CHANGED | DIRTY);
        Ok(())
    }

    pub(super) fn drain_changes(&mut self) -> Result<ViewChange> {
        let groups = self.changed.clone();
        let (live, dead): (Vec<u32>, Vec<u32>) = groups.iter().partition(|group| self.is_live(**group));
        let Finished { rows: shown_rows, shown, failure } = self.finish(&live)?;
        let mut gone = dead;
        let mut is_shown = shown.iter().peekable();
        // Both lists are in the order of `live`: what the suffix filtered out leaves.
        for group in &live {
            if is_shown.next_if(|next| *next == group).is_none() {
                gone.push(*group);
            }
        }
        gone.retain(|group| self.flags[*group as usize] & SHOWN != 0);
        let gone_rows = self.key_rows(&gone)?;
        let weights = std::iter::repeat_n(1, shown.len()).chain(std::iter::repeat_n(-1, gone.len()));
        let weights: Int64Array = weights.collect::<Vec<i64>>().into();
        let rows = arrow::compute::concat_batches(self.plan.output_schema(), [&shown_rows, &gone_rows])
            .map_err(Error::arrow("gather changes"))?;
        // Only now that nothing can fail.
        self.failure = self.failure.take().or(failure);
        for group in shown {
            self.flags[group as usize] |= SHOWN;
        }
        for group in gone {
            self.flags[group as usize] &= !SHOWN;
        }
        for group in std::mem::take(&mut self.changed) {
            self.flags[group as usize] &= !CHANGED;
        }
        Ok(ViewChange { rows, weights })
    }

    pub(super) fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    pub(super) fn dirty_state(&self) -> Result<RecordBatch> {
        self.states(&self.dirty)
    }

    pub(super) fn forget_dirty(&mut self) {
        for group in std::mem::take(&mut self.dirty) {
            self.flags[group as usize] &= !DIRTY;
        }
    }

    pub(super) fn all_state(&self) -> Result<RecordBatch> {
        self.states(&self.live_groups())
    }

    pub(super) fn merge_state(&mut self, states: &RecordBatch) -> Result<()> {
        let groups = self.merge(states, false)?;
        self.touch(&groups, CHANGED | DIRTY);
        Ok(())
    }

    pub(super) fn restore_state(&mut self, states: &RecordBatch) -> Result<()> {
        let groups = self.merge(states, true)?;
        self.touch(&groups, CHANGED);
        Ok(())
    }

    pub(super) fn rows(&self) -> Result<RecordBatch> {
        Ok(self.finish(&self.live_groups())?.rows)
    }

    pub(super) fn group_count(&self) -> usize {
        self.live_count.max(usize::from(self.is_global()))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let vectors = self.rows.capacity() * size_of::<i64>()
            + self.flags.capacity()
            + (self.changed.capacity() + self.dirty.capacity()) * size_of::<u32>();
        vectors + self.groups.memory_bytes() + self.kernels.iter().map(|k| k.memory_bytes()).sum::<usize>()
    }

    fn is_global(&self) -> bool {
        self.grouping.keys.is_empty()
    }

    fn is_live(&self, group: u32) -> bool {
        self.is_global() || self.rows[group as usize] != 0
    }

    fn live_groups(&self) -> Vec<u32> {
        (0..self.rows.len() as u32).filter(|group| self.is_live(*group)).collect()
    }

    fn places<'a>(&self, carried: &'a [ArrayRef], at: usize) -> Result<Option<Places<'a>>> {
        if !self.grouping.aggregates.iter().any(|call| call.kind.needs_place()) {
            return Ok(None);
        }
        let column = |i: usize| carried.get(at + i).map(|array| array.as_any());
        let arrivals = column(0).and_then(|column| column.downcast_ref::<TimestampMicrosecondArray>());
        let partitions = column(1).and_then(|column| column.downcast_ref::<Int32Array>());
        match (arrivals, partitions) {
            (Some(arrivals), Some(partitions)) => Ok(Some(Places {
                arrivals_us: arrivals.values(),
                partitions: partitions.values(),
                offsets: int64(carried, at + 2)?.values(),
            })),
            _ => Err(Error::Shape { what: "the rows", reason: "their places in the log are missing".to_owned() }),
        }
    }

    /// A row can only be taken back from sums.
    fn check_retractions(&self, groups: &[u32], weights: Option<&[i64]>) -> Result<()> {
        let Some(compact) = self.grouping.aggregates.iter().find(|call| !call.kind.is_linear()) else { return Ok(()) };
        let Some(row) = weights.and_then(|weights| weights.iter().position(|weight| *weight < 0)) else {
            return Ok(());
        };
        Err(Error::Retraction { aggregate: compact.text.clone(), group: self.describe(groups[row]) })
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

    fn touch(&mut self, groups: &[u32], flags: u8) {
        for group in groups {
            let new = flags & !self.flags[*group as usize];
            if new & CHANGED != 0 {
                self.changed.push(*group);
            }
            if new & DIRTY != 0 {
                self.dirty.push(*group);
            }
            self.flags[*group as usize] |= flags;
        }
    }

    fn states(&self, groups: &[u32]) -> Result<RecordBatch> {
        let mut columns = self.groups.columns(groups)?;
        columns.push(kernel::counts_of(&self.rows, groups));
        for kernel in &self.kernels {
            columns.extend(kernel.state(groups)?);
        }
        step::batch(self.plan.state_schema(), columns, groups.len())
    }

    fn merge(&mut self, states: &RecordBatch, replace: bool) -> Result<Vec<u32>> {
        super::check_state(&self.plan, states)?;
        let key_count = self.grouping.keys.len();
        let groups = self.groups.intern(&states.columns()[..key_count], states.num_rows())?;
        self.resize();
        if replace {
            for group in &groups {
                self.add_rows(*group as usize, -self.rows[*group as usize]);
                self.kernels.iter_mut().for_each(|kernel| kernel.reset(*group as usize));
            }
        }
        let rows = int64(states.columns(), key_count)?;
        let mut next = key_count + 1;
        for (i, kernel) in self.kernels.iter_mut().enumerate() {
            let width = kernel::state_fields(i, &self.grouping.aggregates[i]).len();
            kernel.merge(&groups, &states.columns()[next..next + width])?;
            next += width;
        }
        for (row, group) in groups.iter().enumerate() {
            self.add_rows(*group as usize, rows.value(row));
        }
        Ok(groups)
    }

    /// The view's rows of some groups; what cannot be computed of a group is NULL.
    fn finish(&self, groups: &[u32]) -> Result<Finished> {
        let mut columns = self.groups.columns(groups)?;
        for kernel in &self.kernels {
            columns.push(kernel.evaluate(groups)?);
        }
        let fields = self.grouping.schema.fields().iter();
        let columns = columns.iter().zip(fields).map(|(column, field)| plain(column, field.data_type()));
        let rows = step::batch(&self.grouping.schema, columns.collect::<Result<Vec<_>>>()?, groups.len())?;
        let numbers: ArrayRef = Arc::new(UInt32Array::from(groups.to_vec()));
        let mut failure = None;
        let finished =
            step::run_with(self.plan.above(), CarriedRows { rows, carried: vec![numbers] }, |value, rows| {
                value.evaluate_or_null(rows, &mut failure)
            })?;
        let shown = finished.carried[0].as_any().downcast_ref::<UInt32Array>();
        let shown = shown.map(|shown| shown.values().to_vec()).unwrap_or_default();
        let hidden = self.plan.hidden_keys();
        let mut columns = finished.rows.columns().to_vec();
        if !hidden.is_empty() {
            let keys = self.groups.columns(&shown)?;
            columns.extend(hidden.iter().map(|key| ArrayRef::clone(&keys[*key])));
        }
        Ok(Finished { rows: super::output_batch(&self.plan, &columns, shown.len())?, shown, failure })
    }

    /// Rows that have nothing but their keys.
    fn key_rows(&self, groups: &[u32]) -> Result<RecordBatch> {
        let keys = self.groups.columns(groups)?;
        super::key_rows(&self.plan, &keys, groups.len())
    }
}

/// The weights of a piece's rows.
fn weights(piece: &Piece, weighted: bool) -> Result<Option<&[i64]>> {
    if weighted { int64(&piece.carried, 0).map(|weights| Some(weights.values().as_ref())) } else { Ok(None) }
}

fn int64(columns: &[ArrayRef], index: usize) -> Result<&Int64Array> {
    columns.get(index).and_then(|column| column.as_any().downcast_ref()).ok_or_else(|| Error::Shape {
        what: "the rows or states",
        reason: format!("column {index} is not a {}", DataType::Int64),
    })
}
