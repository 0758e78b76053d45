//! Joins of all kinds out of two operators: pairs by equal keys, and rows by whether their key is on the other side.
//!
//! - outer joins: the pairs, and the rows of the outer side that are in none, with NULLs beside them;
//! - a condition besides the equalities (the *residual*): pairs for which it does not hold are none. Where rows are kept by
//!   whether they are in a pair, the pairs are cut to the rows of that side, and presence is judged by all of their columns;
//! - `NOT IN`: nothing is kept where the right side has a NULL, and a NULL on the left is kept only where it has no row at all.
//!
//! What must hold: a join without an equality meets all rows of both sides, so that it is refused unless one side has one
//! row at most.

use std::{any::Any, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dataflow::Keep;
use datafusion::{
    common::{DFSchema, NullEquality, ScalarValue},
    logical_expr::{Expr, Join, JoinType, LogicalPlan, type_coercion::binary::comparison_coercion},
    physical_expr::{
        PhysicalExpr,
        expressions::{CastExpr, Column, IsNotNullExpr, IsNullExpr},
    },
};
use sql::SqlError;

use super::{
    super::{
        graph::Sides,
        refusal::at_word,
        step::{Expression, Step},
    },
    Lowering, Need, Relation, cast, column_of, internal, literal, null_of,
};

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// Both sides of a join, with their keys as columns.
struct Prepared {
    sides: [Relation; 2],
    columns: [Vec<usize>; 2],
    /// The columns of each side of which two rows with the same key have the same values.
    determined: [Vec<usize>; 2],
    nulls_are_equal: bool,
    residual: Option<Expression>,
}

/// Where a column of joined rows comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct PairColumn {
    side: usize,
    column: usize,
}

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join, need: Need) -> Result<Relation, SqlError> {
        use JoinType as Type;
        let needs = match join.join_type {
            Type::LeftSemi | Type::LeftAnti | Type::LeftMark => [need, Need::default()],
            Type::RightSemi | Type::RightAnti | Type::RightMark => [Need::default(), need],
            _ => [Need { key: need.key, places: false }; 2],
        };
        let prepared = self.sides(join, needs)?;
        match join.join_type {
            Type::Inner => self.pairs(&prepared, join, need.key, &[]),
            Type::Left => self.pairs(&prepared, join, need.key, &[LEFT]),
            Type::Right => self.pairs(&prepared, join, need.key, &[RIGHT]),
            Type::Full => self.pairs(&prepared, join, need.key, &[LEFT, RIGHT]),
            Type::LeftSemi => self.kept(&prepared, LEFT, Keep::Present),
            Type::RightSemi => self.kept(&prepared, RIGHT, Keep::Present),
            Type::LeftAnti if join.null_aware => self.not_in(&prepared, join),
            Type::LeftAnti => self.kept(&prepared, LEFT, Keep::Absent),
            Type::RightAnti => self.kept(&prepared, RIGHT, Keep::Absent),
            Type::LeftMark if !join.null_aware => self.marked(&prepared, LEFT, join),
            Type::RightMark if !join.null_aware => self.marked(&prepared, RIGHT, join),
            Type::LeftMark | Type::RightMark => {
                Err(SqlError::unsupported("IN with NULLs as a value in a view").with_hint("write it as EXISTS"))
            }
        }
    }

    /// Lowers both sides, and computes what has to be equal.
    fn sides(&mut self, join: &Join, needs: [Need; 2]) -> Result<Prepared, SqlError> {
        let plans: [&LogicalPlan; 2] = [&join.left, &join.right];
        let mut sides = [self.lower(plans[LEFT], needs[LEFT])?, self.lower(plans[RIGHT], needs[RIGHT])?];
        let mut columns: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
        let mut determined: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
        for (left, right) in &join.on {
            let compiled = [
                self.compiler.compile(left, plans[LEFT].schema())?,
                self.compiler.compile(right, plans[RIGHT].schema())?,
            ];
            let types = [self.type_of(&compiled[LEFT], &sides[LEFT])?, self.type_of(&compiled[RIGHT], &sides[RIGHT])?];
            let common = common_type(&types[LEFT], &types[RIGHT])
                .filter(|common| !common.is_nested())
                .ok_or_else(|| SqlError::unsupported(format!("a join of {} and {}", types[LEFT], types[RIGHT])))?;
            for (side, compiled) in compiled.into_iter().enumerate() {
                let key = if types[side] == common { compiled } else { cast(compiled, &common) };
                determined[side].extend(determined_column(key.physical.as_ref(), &self.schema(&sides[side])));
                columns[side].push(self.with_column(&mut sides[side], "key", &common, key));
            }
        }
        if join.on.is_empty() {
            let is_plain = join.filter.as_ref().is_none_or(is_true);
            let only_looks = is_plain && !join.null_aware && !is_pairing(join.join_type);
            if !only_looks && !sides.iter().any(|side| side.is_one_row_at_most) {
                let error = match is_pairing(join.join_type) {
                    true => "a join without an equality between its two sides in a view",
                    false => "a subquery without an equality to the row around it in a view",
                };
                return Err(at_word(self.text, "join", SqlError::unsupported(error))
                    .with_hint("every row would meet every other: add a condition such as a.id = b.id"));
            }
            for side in [LEFT, RIGHT] {
                let one = literal(ScalarValue::Int32(Some(1)));
                columns[side].push(self.with_column(&mut sides[side], "key", &DataType::Int32, one));
            }
        }
        sides.iter().for_each(|side| self.graph.share(side.node));
        let residual = match &join.filter {
            None => None,
            Some(filter) if is_true(filter) => None,
            Some(filter) => {
                let both = pair_schema(plans[LEFT].schema(), plans[RIGHT].schema())?;
                Some(self.compiler.compile(filter, &both)?)
            }
        };
        let nulls_are_equal = join.null_equality == NullEquality::NullEqualsNull;
        Ok(Prepared { sides, columns, determined, nulls_are_equal, residual })
    }

    /// Pairs, and the rows of the `outer` sides that are in none.
    fn pairs(
        &mut self,
        prepared: &Prepared,
        join: &Join,
        needs_key: bool,
        outer: &[usize],
    ) -> Result<Relation, SqlError> {
        let mut layout = self.layout(prepared, needs_key, outer);
        let shown: Vec<Field> = join.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let inner = self.inner(prepared);
        let inner = self.lay_out(inner, prepared, &layout.columns, None, &shown)?;
        let inner = match &prepared.residual {
            Some(residual) => self.graph.extend(inner, Step::Filter(residual.clone())),
            None => inner,
        };
        let mut nodes = vec![inner];
        for side in outer {
            let alone = self.presence(prepared, *side, Keep::Absent)?;
            nodes.push(self.lay_out(alone, prepared, &layout.columns, Some(*side), &shown)?);
        }
        if needs_key && outer.len() > 1 {
            // A row of one side whose key is NULL looks as one of the other does.
            layout.key.push(layout.columns.len());
            let branch = |number| literal(ScalarValue::Int32(Some(number)));
            let numbered = nodes.into_iter().zip(0..);
            nodes = numbered
                .map(|(node, number)| self.appended(node, "_branch", &DataType::Int32, branch(number)))
                .collect();
        }
        let node = if outer.is_empty() { inner } else { self.graph.union(nodes) };
        // Of two rows that meet nothing, both stand alone.
        let is_one_row_at_most = outer.len() < 2 && prepared.sides.iter().all(|side| side.is_one_row_at_most);
        Ok(Relation { node, visible: layout.visible, key: layout.key, places: None, is_one_row_at_most })
    }

    /// The rows of a side whose key is, or is not, on the other.
    fn kept(&mut self, prepared: &Prepared, side: usize, keep: Keep) -> Result<Relation, SqlError> {
        let node = self.presence(prepared, side, keep)?;
        Ok(Relation { node, ..prepared.sides[side].clone() })
    }

    /// Every row of a side, with whether its key is on the other.
    fn marked(&mut self, prepared: &Prepared, side: usize, join: &Join) -> Result<Relation, SqlError> {
        let relation = prepared.sides[side].clone();
        let mut nodes = Vec::with_capacity(2);
        let mut marked = relation.clone();
        for (keep, mark) in [(Keep::Present, true), (Keep::Absent, false)] {
            let node = self.presence(prepared, side, keep)?;
            let schema = Arc::clone(&self.graph.node(node).schema);
            let shown: Vec<Option<usize>> = (0..relation.visible).map(Some).collect();
            let mut expressions: Vec<Expression> = (0..relation.visible).map(|c| column_of(&schema, c)).collect();
            expressions.push(literal(ScalarValue::Boolean(Some(mark))));
            let fields = join.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
            marked = self.project(&Relation { node, ..relation.clone() }, expressions, fields, &shown);
            nodes.push(marked.node);
        }
        Ok(Relation { node: self.graph.union(nodes), ..marked })
    }

    /// `x NOT IN (...)`, with all that NULLs do to it.
    fn not_in(&mut self, prepared: &Prepared, join: &Join) -> Result<Relation, SqlError> {
        let ([left_key], [right_key]) = (prepared.columns[LEFT].as_slice(), prepared.columns[RIGHT].as_slice()) else {
            return Err(SqlError::unsupported("NOT IN of several values in a view").with_hint("write NOT EXISTS"));
        };
        if prepared.residual.is_some() || join.on.is_empty() {
            return Err(SqlError::unsupported("a correlated NOT IN in a view").with_hint("write NOT EXISTS"));
        }
        let [left, right] = prepared.sides.clone();
        let known = self.where_null(&left, *left_key, false);
        let unknown = self.where_null(&left, *left_key, true);
        let nulls = self.where_null(&right, *right_key, true);
        let absent = self.graph.presence(
            Keep::Absent,
            Sides { nodes: [known, right.node], columns: [vec![*left_key], vec![*right_key]], nulls_are_equal: false },
        );
        let absent = self.unless_any(absent, nulls);
        let unknown = self.unless_any(unknown, right.node);
        Ok(Relation { node: self.graph.union(vec![absent, unknown]), ..left })
    }

    /// The rows of which a column is NULL, or is not.
    fn where_null(&mut self, relation: &Relation, column: usize, is_null: bool) -> usize {
        let column = column_of(&self.schema(relation), column);
        let (physical, text): (Arc<dyn PhysicalExpr>, _) = match is_null {
            true => (Arc::new(IsNullExpr::new(column.physical)), format!("{} IS NULL", column.text)),
            false => (Arc::new(IsNotNullExpr::new(column.physical)), format!("{} IS NOT NULL", column.text)),
        };
        self.graph.extend(relation.node, Step::Filter(Expression { physical, text }))
    }

    /// All rows of a node while another has none.
    fn unless_any(&mut self, node: usize, others: usize) -> usize {
        let sides = Sides { nodes: [node, others], columns: [Vec::new(), Vec::new()], nulls_are_equal: true };
        self.graph.presence(Keep::Absent, sides)
    }

    fn inner(&mut self, prepared: &Prepared) -> usize {
        self.graph.join(Sides {
            nodes: [prepared.sides[LEFT].node, prepared.sides[RIGHT].node],
            columns: prepared.columns.clone(),
            nulls_are_equal: prepared.nulls_are_equal,
        })
    }

    /// The rows of a side that are in a pair, or in none.
    fn presence(&mut self, prepared: &Prepared, side: usize, keep: Keep) -> Result<usize, SqlError> {
        let (this, other) = (&prepared.sides[side], &prepared.sides[1 - side]);
        let Some(residual) = &prepared.residual else {
            let sides = Sides {
                nodes: [this.node, other.node],
                columns: [prepared.columns[side].clone(), prepared.columns[1 - side].clone()],
                nulls_are_equal: prepared.nulls_are_equal,
            };
            return Ok(self.graph.presence(keep, sides));
        };
        let width = self.schema(this).fields().len();
        if let Some(nested) = self.schema(this).fields().iter().find(|field| field.data_type().is_nested()) {
            return Err(SqlError::unsupported(format!(
                "this join with a condition besides the equality, over the {} column {}",
                nested.data_type(),
                nested.name()
            )));
        }
        // What the condition reads stands first, as it expects it, then all of this side.
        let mut columns = self.visible(prepared);
        columns.extend((0..width).map(|column| PairColumn { side, column }));
        let pairs = self.inner(prepared);
        let pairs = self.lay_out(pairs, prepared, &columns, None, &[])?;
        let pairs = self.graph.extend(pairs, Step::Filter(residual.clone()));
        let first = columns.len() - width;
        let found = self.graph.extend(pairs, Step::Select((first..columns.len()).collect()));
        let all: Vec<usize> = (0..width).collect();
        let sides = Sides { nodes: [this.node, found], columns: [all.clone(), all], nulls_are_equal: true };
        Ok(self.graph.presence(keep, sides))
    }

    /// The columns that the query sees of both sides.
    fn visible(&self, prepared: &Prepared) -> Vec<PairColumn> {
        let of = |side: usize| (0..prepared.sides[side].visible).map(move |column| PairColumn { side, column });
        of(LEFT).chain(of(RIGHT)).collect()
    }

    /// What identifies a pair: what identifies either of its rows. A side of which no other row could be in a pair with the
    /// same row goes without saying, unless its rows also stand alone.
    fn layout(&self, prepared: &Prepared, needs_key: bool, outer: &[usize]) -> Layout {
        let mut columns = self.visible(prepared);
        let (visible, mut key) = (columns.len(), Vec::new());
        let is_given = |side: usize| {
            let keys = &prepared.determined[side];
            !outer.contains(&side) && prepared.sides[side].key.iter().all(|column| keys.contains(column))
        };
        let telling: &[usize] = match (needs_key, is_given(RIGHT), is_given(LEFT)) {
            (false, _, _) => &[],
            (true, true, _) => &[LEFT],
            (true, false, true) => &[RIGHT],
            (true, false, false) => &[LEFT, RIGHT],
        };
        for side in telling {
            for column in &prepared.sides[*side].key {
                let origin = PairColumn { side: *side, column: *column };
                key.push(columns.iter().position(|known| *known == origin).unwrap_or_else(|| {
                    columns.push(origin);
                    columns.len() - 1
                }));
            }
        }
        Layout { columns, visible, key }
    }

    /// Joined rows, or rows of one side `alone`, as columns in the order of `columns`; `shown` names the first of them.
    fn lay_out(
        &mut self,
        node: usize,
        prepared: &Prepared,
        columns: &[PairColumn],
        alone: Option<usize>,
        shown: &[Field],
    ) -> Result<usize, SqlError> {
        let schemas: [SchemaRef; 2] = [self.schema(&prepared.sides[LEFT]), self.schema(&prepared.sides[RIGHT])];
        let found = Arc::clone(&self.graph.node(node).schema);
        let (mut expressions, mut fields) = (Vec::new(), Vec::new());
        for (place, origin) in columns.iter().enumerate() {
            let field = schemas[origin.side].field(origin.column);
            expressions.push(match alone {
                None => column_of(&found, origin.column + origin.side * schemas[LEFT].fields().len()),
                Some(side) if side == origin.side => column_of(&found, origin.column),
                Some(_) => null_of(field.data_type())?,
            });
            let name = shown.get(place).unwrap_or(field).name();
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(self.graph.extend(node, Step::Project { expressions, schema }))
    }

    /// A column with an expression's value: the one that it is, or a new one at the end.
    fn with_column(
        &mut self,
        relation: &mut Relation,
        name: &str,
        data_type: &DataType,
        expression: Expression,
    ) -> usize {
        let physical: &dyn Any = expression.physical.as_ref();
        if let Some(column) = physical.downcast_ref::<Column>() {
            return column.index();
        }
        let width = self.schema(relation).fields().len();
        relation.node = self.appended(relation.node, name, data_type, expression);
        width
    }

    /// The rows of a node with one more column at the end.
    fn appended(&mut self, node: usize, name: &str, data_type: &DataType, expression: Expression) -> usize {
        let schema = Arc::clone(&self.graph.node(node).schema);
        let mut expressions: Vec<Expression> =
            (0..schema.fields().len()).map(|column| column_of(&schema, column)).collect();
        expressions.push(expression);
        let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new(name, data_type.clone(), true));
        self.graph.extend(node, Step::Project { expressions, schema: Arc::new(Schema::new(fields)) })
    }

    fn type_of(&self, expression: &Expression, relation: &Relation) -> Result<DataType, SqlError> {
        let data_type = expression.physical.data_type(&self.schema(relation));
        data_type.map_err(|error| internal(error.strip_backtrace()))
    }
}

