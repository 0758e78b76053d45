//! [`CertainSubqueries`]: refuses subqueries that DataFusion answers otherwise than PostgreSQL.
//!
//! - `IN` inside of an expression: as a part of one it becomes a mark that is true or false, where it may have to be NULL. As a
//!   condition of its own, or under nothing but AND and OR, where NULL is as good as false, it is right.
//! - A comparison with `ANY` or `ALL` of a subquery as a value, of which DataFusion makes a condition.
//! - `EXISTS` and `IN` over an aggregate without GROUP BY that reads the row around it: such an aggregate always has a row, and as a
//!   join it has none where nothing meets.

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, Subquery, utils::split_conjunction},
    optimizer::AnalyzerRule,
};
use sql::SqlError;

/// The rule.
#[derive(Debug)]
pub struct CertainSubqueries;

impl AnalyzerRule for CertainSubqueries {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        if reads_catalog(&plan) {
            return Ok(plan);
        }
        plan.apply_with_subqueries(|node| {
            check(node)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }

    fn name(&self) -> &'static str {
        "certain_subqueries"
    }
}

/// Whether the system catalogue is read: clients ask it in their own words, and its rows are made so that these are right.
fn reads_catalog(plan: &LogicalPlan) -> bool {
    let mut found = false;
    // Nothing here can fail.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= matches!(scan.table_name.schema(), Some("pg_catalog" | "information_schema"));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn check(node: &LogicalPlan) -> Result<()> {
    if let LogicalPlan::Filter(filter) = node {
        for condition in split_conjunction(&filter.predicate) {
            match condition {
                Expr::InSubquery(found) => refuse_if(distinguishes_null(&found.expr, false))?,
                other => refuse_if(distinguishes_null(other, true))?,
            }
        }
    } else {
        node.apply_expressions(|expression| {
            refuse_if(distinguishes_null(expression, false))?;
            if expression.exists(|part| Ok(matches!(part, Expr::SetComparison(_))))? {
                let error = SqlError::unsupported("a comparison with ANY or ALL of a subquery as a value");
                return Err(refused(error.with_hint("let it be a condition of WHERE")));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    node.apply_expressions(|expression| {
        expression.apply(|part| {
            let subquery = match part {
                Expr::Exists(found) => &found.subquery,
                Expr::InSubquery(found) => &found.subquery,
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            if !subquery.outer_ref_columns.is_empty() && has_lone_aggregate(subquery) {
                let error = SqlError::unsupported(
                    "EXISTS or IN over an aggregate without GROUP BY that reads the row around it",
                );
                let hint = "it has one row always: compare the aggregate as a value, as in 0 < (SELECT count(*) ...)";
                return Err(refused(error.with_hint(hint)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(())
}

/// Whether there is an `IN` in an expression whose NULL is not the same as false; `may_be_null` says that for the whole it is.
fn distinguishes_null(expression: &Expr, may_be_null: bool) -> bool {
    match expression {
        Expr::InSubquery(found) => !may_be_null || found.negated || distinguishes_null(&found.expr, false),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) if may_be_null => {
            distinguishes_null(left, true) || distinguishes_null(right, true)
        }
        other => {
            let mut found = false;
            // Nothing here can fail.
            let _ = other.apply_children(|child| {
                found |= distinguishes_null(child, false);
                Ok(TreeNodeRecursion::Continue)
            });
            found
        }
    }
}

/// Whether the rows of a subquery are those of an aggregate without groups.
fn has_lone_aggregate(subquery: &Subquery) -> bool {
    let mut node = subquery.subquery.as_ref();
    loop {
        node = match node {
            LogicalPlan::Aggregate(aggregate) => return aggregate.group_expr.is_empty(),
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Filter(filter) => &filter.input,
            LogicalPlan::Sort(sort) => &sort.input,
            LogicalPlan::Limit(limit) => &limit.input,
            _ => return false,
        };
    }
}

fn refuse_if(is_wrong: bool) -> Result<()> {
    if !is_wrong {
        return Ok(());
    }
    let error = SqlError::unsupported("IN with a subquery inside of an expression");
    Err(refused(error.with_hint("write EXISTS or NOT EXISTS, or let it be a condition of its own")))
}

fn refused(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
