//! Names and numbers of types and functions: `'int4'::regtype`, `typreceive`, `oid::regtype::text`.
//!
//! PostgreSQL keeps numbers and shows names. Here the numbers are what is kept, too; what is shown as a result, or cast to
//! text, is put into names.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{DataType, Expr, Ident, SelectItem, SetExpr, Statement, Value},
    parser::ParserError,
};
use sql::visit_expressions_mut;

use super::expression;
use crate::sql::pg_catalog;

/// From names to numbers, before the library sees the statement.
pub(super) fn resolve(statement: &mut Statement) {
    // The walk has nothing to stop for.
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        let resolved = match &*expr {
            Expr::Cast { expr: name, data_type, .. } if is_name(name) => match type_name(data_type).as_str() {
                "regtype" => expression(&format!("regtypein({name})")),
                "regproc" | "regprocedure" => expression(&format!("regprocin({name})")),
                _ => return ControlFlow::Continue(()),
            },
            // Unlike the casts, which raise, these are NULL for what does not exist; the library's casts are as well.
            Expr::Function(function) => {
                let alias = match function.name.to_string().to_lowercase().trim_start_matches("pg_catalog.") {
                    "to_regclass" => "regclass",
                    "to_regnamespace" => "regnamespace",
                    _ => return ControlFlow::Continue(()),
                };
                expression(&format!("{}::{alias}", function.args))
            }
            _ => return ControlFlow::Continue(()),
        };
        if let Ok(resolved) = resolved {
            *expr = resolved;
        }
        ControlFlow::Continue(())
    });
}

/// From numbers to names, after the library.
pub(super) fn show(statement: &mut Statement) -> Result<(), ParserError> {
    let walked = visit_expressions_mut(statement, |expr| {
        if let Expr::Cast { expr: value, data_type: DataType::Text | DataType::Varchar(_), .. } = &*expr {
            match shown(value) {
                Ok(Some(shown)) => *expr = shown,
                Ok(None) => {}
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    });
    if let ControlFlow::Break(error) = walked {
        return Err(error);
    }
    match statement {
        Statement::Query(query) => show_results(&mut query.body),
        _ => Ok(()),
    }
}

fn show_results(body: &mut SetExpr) -> Result<(), ParserError> {
    let select = match body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { left, right, .. } => {
            show_results(left)?;
            return show_results(right);
        }
        _ => return Ok(()),
    };
    // Grouped values are told apart by their numbers.
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(value) => {
                if let Some(shown) = shown(value)? {
                    let alias = result_name(value);
                    *item = SelectItem::ExprWithAlias { expr: shown, alias };
                }
            }
            SelectItem::ExprWithAlias { expr: value, .. } => {
                if let Some(shown) = shown(value)? {
                    *value = shown;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The name that a number stands for, where the expression says of what.
fn shown(value: &Expr) -> Result<Option<Expr>, ParserError> {
    let as_type = |value: &Expr| expression(&format!("format_type({value}, CAST(NULL AS INT))")).map(Some);
    let as_function = |value: &Expr| expression(&format!("regprocout({value})")).map(Some);
    match value {
        Expr::Cast { expr: number, data_type, .. } => match type_name(data_type).as_str() {
            "regtype" => as_type(number),
            "regproc" => as_function(number),
            _ => Ok(None),
        },
        Expr::Function(function) => match function.name.to_string().to_lowercase().as_str() {
            "regtypein" | "to_regtype" => as_type(value),
            "regprocin" | "to_regproc" => as_function(value),
            _ => Ok(None),
        },
        Expr::Identifier(column) if names_function(column) => as_function(value),
        Expr::CompoundIdentifier(parts) if parts.last().is_some_and(names_function) => as_function(value),
        _ => Ok(None),
    }
}

fn names_function(column: &Ident) -> bool {
    pg_catalog::FUNCTIONS.contains(&column.value.to_lowercase().as_str())
}

/// What PostgreSQL calls the column of an expression.
fn result_name(value: &Expr) -> Ident {
    match value {
        Expr::Identifier(column) => column.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().cloned().unwrap_or_else(|| Ident::new("?column?")),
        Expr::Cast { expr, data_type, .. } => match &**expr {
            column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => result_name(column),
            _ => Ident::new(type_name(data_type)),
        },
        Expr::Function(function) => match function.name.to_string().to_lowercase().as_str() {
            "regtypein" => Ident::new("regtype"),
            "regprocin" => Ident::new("regproc"),
            own => Ident::new(own),
        },
        _ => Ident::new("?column?"),
    }
}

fn type_name(data_type: &DataType) -> String {
    let lower = data_type.to_string().to_lowercase();
    lower.strip_prefix("pg_catalog.").unwrap_or(&lower).to_owned()
}

/// A text, or a parameter that will be one.
fn is_name(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(&value.value, Value::SingleQuotedString(text) if !is_number(text))
        || matches!(&value.value, Value::Placeholder(_)))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
