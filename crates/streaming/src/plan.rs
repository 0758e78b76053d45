//! A view's query as a plan that folds.
//!
//! What it is: [`ViewPlan`]: DataFusion parses, resolves and compiles the query; here the plan is cut at its aggregate
//! into linear steps, groups, and linear steps.
//!
//! What it is not: the state (that is [`Fold`](crate::Fold)'s), and no grammar of its own: windows are rewritten to
//! plain SQL before planning ([`window`]).
//!
//! What must hold: a query that the operators cannot run is refused here, with what is missing, and never at a row;
//! an expression's value depends on the row alone, so that every replay gives the same rows.

mod aggregate;
mod array_expression;
mod checked_arithmetic;
mod compiler;
mod dataflow_plan;
mod expandable_list;
mod graph;
mod lower;
mod planned_view;
mod query;
mod refusal;
mod split;
pub(crate) mod step;
mod window;

pub(crate) use aggregate::AggregateCall;
pub(crate) use compiler::Grouping;
pub use dataflow_plan::{DataflowPlan, InputRows, PlannedOutput};
pub(crate) use graph::BuiltGraph;
pub use planned_view::PlannedView;
pub(crate) use split::has_subqueries;

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use dataflow::plain_text;
use sql::{
    ARRIVAL_TIME, OFFSET, PARTITION, SourceDefinition, SqlError, ViewDefinition, character_at, on_deep_stack, sqlstate,
};

use crate::{hash::hash, source::decoder_hash};
use query::{AnalysedQuery, Rules};
use step::{CarriedRows, Step};

/// Counts up when the state's columns or their meaning change: a state of another version is not read.
pub(crate) const STATE_FORMAT_VERSION: u32 = 3;

/// A view's query, planned.
#[derive(Clone, Debug)]
pub struct ViewPlan {
    name: String,
    source: SourceDefinition,
    source_schema: SchemaRef,
    source_columns: Vec<usize>,
    below: Vec<Step>,
    grouping: Option<Grouping>,
    above: Vec<Step>,
    output_schema: SchemaRef,
    key_columns: Vec<usize>,
    /// The keys that the query does not show and the output has at its end: indices into the state's key.
    hidden_keys: Vec<usize>,
    state_schema: SchemaRef,
    hash: String,
    explanation: String,
}

impl ViewPlan {
    /// Plans a view over one of `sources`.
    ///
    /// # Errors
    /// [`SqlError`] when the query is wrong, or needs an operator that is not built. Its position counts in the
    /// view's whole text.
    pub fn new(view: &ViewDefinition, sources: &[SourceDefinition]) -> Result<Self, SqlError> {
        on_deep_stack(|| Self::plan(view, sources)).map_err(|error| error.shifted(start_of_query(view)))
    }

    fn plan(view: &ViewDefinition, sources: &[SourceDefinition]) -> Result<Self, SqlError> {
        let query = query::analyse(&view.query, &query::tables(sources), sources)?;
        Self::of(view, sources, &query)
    }

    fn of(view: &ViewDefinition, sources: &[SourceDefinition], query: &AnalysedQuery) -> Result<Self, SqlError> {
        let optimised = query.optimised(&view.query, Rules::Chain)?;
        let split = split::split(&view.query, &optimised, &query.state)?;
        let source = sources.iter().find(|source| source.name == split.source).ok_or_else(|| {
            SqlError::new(sqlstate::UNDEFINED_TABLE, format!("source \"{}\" does not exist", split.source))
        })?;
        let source_schema = source.schema();
        let key_fields = key_fields(split.grouping.as_ref(), &source_schema)?;
        let (output_schema, key_columns, hidden_keys) = output(&split, &key_fields, &source_schema);
        let explanation = query.plan.display_indent().to_string();
        let hash = hash(&[
            &STATE_FORMAT_VERSION.to_string(),
            &explanation,
            source.topic.as_str(),
            &decoder_hash(source),
            &describe(&source_schema),
            &describe(&output_schema),
        ]);
        let state_schema = match &split.grouping {
            Some(grouping) => Arc::clone(grouping.operator().map_err(|error| not_built(&error))?.state_schema()),
            None => Arc::new(crate::fold::row_state_schema(&key_fields, &output_schema, &key_columns)),
        };
        let plan = Self {
            name: view.name.clone(),
            source: source.clone(),
            source_columns: source_columns(&split, &source_schema),
            source_schema,
            below: split.below,
            grouping: split.grouping,
            above: split.above,
            output_schema,
            key_columns,
            hidden_keys,
            state_schema,
            hash,
            explanation,
        };
        plan.try_on_nothing()?;
        Ok(plan)
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The source it reads.
    pub fn source(&self) -> &SourceDefinition {
        &self.source
    }

    /// The view's columns: those of the query, then the key columns that the query does not show. Every column can
    /// be NULL.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output_schema
    }

    /// The columns of the output that identify a row: the grouping columns; `_partition` and `_offset` in a view that
    /// does not group; none for an aggregate over everything, which has one row.
    pub fn key_columns(&self) -> &[usize] {
        &self.key_columns
    }

    /// A hash of what the view computes: the same across restarts, another one when the query, the source or the
    /// format of the state changes.
    pub fn hash(&self) -> String {
        self.hash.clone()
    }

