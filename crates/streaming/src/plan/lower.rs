//! A query's logical plan as an operator graph.
//!
//! Expressions are computed by maps before the operators that need them, so that operators take columns only. What identifies
//! a row is carried along where somebody above asks for it: in columns that the query does not show, at the end.
//!
//! What must hold: every node of the plan is lowered here or refused by name; none is skipped. The first columns of a
//! [`Relation`] are those of the plan's node, so that expressions over these find them where they expect them.

mod group;
mod join;
mod unnest;

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use dataflow::plain_text;
use datafusion::{
    common::{DFSchema, ScalarValue},
    logical_expr::{Distinct, EmptyRelation, Expr, Filter, LogicalPlan, Projection, TableScan, Union, Values},
    physical_expr::expressions::{CastExpr, Column, Literal},
};
use sql::{ARRIVAL_TIME, DELETED, OFFSET, PARTITION, SqlError, sqlstate};

use super::{
    compiler::{Compiler, plain_column},
    graph::{OperatorGraph, UpsertPlan, nullable},
    refusal::refuse,
    split::has_subqueries,
    step::{self, Expression, Step},
};

/// Rows on their way through the graph.
#[derive(Clone, Debug)]
struct Relation {
    node: usize,
    /// How many columns the query sees; those after them are carried.
    visible: usize,
    /// The columns that identify a row, where they were asked for.
    key: Vec<usize>,
    /// Arrival time, partition and offset of the record that a row is, where they were asked for and a row is one record.
    places: Option<[usize; 3]>,
    is_one_row_at_most: bool,
}

/// What has to be carried with rows.
#[derive(Clone, Copy, Debug, Default)]
struct Need {
    /// What identifies a row.
    key: bool,
    /// Where its record is in the log.
    places: bool,
}

/// What a query can read.
#[derive(Clone, Debug)]
pub(super) struct Readable {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    pub(super) origin: Origin,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A source, by its number.
    Source(usize),
    /// A table, by its number among the sources, and the columns that identify a row.
    Table(usize, Vec<usize>),
    /// Another view of the graph.
    View {
        /// Where its rows come out.
        node: usize,
        /// The columns that identify one.
        key: Vec<usize>,
    },
}

/// Where the rows of a view come out, as it shows them.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) node: usize,
    pub(super) schema: SchemaRef,
    /// The columns that identify a row.
    pub(super) key: Vec<usize>,
}

/// A plan on its way into a graph.
pub(super) struct Lowering<'a> {
    /// The query, for the places of what is refused.
    pub(super) text: &'a str,
    pub(super) compiler: Compiler<'a>,
    pub(super) readable: &'a [Readable],
    pub(super) graph: &'a mut OperatorGraph,
}

