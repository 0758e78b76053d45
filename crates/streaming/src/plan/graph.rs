//! [`OperatorGraph`]: which operators a query is, and how they feed each other.
//!
//! What it is not: state. The same graph can be [built](OperatorGraph::build) any number of times, each with a state of its
//! own.
//!
//! What must hold: an operator stands after those that feed it; whatever leaves a node has exactly the node's schema, of which
//! every column can be NULL, so that rows of any two of its changes can be put together.

mod explain;
mod steps;

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use dataflow::{
    AggregateSignature, Change, Graph, GroupBy, GroupColumns, InnerJoin, JoinKeys, Keep, NodeId, PresenceJoin, Unnest,
    UnnestColumns, Upsert, UpsertColumns,
};

use super::step::Step;
use crate::error::Result;
use steps::Steps;

/// The rows of a source as the operators take them. Up to here a row is one record, and what fails is a dead letter.
#[derive(Clone, Debug)]
pub(crate) struct InputPlan {
    /// Which of the plan's sources.
    pub(crate) source: usize,
    /// The columns of the source that are read.
    pub(crate) columns: Vec<usize>,
    /// From these columns to the rows of the input's node.
    pub(crate) steps: Vec<Step>,
}

/// What a node does with what comes in.
#[derive(Clone, Debug)]
pub(crate) enum Operator {
    /// Takes an input, by its number.
    Input(usize),
    /// Rows that are there from the beginning.
    Constant(RecordBatch),
    /// Filters and computes.
    Map(usize, Vec<Step>),
    /// All rows of several nodes.
    Union(Vec<usize>),
    /// Groups, and what each comes to.
    GroupBy(usize, GroupColumns, Vec<AggregateSignature>),
    /// Pairs of rows of equal keys.
    Join(Sides),
    /// Rows of the left whose key is, or is not, on the right.
    Presence(Keep, Sides),
    /// The last record of each key.
    Upsert(usize, UpsertPlan),
    /// A row for each element of lists.
    Unnest(usize, UnnestPlan),
}

/// Which columns of records say what.
#[derive(Clone, Debug)]
pub(crate) struct UpsertPlan {
    pub(crate) key: Vec<usize>,
    /// Arrival time, partition and offset.
    pub(crate) place: [usize; 3],
    /// Whether a record deletes.
    pub(crate) deletes: usize,
}

/// Which columns are taken apart.
#[derive(Clone, Debug)]
pub(crate) struct UnnestPlan {
    pub(crate) lists: Vec<usize>,
    /// Whether a row without elements stays, with NULLs.
    pub(crate) keeps_empty: bool,
    /// Whether the number of the element is the last column.
    pub(crate) is_numbered: bool,
}

/// Two nodes that meet by key.
#[derive(Clone, Debug)]
pub(crate) struct Sides {
    pub(crate) nodes: [usize; 2],
    /// The columns of either that have to be equal, one by one.
    pub(crate) columns: [Vec<usize>; 2],
    pub(crate) nulls_are_equal: bool,
}

/// A place in the graph.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) operator: Operator,
    pub(crate) schema: SchemaRef,
    /// Whether rows that came can be taken back.
    pub(crate) is_retracting: bool,
    /// Whether more than one reads it, so that it stays as it is.
    is_shared: bool,
}

/// Operators that feed each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperatorGraph {
    inputs: Vec<InputPlan>,
    nodes: Vec<Node>,
}

impl OperatorGraph {
    /// What is read of the sources.
    pub(crate) fn inputs(&self) -> &[InputPlan] {
        &self.inputs
    }

    /// The rows of an input.
    pub(crate) fn input_schema(&self, input: usize) -> SchemaRef {
        let is_it = |node: &&Node| matches!(node.operator, Operator::Input(number) if number == input);
        self.nodes.iter().find(is_it).map_or_else(|| Arc::new(Schema::empty()), |node| Arc::clone(&node.schema))
    }

    /// Numbers the sources by their place among those that are read.
    pub(super) fn renumber_sources(&mut self, read: &[usize]) {
        for input in &mut self.inputs {
            input.source = read.iter().position(|source| *source == input.source).unwrap_or(input.source);
        }
    }

