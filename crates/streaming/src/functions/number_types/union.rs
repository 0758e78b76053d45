//! The branches of a `UNION`, each with the types that all have together.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, Result},
    logical_expr::{Expr, LogicalPlan, Projection, Union, cast, expr_rewriter::coerce_plan_expr_for_schema},
    optimizer::analyzer::type_coercion::coerce_union_schema,
};

use super::{Kind, float_among, written_decimal};

/// The union with the types that its columns are to have.
pub(super) fn settled(union: Union) -> Result<LogicalPlan> {
    let count = union.inputs.iter().map(|input| input.schema().fields().len()).min().unwrap_or(0);
    let targets: Vec<Vec<Option<DataType>>> = (0..count).map(|column| targets(&union.inputs, column)).collect();
    let inputs = union.inputs.into_iter().enumerate();
    let inputs = inputs.map(|(branch, input)| cast_columns(input, |column| targets.get(column)?[branch].clone()));
    let inputs = inputs.map(|input| input.map(Arc::new)).collect::<Result<Vec<_>>>()?;
    // What else there is to decide is as DataFusion has it.
    let schema = coerce_union_schema(&inputs)?;
    let coerced = |input| coerce_plan_expr_for_schema(Arc::unwrap_or_clone(input), &schema).map(Arc::new);
    let inputs = inputs.into_iter().map(coerced).collect::<Result<_>>()?;
    Ok(LogicalPlan::Union(Union { inputs, schema: Arc::new(schema) }))
}

/// A plan some of whose columns are cast.
pub(super) fn cast_columns(plan: Arc<LogicalPlan>, target: impl Fn(usize) -> Option<DataType>) -> Result<LogicalPlan> {
    let mut is_changed = false;
    let columns = plan.schema().iter().enumerate().map(|(number, (relation, field))| {
        let column = Expr::Column(Column::from((relation, field)));
        match target(number) {
            Some(target) => {
                is_changed = true;
                cast(column, target).alias_qualified(relation.cloned(), field.name())
            }
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    if !is_changed {
        return Ok(Arc::unwrap_or_clone(plan));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(columns, plan)?))
}

/// What a column becomes in each branch, where it changes: decimals become the floats that there are beside them, and where there
/// are none what is written with a point is the decimal that is written.
fn targets(inputs: &[Arc<LogicalPlan>], column: usize) -> Vec<Option<DataType>> {
    let kinds: Vec<Kind> = inputs.iter().map(|input| Kind::of(input.schema().field(column).data_type())).collect();
    if !kinds.contains(&Kind::Decimal) {
        return vec![None; inputs.len()];
    }
    let written: Vec<Option<DataType>> = inputs.iter().map(|input| written(input, column)).collect();
    let Some(float) = float_among(&kinds, &written) else { return written };
    kinds.into_iter().map(|kind| (kind == Kind::Decimal).then(|| float.clone())).collect()
}

/// The type of the number that is written in a branch, with a point.
fn written(input: &LogicalPlan, column: usize) -> Option<DataType> {
    let LogicalPlan::Projection(projection) = input else { return None };
    match written_decimal(&projection.expr.get(column)?.clone().unalias())? {
        Expr::Literal(decimal, _) => Some(decimal.data_type()),
        _ => None,
    }
}
