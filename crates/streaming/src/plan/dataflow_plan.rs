//! [`DataflowPlan`]: the queries of views as one operator graph over any number of sources. A view that another reads is a
//! place in the graph, so that both are always at the same Positions.
//!
//! What it is not: a [`ViewPlan`](super::ViewPlan), which is a chain over one source and whose states can be merged.
//!
//! What must hold: the rows that come out are a set with a key; whatever identifies a row and is not shown stands at the end
//! of the output. A record of a source is left out of all inputs, or of none.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, new_null_array},
    datatypes::{Schema, SchemaRef},
};
use dataflow::{Layout, plain};
use datafusion::logical_expr::LogicalPlan;
use sql::{SourceDefinition, SqlError, ViewDefinition, on_deep_stack};

use super::{
    compiler::Compiler,
    describe,
    graph::{BuiltGraph, OperatorGraph, nullable},
    lower::{Lowering, Origin, Output, Readable},
    query::{self, Rules, Table},
    refusal::{at_word, check_scalar_subqueries},
    start_of_query,
    step::{self, CarriedRows},
};
use crate::{
    error::Result, fold::array_bytes, halves::Halves, hash::hash, source::decoder_hash, view_state::FirstRows,
};

/// Counts up when the same text comes to mean other rows, or the states of operators change.
const SEMANTICS_VERSION: u32 = 1;

/// The queries of one view, or of several of which some read others, planned as operators that feed each other.
#[derive(Clone, Debug)]
pub struct DataflowPlan {
    sources: Vec<SourceDefinition>,
    source_schemas: Vec<SchemaRef>,
    graph: OperatorGraph,
    views: Vec<PlannedOutput>,
    hash: String,
}

/// A view of a dataflow.
#[derive(Clone, Debug)]
pub struct PlannedOutput {
    name: String,
    output: Output,
    explanation: String,
}

impl PlannedOutput {
    /// The view's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The view's columns: those of the query, then what identifies a row and is not shown. Every column can be NULL.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output.schema
    }

    /// The columns of the output that identify a row.
    pub fn key_columns(&self) -> &[usize] {
        &self.output.key
    }

    /// The operators as text, for `EXPLAIN`.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }
}

/// Rows of one source as the inputs of a graph take them: an input, and rows for it.
pub type InputRows = Vec<(usize, RecordBatch)>;

impl DataflowPlan {
    /// Plans views over `sources` and over those before them.
    ///
    /// # Errors
    /// The name of the view whose query is wrong or cannot be kept up to date, and [`SqlError`], whose position counts in that
    /// view's whole text.
    pub fn new(views: &[ViewDefinition], sources: &[SourceDefinition]) -> Result<Self, (String, SqlError)> {
        let last = || views.last().map(|view| view.name.clone()).unwrap_or_default();
        on_deep_stack(|| Ok(Self::plan(views, sources))).unwrap_or_else(|error| Err((last(), error)))
    }

