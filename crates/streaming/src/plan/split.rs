//! The logical plan cut at its aggregate: linear steps below, the groups, linear steps above.
//!
//! What must hold: every node of the plan is either compiled here or refused by name; none is skipped.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    execution::SessionState,
    logical_expr::{Aggregate, Distinct, Expr, LogicalPlan},
};
use sql::SqlError;

use super::{
    compiler::{Compiler, Grouping, plain_column},
    refusal::refuse,
    step::Step,
};

/// A plan in its parts.
pub(super) struct SplitPlan {
    /// The source's name.
    pub(super) source: String,
    /// The columns of the source that are read.
    pub(super) source_columns: Vec<usize>,
    /// From the source's rows to the groups, or to the view's rows.
    pub(super) below: Vec<Step>,
    /// The groups; none in a view that does not group.
    pub(super) grouping: Option<Grouping>,
    /// From finished groups to the view's rows.
    pub(super) above: Vec<Step>,
    /// The schema of the view's rows.
    pub(super) schema: SchemaRef,
    /// For each column of the view's rows: which column of the groups (or of the source) it is, unchanged.
    pub(super) origins: Vec<Option<usize>>,
}

/// Splits a plan; `text` is the query, for the places of what is refused.
pub(super) fn split(text: &str, plan: &LogicalPlan, state: &SessionState) -> Result<SplitPlan, SqlError> {
    let compiler = Compiler { state };
    let mut origins: Vec<Option<usize>> = (0..plan.schema().fields().len()).map(Some).collect();
    let (mut steps, mut above, mut grouping) = (Vec::new(), Vec::new(), None);
    let mut node = plan;
    loop {
        match node {
            LogicalPlan::Projection(projection) => {
                let input = projection.input.schema();
                // Below an aggregate the origins already speak of the groups.
                if grouping.is_none() {
                    for origin in &mut origins {
                        *origin = origin.and_then(|i| plain_column(projection.expr.get(i)?, input));
                    }
                }
                steps.push(Step::Project {
                    expressions: compiler.compile_all(&projection.expr, input)?,
                    schema: Arc::clone(projection.schema.inner()),
                });
                node = &projection.input;
            }
            LogicalPlan::Filter(filter) => {
                steps.push(Step::Filter(compiler.compile(&filter.predicate, filter.input.schema())?));
                node = &filter.input;
            }
            LogicalPlan::SubqueryAlias(alias) => node = &alias.input,
            LogicalPlan::Aggregate(found) if grouping.is_none() => {
                grouping = Some(compiler.grouping(found)?);
                steps.reverse();
                above = std::mem::take(&mut steps).into_iter().map(Step::with_nullable_columns).collect();
                node = &found.input;
            }
            LogicalPlan::Distinct(Distinct::All(input)) if grouping.is_none() => {
                grouping = Some(compiler.distinct(input.schema())?);
                steps.reverse();
                above = std::mem::take(&mut steps).into_iter().map(Step::with_nullable_columns).collect();
                node = input;
            }
            LogicalPlan::TableScan(scan) => {
                let source_columns = match &scan.projection {
                    Some(columns) => columns.clone(),
                    None => (0..scan.source.schema().fields().len()).collect(),
                };
                if grouping.is_none() {
                    for origin in &mut origins {
                        *origin = origin.and_then(|i| source_columns.get(i).copied());
                    }
                }
                steps.push(Step::Select(source_columns.clone()));
                steps.reverse();
                return Ok(SplitPlan {
                    source: scan.table_name.table().to_owned(),
                    source_columns,
                    below: steps,
                    grouping,
                    above,
                    schema: Arc::clone(plan.schema().inner()),
                    origins,
                });
            }
            other => return Err(refuse(text, other)),
        }
    }
}

/// Whether a plan is a chain of steps over one source, with one aggregate at most.
pub(super) fn is_chain(plan: &LogicalPlan) -> bool {
    let (mut node, mut groups) = (plan, false);
    loop {
        if has_subqueries(node) {
            return false;
        }
        node = match node {
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Aggregate(aggregate) if !groups && !has_grouping_sets(aggregate) => {
                groups = true;
                &aggregate.input
            }
            LogicalPlan::Distinct(Distinct::All(input)) if !groups => {
                groups = true;
                input
            }
            LogicalPlan::TableScan(_) => return true,
            _ => return false,
        };
    }
}

fn has_grouping_sets(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_)))
}

/// Whether an expression of a node has a query of its own.
pub(crate) fn has_subqueries(node: &LogicalPlan) -> bool {
    let mut found = false;
    // Nothing here can fail.
    let _ = node.apply_expressions(|expression| {
        expression.apply(|inner| {
            found |= matches!(
                inner,
                Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
            );
            Ok(TreeNodeRecursion::Continue)
        })
    });
    found
}
