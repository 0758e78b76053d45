//! The rows of a source as a view's expressions see them: all of a fold that a record can make fail.
//!
//! What it is: [`EvaluatedRows`], made without touching a fold's state, and so before anything is decided: whoever
//! makes them writes down what failed, and then folds the rest.
//!
//! What must hold: a row is left out exactly when its evaluation fails for it alone ([`Halves`]).

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array},
    compute::{filter, filter_record_batch},
    datatypes::{Field, Schema},
};
use dataflow::{Argument, plain};
use sql::{ARRIVAL_TIME, OFFSET, PARTITION};

use crate::{
    error::{Error, Result},
    halves::{FailedRow, Halves},
    plan::{
        AggregateCall, ViewPlan,
        step::{self, CarriedRows},
    },
};

/// Rows that a fold of the same plan can take.
pub struct EvaluatedRows {
    pub(super) plan_hash: String,
    /// Whether each piece carries weights.
    pub(super) weighted: bool,
    pub(super) pieces: Vec<Piece>,
    failed: Vec<FailedRow>,
    /// What the pieces take.
    bytes: usize,
}

/// Neighbouring rows that were evaluated together.
pub(super) struct Piece {
    /// The view's own rows; below a grouping, only how many there are matters.
    pub(super) rows: RecordBatch,
    /// Weights (if there are any), then places in the log (if the plan needs them).
    pub(super) carried: Vec<ArrayRef>,
    /// What groups the rows.
    pub(super) keys: Vec<ArrayRef>,
    /// What each aggregate takes: its argument, and which rows count.
    pub(super) arguments: Vec<Argument>,
}

impl Piece {
    fn bytes(&self) -> usize {
        let arguments = self.arguments.iter().filter_map(|argument| argument.values.as_ref());
        self.rows.columns().iter().chain(&self.keys).chain(arguments).map(array_bytes).sum()
    }
}

/// What the values of an array take, wherever its buffers are shared.
pub(crate) fn array_bytes(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

impl EvaluatedRows {
    /// Evaluates rows with their weights; without weights each row counts once. The rows have the source's whole
    /// schema, or those of its columns, by name, that [`ViewPlan::source_columns`] lists.
    ///
    /// # Errors
    /// [`Error::Shape`] when the rows are not the source's. Rows that fail are no error: they are
    /// [`failed`](Self::failed).
    pub fn new(plan: &ViewPlan, rows: &RecordBatch, weights: Option<&Int64Array>) -> Result<Self> {
        let (rows, counting) = without_weight_zero(source_rows(plan, rows)?, weights)?;
        let mut evaluated = Self::none(plan, counting.is_some());
        if rows.num_rows() == 0 {
            return Ok(evaluated);
        }
        let mut carried: Vec<ArrayRef> = counting.into_iter().map(|weights| Arc::new(weights) as ArrayRef).collect();
        for name in places(plan) {
            carried.push(rows.column_by_name(name).map(ArrayRef::clone).ok_or_else(|| missing(name))?);
        }
        evaluated.add(plan, &CarriedRows { rows, carried }, usize::MAX)?;
        if let (Some(weights), false) = (weights, evaluated.failed.is_empty()) {
            // Rows of weight 0 were not counted.
            let weights = weights.values().iter().enumerate();
            let numbers: Vec<usize> = weights.filter(|(_, weight)| **weight != 0).map(|(number, _)| number).collect();
            evaluated.failed.iter_mut().for_each(|failed| failed.row = numbers[failed.row]);
        }
        Ok(evaluated)
    }

    /// Evaluates the first of some rows, all or as many as it takes to have more than `bytes_max`, and tells how many. Each
    /// row counts once.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn first(plan: &ViewPlan, rows: &RecordBatch, bytes_max: usize) -> Result<(Self, usize)> {
        let rows = source_rows(plan, rows)?;
        let mut evaluated = Self::none(plan, false);
        if rows.num_rows() == 0 {
            return Ok((evaluated, 0));
        }
        let carried = places(plan).iter().map(|name| rows.column_by_name(name).cloned().ok_or_else(|| missing(name)));
        let input = CarriedRows { carried: carried.collect::<Result<_>>()?, rows };
        let row_count = evaluated.add(plan, &input, bytes_max)?;
        Ok((evaluated, row_count))
    }

    fn none(plan: &ViewPlan, weighted: bool) -> Self {
        Self { plan_hash: plan.hash(), weighted, pieces: Vec::new(), failed: Vec::new(), bytes: 0 }
    }

    /// What the values take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows that are left out, in order.
    pub fn failed(&self) -> &[FailedRow] {
        &self.failed
    }

    pub(crate) fn take_failed(&mut self) -> Vec<FailedRow> {
        std::mem::take(&mut self.failed)
    }

    /// Evaluates rows, as many as it takes to have more than `bytes_max`; tells how many.
    fn add(&mut self, plan: &ViewPlan, input: &CarriedRows, bytes_max: usize) -> Result<usize> {
        let (pieces, all_bytes) = (&mut self.pieces, &mut self.bytes);
        let halves = Halves::of(input.rows.num_rows(), bytes_max, |rows| {
            let piece = evaluate(plan, input.slice(rows.start, rows.len()))?;
            let bytes = piece.bytes();
            *all_bytes += bytes;
            pieces.push(piece);
            Ok(bytes)
        })?;
        self.failed.extend(halves.failed);
        Ok(halves.done)
    }
}

