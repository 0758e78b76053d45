//! [`ExistsValue`]: `EXISTS` as a value, such as `SELECT EXISTS (SELECT 1 FROM orders)`.
//!
//! DataFusion knows it as a condition. As a value it is whether the count of the rows is more than none, which is planned as any
//! other subquery with one value.

use std::sync::Arc;

use datafusion::{
    common::{Result, config::ConfigOptions, tree_node::Transformed},
    functions_aggregate::expr_fn::count,
    logical_expr::{Expr, FetchType, LogicalPlan, LogicalPlanBuilder, SkipType, Subquery, expr::Exists, lit},
    optimizer::AnalyzerRule,
};

use super::rewriting;

/// The rule.
#[derive(Debug)]
pub struct ExistsValue;

impl AnalyzerRule for ExistsValue {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Projection(_)) {
                return Ok(Transformed::no(node));
            }
            rewriting::rewritten(node, |part| match part {
                Expr::Exists(exists) => counted(exists).map(Transformed::yes),
                other => Ok(Transformed::no(other)),
            })
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &'static str {
        "exists_value"
    }
}

fn counted(exists: Exists) -> Result<Expr> {
    let Exists { subquery: Subquery { subquery, outer_ref_columns, spans }, negated } = exists;
    let rows = without_shape(Arc::unwrap_or_clone(subquery));
    let counted = LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64))])?.build()?;
    let count = Expr::ScalarSubquery(Subquery { subquery: Arc::new(counted), outer_ref_columns, spans });
    Ok(if negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) })
}

/// The rows without what does not decide whether there is one: their order, and a limit of one or more.
fn without_shape(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => without_shape(Arc::unwrap_or_clone(sort.input)),
        LogicalPlan::Limit(limit)
            if matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)))
                && matches!(limit.get_fetch_type(), Ok(FetchType::Literal(None | Some(1..)))) =>
        {
            without_shape(Arc::unwrap_or_clone(limit.input))
        }
        other => other,
    }
}