    /// A node by its number.
    pub(crate) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// Reads columns of a source.
    pub(super) fn input(&mut self, source: usize, schema: &Schema, columns: Vec<usize>) -> usize {
        let fields = columns.iter().map(|column| schema.field(*column).clone());
        let schema = nullable(fields);
        self.inputs.push(InputPlan { source, columns, steps: Vec::new() });
        self.add(Operator::Input(self.inputs.len() - 1), schema, false)
    }

    /// Rows that are there from the beginning.
    pub(super) fn constant(&mut self, rows: RecordBatch) -> usize {
        let schema = rows.schema();
        self.add(Operator::Constant(rows), schema, false)
    }

    /// Runs a step over a node: as a part of it where nobody else reads it.
    pub(super) fn extend(&mut self, node: usize, step: Step) -> usize {
        let (is_shared, is_retracting) = (self.nodes[node].is_shared, self.nodes[node].is_retracting);
        let schema = match &step {
            Step::Project { schema, .. } => nullable(schema.fields().iter().map(|field| field.as_ref().clone())),
            Step::Select(columns) => {
                nullable(columns.iter().map(|column| self.nodes[node].schema.field(*column).clone()))
            }
            Step::Filter(_) => Arc::clone(&self.nodes[node].schema),
        };
        let step = step.with_nullable_columns();
        match &mut self.nodes[node].operator {
            Operator::Input(input) if !is_shared => self.inputs[*input].steps.push(step),
            Operator::Map(_, steps) if !is_shared => steps.push(step),
            _ => return self.add(Operator::Map(node, vec![step]), schema, is_retracting),
        }
        self.nodes[node].schema = schema;
        node
    }

    /// Lets more than one read a node.
    pub(super) fn share(&mut self, node: usize) {
        self.nodes[node].is_shared = true;
    }

    /// All rows of nodes of one schema.
    pub(super) fn union(&mut self, nodes: Vec<usize>) -> usize {
        let is_retracting = nodes.iter().any(|node| self.nodes[*node].is_retracting);
        let schema =
            nodes.first().map_or_else(|| Arc::new(Schema::empty()), |node| Arc::clone(&self.nodes[*node].schema));
        debug_assert!(
            nodes.iter().all(|node| same_types(&self.nodes[*node].schema, &schema)),
            "what is put together has the same columns"
        );
        self.add(Operator::Union(nodes), schema, is_retracting)
    }

    /// Groups the rows of a node; `schema` is that of the groups.
    pub(super) fn group_by(
        &mut self,
        node: usize,
        columns: GroupColumns,
        aggregates: Vec<AggregateSignature>,
        schema: &Schema,
    ) -> usize {
        // Keys alone, of rows that only come, only come.
        let is_retracting = !aggregates.is_empty() || self.nodes[node].is_retracting;
        let schema = nullable(schema.fields().iter().map(|field| field.as_ref().clone()));
        self.add(Operator::GroupBy(node, columns, aggregates), schema, is_retracting)
    }

    /// Joins two nodes; a joined row is one of the left, then one of the right.
    pub(super) fn join(&mut self, sides: Sides) -> usize {
        let [left, right] = sides.nodes.map(|node| &self.nodes[node]);
        let fields = left.schema.fields().iter().chain(right.schema.fields());
        let schema = nullable(fields.map(|field| field.as_ref().clone()));
        let is_retracting = left.is_retracting || right.is_retracting;
        self.add(Operator::Join(sides), schema, is_retracting)
    }

    /// The rows of the left node whose key is, or is not, on the right.
    pub(super) fn presence(&mut self, keep: Keep, sides: Sides) -> usize {
        let [left, right] = sides.nodes.map(|node| &self.nodes[node]);
        let is_retracting = left.is_retracting || right.is_retracting || keep == Keep::Absent;
        let schema = Arc::clone(&left.schema);
        self.add(Operator::Presence(keep, sides), schema, is_retracting)
    }

    /// The last record of each key of the records of a node.
    pub(super) fn upsert(&mut self, node: usize, plan: UpsertPlan) -> usize {
        let schema = Arc::clone(&self.nodes[node].schema);
        self.add(Operator::Upsert(node, plan), schema, true)
    }