    /// The columns of the source's schema that the plan reads, ascending.
    pub fn source_columns(&self) -> Vec<usize> {
        self.source_columns.clone()
    }

    /// Whether the view groups rows.
    pub fn is_aggregate(&self) -> bool {
        self.grouping.is_some()
    }

    /// The schema of the view's state: `key_0..`, `rows`, then the columns of each aggregate (or of the row).
    pub fn state_schema(&self) -> &SchemaRef {
        &self.state_schema
    }

    /// How many columns at the front of the state's schema are its key.
    pub fn state_key_count(&self) -> usize {
        self.key_columns.len()
    }

    /// The plan as text, for `EXPLAIN`.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }

    pub(crate) fn source_schema(&self) -> &SchemaRef {
        &self.source_schema
    }

    pub(crate) fn below(&self) -> &[Step] {
        &self.below
    }

    pub(crate) fn grouping(&self) -> Option<&Grouping> {
        self.grouping.as_ref()
    }

    pub(crate) fn above(&self) -> &[Step] {
        &self.above
    }

    pub(crate) fn hidden_keys(&self) -> &[usize] {
        &self.hidden_keys
    }

    /// Constants that no row could make right (a window of no length) are found by running the plan over no rows.
    fn try_on_nothing(&self) -> Result<(), SqlError> {
        let invalid = |error: crate::Error| match &error {
            crate::Error::Evaluate { source, .. } if source.find_root().to_string().contains("Divide by zero") => {
                SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero")
            }
            _ => SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, error.to_string()),
        };
        let rows = RecordBatch::new_empty(Arc::clone(&self.source_schema));
        let below = step::run(&self.below, CarriedRows { rows, carried: Vec::new() }).map_err(invalid)?;
        let Some(grouping) = &self.grouping else { return Ok(()) };
        let arguments = grouping.aggregates.iter().flat_map(|call| call.argument.iter().chain(&call.filter));
        for expression in grouping.keys.iter().chain(arguments) {
            expression.evaluate(&below.rows).map_err(invalid)?;
        }
        let groups = RecordBatch::new_empty(Arc::clone(&grouping.schema));
        step::run(&self.above, CarriedRows { rows: groups, carried: Vec::new() }).map_err(invalid)?;
        Ok(())
    }
}

/// How many characters stand before a view's query in its text.
fn start_of_query(view: &ViewDefinition) -> usize {
    view.text.find(&view.query).map_or(0, |byte| character_at(&view.text, byte) - 1)
}

/// The checks before have let something pass that an operator does not know.
fn not_built(error: &dataflow::Error) -> SqlError {
    SqlError::new(sqlstate::INTERNAL_ERROR, error.to_string())
}

/// The fields of the state's key.
fn key_fields(grouping: Option<&Grouping>, source: &Schema) -> Result<Vec<Field>, SqlError> {
    let Some(grouping) = grouping else {
        let missing = |error: arrow::error::ArrowError| SqlError::new(sqlstate::INTERNAL_ERROR, error.to_string());
        return [PARTITION, OFFSET].iter().map(|name| source.field_with_name(name).cloned().map_err(missing)).collect();
    };
    let fields = grouping.schema.fields().iter().take(grouping.keys.len());
    let checked = fields.map(|field| match field.data_type() {
        nested if nested.is_nested() => Err(SqlError::unsupported(format!("GROUP BY of a {nested}"))),
        _ => Ok(field.as_ref().clone()),
    });
    checked.collect()
}

/// The output's schema, which of its columns are the keys in order, and which keys it has that the query does not show.
fn output(split: &split::SplitPlan, keys: &[Field], source: &Schema) -> (SchemaRef, Vec<usize>, Vec<usize>) {
    let mut fields: Vec<Field> = split
        .schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), plain_text(field.data_type()), true))
        .collect();
    let (mut key_columns, mut hidden_keys) = (Vec::new(), Vec::new());
    for (i, key) in keys.iter().enumerate() {
        let origin = if split.grouping.is_some() { Some(i) } else { source.index_of(key.name()).ok() };
        let shown = split.origins.iter().position(|found| found.is_some() && *found == origin);
        key_columns.push(shown.unwrap_or_else(|| {
            let mut name = key.name().clone();
            while fields.iter().any(|field| *field.name() == name) {
                name.insert(0, '_');
            }
            fields.push(Field::new(name, plain_text(key.data_type()), true));
            hidden_keys.push(i);
            fields.len() - 1
        }));
    }
    (Arc::new(Schema::new(fields)), key_columns, hidden_keys)
}

fn source_columns(split: &split::SplitPlan, source: &Schema) -> Vec<usize> {
    let place = [PARTITION, OFFSET, ARRIVAL_TIME];
    let places: &[&str] = match &split.grouping {
        None => &place[..2],
        Some(grouping) if grouping.aggregates.iter().any(|call| call.signature.kind.needs_place()) => &place,
        Some(_) => &[],
    };
    let mut columns = split.source_columns.clone();
    columns.extend(places.iter().filter_map(|name| source.index_of(name).ok()));
    columns.sort_unstable();
    columns.dedup();
    columns
}

fn describe(schema: &Schema) -> String {
    schema.fields().iter().map(|field| format!("{}:{};", field.name(), field.data_type())).collect()
}

#[cfg(test)]
mod tests;
