//! What PostgreSQL calls the columns of a result: `count` rather than `count(*)`, `?column?` rather than `Int64(1)`.
//!
//! What must hold: names that DataFusion keeps apart stay apart, since a row may become a map of its columns.

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

/// The columns of a statement's result under PostgreSQL's names.
pub(super) fn rename(tree: &Statement, columns: SchemaRef) -> SchemaRef {
    let Statement::Query(query) = tree else { return columns };
    let Some(select) = first_select(query) else { return columns };
    let expressions = select.projection.iter().map(|item| match item {
        SelectItem::UnnamedExpr(expr) => Some(Some(expr)),
        SelectItem::ExprWithAlias { .. } => Some(None),
        // A wildcard stands for columns that have names.
        _ => None,
    });
    let Some(expressions) = expressions.collect::<Option<Vec<_>>>() else { return columns };
    if expressions.len() != columns.fields().len() {
        return columns;
    }
    let own = columns.fields().iter().zip(expressions);
    let names: Vec<String> =
        own.map(|(field, expr)| expr.and_then(name_of).unwrap_or_else(|| field.name().clone())).collect();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &names {
        *uses.entry(name).or_default() += 1;
    }
    let renamed = columns.fields().iter().zip(&names).map(|(field, name)| match uses.get(name.as_str()) {
        Some(1) if name != field.name() => Arc::new(Field::clone(field).with_name(name)),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new_with_metadata(renamed.collect::<Vec<_>>(), columns.metadata().clone()))
}

/// Gives columns that are written alike names of their own, which DataFusion asks for and PostgreSQL does not.
pub(super) fn tell_apart(tree: &mut Statement) {
    let Statement::Query(query) = tree else { return };
    let SetExpr::Select(select) = &mut *query.body else { return };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let uses = seen.entry(expr.to_string()).or_default();
        *uses += 1;
        if *uses > 1 {
            let name = name_of(expr).unwrap_or_else(|| expr.to_string());
            let alias = Ident::with_quote('"', format!("{name}_{uses}"));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
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
            Expr::Identifier(name) => Some(super::statement::identifier(name)),
            Expr::CompoundIdentifier(parts) => parts.last().map(super::statement::identifier),
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
    name.0.last().and_then(|part| part.as_ident()).map(super::statement::identifier)
}
