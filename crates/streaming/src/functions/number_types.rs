//! [`with_settled_numbers`]: what numbers of two types come to, as PostgreSQL decides it.
//!
//! - A `DOUBLE PRECISION` or `REAL` with a `NUMERIC` or an integer: both are `DOUBLE PRECISION`. DataFusion takes a `NUMERIC` of 15
//!   digits after the point for a float and a decimal, in which neither 1e300 nor NaN has a place, and `REAL` for a `REAL` and an
//!   integer.
//! - What is written with a point beside a `NUMERIC` is the `NUMERIC` that is written; elsewhere it is a `DOUBLE PRECISION`.
//! - `nullif` of floats compares as `=` does.
//! - A quotient of decimals, and a product of many digits, are [`Decimals`].
//! - The columns of `UNION` have the types that all of its branches can have.
//!
//! What it is not: the rest of the coercion, which comes after it.
//!
//! What must hold: a plan says before it is run of which types its columns are, so this is done before anyone is told.

mod union;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, ExprSchema, JoinConstraint, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, Join, LogicalPlan, Operator, Subquery, cast,
        expr::{InSubquery, SetComparison},
    },
};

use super::{exact_arithmetic::Decimals, input_schema::schema_of_inputs, rewriting::rewritten};

/// The functions that give one of their arguments.
const CHOICES: [&str; 7] = ["coalesce", "nvl", "nvl2", "nullif", "greatest", "least", "make_array"];

/// The plan with numbers of the types that PostgreSQL has.
///
/// # Errors
/// When a plan is not one.
pub fn with_settled_numbers(plan: LogicalPlan) -> Result<LogicalPlan> {
    // Both of its terms have the types that the first one had when it was planned.
    if let LogicalPlan::RecursiveQuery(_) = plan {
        return Ok(plan);
    }
    let plan = plan.map_children(|child| with_settled_numbers(child).map(Transformed::yes))?.data;
    let schema = schema_of_inputs(&plan)?;
    match rewritten(plan, |part| settled(part, &schema))?.data {
        LogicalPlan::Union(branches) => union::settled(branches),
        LogicalPlan::Join(join) => with_settled_keys(join)?.recompute_schema(),
        other => other.recompute_schema(),
    }
}

/// What a number is, as far as it matters with which others it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Decimal,
    Real,
    Double,
    /// No number.
    Other,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Decimal128(..) => Self::Decimal,
            DataType::Float32 | DataType::Float16 => Self::Real,
            DataType::Float64 => Self::Double,
            integer if integer.is_integer() => Self::Integer,
            _ => Self::Other,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Self::Real | Self::Double)
    }
}

fn settled(part: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match part {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_of_numbers(op) => {
            let (left, right) = sides(*left, *right, schema)?;
            Transformed::yes(operation(left, op, right, schema)?)
        }
        Expr::Between(between) if is_mixed([&between.expr, &between.low, &between.high], schema) => {
            Transformed::yes(two_comparisons(between, schema)?)
        }
        Expr::InList(mut within) => {
            make_common(std::iter::once(within.expr.as_mut()).chain(&mut within.list).collect(), schema);
            Transformed::yes(Expr::InList(within))
        }
        Expr::Case(mut case) => {
            if let Some(compared) = &mut case.expr {
                let whens = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
                make_common(std::iter::once(compared.as_mut()).chain(whens).collect(), schema);
            }
            let results = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            make_common(results.chain(case.else_expr.as_deref_mut()).collect(), schema);
            Transformed::yes(Expr::Case(case))
        }
        Expr::ScalarFunction(mut call) if CHOICES.contains(&call.func.name()) => {
            make_common(call.args.iter_mut().collect(), schema);
            Transformed::yes(match call.args.as_slice() {
                [value, other] if call.func.name() == "nullif" && kind(value, schema).is_float() => {
                    null_if(value, other)
                }
                _ => Expr::ScalarFunction(call),
            })
        }
        Expr::Cast(Cast { expr, field }) => match (written_decimal(&expr), field.data_type()) {
            (Some(decimal), DataType::Decimal128(..)) => {
                Transformed::yes(Expr::Cast(Cast { expr: Box::new(decimal), field }))
            }
            _ => Transformed::no(Expr::Cast(Cast { expr, field })),
        },
        Expr::Exists(mut found) => {
            found.subquery = settled_subquery(found.subquery, schema)?;
            Transformed::yes(Expr::Exists(found))
        }
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(settled_subquery(subquery, schema)?)),
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let (expr, subquery) = compared_with_answers(*expr, subquery, schema)?;
            Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated }))
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            let (expr, subquery) = compared_with_answers(*expr, subquery, schema)?;
            Transformed::yes(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }))
        }
        other => Transformed::no(other),
    })
}

