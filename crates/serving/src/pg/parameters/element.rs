//! The types that parameters can have, each alone or as the element of an array.
//!
//! What it is not: their bytes. Those are read in [`binary`](super::binary) and [`text`](super::text).

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, PrimitiveArray, StringArray},
    datatypes::{
        Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
        Time64NanosecondType, TimestampMicrosecondType,
    },
};
use pgwire::api::Type;
use sql::SqlError;

use super::{binary, elements::Elements, numeric, text};

/// In which of the protocol's two forms a value comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Binary,
    Text,
}

/// A type that is no array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    Numeric,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampWithZone,
    Interval,
    Uuid,
    Json,
    JsonBinary,
    /// PostgreSQL's `"char"` of one byte.
    Character,
    Oid,
}

impl Element {
    /// The type as one that is read here, and whether it is an array of it.
    pub(super) fn of(pg_type: &Type) -> Option<(Self, bool)> {
        let array_of = element_type(pg_type);
        let element = match *array_of.as_ref().unwrap_or(pg_type) {
            Type::BOOL => Self::Boolean,
            Type::INT2 => Self::SmallInt,
            Type::INT4 => Self::Integer,
            Type::INT8 => Self::BigInt,
            Type::FLOAT4 => Self::Real,
            Type::FLOAT8 => Self::Double,
            Type::NUMERIC => Self::Numeric,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => Self::Text,
            Type::BYTEA => Self::Bytes,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::TimestampWithZone,
            Type::INTERVAL => Self::Interval,
            Type::UUID => Self::Uuid,
            Type::JSON => Self::Json,
            Type::JSONB => Self::JsonBinary,
            Type::CHAR => Self::Character,
            Type::OID => Self::Oid,
            _ => return None,
        };
        Some((element, array_of.is_some()))
    }

    /// Values as an array of Arrow's. `elements` gives them from the first on each time that it is called.
    pub(super) fn decode<'a>(
        self,
        format: Format,
        elements: &dyn Fn() -> Result<Elements<'a>, SqlError>,
    ) -> Result<ArrayRef, SqlError> {
        let is_binary = format == Format::Binary;
        Ok(match self {
            Self::Boolean => {
                let read = if is_binary { binary::boolean } else { text::boolean };
                Arc::new(each(elements()?, read).collect::<Result<BooleanArray, _>>()?)
            }
            Self::SmallInt => primitives::<Int16Type>(elements()?, if is_binary { binary::int2 } else { text::int2 })?,
            Self::Integer => primitives::<Int32Type>(elements()?, if is_binary { binary::int4 } else { text::int4 })?,
            Self::Oid => primitives::<Int32Type>(elements()?, if is_binary { binary::int4 } else { text::oid })?,
            Self::BigInt => primitives::<Int64Type>(elements()?, if is_binary { binary::int8 } else { text::int8 })?,
            Self::Real => {
                primitives::<Float32Type>(elements()?, if is_binary { binary::float4 } else { text::float4 })?
            }
            Self::Double => {
                primitives::<Float64Type>(elements()?, if is_binary { binary::float8 } else { text::float8 })?
            }
            Self::Numeric => numeric::array(elements, if is_binary { numeric::of_binary } else { numeric::of_text })?,
            Self::Text | Self::Json | Self::Character => strings(elements()?, binary::text)?,
            Self::JsonBinary => strings(elements()?, if is_binary { binary::json } else { binary::text })?,
            Self::Uuid => strings(elements()?, if is_binary { binary::uuid } else { binary::text })?,
            Self::Bytes => {
                let read = if is_binary { binary::bytes } else { text::bytes };
                Arc::new(each(elements()?, read).collect::<Result<BinaryArray, _>>()?)
            }
            Self::Date => primitives::<Date32Type>(elements()?, if is_binary { binary::date } else { text::date })?,
            Self::Time => {
                primitives::<Time64NanosecondType>(elements()?, if is_binary { binary::time } else { text::time })?
            }
            Self::Timestamp => {
                Arc::new(timestamps(elements()?, if is_binary { binary::timestamp } else { text::timestamp })?)
            }
            Self::TimestampWithZone => {
                let read = if is_binary { binary::timestamp } else { text::timestamp_with_zone };
                Arc::new(timestamps(elements()?, read)?.with_timezone("UTC"))
            }
            Self::Interval => primitives::<IntervalMonthDayNanoType>(
                elements()?,
                if is_binary { binary::interval } else { text::interval },
            )?,
        })
    }
}

/// The type of an array's elements; `None` for what is no array, or one that is not read.
pub(super) fn element_type(pg_type: &Type) -> Option<Type> {
    Some(match *pg_type {
        Type::BOOL_ARRAY => Type::BOOL,
        Type::INT2_ARRAY => Type::INT2,
        Type::INT4_ARRAY => Type::INT4,
        Type::INT8_ARRAY => Type::INT8,
        Type::FLOAT4_ARRAY => Type::FLOAT4,
        Type::FLOAT8_ARRAY => Type::FLOAT8,
        Type::NUMERIC_ARRAY => Type::NUMERIC,
        Type::TEXT_ARRAY => Type::TEXT,
        Type::VARCHAR_ARRAY => Type::VARCHAR,
        Type::BPCHAR_ARRAY => Type::BPCHAR,
        Type::NAME_ARRAY => Type::NAME,
        Type::BYTEA_ARRAY => Type::BYTEA,
        Type::DATE_ARRAY => Type::DATE,
        Type::TIME_ARRAY => Type::TIME,
        Type::TIMESTAMP_ARRAY => Type::TIMESTAMP,
        Type::TIMESTAMPTZ_ARRAY => Type::TIMESTAMPTZ,
        Type::INTERVAL_ARRAY => Type::INTERVAL,
        Type::UUID_ARRAY => Type::UUID,
        Type::JSON_ARRAY => Type::JSON,
        Type::JSONB_ARRAY => Type::JSONB,
        Type::CHAR_ARRAY => Type::CHAR,
        Type::OID_ARRAY => Type::OID,
        _ => return None,
    })
}

fn each<'a, T: 'a>(
    elements: Elements<'a>,
    read: fn(&[u8]) -> Result<T, SqlError>,
) -> impl Iterator<Item = Result<Option<T>, SqlError>> + 'a {
    elements.map(move |element| element?.map(|bytes| read(&bytes)).transpose())
}

fn primitives<T: ArrowPrimitiveType>(
    elements: Elements<'_>,
    read: fn(&[u8]) -> Result<T::Native, SqlError>,
) -> Result<ArrayRef, SqlError> {
    Ok(Arc::new(each(elements, read).collect::<Result<PrimitiveArray<T>, _>>()?))
}

fn timestamps(
    elements: Elements<'_>,
    read: fn(&[u8]) -> Result<i64, SqlError>,
) -> Result<PrimitiveArray<TimestampMicrosecondType>, SqlError> {
    each(elements, read).collect()
}

fn strings(elements: Elements<'_>, read: fn(&[u8]) -> Result<String, SqlError>) -> Result<ArrayRef, SqlError> {
    Ok(Arc::new(each(elements, read).collect::<Result<StringArray, _>>()?))
}
