//! An operator graph as text: for people, and to tell graphs apart.
//!
//! What must hold: graphs of one canonical text compute the same and keep the same states. It is written by us alone, so that
//! no release of a library changes it.

use std::fmt::Write as _;

use dataflow::Keep;
use sql::SourceDefinition;

use super::{Node, Operator, OperatorGraph, Sides};
use crate::plan::step::Step;

impl OperatorGraph {
    /// All operators with everything that decides what they compute.
    pub(crate) fn canonical(&self, outputs: &[usize]) -> String {
        let mut text = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let fields = node.schema.fields().iter().map(|field| field.data_type().to_string());
            let types = fields.collect::<Vec<_>>().join(",");
            let _ = writeln!(text, "{number}:({types}){}", self.operator(node, false));
        }
        for input in &self.inputs {
            let steps = steps(&input.steps, true);
            let _ = writeln!(text, "input {} {:?}{steps}", input.source, input.columns);
        }
        let _ = writeln!(text, "outputs {outputs:?}");
        text
    }

    /// The operators from the last to the first: what each does, whether what it gives can be taken back, what it keeps.
    /// `views` are the other views of the graph, and where their rows come out.
    pub(crate) fn explanation(&self, output: usize, sources: &[SourceDefinition], views: &[(&str, usize)]) -> String {
        let mut text = String::new();
        self.explain(output, 0, sources, views, &mut text);
        text
    }

    fn explain(
        &self,
        number: usize,
        depth: usize,
        sources: &[SourceDefinition],
        views: &[(&str, usize)],
        text: &mut String,
    ) {
        let node = &self.nodes[number];
        if let Some((view, _)) = views.iter().find(|(_, output)| *output == number) {
            let _ = writeln!(text, "{}{number} view {view}", "  ".repeat(depth));
            return;
        }
        let what = match &node.operator {
            Operator::Input(input) => {
                let input = &self.inputs[*input];
                let name = sources.get(input.source).map_or("", |source| source.name.as_str());
                format!("source {name}{}", steps(&input.steps, false))
            }
            _ => self.operator(node, true),
        };
        let class = if node.is_retracting { "retracting" } else { "append-only" };
        let state = match &node.operator {
            Operator::GroupBy(..) => "; keeps groups",
            Operator::Join(_) => "; keeps both sides",
            Operator::Presence(..) => "; keeps the rows of one side, and the keys of the other",
            Operator::Upsert(..) => "; keeps the last record of each key",
            _ => "",
        };
        let _ = writeln!(text, "{}{number} {what} ({class}{state})", "  ".repeat(depth));
        for input in node.operator.inputs() {
            self.explain(input, depth + 1, sources, views, text);
        }
    }

    /// What an operator does; with the names of columns for people, else with their numbers.
    fn operator(&self, node: &Node, is_for_people: bool) -> String {
        let columns = |of: usize, columns: &[usize]| {
            if !is_for_people {
                return format!("{columns:?}");
            }
            let schema = &self.nodes[of].schema;
            let names = columns.iter().map(|column| schema.field(*column).name().as_str());
            format!("({})", names.collect::<Vec<_>>().join(", "))
        };
        let sides = |sides: &Sides| {
            let [left, right] = sides.nodes;
            let null = if sides.nulls_are_equal { ", NULL is NULL" } else { "" };
            format!("{} = {}{null}", columns(left, &sides.columns[0]), columns(right, &sides.columns[1]))
        };
        let inputs = if is_for_people { String::new() } else { format!(" of {:?}", node.operator.inputs()) };
        let what = match &node.operator {
            Operator::Input(input) => format!("input {input}"),
            Operator::Constant(rows) => format!("constant {:?}", rows.columns()),
            Operator::Map(_, map) => format!("map{}", steps(map, !is_for_people)),
            Operator::Union(_) => "union".to_owned(),
            Operator::GroupBy(input, taken, aggregates) => {
                let calls = aggregates.iter().zip(&taken.arguments).map(|(call, (argument, filter))| {
                    let distinct = if call.is_distinct { "distinct " } else { "" };
                    let argument = argument.map(|argument| columns(*input, &[argument])).unwrap_or_default();
                    let filter = filter.map(|filter| format!(" where {}", columns(*input, &[filter])));
                    let types = if is_for_people {
                        String::new()
                    } else {
                        format!(" {} -> {}", call.argument_type, call.output_type)
                    };
                    format!("{distinct}{:?}{argument}{}{types}", call.kind, filter.unwrap_or_default())
                });
                let calls = calls.collect::<Vec<_>>().join(", ");
                let places = taken.places.map(|places| format!(" places {places:?}")).filter(|_| !is_for_people);
                format!("group by {}: {calls}{}", columns(*input, &taken.keys), places.unwrap_or_default())
            }
            Operator::Upsert(input, plan) if is_for_people => format!("last record of {}", columns(*input, &plan.key)),
            Operator::Upsert(_, plan) => format!("upsert {:?} {:?} {}", plan.key, plan.place, plan.deletes),
            Operator::Unnest(input, plan) if is_for_people => {
                let empty = if plan.keeps_empty { ", also of what has none" } else { "" };
                let number = if plan.is_numbered { ", numbered" } else { "" };
                format!("elements of {}{empty}{number}", columns(*input, &plan.lists))
            }
            Operator::Unnest(_, plan) => format!("unnest {:?} {} {}", plan.lists, plan.keeps_empty, plan.is_numbered),
            Operator::Join(joined) => format!("join {}", sides(joined)),
            Operator::Presence(Keep::Present, joined) => format!("rows that are found {}", sides(joined)),
            Operator::Presence(Keep::Absent, joined) => format!("rows that are not found {}", sides(joined)),
        };
        what + &inputs
    }
}

impl Operator {
    fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Input(_) | Self::Constant(_) => Vec::new(),
            Self::Map(input, _) | Self::GroupBy(input, _, _) | Self::Upsert(input, _) | Self::Unnest(input, _) => {
                vec![*input]
            }
            Self::Union(inputs) => inputs.clone(),
            Self::Join(sides) | Self::Presence(_, sides) => sides.nodes.to_vec(),
        }
    }
}

/// Steps in the order in which they are run; columns that only pass are left out for people.
fn steps(steps: &[Step], with_all: bool) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Select(columns) if with_all => {
                let _ = write!(text, " [{columns:?}]");
            }
            Step::Select(_) => {}
            Step::Filter(predicate) => {
                let _ = write!(text, " where {}", predicate.describe(with_all));
            }
            Step::Project { expressions, .. } => {
                let shown = expressions.iter().filter(|expression| with_all || !expression.is_column());
                let shown: Vec<String> = shown.map(|expression| expression.describe(with_all)).collect();
                if with_all || !shown.is_empty() {
                    let _ = write!(text, " [{}]", shown.join(", "));
                }
            }
        }
    }
    text
}
