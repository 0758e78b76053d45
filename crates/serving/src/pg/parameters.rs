//! Parameters: PostgreSQL's types and bytes as Arrow's.
//!
//! What must hold: whatever bytes a client sends, they end in a value or in an error; a value takes no more than a few
//! times the bytes that it came in, since counts and lengths are held to the bytes that are there.

mod array;
mod binary;
mod element;
mod elements;
mod numeric;
mod text;

use arrow::{
    array::Array,
    datatypes::{DataType, IntervalUnit, TimeUnit},
};
use arrow_pg::datatypes::into_pg_type;
use datafusion::common::{ScalarValue, utils::SingleRowListArrayBuilder};
use pgwire::{
    api::{Type, portal::Portal},
    error::PgWireResult,
};
use sql::{SqlError, sqlstate};

use self::{
    element::{Element, Format},
    elements::Elements,
};
use super::error::wire_error;
use crate::sql::Prepared;

/// Digits of a NUMERIC parameter, and those after the point.
const NUMERIC: (u8, i8) = (38, 10);

/// The Arrow type in which a parameter of PostgreSQL's type is read; `None` where the statement is to tell.
pub(super) fn arrow_type(pg_type: &Type) -> Option<DataType> {
    let (element, is_array) = Element::of(pg_type)?;
    let data_type = match element {
        Element::Boolean => DataType::Boolean,
        Element::SmallInt => DataType::Int16,
        Element::Integer => DataType::Int32,
        Element::BigInt => DataType::Int64,
        Element::Real => DataType::Float32,
        Element::Double => DataType::Float64,
        Element::Numeric => DataType::Decimal128(NUMERIC.0, NUMERIC.1),
        Element::Text => DataType::Utf8,
        Element::Bytes => DataType::Binary,
        Element::Date => DataType::Date32,
        Element::Time => DataType::Time64(TimeUnit::Nanosecond),
        Element::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Element::TimestampWithZone => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Element::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        // Their texts are compared with whatever the statement has in their place.
        Element::Uuid | Element::Json | Element::JsonBinary | Element::Character | Element::Oid => return None,
    };
    Some(if is_array { DataType::new_list(data_type, true) } else { data_type })
}

/// The PostgreSQL types of a statement's parameters.
pub(super) fn pg_types(prepared: &Prepared) -> PgWireResult<Vec<Type>> {
    let pg_type = |(index, data_type): (usize, &DataType)| match data_type {
        DataType::List(_) if prepared.is_oid(index) => Ok(Type::OID_ARRAY),
        _ if prepared.is_oid(index) => Ok(Type::OID),
        data_type => into_pg_type(data_type),
    };
    prepared.parameters().iter().enumerate().map(pg_type).collect()
}

/// The values that a client has bound: of the types that it named, else of those that it was told.
///
/// A NUMERIC keeps all its digits here, whatever the column's; like all values it is cast, with a check, when it is used.
pub(super) fn values(portal: &Portal<Prepared>, prepared: &Prepared) -> PgWireResult<Vec<ScalarValue>> {
    let told = pg_types(prepared)?;
    let parameters = portal.parameters.iter().zip(told).zip(prepared.parameters()).enumerate();
    let value = |(index, ((bytes, told), data_type)): (usize, ((&Option<bytes::Bytes>, Type), &DataType))| {
        let named = portal.statement.parameter_types.get(index).cloned().flatten();
        let pg_type = named.filter(|named| *named != Type::UNKNOWN).unwrap_or(told);
        let format = if portal.parameter_format.is_binary(index) { Format::Binary } else { Format::Text };
        let value = match bytes {
            Some(bytes) => value(&pg_type, format, bytes),
            None => ScalarValue::try_from(data_type)
                .map_err(|error| SqlError::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace())),
        };
        value.map_err(|mut error| {
            error.message = format!("{} (parameter ${})", error.message, index + 1);
            wire_error(error)
        })
    };
    parameters.map(value).collect()
}

/// One value that is not NULL.
fn value(pg_type: &Type, format: Format, bytes: &[u8]) -> Result<ScalarValue, SqlError> {
    let Some((element, is_array)) = Element::of(pg_type) else {
        return Err(SqlError::unsupported(format!("a parameter of type {pg_type}"))
            .with_hint("send it as text, and cast it in the statement"));
    };
    if format == Format::Text {
        text::check(bytes)?;
    }
    let failed = |error: datafusion::error::DataFusionError| {
        SqlError::new(sqlstate::INTERNAL_ERROR, format!("a parameter cannot be kept: {}", error.strip_backtrace()))
    };
    if is_array {
        let elements = || match format {
            Format::Binary => array::of_binary(bytes, pg_type),
            Format::Text => array::of_text(bytes),
        };
        let elements = element.decode(format, &elements)?;
        return Ok(SingleRowListArrayBuilder::new(elements).build_list_scalar());
    }
    let one = || -> Result<Elements<'_>, SqlError> { Ok(Box::new(std::iter::once(Ok(Some(bytes.into()))))) };
    let decoded = element.decode(format, &one)?;
    debug_assert_eq!(decoded.len(), 1, "one value is one value");
    ScalarValue::try_from_array(&decoded, 0).map_err(failed)
}

#[cfg(test)]
mod tests;