fn is_of_numbers(operator: Operator) -> bool {
    operator.supports_propagation()
        || matches!(
            operator,
            Operator::IsDistinctFrom
                | Operator::IsNotDistinctFrom
                | Operator::Plus
                | Operator::Minus
                | Operator::Multiply
                | Operator::Divide
                | Operator::Modulo
        )
}

/// What has no type yet, as a parameter before it is given one, is no number.
fn kind(expression: &Expr, schema: &DFSchema) -> Kind {
    expression.get_type(schema).map_or(Kind::Other, |data_type| Kind::of(&data_type))
}

/// Two numbers of which something is computed, or that are compared.
fn sides(left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    let (left_kind, right_kind) = (kind(&left, schema), kind(&right, schema));
    let double = |side: Expr, kind: Kind| if kind == Kind::Double { side } else { cast(side, DataType::Float64) };
    Ok(match (left_kind, right_kind) {
        (Kind::Decimal, Kind::Double) if let Some(written) = written_decimal(&right) => (left, written),
        (Kind::Double, Kind::Decimal) if let Some(written) = written_decimal(&left) => (written, right),
        (Kind::Decimal, Kind::Real | Kind::Double)
        | (Kind::Real | Kind::Double, Kind::Decimal)
        | (Kind::Real, Kind::Integer)
        | (Kind::Integer, Kind::Real) => (double(left, left_kind), double(right, right_kind)),
        _ => (left, right),
    })
}

fn operation(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let as_it_was = |left, right| Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) });
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
        return Ok(as_it_was(left, right));
    };
    let function = match (Kind::of(&left_type), Kind::of(&right_type)) {
        (Kind::Decimal, Kind::Decimal | Kind::Integer) | (Kind::Integer, Kind::Decimal) => {
            Decimals::call(&as_decimal(&left_type), op, &as_decimal(&right_type))
        }
        _ => None,
    };
    let Some(function) = function else { return Ok(as_it_was(left, right)) };
    let decimal = |side: Expr, data_type| {
        if Kind::of(data_type) == Kind::Decimal { side } else { cast(side, as_decimal(data_type)) }
    };
    Ok(Decimals::of(function, decimal(left, &left_type), decimal(right, &right_type)))
}

/// The decimal that has all of an integer's type; another type as it is.
fn as_decimal(data_type: &DataType) -> DataType {
    let digits = match data_type {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        DataType::Int64 => 19,
        DataType::UInt64 => 20,
        other => return other.clone(),
    };
    DataType::Decimal128(digits, 0)
}

fn is_mixed<'a>(expressions: impl IntoIterator<Item = &'a Box<Expr>>, schema: &DFSchema) -> bool {
    let kinds: Vec<Kind> = expressions.into_iter().map(|expression| kind(expression, schema)).collect();
    let has = |is: fn(Kind) -> bool| kinds.iter().any(|kind| is(*kind));
    has(Kind::is_float) && has(|kind| kind == Kind::Decimal)
        || has(|kind| kind == Kind::Real) && has(|kind| kind == Kind::Integer)
}

/// `BETWEEN` as what it stands for, for its ends may be of two types.
fn two_comparisons(between: Between, schema: &DFSchema) -> Result<Expr> {
    let Between { expr, negated, low, high } = between;
    let compared = |op: Operator, end: Expr| -> Result<Expr> {
        let (value, end) = sides((*expr).clone(), end, schema)?;
        Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(value), op, right: Box::new(end) }))
    };
    let within = compared(Operator::GtEq, *low)?.and(compared(Operator::LtEq, *high)?);
    Ok(if negated { Expr::Not(Box::new(within)) } else { within })
}

/// Gives one kind of number to expressions of which one is the result, or which are compared as one type.
fn make_common(mut expressions: Vec<&mut Expr>, schema: &DFSchema) {
    let kinds: Vec<Kind> = expressions.iter().map(|expression| kind(expression, schema)).collect();
    if !kinds.contains(&Kind::Decimal) {
        return;
    }
    let written: Vec<Option<Expr>> = expressions.iter().map(|expression| written_decimal(expression)).collect();
    match float_among(&kinds, &written) {
        Some(float) => {
            for (expression, _) in expressions.iter_mut().zip(kinds).filter(|(_, kind)| *kind == Kind::Decimal) {
                **expression = cast(std::mem::take(*expression), float.clone());
            }
        }
        None => {
            for (expression, written) in expressions.iter_mut().zip(written) {
                if let Some(written) = written {
                    **expression = written;
                }
            }
        }
    }
}

