//! What a view cannot be, said by name, with the place in the text and what to write instead.

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{BinaryExpr, Distinct, Expr, LogicalPlan, Operator, utils::split_conjunction},
};
use sql::{SqlError, character_at, is_word, sqlstate, tokenize};
use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier};

/// The error for a node that is not built; `text` is the query.
pub(super) fn refuse(text: &str, node: &LogicalPlan) -> SqlError {
    let in_query = "put it into the query over the view";
    let (what, word, hint) = match node {
        LogicalPlan::Sort(_) => ("ORDER BY in a view", "order", in_query),
        LogicalPlan::Limit(_) => ("LIMIT or OFFSET in a view", "limit", in_query),
        LogicalPlan::Window(_) => ("a window function (OVER) in a view", "over", in_query),
        LogicalPlan::Distinct(Distinct::On(_)) => ("DISTINCT ON in a view", "distinct", in_query),
        LogicalPlan::Values(_) => ("VALUES in a view", "values", "a view reads a source"),
        LogicalPlan::EmptyRelation(_) => ("a view without FROM", "select", "a view reads a source"),
        LogicalPlan::Unnest(_) => ("unnest in a view", "unnest", in_query),
        LogicalPlan::RecursiveQuery(_) => ("WITH RECURSIVE in a view", "recursive", in_query),
        _ => ("this kind of statement as a view", "", "write a SELECT over sources"),
    };
    at_word(text, word, SqlError::unsupported(what)).with_hint(hint)
}

/// Refuses set operations that count how often a row is there: DataFusion plans them as if each were there once.
pub(super) fn check_sets(text: &str, body: &SetExpr) -> Result<(), SqlError> {
    match body {
        SetExpr::Query(query) => check_sets(text, &query.body),
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            check_sets(text, left)?;
            check_sets(text, right)?;
            let counts = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
            let word = match op {
                SetOperator::Intersect if counts => "intersect",
                SetOperator::Except | SetOperator::Minus if counts => "except",
                _ => return Ok(()),
            };
            let error = SqlError::unsupported(format!("{} ALL in a view", word.to_uppercase()));
            Err(at_word(text, word, error).with_hint("leave ALL out: each row is there once then"))
        }
        _ => Ok(()),
    }
}

/// Refuses a subquery that stands for a value and could have several rows: as a join it would pass for several values.
pub(super) fn check_scalar_subqueries(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut has_several = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::ScalarSubquery(subquery) = inner {
                    // Of those that read the row around them DataFusion itself refuses what could have several.
                    has_several |= subquery.outer_ref_columns.is_empty()
                        && subquery.subquery.max_rows().is_none_or(|rows| rows > 1);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    match walked {
        Err(error) => Err(SqlError::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace())),
        Ok(_) if has_several => {
            Err(SqlError::unsupported("a subquery as a value that can have several rows in a view")
                .with_hint("aggregate it, as in (SELECT max(x) FROM ...), or write IN or a join"))
        }
        Ok(_) => Ok(()),
    }
}

/// Refuses `IN` with a subquery where it matters whether it is false or NULL and DataFusion plans it as if it were never NULL:
/// everywhere but as a condition of its own, or under nothing but AND and OR.
pub(super) fn check_in_subqueries(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut is_wrong = false;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Filter(filter) = node {
            for condition in split_conjunction(&filter.predicate) {
                is_wrong |= !matches!(condition, Expr::InSubquery(_)) && distinguishes_null(condition, true);
            }
        } else {
            node.apply_expressions(|expression| {
                is_wrong |= distinguishes_null(expression, false);
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    match walked {
        Err(error) => Err(SqlError::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace())),
        Ok(_) if is_wrong => Err(SqlError::unsupported("IN with a subquery inside of an expression in a view")
            .with_hint("write EXISTS or NOT EXISTS, or let it be a condition of its own")),
        Ok(_) => Ok(()),
    }
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

/// An error, at the first place of a word in the text.
pub(super) fn at_word(text: &str, word: &str, error: SqlError) -> SqlError {
    let tokens = tokenize(text).unwrap_or_default();
    match tokens.iter().find(|placed| is_word(&placed.token, word)) {
        Some(placed) => error.at(character_at(text, placed.start)),
        None => error,
    }
}
