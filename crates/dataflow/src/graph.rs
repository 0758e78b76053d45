//! [`Graph`]: operators that feed each other, moved on epoch by epoch.
//!
//! What must hold: an epoch goes through the whole graph at once, so that whoever reads two of its outputs sees them at one
//! point, and no branch of a diamond is ahead of the other; the outputs of all epochs add up to the answer over all that
//! came in, wherever the epochs were cut.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};

use crate::{
    change::Change,
    error::{Error, Result},
    group_by::{Argument, GroupBy, GroupInput},
    kernel::Places,
    operator::{Operator, PartKind, StatePart, unknown_part},
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

/// A place in the graph: what comes in, or an operator over other places.
enum Node {
    Input,
    Operator(Vec<NodeId>, Box<dyn Operator>),
}

/// Operators in an order in which each stands after those that feed it.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<Node>,
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
        self.add(Node::Input)
    }

    /// A linear operator over a node.
    pub fn map(&mut self, input: NodeId, map: Arc<dyn Map>) -> NodeId {
        self.operator(vec![input], Box::new(Passing { map: Some(map), pending: Vec::new() }))
    }

    /// All rows of several nodes of one schema.
    pub fn union(&mut self, inputs: Vec<NodeId>) -> NodeId {
        self.operator(inputs, Box::new(Passing { map: None, pending: Vec::new() }))
    }

    /// A group-by over a node.
    pub fn group_by(&mut self, input: NodeId, columns: GroupColumns, group_by: GroupBy) -> NodeId {
        self.operator(vec![input], Box::new(Grouping { columns, group_by }))
    }

    /// An operator over nodes, one for each of its ports.
    pub fn operator(&mut self, inputs: Vec<NodeId>, operator: Box<dyn Operator>) -> NodeId {
        self.add(Node::Operator(inputs, operator))
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
        let mut made: Vec<Vec<Change>> = self.nodes.iter().map(|_| Vec::new()).collect();
        for (NodeId(node), change) in inputs {
            match self.nodes.get(node) {
                Some(Node::Input) => made[node].push(change),
                _ => return Err(Error::shape("a change", format!("it came in at node {node}, which is no input"))),
            }
        }
        let mut readers = self.readers();
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let Node::Operator(inputs, operator) = node else { continue };
            let mut has_input = false;
            for (port, NodeId(input)) in inputs.iter().enumerate() {
                readers[*input] -= 1;
                // The last who reads it frees it.
                let changes =
                    if readers[*input] == 0 { std::mem::take(&mut made[*input]) } else { made[*input].clone() };
                for change in changes {
                    has_input = true;
                    operator.push(port, change)?;
                }
            }
            if has_begun && !has_input {
                continue;
            }
            let out = &mut made[number];
            operator.finish(&mut |change| {
                if !change.is_empty() {
                    out.push(change);
                }
                Ok(())
            })?;
        }
        Ok(self.outputs.iter().map(|NodeId(node)| made[*node].clone()).collect())
    }

    /// What the states of all operators take in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.operators().map(|(_, operator)| operator.memory_bytes()).sum()
    }

    /// What has changed of the states of all operators since [`forget_dirty`](Self::forget_dirty).
    ///
    /// # Errors
    /// [`Error::Arrow`] when a state cannot be written as Arrow.
    pub fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        let mut parts = Vec::new();
        for (number, operator) in self.operators() {
            for part in operator.dirty_parts()? {
                parts.push(StatePart { name: format!("{number}.{}", part.name), ..part });
            }
        }
        Ok(parts)
    }

    /// Forgets what is dirty: it is safe.
    pub fn forget_dirty(&mut self) {
        for node in &mut self.nodes {
            if let Node::Operator(_, operator) = node {
                operator.forget_dirty();
            }
        }
    }

    /// Takes what was written down of a part, in the order in which it was, of a graph of the same operators; before
    /// [`resume`](Self::resume).
    ///
    /// # Errors
    /// [`Error::Shape`] when it is no part of this graph.
    pub fn restore(&mut self, part: &str, rows: &RecordBatch) -> Result<()> {
        let (number, name) = part.split_once('.').ok_or_else(|| unknown_part(part))?;
        let node = number.parse().ok().and_then(|number: usize| self.nodes.get_mut(number));
        let Some(Node::Operator(_, operator)) = node else { return Err(unknown_part(part)) };
        operator.restore(name, rows)
    }

    /// Goes on from what was restored.
    ///
    /// # Errors
    /// [`Error::Arrow`] when rows cannot be gathered.
    pub fn resume(&mut self) -> Result<()> {
        // What the operators have to say of what was restored has been said.
        for node in &mut self.nodes {
            if let Node::Operator(_, operator) = node {
                operator.finish(&mut |_| Ok(()))?;
            }
        }
        self.has_begun = true;
        Ok(())
    }

    fn operators(&self) -> impl Iterator<Item = (usize, &dyn Operator)> {
        self.nodes.iter().enumerate().filter_map(|(number, node)| match node {
            Node::Input => None,
            Node::Operator(_, operator) => Some((number, operator.as_ref())),
        })
    }

    fn add(&mut self, node: Node) -> NodeId {
        debug_assert!(
            inputs_of(&node).iter().all(|input| input.0 < self.nodes.len()),
            "an operator stands after its inputs"
        );
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// How often each node is read.
    fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.nodes.len()];
        let inputs = self.nodes.iter().flat_map(inputs_of);
        inputs.chain(&self.outputs).for_each(|NodeId(node)| readers[*node] += 1);
        readers
    }
}

fn inputs_of(node: &Node) -> &[NodeId] {
    match node {
        Node::Input => &[],
        Node::Operator(inputs, _) => inputs,
    }
}

/// Rows that pass, changed one by one or as they are.
struct Passing {
    map: Option<Arc<dyn Map>>,
    pending: Vec<Change>,
}

impl Operator for Passing {
    fn push(&mut self, _: usize, change: Change) -> Result<()> {
        self.pending.push(change);
        Ok(())
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        std::mem::take(&mut self.pending).into_iter().try_for_each(|change| match &self.map {
            Some(map) => emit(map.apply(change)?),
            None => emit(change),
        })
    }
}

/// A group-by, and the columns that it takes.
struct Grouping {
    columns: GroupColumns,
    group_by: GroupBy,
}

/// What the one part of a group-by's state is called.
const GROUPS: &str = "groups";

impl Operator for Grouping {
    fn push(&mut self, _: usize, change: Change) -> Result<()> {
        self.group_by.push(self.columns.input(&change)?)
    }

    fn finish(&mut self, emit: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        emit(self.group_by.finish()?)
    }

    fn memory_bytes(&self) -> usize {
        self.group_by.memory_bytes()
    }

    fn dirty_parts(&self) -> Result<Vec<StatePart>> {
        let rows = self.group_by.dirty_state()?;
        let kind = PartKind::States { key_count: self.columns.keys.len() };
        Ok((rows.num_rows() > 0).then_some(StatePart { name: GROUPS.to_owned(), kind, rows }).into_iter().collect())
    }

    fn forget_dirty(&mut self) {
        self.group_by.forget_dirty();
    }

    fn restore(&mut self, part: &str, rows: &RecordBatch) -> Result<()> {
        if part != GROUPS {
            return Err(unknown_part(part));
        }
        self.group_by.restore_state(rows)
    }
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
