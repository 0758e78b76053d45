//! From a tree to a plan, with the types and values of parameters.

use std::{ops::ControlFlow, sync::Arc};

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::{
    common::{
        ParamValues, ScalarValue,
        metadata::ScalarAndMetadata,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::session_state::SessionState,
    logical_expr::{Expr, LogicalPlan, Statement as PlanStatement},
    optimizer::{Optimizer, simplify_expressions::SimplifyExpressions},
    sql::{parser::Statement, sqlparser::ast},
};
use sql::visit_expressions;
use streaming::{with_lateral_unnests, with_settled_numbers};

use super::{column_names, placeholder::placeholder, point_read::lossless};

/// What the constants of a plan may take in one batch, in bytes. Batches on their way from one operator to the next are
/// reserved by none of them, and each query has a few.
const BATCH_CONSTANT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Plans a statement whose parameters have no values yet; `given` are the types that the client names.
///
/// Returns the plan and the types of all parameters: what the client says, else what the statement implies, else text.
pub(super) async fn describe(
    state: &SessionState,
    tree: &ast::Statement,
    given: &[Option<DataType>],
) -> Result<(LogicalPlan, Vec<DataType>), DataFusionError> {
    let count = parameter_count(tree)?;
    if count == 0 {
        return Ok((plan_tree(state, tree.clone()).await?, Vec::new()));
    }
    let given = |index: usize| given.get(index).cloned().flatten().filter(|data_type| *data_type != DataType::Null);
    let implied: Vec<Option<DataType>> = match plan_tree(state, tree.clone()).await {
        Ok(plan) => {
            let types = plan.get_parameter_types()?;
            let implied: Vec<_> =
                (1..=count).map(|number| types.get(&format!("${number}")).cloned().flatten()).collect();
            // Where the client agrees with what the statement implies, the plan is good as it is.
            let agreed =
                |index: usize| given(index).is_none_or(|data_type| implied[index].as_ref() == Some(&data_type));
            if let Some(types) = implied.iter().cloned().collect::<Option<Vec<_>>>()
                && (0..count).all(agreed)
            {
                return Ok((plan, types));
            }
            implied
        }
        // An expression such as `$1 + $2` has no type before its parameters have.
        Err(error) if (0..count).all(|index| given(index).is_none()) && !is_about_parameters(&error) => {
            return Err(error);
        }
        Err(_) => vec![None; count],
    };
    let (counted, lists) = (limit_parameters(tree), list_parameters(tree));
    let fallback = |index: usize| match index + 1 {
        number if counted.contains(&number) => DataType::Int64,
        number if lists.contains(&number) => DataType::new_list(DataType::Utf8, true),
        _ => DataType::Utf8,
    };
    let types = implied.into_iter().enumerate();
    let types: Vec<DataType> =
        types.map(|(index, implied)| given(index).or(implied).unwrap_or_else(|| fallback(index))).collect();
    let plan = plan_typed(state, tree, &types).await?;
    Ok((plan, types))
}

/// Plans a statement with the values of its parameters, which are of `types`.
pub(super) async fn plan(
    state: &SessionState,
    tree: &ast::Statement,
    types: &[DataType],
    values: &[ScalarValue],
) -> Result<LogicalPlan, DataFusionError> {
    if values.is_empty() {
        return plan_tree(state, tree.clone()).await;
    }
    let values = values.iter().zip(types).map(|(value, wanted)| parameter(value, wanted));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let types: Vec<DataType> = values.iter().map(ScalarValue::data_type).collect();
    let values = ParamValues::List(values.into_iter().map(ScalarAndMetadata::from).collect());
    plan_typed(state, tree, &types).await?.replace_params_with_values(&values)
}

/// A value as the type that the statement implies. A number with more digits than that has keeps them: it is compared
/// with a column, and not stored in it.
fn parameter(value: &ScalarValue, wanted: &DataType) -> Result<ScalarValue, DataFusionError> {
    let given = value.data_type();
    if given == *wanted {
        return Ok(value.clone());
    }
    match (&given, wanted) {
        (DataType::Decimal128(_, places), DataType::Decimal128(_, fewer)) if places > fewer => {
            Ok(lossless(value, wanted).unwrap_or_else(|| value.clone()))
        }
        _ => value.cast_to(wanted),
    }
}

/// The plan with what is constant in it computed; what was left to be computed later because it is costly.
pub(super) fn with_constants(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let optimizer = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
    optimizer.optimize(plan, state, |_, _| {})
}

/// The state for a plan with large constants: each of them is written as often as a batch has rows, so batches have
/// fewer rows.
pub(super) fn with_fitting_batches(
    state: &Arc<SessionState>,
    plan: &LogicalPlan,
) -> Result<Arc<SessionState>, DataFusionError> {
    let mut bytes = 0;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::Literal(value, _) = part {
                    bytes += value.size();
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let rows = (BATCH_CONSTANT_BYTES_MAX / bytes.max(1)).max(1);
    if rows >= state.config().batch_size() {
        return Ok(Arc::clone(state));
    }
    let mut fitting = SessionState::clone(state);
    *fitting.config_mut() = fitting.config().clone().with_batch_size(rows);
    Ok(Arc::new(fitting))
}

async fn plan_typed(
    state: &SessionState,
    tree: &ast::Statement,
    types: &[DataType],
) -> Result<LogicalPlan, DataFusionError> {
    let Some(data_types) = types.iter().map(sql_type).collect::<Option<Vec<_>>>() else {
        return plan_tree(state, tree.clone()).await;
    };
    let prepare =
        ast::Statement::Prepare { name: ast::Ident::new("statement"), data_types, statement: Box::new(tree.clone()) };
    match plan_tree(state, prepare).await? {
        LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => Ok(prepare.input.as_ref().clone()),
        other => Ok(other),
    }
}

/// The columns of the plan may have other names than they are to have: see [`column_names::rename`].
async fn plan_tree(state: &SessionState, tree: ast::Statement) -> Result<LogicalPlan, DataFusionError> {
    let told_apart = column_names::told_apart(&tree);
    let planned = state.statement_to_plan(Statement::Statement(Box::new(tree))).await;
    let planned = match (planned, told_apart) {
        // Only where it fails otherwise, since ORDER BY and others refer to columns as they are written.
        (Err(error), Some(tree)) => {
            state.statement_to_plan(Statement::Statement(Box::new(tree))).await.map_err(|_| error)
        }
        (planned, _) => planned,
    };
    planned.and_then(with_lateral_unnests).and_then(with_settled_numbers)
}

/// The highest `$n` of a statement.
fn parameter_count(tree: &ast::Statement) -> Result<usize, DataFusionError> {
    let mut highest = 0;
    let walked = visit_expressions(tree, |expr| {
        match placeholder(expr) {
            Some(Ok(index)) => highest = highest.max(index),
            Some(Err(name)) => return ControlFlow::Break(name),
            None => {}
        }
        ControlFlow::Continue(())
    });
    match walked {
        ControlFlow::Continue(()) => Ok(highest),
        ControlFlow::Break(name) => Err(DataFusionError::Plan(format!("placeholder {name}: write $1, $2 and so on"))),
    }
}

/// The parameters that count rows: `LIMIT $1 OFFSET $2`.
fn limit_parameters(tree: &ast::Statement) -> Vec<usize> {
    let ast::Statement::Query(query) = tree else { return Vec::new() };
    let counts = match &query.limit_clause {
        Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
            [limit.as_ref(), offset.as_ref().map(|offset| &offset.value)]
        }
        Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => [Some(limit), Some(offset)],
        None => [None, None],
    };
    counts.into_iter().flatten().filter_map(|expr| placeholder(expr)?.ok()).collect()
}

/// The parameters that are lists: `column = ANY ($1)`.
fn list_parameters(tree: &ast::Statement) -> Vec<usize> {
    let mut lists = Vec::new();
    // The walk has nothing to stop for.
    let _: ControlFlow<()> = visit_expressions(tree, |expr| {
        if let ast::Expr::AnyOp { right, .. } | ast::Expr::AllOp { right, .. } = expr {
            let inner = if let ast::Expr::Nested(inner) = &**right { inner } else { right };
            lists.extend(placeholder(inner).and_then(Result::ok));
        }
        ControlFlow::Continue(())
    });
    lists
}

fn is_about_parameters(error: &DataFusionError) -> bool {
    let message = error.to_string();
    message.contains("laceholder")
        || message.contains("Null")
        || message.contains("LIMIT")
        || message.contains("OFFSET")
}

/// The SQL type that DataFusion reads as this Arrow type.
fn sql_type(data_type: &DataType) -> Option<ast::DataType> {
    use ast::{ArrayElemTypeDef, DataType as Sql, ExactNumberInfo, TimezoneInfo};
    Some(match data_type {
        DataType::Boolean => Sql::Boolean,
        DataType::Int8 => Sql::TinyInt(None),
        DataType::Int16 => Sql::SmallInt(None),
        DataType::Int32 => Sql::Int(None),
        DataType::Int64 => Sql::BigInt(None),
        DataType::UInt8 => Sql::TinyIntUnsigned(None),
        DataType::UInt16 => Sql::SmallIntUnsigned(None),
        DataType::UInt32 => Sql::IntUnsigned(None),
        DataType::UInt64 => Sql::BigIntUnsigned(None),
        DataType::Float32 => Sql::Real,
        DataType::Float64 => Sql::DoublePrecision,
        DataType::Utf8 => Sql::Text,
        DataType::Binary => Sql::Bytea,
        DataType::Date32 => Sql::Date,
        DataType::Time64(TimeUnit::Nanosecond) => Sql::Time(None, TimezoneInfo::None),
        DataType::Timestamp(unit, None) => Sql::Timestamp(Some(precision(*unit)), TimezoneInfo::None),
        DataType::Decimal128(precision, scale) => {
            Sql::Decimal(ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale)))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => Sql::Interval { fields: None, precision: None },
        DataType::List(item) => {
            Sql::Array(ArrayElemTypeDef::SquareBracket(Box::new(sql_type(item.data_type())?), None))
        }
        _ => return None,
    })
}

fn precision(unit: TimeUnit) -> u64 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
