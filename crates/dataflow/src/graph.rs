//! [`Graph`]: operators that feed each other, moved on epoch by epoch.
//!
//! What must hold: an epoch goes through the whole graph at once, so that whoever reads two of its outputs sees them at one
//! point, and no branch of a diamond is ahead of the other; the outputs of all epochs add up to the answer over all that
//! came in, wherever the epochs were cut.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, TimestampMicrosecondArray};

use crate::{
    change::Change,
    error::{Error, Result},
    group_by::{Argument, GroupBy, GroupInput},
    join::InnerJoin,
    kernel::Places,
    presence::PresenceJoin,
    upsert::Upsert,
};

/// A linear operator: what it makes of a sum of changes is the sum of what it makes of each.
pub trait Map: Send + Sync {
    /// The change after it: filtered, computed, multiplied.
    ///
    /// # Errors
    /// Whatever stops the graph; a row that cannot be computed is for the implementation to leave out or make NULL.
    fn apply(&self, change: Change) -> Result<Change>;
}

/// A node of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

/// Which columns of its input a group-by takes for what.
#[derive(Clone, Debug, Default)]
pub struct GroupColumns {
    /// What groups.
    pub keys: Vec<usize>,
    /// What each aggregate takes, and which rows count for it: columns, where there are any.
    pub arguments: Vec<(Option<usize>, Option<usize>)>,
    /// Arrival time, partition and offset of the rows, where an aggregate needs them.
    pub places: Option<[usize; 3]>,
}

enum Operator {
    Input,
    Map(NodeId, Arc<dyn Map>),
    Union(Vec<NodeId>),
    GroupBy(NodeId, GroupColumns, Box<GroupBy>),
    Join([NodeId; 2], Box<InnerJoin>),
    Presence([NodeId; 2], Box<PresenceJoin>),
    Upsert(NodeId, Box<Upsert>),
}

impl Operator {
    fn inputs(&self) -> &[NodeId] {
        match self {
            Self::Input => &[],
            Self::Map(input, _) | Self::GroupBy(input, _, _) | Self::Upsert(input, _) => std::slice::from_ref(input),
            Self::Union(inputs) => inputs,
            Self::Join(inputs, _) | Self::Presence(inputs, _) => inputs,
        }
    }
}

/// Operators in an order in which each stands after those that feed it.
#[derive(Default)]
pub struct Graph {
    operators: Vec<Operator>,
    outputs: Vec<NodeId>,
    /// A group without keys has a row before there is any input.
    has_begun: bool,
}

impl Graph {
    /// No operators yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A place where changes come in.
    pub fn input(&mut self) -> NodeId {
        self.add(Operator::Input)
    }

    /// A linear operator over a node.
    pub fn map(&mut self, input: NodeId, map: Arc<dyn Map>) -> NodeId {
        self.add(Operator::Map(input, map))
    }

    /// All rows of several nodes of one schema.
    pub fn union(&mut self, inputs: Vec<NodeId>) -> NodeId {
        self.add(Operator::Union(inputs))
    }

    /// A group-by over a node.
    pub fn group_by(&mut self, input: NodeId, columns: GroupColumns, group_by: GroupBy) -> NodeId {
        self.add(Operator::GroupBy(input, columns, Box::new(group_by)))
    }

    /// A join of two nodes.
    pub fn join(&mut self, left: NodeId, right: NodeId, join: InnerJoin) -> NodeId {
        self.add(Operator::Join([left, right], Box::new(join)))
    }

    /// The rows of the left node whose key is, or is not, on the right.
    pub fn presence(&mut self, left: NodeId, right: NodeId, join: PresenceJoin) -> NodeId {
        self.add(Operator::Presence([left, right], Box::new(join)))
    }

    /// The last record of each key.
    pub fn upsert(&mut self, input: NodeId, upsert: Upsert) -> NodeId {
        self.add(Operator::Upsert(input, Box::new(upsert)))
    }

    /// Makes what comes out of a node an output of the graph.
    pub fn output(&mut self, node: NodeId) {
        self.outputs.push(node);
    }

    /// Moves the whole graph on by what came in at each input; the changes of each output, in the order in which they were
    /// made outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] when a change came in at a node that is no input; those of the operators. The graph is of no use
    /// afterwards: a part of it has moved on.
    pub fn epoch(&mut self, inputs: Vec<(NodeId, Change)>) -> Result<Vec<Vec<Change>>> {
        let mut made: Vec<Vec<Change>> = self.operators.iter().map(|_| Vec::new()).collect();
        for (NodeId(node), change) in inputs {
            match self.operators.get(node) {
                Some(Operator::Input) => made[node].push(change),
                _ => return Err(Error::shape("a change", format!("it came in at node {node}, which is no input"))),
            }
        }
        let mut readers = self.readers();
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        for node in 0..self.operators.len() {
            if matches!(self.operators[node], Operator::Input) {
                continue;
            }
            let taken: Vec<Vec<Change>> = self.operators[node]
                .inputs()
                .iter()
                .map(|NodeId(input)| {
                    readers[*input] -= 1;
                    // The last who reads it frees it.
                    if readers[*input] == 0 { std::mem::take(&mut made[*input]) } else { made[*input].clone() }
                })
                .collect();
            if has_begun && taken.iter().all(Vec::is_empty) {
                continue;
            }
            made[node] = run(&mut self.operators[node], taken)?;
        }
        Ok(self.outputs.iter().map(|NodeId(node)| made[*node].clone()).collect())
    }

