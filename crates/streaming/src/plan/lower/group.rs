//! Aggregates, DISTINCT and grouping sets as group-bys.
//!
//! What must hold: an aggregate's argument is computed where its filter lets the row count, and nowhere else.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use dataflow::{AggregateSignature, GroupColumns};
use datafusion::{
    common::ScalarValue,
    logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, utils::grouping_set_to_exprlist},
    physical_expr::expressions::CaseExpr,
};
use sql::SqlError;

use super::{
    super::{
        aggregate::AggregateCall,
        array_expression::with_arrays,
        step::{Expression, Step},
    },
    Lowering, Need, Relation, column_of, internal, literal, null_of,
};

/// More sets than this would be more state than anybody means.
const CUBE_KEYS_MAX: usize = 6;

/// The columns of a map below a group-by.
#[derive(Default)]
struct Prepared {
    expressions: Vec<Expression>,
    fields: Vec<Field>,
}

impl Prepared {
    fn add(&mut self, name: &str, data_type: DataType, expression: Expression) -> usize {
        self.fields.push(Field::new(name, data_type, true));
        self.expressions.push(expression);
        self.fields.len() - 1
    }

    fn step(self) -> Step {
        Step::Project { expressions: self.expressions, schema: Arc::new(Schema::new(self.fields)) }
    }
}

impl Lowering<'_> {
    /// Each row once: groups of nothing but keys.
    pub(super) fn distinct(&mut self, plan: &LogicalPlan) -> Result<Relation, SqlError> {
        let input = self.lower(plan, Need::default())?;
        let schema = self.schema(&input);
        let keys: Vec<usize> = (0..input.visible).collect();
        check_keys(schema.fields().iter().take(input.visible).map(|field| field.data_type()))?;
        let columns = GroupColumns { keys: keys.clone(), ..GroupColumns::default() };
        let shown = Schema::new(schema.fields().iter().take(input.visible).cloned().collect::<Vec<_>>());
        let node = self.graph.group_by(input.node, columns, Vec::new(), &shown);
        Ok(Relation { node, visible: keys.len(), key: keys, places: None, is_one_row_at_most: false })
    }

    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Relation, SqlError> {
        let schema = aggregate.input.schema();
        let sets = grouping_sets(&aggregate.group_expr)?;
        let expressions = match sets {
            None => aggregate.group_expr.clone(),
            Some(_) => grouping_set_to_exprlist(&aggregate.group_expr)
                .map_err(|error| internal(error.strip_backtrace()))?
                .into_iter()
                .cloned()
                .collect(),
        };
        let keys = self.compiler.compile_all(&expressions, schema)?;
        let outputs = aggregate.schema.fields();
        let first_output = outputs.len() - aggregate.aggr_expr.len();
        let calls = aggregate.aggr_expr.iter().zip(outputs.iter().skip(first_output));
        let calls = calls.map(|(expression, output)| self.compiler.call(expression, output.data_type(), schema));
        let calls = calls.collect::<Result<Vec<_>, SqlError>>()?;
        let needs_places = calls.iter().any(|call| call.signature.kind.needs_place());
        let input = self.lower(&aggregate.input, Need { key: false, places: needs_places })?;
        let mut prepared = Prepared::default();
        for (key, field) in keys.into_iter().zip(outputs) {
            prepared.add(field.name(), field.data_type().clone(), key);
        }
        let key_count = prepared.fields.len();
        let columns = self.arguments(&input, &calls, key_count, needs_places, &mut prepared)?;
        check_keys(prepared.fields.iter().take(key_count).map(Field::data_type))?;
        let node = self.graph.extend(input.node, prepared.step());
        let signatures: Vec<AggregateSignature> = calls.into_iter().map(|call| call.signature).collect();
        let schema = aggregate.schema.inner();
        match sets {
            None => {
                let mut groups = self.group(node, columns, signatures, schema);
                // What is the same for all rows tells none apart; the decorrelation of subqueries groups by such a thing.
                let telling = |column: &usize| !is_constant(&expressions[*column]);
                if groups.key.iter().any(telling) {
                    groups.key.retain(telling);
                }
                Ok(groups)
            }
            Some(sets) => self.group_by_sets(node, &sets, &columns, &signatures, schema, &expressions),
        }
    }

    /// What the aggregates take, as columns.
    fn arguments(
        &self,
        input: &Relation,
        calls: &[AggregateCall],
        key_count: usize,
        needs_places: bool,
        prepared: &mut Prepared,
    ) -> Result<GroupColumns, SqlError> {
        let mut columns = GroupColumns { keys: (0..key_count).collect(), ..GroupColumns::default() };
        for call in calls {
            let argument_type = call.signature.argument_type.clone();
            let argument = match (&call.argument, &call.filter) {
                (Some(argument), Some(filter)) => Some(where_true(argument, filter)?),
                (argument, _) => argument.clone(),
            };
            let argument = argument.map(|argument| prepared.add("argument", argument_type, argument));
            let filter = call.filter.clone().map(|filter| prepared.add("filter", DataType::Boolean, filter));
            columns.arguments.push((argument, filter));
        }
        if needs_places {
            let schema = self.schema(input);
            let by_place = calls.iter().find(|call| call.signature.kind.needs_place());
            let by_place = by_place.map_or_else(String::new, |call| call.signature.kind.to_string());
            let places = input.places.filter(|_| !self.graph.node(input.node).is_retracting).ok_or_else(|| {
                SqlError::unsupported(format!("{by_place} over rows that are not the records of one source")).with_hint(
                    "they go by the order in the log: use min or max, or compute them in a view over the source",
                )
            })?;
            columns.places = Some(places.map(|place| {
                let field = schema.field(place);
                prepared.add(field.name(), field.data_type().clone(), column_of(&schema, place))
            }));
        }
        Ok(columns)
    }

    fn group(
        &mut self,
        node: usize,
        columns: GroupColumns,
        signatures: Vec<AggregateSignature>,
        schema: &Schema,
    ) -> Relation {
        let key: Vec<usize> = columns.keys.clone();
        let is_one_row_at_most = key.is_empty();
        let node = self.graph.group_by(node, columns, signatures, schema);
        Relation { node, visible: schema.fields().len(), key, places: None, is_one_row_at_most }
    }

    /// A group-by for each set, over the keys that are in it; the others are NULL. So the set without keys has its one row,
    /// whatever comes in.
    fn group_by_sets(
        &mut self,
        node: usize,
        sets: &[Vec<Expr>],
        columns: &GroupColumns,
        signatures: &[AggregateSignature],
        schema: &Schema,
        expressions: &[Expr],
    ) -> Result<Relation, SqlError> {
        self.graph.share(node);
        let key_count = columns.keys.len();
        let id_type = schema.field(key_count).data_type().clone();
        let mut nodes = Vec::with_capacity(sets.len());
        for set in sets {
            let kept: Vec<usize> = (0..key_count).filter(|key| set.contains(&expressions[*key])).collect();
            let outputs = kept.iter().copied().chain(key_count + 1..schema.fields().len());
            let outputs = Schema::new(outputs.map(|field| schema.field(field).clone()).collect::<Vec<_>>());
            let set_columns = GroupColumns { keys: kept.clone(), ..columns.clone() };
            let group = self.graph.group_by(node, set_columns, signatures.to_vec(), &outputs);
            let grouped = Arc::clone(&self.graph.node(group).schema);
            let mut laid_out = Prepared::default();
            for (key, field) in schema.fields().iter().take(key_count).enumerate() {
                let expression = match kept.iter().position(|kept| *kept == key) {
                    Some(column) => column_of(&grouped, column),
                    None => null_of(field.data_type())?,
                };
                laid_out.add(field.name(), field.data_type().clone(), expression);
            }
            // The keys that are left out, as bits; the first key is the highest.
            let id = (0..key_count).fold(0_u64, |id, key| (id << 1) | u64::from(!kept.contains(&key)));
            let id = ScalarValue::UInt64(Some(id)).cast_to(&id_type);
            let id = id.map_err(|error| internal(error.strip_backtrace()))?;
            laid_out.add(schema.field(key_count).name(), id_type.clone(), literal(id));
            for (call, field) in schema.fields().iter().skip(key_count + 1).enumerate() {
                laid_out.add(field.name(), field.data_type().clone(), column_of(&grouped, kept.len() + call));
            }
            nodes.push(self.graph.extend(group, laid_out.step()));
        }
        let node = self.graph.union(nodes);
        Ok(Relation {
            node,
            visible: schema.fields().len(),
            key: (0..=key_count).collect(),
            places: None,
            is_one_row_at_most: false,
        })
    }
}

