//! [`DataflowPlan`]: a view's query as an operator graph over any number of sources.
//!
//! What it is not: a [`ViewPlan`](super::ViewPlan), which is a chain over one source and whose states can be merged.
//!
//! What must hold: the rows that come out are a set with a key; whatever identifies a row and is not shown stands at the end
//! of the output. A record of a source is left out of all inputs, or of none.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, new_null_array},
    datatypes::{Field, Schema, SchemaRef},
};
use dataflow::{plain, plain_text};
use sql::{SourceDefinition, SqlError, ViewDefinition};

use super::{
    compiler::Compiler,
    graph::{BuiltGraph, OperatorGraph, nullable},
    lower::{Lowering, Need, Relation},
    query::{self, AnalysedQuery, Rules},
    refusal::at_word,
    step::{self, CarriedRows},
};
use crate::{
    error::Result,
    fold::array_bytes,
    hash::hash,
    halves::Halves,
    source::decoder_hash,
    view_state::FirstRows,
};

/// Counts up when the same text comes to mean other rows, or the states of operators change.
const SEMANTICS_VERSION: u32 = 1;

/// A view's query, planned as operators that feed each other.
#[derive(Clone, Debug)]
pub struct DataflowPlan {
    name: String,
    sources: Vec<SourceDefinition>,
    source_schemas: Vec<SchemaRef>,
    graph: OperatorGraph,
    output: Relation,
    output_schema: SchemaRef,
    key_columns: Vec<usize>,
    hash: String,
    explanation: String,
}

/// Rows of one source as the inputs of a graph take them: an input, and rows for it.
pub type InputRows = Vec<(usize, RecordBatch)>;

impl DataflowPlan {
    pub(super) fn of(
        view: &ViewDefinition,
        sources: &[SourceDefinition],
        query: &AnalysedQuery,
    ) -> Result<Self, SqlError> {
        let optimised = query.optimised(&view.query, Rules::Graph)?;
        let tables = query::tables(sources);
        let schemas: Vec<SchemaRef> = tables.iter().map(|table| Arc::clone(&table.schema)).collect();
        let mut lowering = Lowering {
            text: &view.query,
            compiler: Compiler { state: &query.state },
            sources: &tables,
            graph: OperatorGraph::default(),
        };
        let output = lowering.lower(&optimised, Need { key: true, places: false })?;
        let graph = lowering.graph;
        if graph.inputs().is_empty() {
            let error = SqlError::unsupported("a view that reads no source").with_hint("a view reads sources");
            return Err(at_word(&view.query, "select", error));
        }
        let (sources, source_schemas, graph) = only_those_read(sources, &schemas, graph);
        one_source_a_topic(&sources)?;
        let (output_schema, key_columns) = output_schema(&graph, &output, &optimised);
        let explanation = graph.explanation(&output, &sources);
        let mut parts = vec![SEMANTICS_VERSION.to_string(), graph.canonical(output.node), format!("{output_schema:?}")];
        parts.extend(sources.iter().flat_map(|source| [source.topic.to_string(), decoder_hash(source)]));
        let hash = hash(&parts.iter().map(String::as_str).collect::<Vec<_>>());
        let name = view.name.clone();
        Ok(Self { name, sources, source_schemas, graph, output, output_schema, key_columns, hash, explanation })
    }

    /// The view's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sources that it reads.
    pub fn sources(&self) -> &[SourceDefinition] {
        &self.sources
    }

    /// The view's columns: those of the query, then what identifies a row and is not shown.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output_schema
    }

    /// The columns of the output that identify a row.
    pub fn key_columns(&self) -> &[usize] {
        &self.key_columns
    }

    /// A hash of what the view computes: the same across restarts.
    pub fn hash(&self) -> String {
        self.hash.clone()
    }

    /// The operators as text, for `EXPLAIN`.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }

    /// Whether rows that came can be taken back.
    pub(crate) fn is_retracting(&self) -> bool {
        self.graph.node(self.output.node).is_retracting
    }

    /// The operators with a state of their own.
    pub(crate) fn build(&self) -> Result<BuiltGraph> {
        self.graph.build(self.output.node)
    }

    /// Evaluates the first rows of a source for all inputs over it: all, or as many as it takes to have more than
    /// `bytes_max`.
    pub(crate) fn evaluate(
        &self,
        source: usize,
        rows: &RecordBatch,
        bytes_max: usize,
    ) -> Result<FirstRows<InputRows>> {
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

    /// Rows that came out, as the view has them.
    pub(crate) fn output_rows(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let hidden = self.output.key.iter().filter(|column| **column >= self.output.visible);
        let mut columns: Vec<usize> = (0..self.output.visible).collect();
        for column in hidden {
            if !columns.contains(column) {
                columns.push(*column);
            }
        }
        let fields = self.output_schema.fields().iter();
        let columns = columns.iter().zip(fields).map(|(column, field)| Ok(plain(rows.column(*column), field.data_type())?));
        step::batch(&self.output_schema, columns.collect::<Result<Vec<_>>>()?, rows.num_rows())
    }
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

/// The output's schema, and which of its columns identify a row.
fn output_schema(
    graph: &OperatorGraph,
    output: &Relation,
    plan: &datafusion::logical_expr::LogicalPlan,
) -> (SchemaRef, Vec<usize>) {
    let found = &graph.node(output.node).schema;
    let field = |name: String, column: usize| Field::new(name, plain_text(found.field(column).data_type()), true);
    let shown = plan.schema().fields().iter().enumerate();
    let mut fields: Vec<Field> = shown.map(|(column, shown)| field(shown.name().clone(), column)).collect();
    let (mut key_columns, mut hidden): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for column in &output.key {
        if *column < output.visible {
            add_once(&mut key_columns, *column);
            continue;
        }
        let place = hidden.iter().position(|known| known == column).unwrap_or_else(|| {
            hidden.push(*column);
            let mut name = found.field(*column).name().clone();
            while fields.iter().any(|field| *field.name() == name) {
                name.insert(0, '_');
            }
            fields.push(field(name, *column));
            hidden.len() - 1
        });
        add_once(&mut key_columns, output.visible + place);
    }
    (Arc::new(Schema::new(fields)), key_columns)
}

fn add_once(columns: &mut Vec<usize>, column: usize) {
    if !columns.contains(&column) {
        columns.push(column);
    }
}
