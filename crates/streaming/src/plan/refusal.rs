//! What a view cannot be, said by name, with the place in the text and what to write instead.

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Distinct, Expr, LogicalPlan},
};
use sql::{SqlError, character_at, is_word, sqlstate, tokenize};

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
        LogicalPlan::Subquery(_) => (
            "LATERAL that reads the row around it in this way in a view",
            "lateral",
            "let it be an UNNEST and what is computed of its elements; LEFT JOIN LATERAL unnest(...) has ON true",
        ),
        LogicalPlan::RecursiveQuery(_) => ("WITH RECURSIVE in a view", "recursive", in_query),
        _ => ("this kind of statement as a view", "", "write a SELECT over sources"),
    };
    at_word(text, word, SqlError::unsupported(what)).with_hint(hint)
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

/// An error, at the first place of a word in the text.
pub(super) fn at_word(text: &str, word: &str, error: SqlError) -> SqlError {
    let tokens = tokenize(text).unwrap_or_default();
    match tokens.iter().find(|placed| is_word(&placed.token, word)) {
        Some(placed) => error.at(character_at(text, placed.start)),
        None => error,
    }
}