impl Lowering<'_> {
    /// Adds the operators of a whole query; its rows as a view shows them.
    pub(super) fn output(&mut self, plan: &LogicalPlan) -> Result<Output, SqlError> {
        let relation = self.lower(plan, Need { key: true, places: false })?;
        let before = self.schema(&relation);
        let shown = plan.schema().fields().iter().map(|field| field.name().clone());
        let mut columns: Vec<(String, usize)> = shown.zip(0..relation.visible).collect();
        let mut key: Vec<usize> = Vec::new();
        for column in &relation.key {
            let place = match columns.iter().skip(relation.visible).position(|(_, known)| known == column) {
                _ if *column < relation.visible => *column,
                Some(hidden) => relation.visible + hidden,
                None => {
                    let mut name = before.field(*column).name().clone();
                    while columns.iter().any(|(known, _)| *known == name) {
                        name.insert(0, '_');
                    }
                    columns.push((name, *column));
                    columns.len() - 1
                }
            };
            if !key.contains(&place) {
                key.push(place);
            }
        }
        let (mut expressions, mut fields) = (Vec::new(), Vec::new());
        for (name, column) in columns {
            let found = before.field(column).data_type();
            let data_type = plain_text(found);
            let expression = column_of(&before, column);
            expressions.push(if *found == data_type { expression } else { cast(expression, &data_type) });
            fields.push(Field::new(name, data_type, true));
        }
        let step = Step::Project { expressions, schema: Arc::new(Schema::new(fields)) };
        let node = self.graph.extend(relation.node, step);
        self.graph.share(node);
        Ok(Output { node, schema: Arc::clone(&self.graph.node(node).schema), key })
    }

    /// Adds the operators of a plan; what comes out of them.
    fn lower(&mut self, plan: &LogicalPlan, need: Need) -> Result<Relation, SqlError> {
        if has_subqueries(plan) {
            return Err(SqlError::unsupported("this subquery in an expression of a view")
                .with_hint("write it as a join: only what can be turned into one is kept up to date"));
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, need),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input, need),
            LogicalPlan::Projection(projection) => self.projection(projection, need),
            LogicalPlan::Filter(filter) => self.filter(filter, need),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Union(union) => self.union(union, need),
            LogicalPlan::Join(join) => self.join(join, need),
            LogicalPlan::EmptyRelation(empty) => self.empty(empty),
            LogicalPlan::Values(values) => self.values(values, need),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, need),
            other => Err(refuse(self.text, other)),
        }
    }

    fn scan(&mut self, scan: &TableScan, need: Need) -> Result<Relation, SqlError> {
        let name = scan.table_name.table();
        let readable = self
            .readable
            .iter()
            .find(|readable| readable.name == name)
            .ok_or_else(|| SqlError::new(sqlstate::UNDEFINED_TABLE, format!("source \"{name}\" does not exist")))?;
        if !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(internal("a scan with a filter of its own"));
        }
        let schema = Arc::clone(&readable.schema);
        let named = |name: &str| schema.index_of(name).map_err(|error| internal(error.to_string()));
        let seen = scan.source.schema();
        let mut columns = match &scan.projection {
            Some(columns) => columns.clone(),
            None => (0..seen.fields().len()).collect(),
        };
        // What it has got since the view was defined is in between.
        if seen.fields().len() < schema.fields().len() {
            columns = columns.iter().map(|column| named(seen.field(*column).name())).collect::<Result<_, _>>()?;
        }
        let visible = columns.len();
        if let Origin::Table(source, key) = &readable.origin {
            let (source, key) = (*source, key.clone());
            return self.table(source, &schema, columns, &key);
        }
        let (key, mut places) = match &readable.origin {
            _ if !need.key => (Vec::new(), None),
            Origin::Source(_) => {
                (vec![carried(&mut columns, named(PARTITION)?), carried(&mut columns, named(OFFSET)?)], None)
            }
            Origin::Table(_, key) | Origin::View { key, .. } => {
                (key.iter().map(|column| carried(&mut columns, *column)).collect(), None)
            }
        };
        if need.places && matches!(readable.origin, Origin::Source(_)) {
            let place = [named(ARRIVAL_TIME)?, named(PARTITION)?, named(OFFSET)?];
            places = Some(place.map(|column| carried(&mut columns, column)));
        }
        let (node, is_one_row_at_most) = match &readable.origin {
            Origin::Source(source) | Origin::Table(source, _) => (self.graph.input(*source, &schema, columns), false),
            Origin::View { node, key } => (self.graph.extend(*node, Step::Select(columns)), key.is_empty()),
        };
        Ok(Relation { node, visible, key, places, is_one_row_at_most })
    }

    /// The last record of each key of a table.
    fn table(
        &mut self,
        source: usize,
        schema: &SchemaRef,
        mut columns: Vec<usize>,
        key: &[usize],
    ) -> Result<Relation, SqlError> {
        let visible = columns.len();
        let named = |name: &str| schema.index_of(name).map_err(|error| internal(error.to_string()));
        let key: Vec<usize> = key.iter().map(|column| carried(&mut columns, *column)).collect();
        let width = columns.len();
        let place = [named(ARRIVAL_TIME)?, named(PARTITION)?, named(OFFSET)?];
        let place = place.map(|column| carried(&mut columns, column));
        let deletes = carried(&mut columns, named(DELETED)?);
        let node = self.graph.input(source, schema, columns);
        let node = self.graph.upsert(node, UpsertPlan { key: key.clone(), place, deletes });
        // What the last record is told by is of no use afterwards.
        let node = self.graph.extend(node, Step::Select((0..width).collect()));
        Ok(Relation { node, visible, key, places: None, is_one_row_at_most: false })
    }

    fn projection(&mut self, projection: &Projection, need: Need) -> Result<Relation, SqlError> {
        let input = self.lower(&projection.input, need)?;
        let schema = projection.input.schema();
        let expressions = self.compiler.compile_all(&projection.expr, schema)?;
        let shown: Vec<Option<usize>> =
            projection.expr.iter().map(|expression| plain_column(expression, schema)).collect();
        let fields = projection.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        Ok(self.project(&input, expressions, fields, &shown))
    }

    /// Computes the columns that the query sees from now on; `shown` says which of the input's each is, unchanged.
    fn project(
        &mut self,
        input: &Relation,
        mut expressions: Vec<Expression>,
        mut fields: Vec<Field>,
        shown: &[Option<usize>],
    ) -> Relation {
        let before = Arc::clone(&self.graph.node(input.node).schema);
        let visible = expressions.len();
        let mut carried: Vec<usize> = Vec::new();
        let mut after = |column: usize| {
            if let Some(place) = shown.iter().position(|shown| *shown == Some(column)) {
                return place;
            }
            visible
                + carried.iter().position(|known| *known == column).unwrap_or_else(|| {
                    carried.push(column);
                    carried.len() - 1
                })
        };
        let key = input.key.iter().map(|column| after(*column)).collect();
        let places = input.places.map(|places| places.map(&mut after));
        for column in carried {
            expressions.push(column_of(&before, column));
            fields.push(before.field(column).clone());
        }
        let schema = Arc::new(Schema::new(fields));
        let node = self.graph.extend(input.node, Step::Project { expressions, schema });
        Relation { node, visible, key, places, is_one_row_at_most: input.is_one_row_at_most }
    }

    fn filter(&mut self, filter: &Filter, need: Need) -> Result<Relation, SqlError> {
        let input = self.lower(&filter.input, need)?;
        let predicate = self.compiler.compile(&filter.predicate, filter.input.schema())?;
        Ok(Relation { node: self.graph.extend(input.node, Step::Filter(predicate)), ..input })
    }

    /// What identifies a row of a union is which branch it is of, and what identifies it there.
    fn union(&mut self, union: &Union, need: Need) -> Result<Relation, SqlError> {
        let mut branches = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            branches.push(self.lower(input, Need { key: need.key, places: false })?);
        }
        let shown: Vec<Field> = union.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let key_types: Vec<Vec<DataType>> = branches.iter().map(|branch| self.types(branch, &branch.key)).collect();
        let are_alike = key_types.windows(2).all(|pair| pair[0] == pair[1]);
        // Branches of other keys have columns of their own.
        let carried: Vec<(Option<usize>, DataType)> = if are_alike {
            key_types.first().into_iter().flatten().map(|data_type| (None, data_type.clone())).collect()
        } else {
            let of_branch = |(branch, types): (usize, &Vec<DataType>)| {
                types.iter().map(|data_type| (Some(branch), data_type.clone())).collect::<Vec<_>>()
            };
            key_types.iter().enumerate().flat_map(of_branch).collect()
        };
        let mut nodes = Vec::with_capacity(branches.len());
        for (number, branch) in branches.iter().enumerate() {
            let before = Arc::clone(&self.graph.node(branch.node).schema);
            let mut expressions = Vec::new();
            for (column, field) in shown.iter().enumerate() {
                if before.field(column).data_type() != field.data_type() {
                    return Err(internal("the branches of a union have other types"));
                }
                expressions.push(column_of(&before, column));
            }
            let mut fields = shown.clone();
            if need.key {
                expressions.push(literal(ScalarValue::Int32(i32::try_from(number).ok())));
                fields.push(Field::new("_branch", DataType::Int32, true));
                let mut keys = branch.key.iter();
                for (of, data_type) in &carried {
                    let is_mine = of.is_none_or(|of| of == number);
                    expressions.push(match keys.as_slice().first().filter(|_| is_mine) {
                        Some(column) => {
                            keys.next();
                            column_of(&before, *column)
                        }
                        None => null_of(data_type)?,
                    });
                    fields.push(Field::new("_key", data_type.clone(), true));
                }
            }
            let schema = Arc::new(Schema::new(fields));
            nodes.push(self.graph.extend(branch.node, Step::Project { expressions, schema }));
        }
        let key = if need.key { (shown.len()..shown.len() + 1 + carried.len()).collect() } else { Vec::new() };
        let node = self.graph.union(nodes);
        Ok(Relation { node, visible: shown.len(), key, places: None, is_one_row_at_most: false })
    }

    fn empty(&mut self, empty: &EmptyRelation) -> Result<Relation, SqlError> {
        let schema = nullable(empty.schema.fields().iter().map(|field| field.as_ref().clone()));
        let rows = match empty.produce_one_row {
            true => step::batch(&schema, Vec::new(), 1).map_err(|error| internal(error.to_string()))?,
            false => RecordBatch::new_empty(Arc::clone(&schema)),
        };
        let node = self.graph.constant(rows);
        let visible = schema.fields().len();
        // One row at most needs nothing to tell it from others.
        Ok(Relation { node, visible, key: Vec::new(), places: None, is_one_row_at_most: true })
    }

    fn values(&mut self, values: &Values, need: Need) -> Result<Relation, SqlError> {
        let mut fields: Vec<Field> = values.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let nothing = step::batch(&Arc::new(Schema::empty()), Vec::new(), 1);
        let nothing = nothing.map_err(|error| internal(error.to_string()))?;
        let mut columns = Vec::with_capacity(fields.len());
        for column in 0..fields.len() {
            let rows = values.values.iter().map(|row| {
                let expression = self.compiler.compile(&row[column], &DFSchema::empty())?;
                expression
                    .evaluate(&nothing)
                    .map_err(|error| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, error.to_string()))
            });
            let rows = rows.collect::<Result<Vec<_>, SqlError>>()?;
            let rows: Vec<_> = rows.iter().map(AsRef::as_ref).collect();
            columns.push(arrow::compute::concat(&rows).map_err(|error| internal(error.to_string()))?);
        }
        let visible = fields.len();
        let row_count = values.values.len();
        if need.key {
            let numbers = (0..row_count).map(|row| row as i64);
            columns.push(Arc::new(arrow::array::Int64Array::from_iter_values(numbers)));
            fields.push(Field::new("_row", DataType::Int64, true));
        }
        let schema = nullable(fields.into_iter());
        let rows = step::batch(&schema, columns, row_count).map_err(|error| internal(error.to_string()))?;
        let key = if need.key { vec![visible] } else { Vec::new() };
        let node = self.graph.constant(rows);
        Ok(Relation { node, visible, key, places: None, is_one_row_at_most: row_count <= 1 })
    }

    fn types(&self, relation: &Relation, columns: &[usize]) -> Vec<DataType> {
        let schema = &self.graph.node(relation.node).schema;
        columns.iter().map(|column| schema.field(*column).data_type().clone()).collect()
    }

    fn schema(&self, relation: &Relation) -> SchemaRef {
        Arc::clone(&self.graph.node(relation.node).schema)
    }
}

/// A column as it is.
fn column_of(schema: &Schema, column: usize) -> Expression {
    let name = schema.field(column).name();
    Expression { physical: Arc::new(Column::new(name, column)), text: name.clone() }
}

fn literal(value: ScalarValue) -> Expression {
    let text = Expr::Literal(value.clone(), None).to_string();
    Expression { physical: Arc::new(Literal::new(value)), text }
}

fn null_of(data_type: &DataType) -> Result<Expression, SqlError> {
    let null = ScalarValue::try_from(data_type);
    Ok(literal(null.map_err(|error| internal(error.strip_backtrace()))?))
}

/// Where a column is among those that are read, which it is from now on.
fn carried(columns: &mut Vec<usize>, column: usize) -> usize {
    columns.iter().position(|read| *read == column).unwrap_or_else(|| {
        columns.push(column);
        columns.len() - 1
    })
}

fn cast(expression: Expression, data_type: &DataType) -> Expression {
    let Expression { physical, text } = expression;
    Expression { physical: Arc::new(CastExpr::new(physical, data_type.clone(), None)), text }
}

/// The checks before have let something pass that is not known here.
fn internal(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::INTERNAL_ERROR, message)
}
