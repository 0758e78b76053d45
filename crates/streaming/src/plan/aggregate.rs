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
    pub(super) is_distinct: bool,
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
        "var_pop" => AggregateKind::Variance { is_sample: false, is_root: false },
        "var" | "var_samp" => AggregateKind::Variance { is_sample: true, is_root: false },
        "stddev_pop" => AggregateKind::Variance { is_sample: false, is_root: true },
        "stddev" | "stddev_samp" => AggregateKind::Variance { is_sample: true, is_root: true },
        "bool_and" => AggregateKind::All,
        "bool_or" => AggregateKind::Any,
        "first_value" => AggregateKind::First { ignore_nulls },
        "last_value" => AggregateKind::Last { ignore_nulls },
        _ => {
            return Err(SqlError::unsupported(format!("aggregate {name} in a view")).with_hint(
                "the aggregates are: count, sum, avg, min, max, var_pop, var_samp, stddev_pop, stddev_samp, bool_and, bool_or, \
                 first_value, last_value",
            ));
        }
    };
    if params.distinct && kind.needs_place() {
        return Err(SqlError::unsupported(format!("{name}(DISTINCT ...) in a view"))
            .with_hint("leave DISTINCT out: the first and the last value are the same"));
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
    Ok(CheckedCall { kind, is_distinct: params.distinct, argument, filter: params.filter.as_deref() })
}

/// Checks that an aggregate is built for a type.
pub(super) fn check_type(
    kind: AggregateKind,
    is_distinct: bool,
    argument: &DataType,
    text: &str,
) -> Result<(), SqlError> {
    let built = match kind {
        // What is kept of each value is what sorts.
        AggregateKind::Count if is_distinct => !argument.is_nested() && *argument != DataType::Null,
        AggregateKind::Count | AggregateKind::First { .. } | AggregateKind::Last { .. } => true,
        AggregateKind::Sum | AggregateKind::Avg => {
            matches!(argument, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Decimal128(_, _))
        }
        AggregateKind::Variance { .. } => *argument == DataType::Float64,
        AggregateKind::All | AggregateKind::Any => *argument == DataType::Boolean,
        AggregateKind::Min | AggregateKind::Max => {
            !argument.is_nested()
                && !matches!(argument, DataType::Interval(IntervalUnit::MonthDayNano) | DataType::Null)
        }
    };
    if built { Ok(()) } else { Err(SqlError::unsupported(format!("{text}, an aggregate over {argument},"))) }
}