/// `nullif` by the `=` of the language: its own compares bits, and takes `-0.0` for another number than `0.0`.
fn null_if(value: &Expr, other: &Expr) -> Expr {
    let is_equal = value.clone().eq(other.clone());
    let null = Expr::Literal(ScalarValue::Null, None);
    Expr::Case(Case::new(None, vec![(Box::new(is_equal), Box::new(null))], Some(Box::new(value.clone()))))
}

/// The float that decimals become among others, if there is one that is not written in the statement.
fn float_among<T>(kinds: &[Kind], written: &[Option<T>]) -> Option<DataType> {
    let floats = kinds.iter().zip(written).filter(|(kind, written)| kind.is_float() && written.is_none());
    let widest = floats.map(|(kind, _)| *kind).max_by_key(|kind| *kind == Kind::Double)?;
    Some(if widest == Kind::Double { DataType::Float64 } else { DataType::Float32 })
}

/// A subquery in which the columns of the row around it have the types that they have by now.
fn settled_subquery(subquery: Subquery, schema: &DFSchema) -> Result<Subquery> {
    let Subquery { subquery, outer_ref_columns, spans } = subquery;
    let current = |part: Expr| {
        if let Expr::OuterReferenceColumn(field, column) = &part
            && let Ok(now) = schema.field_from_column(column)
            && now.data_type() != field.data_type()
        {
            return Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(now), column.clone())));
        }
        Ok(Transformed::no(part))
    };
    let plan = Arc::unwrap_or_clone(subquery);
    let plan = plan.transform_up_with_subqueries(|node| node.map_expressions(|part| part.transform_up(current)))?.data;
    let outer_ref_columns = outer_ref_columns.into_iter().map(|part| Ok(current(part)?.data)).collect::<Result<_>>()?;
    Ok(Subquery { subquery: Arc::new(with_settled_numbers(plan)?), outer_ref_columns, spans })
}

/// A number, and a subquery with whose one column it is compared.
fn compared_with_answers(expr: Expr, subquery: Subquery, schema: &DFSchema) -> Result<(Box<Expr>, Subquery)> {
    let mut subquery = settled_subquery(subquery, schema)?;
    let answer = subquery.subquery.schema().fields().first().map_or(Kind::Other, |field| Kind::of(field.data_type()));
    let expr = match (kind(&expr, schema), answer) {
        (Kind::Double, Kind::Decimal) if let Some(written) = written_decimal(&expr) => written,
        (Kind::Real | Kind::Double, Kind::Decimal) => {
            subquery.subquery = Arc::new(union::cast_columns(subquery.subquery, |_| Some(DataType::Float64))?);
            expr
        }
        (Kind::Decimal, Kind::Real | Kind::Double) => cast(expr, DataType::Float64),
        _ => expr,
    };
    Ok((Box::new(expr), subquery))
}

/// The keys of a join are compared like others.
fn with_settled_keys(join: Join) -> Result<LogicalPlan> {
    let schema = schema_of_inputs(&LogicalPlan::Join(join.clone()))?;
    let (mut on, mut is_changed) = (Vec::with_capacity(join.on.len()), false);
    for (left, right) in join.on {
        let (settled_left, settled_right) = sides(left.clone(), right.clone(), &schema)?;
        is_changed |= (&settled_left, &settled_right) != (&left, &right);
        on.push((settled_left, settled_right));
    }
    // The keys of USING have to be columns; it differs from ON in nothing else, once its columns are resolved.
    let join_constraint = if is_changed { JoinConstraint::On } else { join.join_constraint };
    Ok(LogicalPlan::Join(Join { on, join_constraint, ..join }))
}

/// The decimal that a number is which is written with a point in the statement; `None` where it is no such number, or none with
/// 38 digits.
fn written_decimal(expression: &Expr) -> Option<Expr> {
    let number = match expression {
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => *number,
        Expr::Negative(inner) => match inner.as_ref() {
            Expr::Literal(ScalarValue::Float64(Some(number)), _) => -number,
            _ => return None,
        },
        _ => return None,
    };
    let text = number.is_finite().then(|| number.to_string())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = format!("{whole}{fraction}");
    let value: i128 = digits.parse().ok()?;
    let scale = i8::try_from(fraction.len()).ok()?;
    let precision = u8::try_from(digits.trim_start_matches(['-', '0']).len().max(fraction.len()).max(1)).ok()?;
    (precision <= 38).then(|| Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), None))
}