/// The argument where the filter is true, else NULL; what is not counted is not computed.
fn where_true(argument: &Expression, filter: &Expression) -> Result<Expression, SqlError> {
    let branches = vec![(Arc::clone(&filter.physical), Arc::clone(&argument.physical))];
    let case = CaseExpr::try_new(None, branches, None).and_then(|case| with_arrays(Arc::new(case)));
    let physical = case.map_err(|error| internal(error.strip_backtrace()))?;
    Ok(Expression { physical, text: format!("{} where {}", argument.text, filter.text) })
}

fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Alias(alias) => is_constant(&alias.expr),
        other => matches!(other, Expr::Literal(..)),
    }
}

/// The sets of keys, where there are several.
fn grouping_sets(group: &[Expr]) -> Result<Option<Vec<Vec<Expr>>>, SqlError> {
    let set = match group {
        [Expr::GroupingSet(set)] => set,
        group if group.iter().any(|expression| matches!(expression, Expr::GroupingSet(_))) => {
            return Err(internal("grouping sets that were not written out"));
        }
        _ => return Ok(None),
    };
    let sets: Vec<Vec<Expr>> = match set {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(keys) => (0..=keys.len()).rev().map(|count| keys[..count].to_vec()).collect(),
        GroupingSet::Cube(keys) if keys.len() > CUBE_KEYS_MAX => {
            return Err(SqlError::unsupported(format!("CUBE of {} keys in a view", keys.len()))
                .with_hint(format!("at most {CUBE_KEYS_MAX} are possible: it has a group-by for each set of them")));
        }
        GroupingSet::Cube(keys) => (0..1_usize << keys.len())
            .map(|left_out| {
                let keys = keys.iter().enumerate();
                keys.filter(|(key, _)| left_out & (1 << key) == 0).map(|(_, key)| key.clone()).collect()
            })
            .collect(),
    };
    if sets.iter().enumerate().any(|(number, set)| sets[..number].contains(set)) {
        return Err(SqlError::unsupported("the same grouping set twice in a view")
            .with_hint("write it once: the rows of both are the same"));
    }
    Ok(Some(sets))
}

fn check_keys<'a>(mut types: impl Iterator<Item = &'a DataType>) -> Result<(), SqlError> {
    match types.find(|data_type| data_type.is_nested()) {
        Some(nested) => Err(SqlError::unsupported(format!("GROUP BY of a {nested}"))),
        None => Ok(()),
    }
}