    /// What the states of all operators take in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let bytes = self.operators.iter().map(|operator| match operator {
            Operator::Input | Operator::Map(..) | Operator::Union(_) => 0,
            Operator::GroupBy(_, _, group_by) => group_by.memory_bytes(),
            Operator::Join(_, join) => join.memory_bytes(),
            Operator::Presence(_, join) => join.memory_bytes(),
            Operator::Upsert(_, upsert) => upsert.memory_bytes(),
        });
        bytes.sum()
    }

    fn add(&mut self, operator: Operator) -> NodeId {
        debug_assert!(
            operator.inputs().iter().all(|input| input.0 < self.operators.len()),
            "an operator stands after its inputs"
        );
        self.operators.push(operator);
        NodeId(self.operators.len() - 1)
    }

    /// How often each node is read.
    fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.operators.len()];
        let inputs = self.operators.iter().flat_map(|operator| operator.inputs());
        inputs.chain(&self.outputs).for_each(|NodeId(node)| readers[*node] += 1);
        readers
    }
}

/// What an operator makes of an epoch's changes, one list for each of its inputs.
fn run(operator: &mut Operator, inputs: Vec<Vec<Change>>) -> Result<Vec<Change>> {
    let changes = inputs.into_iter().enumerate();
    let changes = changes.flat_map(|(side, changes)| changes.into_iter().map(move |change| (side, change)));
    let mut made = Vec::new();
    let mut keep = |change: Change| {
        if !change.is_empty() {
            made.push(change);
        }
        Ok(())
    };
    match operator {
        Operator::Input => {}
        Operator::Map(_, map) => {
            for (_, change) in changes {
                keep(map.apply(change)?)?;
            }
        }
        Operator::Union(_) => changes.map(|(_, change)| change).try_for_each(keep)?,
        Operator::GroupBy(_, columns, group_by) => {
            for (_, change) in changes {
                group_by.push(columns.input(&change)?)?;
            }
            keep(group_by.finish()?)?;
        }
        Operator::Join(_, join) => {
            for (side, change) in changes {
                join.push(side, change)?;
            }
            join.finish(keep)?;
        }
        Operator::Upsert(_, upsert) => {
            for (_, change) in changes {
                upsert.push(change)?;
            }
            upsert.finish()?.map_or(Ok(()), keep)?;
        }
        Operator::Presence(_, join) => {
            for (side, change) in changes {
                join.push(side, change)?;
            }
            join.finish(keep)?;
        }
    }
    Ok(made)
}

impl GroupColumns {
    /// The columns of a change, as a group-by takes them.
    fn input<'a>(&self, change: &'a Change) -> Result<GroupInput<'a>> {
        let column = |index: usize| {
            change
                .rows()
                .columns()
                .get(index)
                .ok_or_else(|| Error::shape("a change", format!("column {index} is missing")))
        };
        let arguments = self.arguments.iter().map(|(values, filter)| {
            let values = values.map(|index| column(index).map(ArrayRef::clone)).transpose()?;
            let filter = filter.map(|index| Ok(typed::<BooleanArray>(column(index)?)?.clone())).transpose()?;
            Ok(Argument { values, filter })
        });
        let places = match self.places {
            None => None,
            Some([arrival, partition, offset]) => Some(Places {
                arrivals_us: typed::<TimestampMicrosecondArray>(column(arrival)?)?.values(),
                partitions: typed::<Int32Array>(column(partition)?)?.values(),
                offsets: typed::<Int64Array>(column(offset)?)?.values(),
            }),
        };
        Ok(GroupInput {
            row_count: change.row_count(),
            keys: self.keys.iter().map(|index| column(*index).map(ArrayRef::clone)).collect::<Result<_>>()?,
            arguments: arguments.collect::<Result<_>>()?,
            weights: change.weights().column(),
            places,
        })
    }
}

fn typed<T: 'static>(column: &ArrayRef) -> Result<&T> {
    let typed = column.as_any().downcast_ref();
    typed.ok_or_else(|| Error::shape("a change", format!("a column is {}", column.data_type())))
}

#[cfg(test)]
mod tests;
