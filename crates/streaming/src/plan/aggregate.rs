//! An aggregate of a view: which one, over what.

use arrow::datatypes::{DataType, IntervalUnit};
use dataflow::{AggregateKind, AggregateSignature};
use datafusion::{
    logical_expr::{Expr, expr::NullTreatment},
    scalar::ScalarValue,
};
use sql::SqlError;

use super::step::Expression;

/// One aggregate, compiled.
#[derive(Clone, Debug)]
pub(crate) struct AggregateCall {
    pub(crate) signature: AggregateSignature,
    /// What is aggregated; `None` for `count(*)`.
    pub(crate) argument: Option<Expression>,
    /// Which rows count.
    pub(crate) filter: Option<Expression>,
}

/// An aggregate as the logical plan has it, checked.
pub(super) struct CheckedCall<'a> {
    pub(super) kind: AggregateKind,
    pub(super) argument: Option<&'a Expr>,
    pub(super) filter: Option<&'a Expr>,
}

/// Checks that an expression is an aggregate that is built.
pub(super) fn check(expression: &Expr) -> Result<CheckedCall<'_>, SqlError> {
    let mut inner = expression;
    while let Expr::Alias(alias) = inner {
        inner = &alias.expr;
    }
    let Expr::AggregateFunction(call) = inner else {
        return Err(SqlError::unsupported(format!("{inner} as an aggregate")));
    };
    let (name, params) = (call.func.name(), &call.params);
    let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let kind = match name {
        "count" => AggregateKind::Count,
        "sum" => AggregateKind::Sum,
        "avg" => AggregateKind::Avg,
        "min" => AggregateKind::Min,
        "max" => AggregateKind::Max,
        "first_value" => AggregateKind::First { ignore_nulls },
        "last_value" => AggregateKind::Last { ignore_nulls },
        _ => {
            return Err(SqlError::unsupported(format!("aggregate {name} in a view"))
                .with_hint("the aggregates are: count, sum, avg, min, max, first_value, last_value"));
        }
    };
    // min and max are the same over distinct values.
    if params.distinct && !matches!(kind, AggregateKind::Min | AggregateKind::Max) {
        return Err(SqlError::unsupported(format!("{name}(DISTINCT ...) in a view"))
            .with_hint("group by the column in one view and count in a query over it"));
    }
    if !params.order_by.is_empty() {
        return Err(SqlError::unsupported(format!("ORDER BY inside {name} in a view"))
            .with_hint("leave it out: first_value and last_value go by the order in the log"));
    }
    let argument = match params.args.as_slice() {
        [Expr::Literal(value, _)] if kind == AggregateKind::Count && !value.is_null() => None,
        [Expr::Literal(ScalarValue::Null, _)] => return Err(SqlError::unsupported(format!("{name}(NULL) in a view"))),
        [argument] => Some(argument),
        _ => return Err(SqlError::unsupported(format!("{name} of several values in a view"))),
    };
    Ok(CheckedCall { kind, argument, filter: params.filter.as_deref() })
}

/// Checks that an aggregate is built for a type.
pub(super) fn check_type(kind: AggregateKind, argument: &DataType, text: &str) -> Result<(), SqlError> {
    let built = match kind {
        AggregateKind::Count | AggregateKind::First { .. } | AggregateKind::Last { .. } => true,
        AggregateKind::Sum | AggregateKind::Avg => {
            matches!(argument, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Decimal128(_, _))
        }
        AggregateKind::Min | AggregateKind::Max => {
            !argument.is_nested()
                && !matches!(argument, DataType::Interval(IntervalUnit::MonthDayNano) | DataType::Null)
        }
    };
    if built { Ok(()) } else { Err(SqlError::unsupported(format!("{text}, an aggregate over {argument},"))) }
}