    fn plan(views: &[ViewDefinition], sources: &[SourceDefinition]) -> Result<Self, (String, SqlError)> {
        // The columns that one of them reads are decoded for all: a record is left out of all views, or of none.
        let seen = |source: &SourceDefinition| {
            let seen = views.iter().map(|view| view.seen(source));
            seen.max_by_key(|source| source.added_columns).unwrap_or_else(|| source.clone())
        };
        let sources: &[SourceDefinition] = &sources.iter().map(seen).collect::<Vec<_>>();
        let mut readable: Vec<Readable> = (0..)
            .zip(sources)
            .map(|(number, source)| Readable {
                name: source.name.clone(),
                schema: source.schema(),
                origin: match source.is_table() {
                    true => Origin::Table(number, source.key.clone()),
                    false => Origin::Source(number),
                },
            })
            .collect();
        let schemas: Vec<SchemaRef> = readable.iter().map(|source| Arc::clone(&source.schema)).collect();
        let (mut graph, mut outputs) = (OperatorGraph::default(), Vec::with_capacity(views.len()));
        for view in views {
            let output = lower(view, &readable, sources, &mut graph)
                .map_err(|error| (view.name.clone(), error.shifted(start_of_query(view))))?;
            let origin = Origin::View { node: output.node, key: output.key.clone() };
            // What a table shows is read by its name, and not its records.
            readable.retain(|known| known.name != view.name);
            readable.push(Readable { name: view.name.clone(), schema: Arc::clone(&output.schema), origin });
            outputs.push((view.name.clone(), output));
        }
        let last = || views.last().map(|view| view.name.clone()).unwrap_or_default();
        let (sources, source_schemas, graph) = only_those_read(sources, &schemas, graph);
        one_source_a_topic(&sources).map_err(|error| (last(), error))?;
        let nodes: Vec<usize> = outputs.iter().map(|(_, output)| output.node).collect();
        let mut parts = vec![SEMANTICS_VERSION.to_string(), graph.canonical(&nodes)];
        parts.extend(
            outputs.iter().map(|(name, output)| format!("{name} {} {:?}", describe(&output.schema), output.key)),
        );
        parts.extend(sources.iter().flat_map(|source| [source.topic.to_string(), decoder_hash(source)]));
        let hash = hash(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let explained = outputs.iter().map(|(name, output)| {
            let others = outputs.iter().filter(|(other, _)| other != name);
            let others: Vec<(&str, usize)> = others.map(|(name, output)| (name.as_str(), output.node)).collect();
            let explanation = graph.explanation(output.node, &sources, &others);
            PlannedOutput { name: name.clone(), output: output.clone(), explanation }
        });
        let views = explained.collect();
        Ok(Self { sources, source_schemas, graph, views, hash })
    }

    /// The name of the first view.
    pub fn name(&self) -> &str {
        self.views.first().map_or("", |view| &view.name)
    }

    /// The views, in the order in which they read each other.
    pub fn views(&self) -> &[PlannedOutput] {
        &self.views
    }

    /// The sources that they read.
    pub fn sources(&self) -> &[SourceDefinition] {
        &self.sources
    }

    /// A hash of what the views compute: the same across restarts.
    pub fn hash(&self) -> String {
        self.hash.clone()
    }

    /// How the rows of each view can be told apart, and whether those that came can be taken back.
    pub(crate) fn layouts(&self) -> Vec<Layout> {
        let layout = |view: &PlannedOutput| Layout {
            schema: Arc::clone(&view.output.schema),
            key: view.output.key.clone(),
            is_retracting: self.graph.node(view.output.node).is_retracting,
        };
        self.views.iter().map(layout).collect()
    }

    /// The operators with a state of their own.
    pub(crate) fn build(&self) -> Result<BuiltGraph> {
        self.graph.build(self.views.iter().map(|view| view.output.node))
    }

    /// Evaluates the first rows of a source for all inputs over it: all, or as many as it takes to have more than
    /// `bytes_max`.
    pub(crate) fn evaluate(&self, source: usize, rows: &RecordBatch, bytes_max: usize) -> Result<FirstRows<InputRows>> {
        let (mut evaluated, mut bytes) = (InputRows::new(), 0);
        let halves = Halves::of(rows.num_rows(), bytes_max, |range| {
            let found = self.evaluate_all(source, &rows.slice(range.start, range.len()))?;
            let found_bytes: usize = found.iter().flat_map(|(_, rows)| rows.columns()).map(array_bytes).sum();
            bytes += found_bytes;
            evaluated.extend(found);
            Ok(found_bytes)
        })?;
        Ok(FirstRows { rows: evaluated, row_count: halves.done, failed: halves.failed, bytes })
    }

    fn evaluate_all(&self, source: usize, rows: &RecordBatch) -> Result<InputRows> {
        let inputs = self.graph.inputs().iter().enumerate().filter(|(_, input)| input.source == source);
        let evaluated = inputs.map(|(number, input)| {
            let schema = &self.source_schemas[source];
            let columns = input.columns.iter().map(|column| {
                let field = schema.field(*column);
                match rows.column_by_name(field.name()) {
                    Some(column) => Ok(plain(column, field.data_type())?),
                    None => Ok(new_null_array(field.data_type(), rows.num_rows())),
                }
            });
            let read = nullable(input.columns.iter().map(|column| schema.field(*column).clone()));
            let rows = step::batch(&read, columns.collect::<Result<Vec<_>>>()?, rows.num_rows())?;
            let CarriedRows { rows, .. } = step::run(&input.steps, CarriedRows { rows, carried: Vec::new() })?;
            Ok((number, step::relabelled(&self.graph.input_schema(number), &rows)?))
        });
        evaluated.collect()
    }
}

/// Adds a view's operators to a graph.
fn lower(
    view: &ViewDefinition,
    readable: &[Readable],
    sources: &[SourceDefinition],
    graph: &mut OperatorGraph,
) -> Result<Output, SqlError> {
    let tables = readable.iter().map(|readable| Table { name: &readable.name, schema: seen(view, readable, sources) });
    let query = query::analyse(&view.query, &tables.collect::<Vec<_>>(), sources)?;
    check_scalar_subqueries(&query.plan)?;
    let optimised = query.optimised(&view.query, Rules::Graph)?;
    if !reads_something(&query.plan) {
        let error = SqlError::unsupported("a view that reads no source").with_hint("a view reads sources");
        return Err(at_word(&view.query, "select", error));
    }
    let compiler = Compiler { state: &query.state };
    Lowering { text: &view.query, compiler, readable, graph }.output(&optimised)
}

/// The columns of a relation that a view reads: those that it had when the view was defined.
fn seen(view: &ViewDefinition, readable: &Readable, sources: &[SourceDefinition]) -> SchemaRef {
    match (&readable.origin, sources.iter().find(|source| source.name == readable.name)) {
        (Origin::View { .. }, Some(table)) => {
            let columns = view.seen(table).columns.fields().len();
            let fields = readable.schema.fields().iter().take(columns).map(Arc::clone);
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        }
        (_, Some(source)) => view.seen(source).schema(),
        (_, None) => Arc::clone(&readable.schema),
    }
}

fn reads_something(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::TableScan(_)) || plan.inputs().into_iter().any(reads_something)
}

/// The sources that inputs read, numbered anew.
fn only_those_read(
    sources: &[SourceDefinition],
    schemas: &[SchemaRef],
    mut graph: OperatorGraph,
) -> (Vec<SourceDefinition>, Vec<SchemaRef>, OperatorGraph) {
    let mut read: Vec<usize> = graph.inputs().iter().map(|input| input.source).collect();
    read.sort_unstable();
    read.dedup();
    graph.renumber_sources(&read);
    let sources_read = read.iter().map(|source| sources[*source].clone()).collect();
    (sources_read, read.iter().map(|source| Arc::clone(&schemas[*source])).collect(), graph)
}

/// Positions name topics: two sources over one could not be at different places of it.
fn one_source_a_topic(sources: &[SourceDefinition]) -> Result<(), SqlError> {
    for (number, source) in sources.iter().enumerate() {
        if let Some(other) = sources[..number].iter().find(|other| other.topic == source.topic) {
            let message = format!(
                "a view over sources {} and {}, which both read topic {}",
                other.name, source.name, source.topic
            );
            return Err(SqlError::unsupported(message).with_hint("declare one source with the columns of both"));
        }
    }
    Ok(())
}
