//! What PostgreSQL's grammar has and DataFusion understands otherwise, rewritten in the tree or refused.
//!
//! What must hold: nothing that is written is passed over in silence.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    TableFactor, VisitorMut,
};

use crate::{
    SqlError,
    tree::{Tree, visit_mut},
};

/// Rewrites a statement or query: `time AT TIME ZONE zone` to `timezone(zone, time)`.
///
/// # Errors
/// [`SqlError`] for what is not built, such as `TABLESAMPLE`.
pub fn rewrite(tree: &mut impl Tree) -> Result<(), SqlError> {
    match visit_mut(tree, Rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Box<SqlError>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::AtTimeZone { timestamp, time_zone } = expr {
            let arguments = [time_zone, timestamp].map(|argument| {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(std::mem::replace(
                    &mut **argument,
                    Expr::Identifier(Ident::new(String::new())),
                )))
            });
            *expr = call("timezone", arguments.into());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let sampled =
            matches!(factor, TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. });
        if sampled {
            let error =
                SqlError::unsupported("TABLESAMPLE").with_hint("choose rows with WHERE, such as by `md5` of a key");
            return ControlFlow::Break(Box::new(error));
        }
        ControlFlow::Continue(())
    }
}

fn call(name: &str, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
