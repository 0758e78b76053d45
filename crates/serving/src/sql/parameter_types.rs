//! The types of parameters where the statement's text tells them: `$1::int`, `total = ANY ($1)`.
//!
//! What it is not: a planner. DataFusion tells the types of the other parameters.

use std::{collections::BTreeMap, ops::ControlFlow};

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::{
    execution::session_state::SessionState,
    sql::sqlparser::ast::{
        self, ArrayElemTypeDef, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, TimezoneInfo,
    },
};
use sql::{visit_expressions, visit_expressions_mut};

use super::{placeholder::placeholder, planner};

/// Digits of a NUMERIC without a precision, and those after the point.
const NUMERIC: (u8, i8) = (38, 10);

/// What a cast says about a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cast {
    data_type: DataType,
    /// The number of something of the catalogue, or numbers: clients write them in a form of their own.
    is_oid: bool,
}

/// The types that are told by the client, else by the statement, and which of the parameters are numbers of the
/// catalogue; by index.
pub(super) async fn told(
    state: &SessionState,
    tree: &ast::Statement,
    given: &[Option<DataType>],
) -> (Vec<Option<DataType>>, Vec<usize>) {
    let casts = casts(tree);
    let mut told = given.to_vec();
    for (number, cast) in &casts {
        if told.len() < *number {
            told.resize(*number, None);
        }
        if let Some(unknown @ (None | Some(DataType::Null))) = told.get_mut(number - 1) {
            *unknown = Some(cast.data_type.clone());
        }
    }
    let oids = casts.iter().filter(|(_, cast)| cast.is_oid).map(|(number, _)| number - 1).collect();
    lists(state, tree, &mut told).await;
    (told, oids)
}

/// The first cast of each parameter.
fn casts(tree: &ast::Statement) -> BTreeMap<usize, Cast> {
    let mut casts = BTreeMap::new();
    // The walk has nothing to stop for.
    let _: ControlFlow<()> = visit_expressions(tree, |expr| {
        if let Expr::Cast { expr: value, data_type, .. } = expr
            && let Some(number) = parameter(value)
            && let Some(cast) = cast(data_type)
        {
            casts.entry(number).or_insert(cast);
        }
        ControlFlow::Continue(())
    });
    casts
}

/// `x = ANY ($1)`: a list of what `x` is, which is what `$1` would be in `x = $1`.
async fn lists(state: &SessionState, tree: &ast::Statement, told: &mut Vec<Option<DataType>>) {
    let (mut compared, mut found) = (tree.clone(), Vec::new());
    // The walk has nothing to stop for.
    let _: ControlFlow<()> = visit_expressions_mut(&mut compared, |expr| {
        if let Some((number, one)) = one_of_list(expr)
            && told.get(number - 1).is_none_or(Option::is_none)
        {
            found.push(number);
            *expr = one;
        }
        ControlFlow::Continue(())
    });
    if found.is_empty() {
        return;
    }
    // What cannot be planned so is planned, or refused, as it is.
    let Ok((_, types)) = planner::describe(state, &compared, told).await else { return };
    for number in found {
        let Some(data_type) = types.get(number - 1) else { continue };
        if told.len() < number {
            told.resize(number, None);
        }
        if let Some(unknown) = told.get_mut(number - 1) {
            *unknown = Some(DataType::new_list(data_type.clone(), true));
        }
    }
}

/// The comparison with one value, for that with a parameter's values; and which parameter.
fn one_of_list(expr: &Expr) -> Option<(usize, Expr)> {
    let (value, list) = match expr {
        Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => ((**left).clone(), (**right).clone()),
        // What becomes of it in statements that look at the catalogue.
        Expr::Function(function) if function.name.to_string() == "array_contains" => {
            let FunctionArguments::List(arguments) = &function.args else { return None };
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(list)), FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] =
                arguments.args.as_slice()
            else {
                return None;
            };
            (value.clone(), list.clone())
        }
        _ => return None,
    };
    let number = parameter(&list)?;
    let list = if let Expr::Nested(inner) = list { inner } else { Box::new(list) };
    Some((number, Expr::BinaryOp { left: Box::new(value), op: BinaryOperator::Eq, right: list }))
}

fn parameter(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Nested(inner) => parameter(inner),
        other => placeholder(other)?.ok(),
    }
}

fn cast(data_type: &ast::DataType) -> Option<Cast> {
    use ast::DataType as Sql;
    let data_type = match data_type {
        Sql::Array(ArrayElemTypeDef::SquareBracket(element, None)) => {
            let element = cast(element)?;
            return Some(Cast { data_type: DataType::new_list(element.data_type, true), is_oid: element.is_oid });
        }
        Sql::Custom(name, arguments) if arguments.is_empty() => {
            let is_oid = ["oid", "pg_catalog.oid"].contains(&name.to_string().to_lowercase().as_str());
            return is_oid.then_some(Cast { data_type: DataType::Int32, is_oid });
        }
        Sql::Boolean | Sql::Bool => DataType::Boolean,
        Sql::SmallInt(_) | Sql::Int2(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) => DataType::Int64,
        Sql::Real | Sql::Float4 => DataType::Float32,
        Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 => DataType::Float64,
        Sql::Numeric(_) | Sql::Decimal(_) => DataType::Decimal128(NUMERIC.0, NUMERIC.1),
        Sql::Text | Sql::Varchar(_) | Sql::CharacterVarying(_) => DataType::Utf8,
        Sql::Bytea => DataType::Binary,
        Sql::Date => DataType::Date32,
        Sql::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Nanosecond),
        Sql::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        Sql::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => return None,
    };
    Some(Cast { data_type, is_oid: false })
}
