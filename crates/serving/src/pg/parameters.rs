//! Parameters: PostgreSQL's types and bytes as Arrow's.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use arrow_pg::datatypes::{df::deserialize_parameters_with_server_types, into_pg_type};
use datafusion::common::{ParamValues, ScalarValue};
use pgwire::{
    api::{Type, portal::Portal},
    error::PgWireResult,
};

use crate::sql::Prepared;

/// Digits of a NUMERIC parameter, and those after the point.
const NUMERIC: (u8, i8) = (38, 10);

/// The Arrow type in which a parameter of PostgreSQL's type is read; `None` where the statement is to tell.
pub(super) fn arrow_type(pg_type: &Type) -> Option<DataType> {
    Some(match *pg_type {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(NUMERIC.0, NUMERIC.1),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Nanosecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::BOOL_ARRAY => DataType::new_list(DataType::Boolean, true),
        Type::INT2_ARRAY => DataType::new_list(DataType::Int16, true),
        Type::INT4_ARRAY => DataType::new_list(DataType::Int32, true),
        Type::INT8_ARRAY => DataType::new_list(DataType::Int64, true),
        Type::FLOAT4_ARRAY => DataType::new_list(DataType::Float32, true),
        Type::FLOAT8_ARRAY => DataType::new_list(DataType::Float64, true),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => DataType::new_list(DataType::Utf8, true),
        _ => return None,
    })
}

/// The PostgreSQL types of a statement's parameters.
pub(super) fn pg_types(prepared: &Prepared) -> PgWireResult<Vec<Type>> {
    prepared.parameters().iter().map(into_pg_type).collect()
}

/// The values that a client has bound.
pub(super) fn values(portal: &Portal<Prepared>, prepared: &Prepared) -> PgWireResult<Vec<ScalarValue>> {
    let own = pg_types(prepared)?;
    // A NUMERIC keeps all its digits here, whatever the column's; it is cast, with a check, when it is used.
    let keeps_digits = |data_type: &DataType| matches!(data_type, DataType::Decimal128(_, _));
    let types: Vec<Option<&DataType>> =
        prepared.parameters().iter().map(|data_type| (!keeps_digits(data_type)).then_some(data_type)).collect();
    let server_types: Vec<Option<&Type>> = own.iter().map(Some).collect();
    let values = deserialize_parameters_with_server_types(portal, &types, &server_types)?;
    Ok(match values {
        ParamValues::List(values) => values.into_iter().map(|value| value.value).collect(),
        ParamValues::Map(_) => Vec::new(),
    })
}