fn evaluate(plan: &ViewPlan, input: CarriedRows) -> Result<Piece> {
    let CarriedRows { rows, carried } = step::run(plan.below(), input)?;
    let Some(grouping) = plan.grouping() else {
        let places = &carried[carried.len() - places(plan).len()..];
        let mut columns = rows.columns().to_vec();
        columns.extend(plan.hidden_keys().iter().map(|key| ArrayRef::clone(&places[*key])));
        let rows = super::output_batch(plan, &columns, rows.num_rows())?;
        return Ok(Piece { rows, carried, keys: Vec::new(), arguments: Vec::new() });
    };
    let keys = grouping.keys.iter().map(|key| key.evaluate(&rows)).collect::<Result<Vec<_>>>()?;
    let arguments = grouping.aggregates.iter().map(|call| argument(call, &rows)).collect::<Result<Vec<_>>>()?;
    Ok(Piece { rows, carried, keys, arguments })
}

/// What an aggregate takes of each row. Its argument may fail where its filter leaves the row out.
fn argument(call: &AggregateCall, rows: &RecordBatch) -> Result<Argument> {
    let selected = call.filter.as_ref().map(|filter| filter.is_true(rows)).transpose()?;
    let values = call.argument.as_ref().map(|argument| match (argument.evaluate(rows), &selected) {
        (Err(Error::Evaluate { .. }), Some(selected)) => argument.evaluate_where(rows, selected),
        (evaluated, _) => evaluated,
    });
    Ok(Argument { values: values.transpose()?, filter: selected })
}

/// The columns that say where a row is in the log, as far as the plan needs them.
fn places(plan: &ViewPlan) -> &'static [&'static str] {
    match plan.grouping() {
        None => &[PARTITION, OFFSET],
        Some(grouping) if grouping.aggregates.iter().any(|call| call.signature.kind.needs_place()) => {
            &[ARRIVAL_TIME, PARTITION, OFFSET]
        }
        Some(_) => &[],
    }
}

/// The rows with the source's whole schema; columns that the plan does not read may be missing.
fn source_rows(plan: &ViewPlan, rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = plan.source_schema();
    if rows.schema_ref().fields() == schema.fields() {
        return Ok(rows.clone());
    }
    let needed = plan.source_columns();
    let columns = schema.fields().iter().enumerate().map(|(i, field)| match rows.column_by_name(field.name()) {
        Some(column) => Ok(plain(column, field.data_type())?),
        None if needed.contains(&i) => Err(missing(field.name())),
        None => Ok(new_null_array(field.data_type(), rows.num_rows())),
    });
    // The stand-ins for missing columns are NULL even where the source's are not.
    let nullable: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    step::batch(&Arc::new(Schema::new(nullable)), columns.collect::<Result<Vec<_>>>()?, rows.num_rows())
}

fn missing(name: &str) -> Error {
    Error::Shape { what: "the rows", reason: format!("column {name} is missing") }
}

fn without_weight_zero(rows: RecordBatch, weights: Option<&Int64Array>) -> Result<(RecordBatch, Option<Int64Array>)> {
    let Some(weights) = weights else { return Ok((rows, None)) };
    if weights.len() != rows.num_rows() || weights.null_count() > 0 {
        let reason = format!("{} rows have {} weights", rows.num_rows(), weights.len() - weights.null_count());
        return Err(Error::Shape { what: "the weights", reason });
    }
    if !weights.values().contains(&0) {
        return Ok((rows, Some(weights.clone())));
    }
    let keep: BooleanArray = weights.values().iter().map(|weight| Some(*weight != 0)).collect();
    let rows = filter_record_batch(&rows, &keep).map_err(Error::arrow("filter rows"))?;
    let kept = filter(weights, &keep).map_err(Error::arrow("filter rows"))?;
    Ok((rows, kept.as_any().downcast_ref::<Int64Array>().cloned()))
}
