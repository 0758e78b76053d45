//! What PostgreSQL calls the columns of a result: `count` rather than `count(*)`, `?column?` rather than `Int64(1)`.
//!
//! What must hold: a result may have several columns of one name, as in PostgreSQL; whoever makes a map of a row looks
//! to it. The order of columns is that of the statement.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use datafusion::{
    error::DataFusionError,
    execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
    sql::sqlparser::ast::{Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Statement},
};
use futures::StreamExt;

/// Between a name and the number that tells a column from others of that name, while DataFusion has them in its hands.
const APART: char = '\u{1f}';

/// The columns of a statement's result under PostgreSQL's names.
pub(super) fn rename(tree: &Statement, columns: &SchemaRef) -> SchemaRef {
    let expressions = select_items(tree).filter(|items| items.len() == columns.fields().len());
    let own = |at: usize| match expressions.as_ref()?.get(at)? {
        SelectItem::UnnamedExpr(expr) => name_of(expr),
        _ => None,
    };
    let renamed = columns.fields().iter().enumerate().map(|(at, field)| {
        let name = own(at).unwrap_or_else(|| field.name().split(APART).next().unwrap_or_default().to_owned());
        if name == *field.name() { Arc::clone(field) } else { Arc::new(Field::clone(field).with_name(name)) }
    });
    Arc::new(Schema::new_with_metadata(renamed.collect::<Vec<_>>(), columns.metadata().clone()))
}

/// What a query selects, where each item is one column.
fn select_items(tree: &Statement) -> Option<&[SelectItem]> {
    let Statement::Query(query) = tree else { return None };
    let items = &first_select(query)?.projection;
    let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    items.iter().all(is_one).then_some(items.as_slice())
}

/// The statement with columns of the same name told apart, which DataFusion asks for and PostgreSQL does not; `None`
/// when there are none. [`rename`] gives them their names back.
pub(super) fn told_apart(tree: &Statement) -> Option<Statement> {
    let mut tree = tree.clone();
    let mut query = &mut tree;
    while let Statement::Explain { statement: inner, .. } | Statement::Prepare { statement: inner, .. } = query {
        query = inner;
    }
    let Statement::Query(query) = query else { return None };
    tell_apart(&mut query.body).then_some(tree)
}

fn tell_apart(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => tell_items_apart(&mut select.projection),
        SetExpr::Query(query) => tell_apart(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            let (left, right) = (tell_apart(left), tell_apart(right));
            left || right
        }
        _ => false,
    }
}

fn tell_items_apart(items: &mut [SelectItem]) -> bool {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    // A wildcard may stand for a column of any name.
    let wildcard =
        items.iter().any(|item| !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }));
    let mut changed = false;
    for item in items {
        let (expr, name, is_named) = match &*item {
            SelectItem::UnnamedExpr(expr) => (expr, column_name(expr), name_of(expr).is_none()),
            SelectItem::ExprWithAlias { expr, alias } => (expr, super::parser::identifier(alias), true),
            _ => continue,
        };
        let number = uses.entry(name.clone()).or_default();
        *number += 1;
        // DataFusion compares expressions and not names, and what it takes for the same may be called differently.
        if *number > 1 || wildcard || !is_named {
            let alias = Ident::with_quote('"', format!("{name}{APART}{number}"));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            changed = true;
        }
    }
    changed
}

/// What a column without an alias is called.
fn column_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => super::parser::identifier(name),
        Expr::CompoundIdentifier(parts) => parts.last().map(super::parser::identifier).unwrap_or_default(),
        other => name_of(other).unwrap_or_else(|| other.to_string()),
    }
}

/// The rows under the names of `columns`.
pub(super) fn rename_rows(rows: SendableRecordBatchStream, columns: &SchemaRef) -> SendableRecordBatchStream {
    if rows.schema().fields().iter().zip(columns.fields()).all(|(left, right)| left.name() == right.name()) {
        return rows;
    }
    let names: Vec<String> = columns.fields().iter().map(|field| field.name().clone()).collect();
    let renamed = rows.map(move |batch| renamed_batch(&batch?, &names));
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(columns), renamed))
}

fn renamed_batch(batch: &RecordBatch, names: &[String]) -> Result<RecordBatch, DataFusionError> {
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(names).map(|(field, name)| Field::clone(field).with_name(name));
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), batch.columns().to_vec(), &options)?)
}

fn first_select(query: &Query) -> Option<&Select> {
    let mut body = &*query.body;
    loop {
        match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::Query(query) => body = &query.body,
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return None,
        }
    }
}

/// PostgreSQL's name for an expression without one; `None` for what has a name already.
fn name_of(expr: &Expr) -> Option<String> {
    let named = |name: &str| Some(name.to_owned());
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => None,
        Expr::Function(function) => last_part(&function.name),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name_of(inner),
        Expr::Cast { expr: inner, data_type, .. } => match &**inner {
            Expr::Identifier(name) => Some(super::parser::identifier(name)),
            Expr::CompoundIdentifier(parts) => parts.last().map(super::parser::identifier),
            Expr::Value(_) => Some(data_type.to_string().to_lowercase()),
            other => name_of(other),
        },
        Expr::Case { .. } => named("case"),
        Expr::Exists { .. } => named("exists"),
        Expr::Extract { .. } => named("extract"),
        Expr::Substring { .. } => named("substring"),
        Expr::Trim { .. } => named("btrim"),
        Expr::Position { .. } => named("position"),
        Expr::Ceil { .. } => named("ceil"),
        Expr::Floor { .. } => named("floor"),
        Expr::Array(_) => named("array"),
        Expr::Interval(_) => named("interval"),
        _ => named("?column?"),
    }
}

fn last_part(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(|part| part.as_ident()).map(super::parser::identifier)
}