/// The column that an expression has the value of, or of which it is an integer of a wider type.
fn determined_column(expression: &dyn PhysicalExpr, schema: &Schema) -> Option<usize> {
    let expression: &dyn Any = expression;
    if let Some(column) = expression.downcast_ref::<Column>() {
        return Some(column.index());
    }
    let wider = expression.downcast_ref::<CastExpr>()?;
    let inner: &dyn Any = wider.expr().as_ref();
    let column = inner.downcast_ref::<Column>()?.index();
    let (from, to) = (schema.field(column).data_type(), wider.cast_type());
    let is_wider = from.is_signed_integer() && to.is_signed_integer() && from.primitive_width() <= to.primitive_width();
    is_wider.then_some(column)
}

/// Whether rows of both sides come out, and not those of one.
fn is_pairing(join_type: JoinType) -> bool {
    matches!(join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full)
}

fn is_true(condition: &Expr) -> bool {
    *condition == Expr::Literal(ScalarValue::Boolean(Some(true)), None)
}

/// The columns of joined rows.
struct Layout {
    columns: Vec<PairColumn>,
    visible: usize,
    /// Which of them identify a row.
    key: Vec<usize>,
}

fn pair_schema(left: &DFSchema, right: &DFSchema) -> Result<DFSchema, SqlError> {
    left.join(right).map_err(|error| internal(error.strip_backtrace()))
}

/// The type in which values of two types are compared; texts are compared in one layout.
fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let common = if left == right { Some(left.clone()) } else { comparison_coercion(left, right) };
    common.map(|common| dataflow::plain_text(&common))
}
