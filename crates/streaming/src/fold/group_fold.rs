//! The state of a view that groups: the groups, and the linear steps from them to the view's rows.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::DataType,
};
use dataflow::{Change, GroupBy, GroupInput, Weights, kernel::Places};

use super::evaluated_rows::Piece;
use crate::{
    error::{Error, Result},
    plan::{
        Grouping, ViewPlan,
        step::{self, CarriedRows},
    },
};

/// Groups, and how they become rows of the view.
pub(super) struct GroupFold {
    plan: Arc<ViewPlan>,
    needs_places: bool,
    groups: GroupBy,
    /// Why a value of a group was NULL in the last changes.
    failure: Option<String>,
}

impl GroupFold {
    pub(super) fn new(plan: Arc<ViewPlan>, grouping: &Grouping) -> Result<Self> {
        let needs_places = grouping.aggregates.iter().any(|call| call.signature.kind.needs_place());
        Ok(Self { plan, needs_places, groups: grouping.operator()?, failure: None })
    }

    /// Folds rows; what they carry are weights (if `weighted`), then places (if some aggregate needs them).
    pub(super) fn fold(&mut self, pieces: Vec<Piece>, weighted: bool) -> Result<()> {
        if weighted {
            // All or nothing.
            pieces
                .iter()
                .try_for_each(|piece| self.groups.check(&piece.keys, int64(&piece.carried, 0)?).map_err(Error::from))?;
        }
        pieces.into_iter().filter(|piece| piece.rows.num_rows() > 0).try_for_each(|piece| {
            let weights = if weighted { Some(int64(&piece.carried, 0)?) } else { None };
            let places = self.places(&piece.carried, usize::from(weighted))?;
            let row_count = piece.rows.num_rows();
            let input = GroupInput { row_count, keys: piece.keys, arguments: piece.arguments, weights, places };
            Ok(self.groups.push(input)?)
        })
    }

    pub(super) fn drain_changes(&mut self) -> Result<Change> {
        let (rows, weights) = self.groups.finish()?.into_parts();
        let mut failure = None;
        let (rows, weights) = finish(&self.plan, rows, &weights, &mut failure)?;
        self.failure = self.failure.take().or(failure);
        Ok(Change::new(rows, weights)?)
    }

    pub(super) fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    pub(super) fn dirty_state(&self) -> Result<RecordBatch> {
        Ok(self.groups.dirty_state()?)
    }

    pub(super) fn forget_dirty(&mut self) {
        self.groups.forget_dirty();
    }

    pub(super) fn all_state(&self) -> Result<RecordBatch> {
        Ok(self.groups.all_state()?)
    }

    pub(super) fn merge_state(&mut self, states: &RecordBatch) -> Result<()> {
        Ok(self.groups.merge_state(states)?)
    }

    pub(super) fn restore_state(&mut self, states: &RecordBatch) -> Result<()> {
        Ok(self.groups.restore_state(states)?)
    }

    pub(super) fn rows(&self) -> Result<RecordBatch> {
        Ok(finish(&self.plan, self.groups.rows()?, &Weights::Ones, &mut None)?.0)
    }

    pub(super) fn group_count(&self) -> usize {
        self.groups.group_count()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.groups.memory_bytes()
    }

    fn places<'a>(&self, carried: &'a [ArrayRef], at: usize) -> Result<Option<Places<'a>>> {
        if !self.needs_places {
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
}

/// The view's rows of some groups; what cannot be computed of a group is NULL. A group's row is the same whenever it is
/// computed, so that what went out is what is taken back.
fn finish(
    plan: &ViewPlan,
    groups: RecordBatch,
    weights: &Weights,
    failure: &mut Option<String>,
) -> Result<(RecordBatch, Weights)> {
    let mut carried: Vec<ArrayRef> =
        weights.column().map(|weights| Arc::new(weights.clone()) as ArrayRef).into_iter().collect();
    let key_at = carried.len();
    carried.extend(plan.hidden_keys().iter().map(|key| ArrayRef::clone(groups.column(*key))));
    let finished = step::run_with(plan.above(), CarriedRows { rows: groups, carried }, |value, rows| {
        value.evaluate_or_null(rows, failure)
    })?;
    let mut columns = finished.rows.columns().to_vec();
    columns.extend(finished.carried.iter().skip(key_at).map(ArrayRef::clone));
    let rows = super::output_batch(plan, &columns, finished.rows.num_rows())?;
    let weights = if key_at == 0 { Weights::Ones } else { Weights::Column(int64(&finished.carried, 0)?.clone()) };
    Ok((rows, weights))
}

fn int64(columns: &[ArrayRef], index: usize) -> Result<&Int64Array> {
    columns.get(index).and_then(|column| column.as_any().downcast_ref()).ok_or_else(|| Error::Shape {
        what: "the rows or states",
        reason: format!("column {index} is not a {}", DataType::Int64),
    })
}