    /// A row for each element of lists of the rows of a node; `schema` is that of what comes out.
    pub(super) fn unnest(&mut self, node: usize, plan: UnnestPlan, schema: Schema) -> usize {
        let is_retracting = self.nodes[node].is_retracting;
        self.add(Operator::Unnest(node, plan), Arc::new(schema), is_retracting)
    }

    /// The operators with a state of their own; `outputs` are where rows come out.
    ///
    /// # Errors
    /// [`Error::Operator`](crate::Error::Operator) when a type cannot be a key.
    pub(crate) fn build(&self, outputs: impl Iterator<Item = usize>) -> Result<BuiltGraph> {
        let mut graph = Graph::new();
        let mut built = Vec::with_capacity(self.nodes.len());
        let mut inputs = vec![None; self.inputs.len()];
        let mut constants = Vec::new();
        for node in &self.nodes {
            let keys = |sides: &Sides, side: usize| JoinKeys {
                schema: Arc::clone(&self.nodes[sides.nodes[side]].schema),
                columns: sides.columns[side].clone(),
                is_retracting: self.nodes[sides.nodes[side]].is_retracting,
            };
            let ids = |sides: &Sides| sides.nodes.iter().map(|node| built[*node]).collect();
            let id: NodeId = match &node.operator {
                Operator::Input(input) => {
                    let id = graph.input();
                    inputs[*input] = Some(id);
                    id
                }
                Operator::Constant(rows) => {
                    let id = graph.input();
                    constants.push((id, Change::of_rows(rows.clone())));
                    id
                }
                Operator::Map(input, steps) => {
                    graph.map(built[*input], Arc::new(Steps::new(steps.clone(), Arc::clone(&node.schema))))
                }
                Operator::Union(nodes) => graph.union(nodes.iter().map(|node| built[*node]).collect()),
                Operator::GroupBy(input, columns, aggregates) => {
                    let takes_back = self.nodes[*input].is_retracting;
                    let schema = Arc::clone(&node.schema);
                    let group_by = GroupBy::new(schema, columns.keys.len(), aggregates.clone(), takes_back)?;
                    graph.group_by(built[*input], columns.clone(), group_by)
                }
                Operator::Join(sides) => {
                    let join = InnerJoin::new(keys(sides, 0), keys(sides, 1), sides.nulls_are_equal);
                    graph.operator(ids(sides), Box::new(join))
                }
                Operator::Upsert(input, plan) => {
                    let upsert = Upsert::new(UpsertColumns {
                        schema: Arc::clone(&node.schema),
                        key: plan.key.clone(),
                        place: plan.place,
                        deletes: plan.deletes,
                    });
                    graph.operator(vec![built[*input]], Box::new(upsert))
                }
                Operator::Unnest(input, plan) => {
                    let unnest = Unnest::new(UnnestColumns {
                        schema: Arc::clone(&node.schema),
                        lists: plan.lists.clone(),
                        keeps_empty: plan.keeps_empty,
                        is_numbered: plan.is_numbered,
                    });
                    graph.operator(vec![built[*input]], Box::new(unnest))
                }
                Operator::Presence(keep, sides) => {
                    let join = PresenceJoin::new(*keep, sides.nulls_are_equal, keys(sides, 0), keys(sides, 1));
                    graph.operator(ids(sides), Box::new(join))
                }
            };
            built.push(id);
        }
        outputs.for_each(|output| graph.output(built[output]));
        Ok(BuiltGraph { graph, inputs: inputs.into_iter().flatten().collect(), constants })
    }

    fn add(&mut self, operator: Operator, schema: SchemaRef, is_retracting: bool) -> usize {
        self.nodes.push(Node { operator, schema, is_retracting, is_shared: false });
        self.nodes.len() - 1
    }
}

/// Operators with a state.
pub(crate) struct BuiltGraph {
    pub(crate) graph: Graph,
    /// Where the rows of each input go in.
    pub(crate) inputs: Vec<NodeId>,
    /// What goes in once, before anything else.
    pub(crate) constants: Vec<(NodeId, Change)>,
}

/// A schema of columns that can all be NULL.
pub(super) fn nullable(fields: impl Iterator<Item = Field>) -> SchemaRef {
    // What a field says besides its type (an extension) differs between branches that are put together.
    let fields = fields.map(|field| Field::new(field.name(), field.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn same_types(one: &Schema, other: &Schema) -> bool {
    let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    types(one) == types(other)
}
