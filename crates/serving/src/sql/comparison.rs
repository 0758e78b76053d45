//! What tells two versions of a view apart, row by row.
//!
//! What must hold: a row that one version has more often than the other is there, with its version and how many more; what both
//! have is not. So no rows mean that the versions are equal.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::{
    catalog::TableProvider,
    common::{Column, ScalarValue},
    datasource::provider_as_source,
    error::DataFusionError,
    functions_aggregate::expr_fn::count,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit, when},
};

use super::definitions::Comparison;

/// The columns before those of the view: the version that has the row, and how many more of it than the other.
const VERSION: &str = "version";
const MORE: &str = "more_rows";

/// The columns of a comparison of versions of a view with these columns.
pub(super) fn columns(view: &Schema) -> SchemaRef {
    let own = [VERSION, MORE].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
    let fields: Fields = own.into_iter().chain(view.fields().iter().cloned()).collect();
    Arc::new(Schema::new(fields))
}

/// A plan of the rows that two versions do not have in common, in the order of the view's columns; what its columns are called,
/// [`columns`] says.
pub(super) fn plan(comparison: &Comparison) -> Result<LogicalPlan, DataFusionError> {
    let [old, new] = comparison.snapshots.each_ref().map(|snapshot| snapshot.table());
    let names: Vec<String> = (0..old.schema().fields().len()).map(|at| format!("column{at}")).collect();
    let (is_there, is_not) = (lit(1_i64), lit(ScalarValue::Int64(None)));
    let both = side(&old, &names, [is_there.clone(), is_not.clone()])?
        .union(side(&new, &names, [is_not, is_there])?.build()?)?;
    let all: Vec<Expr> = names.iter().map(|name| column(name)).collect();
    let counts = [count(column("old")).alias("old_rows"), count(column("new")).alias("new_rows")];
    let (old, new) = (column("old_rows"), column("new_rows"));
    let [old_version, new_version] = comparison.versions.map(|version| lit(i64::try_from(version).unwrap_or(i64::MAX)));
    let is_old = old.clone().gt(new.clone());
    let version = when(is_old.clone(), old_version).otherwise(new_version)?;
    let more = when(is_old, old.clone() - new.clone()).otherwise(new.clone() - old.clone())?;
    let shown = [version.alias(VERSION), more.alias(MORE)].into_iter().chain(all.iter().cloned());
    let order = all.iter().cloned().chain([column(VERSION)]).map(|column| column.sort(true, false));
    both.aggregate(all.clone(), counts)?.filter(old.not_eq(new))?.project(shown)?.sort(order)?.build()
}

/// The rows of one version, and in which of the two they are.
fn side(
    table: &Arc<dyn TableProvider>,
    names: &[String],
    [old, new]: [Expr; 2],
) -> Result<LogicalPlanBuilder, DataFusionError> {
    let schema = table.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(names)
        .map(|(field, name)| Expr::Column(Column::new(Some("version"), field.name())).alias(name));
    let all = columns.chain([old.alias("old"), new.alias("new")]).collect::<Vec<_>>();
    LogicalPlanBuilder::scan("version", provider_as_source(Arc::clone(table)), None)?.project(all)
}

/// A column by its name as it is, whatever letters that has.
fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}
