//! Rewriting the expressions of one node of a plan.

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, LogicalPlan, expr_rewriter::NamePreserver},
};

/// A node with each of its expressions rewritten from its parts up, under the name that it had.
pub(super) fn rewritten(
    node: LogicalPlan,
    mut rewrite: impl FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expression| {
        let name = names.save(&expression);
        let rewritten = expression.transform_up(&mut rewrite)?;
        Ok(rewritten.update_data(|expression| name.restore(expression)))
    })
}
