//! [`FloatEquality`]: floats are equal where PostgreSQL says so: there is one zero, and one NaN, which is the greatest number.
//!
//! Arrow orders by bits: `-0.0` before `0.0`, and a NaN with a sign before all numbers. So what is compared, and what is
//! a key of a group, a join, a set operation, a sort or a window, is put in its [normal form](dataflow::normal_key) first.
//! What is shown keeps its sign, but for keys, which show one of those that are equal.
//!
//! What it is not: for views. Their operators make keys normal themselves.
//!
//! What must hold: the rule comes after the coercion of types, and no column changes its name.

mod comparisons;
mod normal_form;

use std::sync::Arc;

use datafusion::{
    common::{
        Column, DFSchema, JoinConstraint, Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Distinct, Expr, ExprSchemable, Join, LogicalPlan, Projection, RecursiveQuery, SortExpr,
        expr_rewriter::NamePreserver,
    },
    optimizer::AnalyzerRule,
};

use super::{input_schema::schema_of_inputs, rewriting};
use comparisons::Comparisons;
use normal_form::NormalForm;

/// The rule.
#[derive(Debug)]
pub struct FloatEquality;

impl AnalyzerRule for FloatEquality {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let schema = schema_of_inputs(&node)?;
            let mut comparisons = Comparisons::of(&node, &schema);
            let compared = rewriting::rewritten(node, |part| comparisons.normal(part))?;
            compared.transform_data(|node| Ok(Transformed::yes(with_normal_keys(comparisons.provide(node)?, &schema)?)))
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "float_equality"
    }
}

fn with_normal_keys(node: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    Ok(match node {
        LogicalPlan::Aggregate(mut aggregate) => {
            let keys = aggregate.group_expr.into_iter().map(|key| normal_group_key(key, schema));
            aggregate.group_expr = keys.collect::<Result<_>>()?;
            LogicalPlan::Aggregate(aggregate)
        }
        LogicalPlan::Distinct(Distinct::All(input)) => LogicalPlan::Distinct(Distinct::All(normal_rows(input)?)),
        LogicalPlan::Distinct(Distinct::On(mut on)) => {
            on.on_expr = normal_all(on.on_expr, schema)?;
            on.sort_expr = on.sort_expr.map(|keys| normal_order(keys, schema)).transpose()?;
            LogicalPlan::Distinct(Distinct::On(on))
        }
        LogicalPlan::Join(join) => LogicalPlan::Join(with_normal_join_keys(join, schema)?),
        LogicalPlan::Sort(mut sort) => {
            sort.expr = normal_order(sort.expr, schema)?;
            LogicalPlan::Sort(sort)
        }
        LogicalPlan::RecursiveQuery(query) if query.is_distinct => LogicalPlan::RecursiveQuery(RecursiveQuery {
            static_term: normal_rows(query.static_term)?,
            recursive_term: normal_rows(query.recursive_term)?,
            ..query
        }),
        other => other,
    })
}

fn with_normal_join_keys(join: Join, schema: &DFSchema) -> Result<Join> {
    let (mut on, mut has_floats) = (Vec::with_capacity(join.on.len()), false);
    for (left, right) in join.on {
        has_floats |= is_float(&left, schema)?;
        on.push((normal(left, schema)?, normal(right, schema)?));
    }
    // The keys of USING have to be columns; it differs from ON in nothing else, once its columns are resolved.
    let join_constraint = if has_floats { JoinConstraint::On } else { join.join_constraint };
    Ok(Join { on, join_constraint, ..join })
}

/// A key of groups under the name that it has; those of a ROLLUP, a CUBE or grouping sets one by one.
fn normal_group_key(key: Expr, schema: &DFSchema) -> Result<Expr> {
    if let Expr::GroupingSet(_) = key {
        return Ok(key.map_children(|key| Ok(Transformed::yes(normal_group_key(key, schema)?)))?.data);
    }
    let name = NamePreserver::new_for_projection().save(&key);
    Ok(name.restore(normal(key, schema)?))
}

/// All rows with their floats in normal form.
fn normal_rows(input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let schema = Arc::clone(input.schema());
    if !schema.fields().iter().any(|field| field.data_type().is_floating()) {
        return Ok(input);
    }
    let columns = schema.iter().map(|(relation, field)| {
        let column = Expr::Column(Column::from((relation, field)));
        if !field.data_type().is_floating() {
            return column;
        }
        NormalForm::of(column).alias_qualified(relation.cloned(), field.name())
    });
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns.collect(), input)?)))
}

fn normal_order(keys: Vec<SortExpr>, schema: &DFSchema) -> Result<Vec<SortExpr>> {
    keys.into_iter().map(|key| Ok(SortExpr { expr: normal(key.expr, schema)?, ..key })).collect()
}

fn normal_all(expressions: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    expressions.into_iter().map(|expression| normal(expression, schema)).collect()
}

/// An expression of floats in normal form; another one as it is.
fn normal(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(if is_float(&expression, schema)? { NormalForm::of(expression) } else { expression })
}

fn is_float(expression: &Expr, schema: &DFSchema) -> Result<bool> {
    Ok(expression.get_type(schema)?.is_floating())
}

#[cfg(test)]
mod tests;
