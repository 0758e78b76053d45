//! `UNNEST` in `FROM`, written as DataFusion plans it; and where PostgreSQL has no `unnest`.
//!
//! - `LATERAL unnest(...)` is `UNNEST(...)`, which reads the row around it anyway.
//! - Its columns have the names that PostgreSQL gives them: that of the alias, or `unnest`.
//! - `WITH ORDINALITY` is a second list beside the first: `generate_series(1, cardinality(list))`.
//! - `ARRAY[...]` is `make_array(...)`: DataFusion lets only the latter read the row around it.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias,
    TableAliasColumnDef, TableFactor, Value,
};

use crate::{
    SqlError,
    rewriting::call,
    sqlstate,
    tree::{visit_expressions, visit_expressions_mut},
};

const UNNEST: &str = "unnest";

/// Rewrites a table of `FROM`, where it is an `UNNEST`.
pub(crate) fn rewrite_table(factor: &mut TableFactor) -> Result<(), SqlError> {
    as_unnest(factor)?;
    let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = factor else { return Ok(()) };
    for array in array_exprs.iter_mut() {
        let _: ControlFlow<()> = visit_expressions_mut(array, |expr| {
            if let Expr::Array(array) = expr {
                *expr = call("make_array", std::mem::take(&mut array.elem));
            }
            ControlFlow::Continue(())
        });
    }
    let ordinality = std::mem::take(with_ordinality);
    if let [array] = array_exprs.as_slice() {
        let name = alias.as_ref().map_or_else(|| Ident::new(UNNEST), |alias| alias.name.clone());
        let named = alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: name.clone(),
            columns: Vec::new(),
            at: None,
        });
        if named.columns.is_empty() {
            named.columns.push(TableAliasColumnDef { name, data_type: None });
        }
        if ordinality {
            if named.columns.len() == 1 {
                named.columns.push(TableAliasColumnDef::from_name("ordinality"));
            }
            let numbers = numbers_of(array.clone());
            array_exprs.push(numbers);
        }
    } else if ordinality {
        return Err(SqlError::unsupported("UNNEST of several lists WITH ORDINALITY")
            .with_hint("give the numbers as a list of their own: generate_series(1, cardinality(list))"));
    }
    Ok(())
}

/// `LATERAL unnest(...)`, which is parsed as any function.
fn as_unnest(factor: &mut TableFactor) -> Result<(), SqlError> {
    let TableFactor::Function { name, args, with_ordinality, alias, .. } = factor else { return Ok(()) };
    if !is_unnest(name) {
        return Ok(());
    }
    let array_exprs = args.drain(..).map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(array)) => Ok(array),
        other => Err(SqlError::new(sqlstate::SYNTAX_ERROR, format!("unnest takes lists, and not {other}"))),
    });
    *factor = TableFactor::UNNEST {
        array_exprs: array_exprs.collect::<Result<_, _>>()?,
        alias: alias.take(),
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: *with_ordinality,
    };
    Ok(())
}

/// The numbers of the elements of a list, from 1.
fn numbers_of(list: Expr) -> Expr {
    let first = Expr::Value(Value::Number("1".to_owned(), false).into());
    let last = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(call("cardinality", vec![list])),
        data_type: DataType::BigInt(None),
        array: false,
        format: None,
    };
    call("generate_series", vec![first, last])
}

/// The error where an `unnest` is in an expression in which PostgreSQL lets no set be.
pub(crate) fn check_place(expr: &Expr) -> Option<SqlError> {
    let place = match expr {
        Expr::Case { .. } => "CASE",
        Expr::Function(function) if is_named(&function.name, "coalesce") => "COALESCE",
        _ => return None,
    };
    let found = visit_expressions(expr, |part| match part {
        Expr::Function(Function { name, .. }) if is_unnest(name) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break().then(|| {
        SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("set-returning functions are not allowed in {place}"))
            .with_hint("let unnest be in FROM")
    })
}

fn is_unnest(name: &ObjectName) -> bool {
    is_named(name, UNNEST)
}

fn is_named(name: &ObjectName, expected: &str) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|ident| ident.value.eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests;
