//! [`with_lateral_unnests`]: lists taken apart beside the row that they are of, as in `FROM a, UNNEST(a.tags) AS t (tag)`.
//!
//! DataFusion plans these as a join with a subquery that reads the row around it, and then has no way to run it. But where the
//! subquery makes its rows of nothing but that row, the join is the subquery over the rows of the left: each of its projections
//! carries them along.
//!
//! What it is not: a join in disguise for anything that groups, sorts or limits: that stays as it is.
//!
//! What must hold: the columns of a join that was rewritten are those that it had, under the names that they had.

use std::{collections::HashSet, sync::Arc};

use arrow::datatypes::{DataType, Field};
use datafusion::{
    common::{
        Column, DFSchema, NullHandling, Result, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, Projection, Unnest, expr_rewriter::NamePreserver},
};
use sql::{SqlError, sqlstate};

/// The plan in which no `UNNEST` reads a row that is beside it.
///
/// # Errors
/// [`SqlError`] for an `unnest` where there can be none, and for one of what is no list of single values.
pub fn with_lateral_unnests(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        check(&node)?;
        match node {
            LogicalPlan::Join(join) => match over_left(&join)? {
                Some(rewritten) => Ok(Transformed::yes(rewritten)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            other => Ok(Transformed::no(other)),
        }
    });
    Ok(rewritten?.data)
}

/// Refuses what DataFusion answers otherwise than PostgreSQL, or with an error that nobody can read.
fn check(node: &LogicalPlan) -> Result<()> {
    if let LogicalPlan::Unnest(unnest) = node {
        let schema = unnest.input.schema();
        let is_single = unnest.list_type_columns.iter().all(|(column, list)| {
            let element = element_type(schema.field(*column).data_type());
            list.depth == 1 && element.is_some_and(|element| !element.is_nested())
        });
        return if is_single && unnest.struct_type_columns.is_empty() {
            Ok(())
        } else {
            let error = SqlError::unsupported("unnest of anything but a list of single values");
            Err(refused(error.with_hint("PostgreSQL makes a list of all values of an array of arrays")))
        };
    }
    let message = match node {
        LogicalPlan::Filter(_) => "set-returning functions are not allowed in WHERE",
        LogicalPlan::Join(_) => "set-returning functions are not allowed in JOIN conditions",
        LogicalPlan::Aggregate(_) => "aggregate function calls cannot contain set-returning function calls",
        LogicalPlan::Window(_) => "window function calls cannot contain set-returning function calls",
        LogicalPlan::Values(_) => "set-returning functions are not allowed in VALUES",
        _ => return Ok(()),
    };
    let mut found = false;
    node.apply_expressions(|expression| {
        found |= expression.exists(|part| Ok(matches!(part, Expr::Unnest(_))))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    match found {
        true => {
            Err(refused(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("let unnest be in FROM")))
        }
        false => Ok(()),
    }
}

fn element_type(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            Some(element.data_type())
        }
        _ => None,
    }
}

fn refused(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The rows of the left, as they are carried through what was a subquery.
struct Left<'a> {
    schema: &'a DFSchema,
    /// The name of each column while it is carried.
    names: Vec<String>,
    /// Whether a row without elements is kept.
    is_outer: bool,
}

/// A join as its right side over its left, where it can be.
fn over_left(join: &Join) -> Result<Option<LogicalPlan>> {
    let is_outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(None),
    };
    let Some(names) = names_within(&join.right) else { return Ok(None) };
    let has_condition = join.filter.as_ref().is_some_and(|filter| !is_true(filter));
    let reads = join.right.all_out_ref_exprs();
    let is_of_left = reads.iter().all(|read| match read {
        Expr::OuterReferenceColumn(_, column) => join.left.schema().has_column(column),
        _ => false,
    });
    let is_join = !join.on.is_empty() || (reads.is_empty() && has_condition);
    if is_join || !is_of_left || (is_outer && (has_condition || !is_renamed_unnest(&join.right))) {
        return Ok(None);
    }
    let left = Left { schema: join.left.schema(), names: carried_names(join.left.schema(), names), is_outer };
    let carried = left.schema.columns().into_iter().zip(&left.names);
    let carried = carried.map(|(column, name)| Expr::Column(column).alias(name)).collect();
    let rows = Projection::try_new(carried, Arc::clone(&join.left))?;
    let rows = left.through(&join.right, LogicalPlan::Projection(rows))?;
    let shown = left.schema.iter().zip(&left.names).map(|((relation, field), name)| {
        Expr::Column(Column::from_name(name)).alias_qualified(relation.cloned(), field.name())
    });
    let shown = shown.chain(join.right.schema().columns().into_iter().map(Expr::Column)).collect();
    let joined = LogicalPlan::Projection(Projection::try_new(shown, Arc::new(rows))?);
    Ok(Some(match &join.filter {
        Some(filter) if has_condition => LogicalPlan::Filter(Filter::try_new(filter.clone(), Arc::new(joined))?),
        _ => joined,
    }))
}

fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// All names of columns within a subquery that makes its rows of one row, with an `UNNEST`, and perhaps joins these with others;
/// none of any other.
fn names_within(subquery: &LogicalPlan) -> Option<HashSet<String>> {
    let (mut names, mut node, mut has_unnest) = (HashSet::new(), subquery, false);
    loop {
        names.extend(node.schema().fields().iter().map(|field| field.name().clone()));
        if crate::plan::has_subqueries(node) {
            return None;
        }
        node = match node {
            LogicalPlan::Subquery(subquery) => &subquery.subquery,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Join(join) if is_joined_after(join) => &join.left,
            LogicalPlan::Unnest(unnest) => {
                has_unnest = true;
                &unnest.input
            }
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && has_unnest => return Some(names),
            _ => return None,
        };
    }
}

/// Whether a join with a relation is the same when the rows of its left have more columns.
fn is_joined_after(join: &Join) -> bool {
    matches!(join.join_type, JoinType::Inner | JoinType::Left) && join.right.all_out_ref_exprs().is_empty()
}

/// Whether the rows of a subquery are the elements of lists, and nothing is computed of these.
fn is_renamed_unnest(subquery: &LogicalPlan) -> bool {
    let is_column = |expression: &Expr| matches!(expression.clone().unalias(), Expr::Column(_));
    match subquery {
        LogicalPlan::Subquery(subquery) => is_renamed_unnest(&subquery.subquery),
        LogicalPlan::SubqueryAlias(alias) => is_renamed_unnest(&alias.input),
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(is_column) && is_renamed_unnest(&projection.input)
        }
        LogicalPlan::Unnest(unnest) => {
            let is_list = |column: usize| unnest.list_type_columns.iter().any(|(list, _)| *list == column);
            unnest.dependency_indices.iter().all(|column| is_list(*column)) && is_one_row(&unnest.input)
        }
        _ => false,
    }
}

fn is_one_row(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// Names for the columns of the left that no other column has.
fn carried_names(schema: &DFSchema, mut taken: HashSet<String>) -> Vec<String> {
    let free = |field: &Arc<Field>| {
        let mut name = format!("_{}", field.name());
        while !taken.insert(name.clone()) {
            name.insert(0, '_');
        }
        name
    };
    schema.fields().iter().map(free).collect()
}

impl Left<'_> {
    /// The nodes of a subquery over rows of the left, which each of them passes on.
    fn through(&self, node: &LogicalPlan, rows: LogicalPlan) -> Result<LogicalPlan> {
        match node {
            LogicalPlan::Subquery(subquery) => self.through(&subquery.subquery, rows),
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.through(&alias.input, rows)?;
                let inner = alias.input.schema().columns().into_iter().zip(alias.schema.iter());
                let renamed = inner.map(|(column, (relation, field))| {
                    Expr::Column(column).alias_qualified(relation.cloned(), field.name())
                });
                self.project(renamed.collect(), input)
            }
            LogicalPlan::Projection(projection) => {
                let input = self.through(&projection.input, rows)?;
                let names = NamePreserver::new_for_projection();
                let expressions = projection.expr.iter().map(|expression| {
                    let name = names.save(expression);
                    Ok(name.restore(self.read_beside(expression)?))
                });
                self.project(expressions.collect::<Result<_>>()?, input)
            }
            LogicalPlan::Filter(filter) => {
                let input = self.through(&filter.input, rows)?;
                let predicate = self.read_beside(&filter.predicate)?;
                Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
            }
            LogicalPlan::Unnest(unnest) => {
                let input = self.through(&unnest.input, rows)?;
                let mut options = unnest.options.clone();
                if self.is_outer {
                    options.null_handling = NullHandling::PreserveAndExpandEmpty;
                }
                Ok(LogicalPlan::Unnest(Unnest::try_new(Arc::new(input), unnest.exec_columns.clone(), options)?))
            }
            LogicalPlan::Join(join) => {
                let input = self.through(&join.left, rows)?;
                let on = join.on.iter().map(|(left, right)| Ok((self.read_beside(left)?, self.read_beside(right)?)));
                let joined = Join::try_new(
                    Arc::new(input),
                    Arc::clone(&join.right),
                    on.collect::<Result<_>>()?,
                    join.filter.as_ref().map(|filter| self.read_beside(filter)).transpose()?,
                    join.join_type,
                    join.join_constraint,
                    join.null_equality,
                    join.null_aware,
                );
                Ok(LogicalPlan::Join(joined?))
            }
            // The one row that everything is made of.
            _ => Ok(rows),
        }
    }

    /// Computes columns, and passes the rows of the left on.
    fn project(&self, mut expressions: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
        expressions.extend(self.names.iter().map(|name| Expr::Column(Column::from_name(name))));
        Ok(LogicalPlan::Projection(Projection::try_new(expressions, Arc::new(input))?))
    }

    /// What was read of the row around is read of the row itself.
    fn read_beside(&self, expression: &Expr) -> Result<Expr> {
        let read = expression.clone().transform(|part| match part {
            Expr::OuterReferenceColumn(_, column) => {
                let name = &self.names[self.schema.index_of_column(&column)?];
                Ok(Transformed::yes(Expr::Column(Column::from_name(name))))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(read?.data)
    }
}
