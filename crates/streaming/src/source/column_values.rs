//! The values of one column, made of fields of JSON.
//!
//! What must hold: a value is what was written, exactly as far as the column's type can say it (a double is the nearest
//! one), or it does not fit and the reason names it; a column grows by one value for each field, whether it fits or not.

use std::{borrow::Cow, num::FpCategory, str::FromStr, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder, Int16Builder,
        Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
    },
    compute::kernels::cast_utils::Parser,
    datatypes::{DataType, Date32Type, Field, TimeUnit},
};
use sql::{SourceDefinition, SourceFormat, TimestampUnit, type_name};

use super::{
    number_text::{self, Misfit, scaled},
    reason::{Reason, ReasonClass},
    timestamp_text::{number_us, text_us},
};
use crate::error::{Error, Result};

/// How much of a value a reason repeats.
const SHOWN_CHARACTERS_MAX: usize = 100;
const DAY_US: i64 = 86_400_000_000;
/// The days of the years 1 to 9999.
const DAYS_SHOWN: std::ops::Range<i32> = -719_162..2_932_897;

/// A column that is being filled.
pub(super) struct ColumnValues {
    name: String,
    data_type: DataType,
    values: Values,
}

enum Values {
    Text(StringBuilder),
    Boolean(BooleanBuilder),
    SmallInt(Int16Builder),
    Int(Int32Builder),
    BigInt(Int64Builder),
    Real(Float32Builder),
    Double(Float64Builder),
    Numeric {
        builder: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
    /// Numbers are days since 1970, or none.
    Date {
        builder: Date32Builder,
        takes_days: bool,
    },
    Timestamp {
        builder: TimestampMicrosecondBuilder,
        unit: Option<TimestampUnit>,
    },
}

/// Why a field is no value of its column.
enum Unfit {
    /// It is something else.
    Other,
    /// It is one that the column cannot hold.
    Why(Cow<'static, str>),
}

/// A field of JSON by what it is.
enum FieldText<'v> {
    Text(Cow<'v, str>),
    Number(&'v str),
    Boolean(bool),
    /// An object or an array.
    Nested,
}

impl ColumnValues {
    /// A column of `source`.
    pub(super) fn new(field: &Field, source: &SourceDefinition) -> Result<Self> {
        let values = match field.data_type() {
            DataType::Utf8 => Values::Text(StringBuilder::new()),
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Values::SmallInt(Int16Builder::new()),
            DataType::Int32 => Values::Int(Int32Builder::new()),
            DataType::Int64 => Values::BigInt(Int64Builder::new()),
            DataType::Float32 => Values::Real(Float32Builder::new()),
            DataType::Float64 => Values::Double(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => Values::Numeric {
                builder: Decimal128Builder::new().with_data_type(field.data_type().clone()),
                precision: *precision,
                scale: *scale,
            },
            DataType::Date32 => {
                Values::Date { builder: Date32Builder::new(), takes_days: source.format == SourceFormat::Debezium }
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => Values::Timestamp {
                builder: TimestampMicrosecondBuilder::new().with_data_type(field.data_type().clone()),
                unit: source.timestamp_unit,
            },
            other => {
                let reason = format!("no field of JSON becomes a column of type {other}");
                return Err(Error::Shape { what: "the columns of a source", reason });
            }
        };
        Ok(Self { name: field.name().clone(), data_type: field.data_type().clone(), values })
    }

    /// Adds a field's value, NULL for none. The error is the reason to reject the record; the column then has a NULL.
    pub(super) fn push(&mut self, field: Option<&str>) -> Result<(), Reason> {
        let Some(field) = field.filter(|field| *field != "null") else {
            self.push_null();
            return Ok(());
        };
        self.push_field(field).map_err(|unfit| {
            self.push_null();
            self.reason(field, &unfit)
        })
    }

    /// Adds a NULL.
    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Text(builder) => builder.append_null(),
            Values::Boolean(builder) => builder.append_null(),
            Values::SmallInt(builder) => builder.append_null(),
            Values::Int(builder) => builder.append_null(),
            Values::BigInt(builder) => builder.append_null(),
            Values::Real(builder) => builder.append_null(),
            Values::Double(builder) => builder.append_null(),
            Values::Numeric { builder, .. } => builder.append_null(),
            Values::Date { builder, .. } => builder.append_null(),
            Values::Timestamp { builder, .. } => builder.append_null(),
        }
    }

    /// The column; an empty one is begun.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Text(builder) => Arc::new(builder.finish()),
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::SmallInt(builder) => Arc::new(builder.finish()),
            Values::Int(builder) => Arc::new(builder.finish()),
            Values::BigInt(builder) => Arc::new(builder.finish()),
            Values::Real(builder) => Arc::new(builder.finish()),
            Values::Double(builder) => Arc::new(builder.finish()),
            Values::Numeric { builder, .. } => Arc::new(builder.finish()),
            Values::Date { builder, .. } => Arc::new(builder.finish()),
            Values::Timestamp { builder, .. } => Arc::new(builder.finish()),
        }
    }

    fn push_field(&mut self, field: &str) -> Result<(), Unfit> {
        match &mut self.values {
            Values::Text(builder) => match field_text(field)? {
                FieldText::Text(text) => builder.append_value(text),
                FieldText::Number(number) => builder.append_value(number),
                FieldText::Boolean(value) => builder.append_value(if value { "true" } else { "false" }),
                FieldText::Nested => return Err(Unfit::Other),
            },
            Values::Boolean(builder) => match field_text(field)? {
                FieldText::Boolean(value) => builder.append_value(value),
                _ => return Err(Unfit::Other),
            },
            Values::SmallInt(builder) => builder.append_value(integer(field)?),
            Values::Int(builder) => builder.append_value(integer(field)?),
            Values::BigInt(builder) => builder.append_value(integer(field)?),
            Values::Real(builder) => builder.append_value(float(field, f32::NAN, f32::classify)?),
            Values::Double(builder) => builder.append_value(float(field, f64::NAN, f64::classify)?),
            Values::Numeric { builder, precision, scale } => builder.append_value(numeric(field, *precision, *scale)?),
            Values::Date { builder, takes_days } => builder.append_value(date(field, *takes_days)?),
            Values::Timestamp { builder, unit } => builder.append_value(timestamp(field, *unit)?),
        }
        Ok(())
    }

    fn reason(&self, field: &str, unfit: &Unfit) -> Reason {
        let (name, type_name) = (&self.name, type_name(&self.data_type));
        let shown = match field.char_indices().nth(SHOWN_CHARACTERS_MAX) {
            Some((end, _)) => format!("{}...", &field[..end]),
            None => field.to_owned(),
        };
        let text = match unfit {
            Unfit::Other => format!("column {name}: {shown} is not of type {type_name}"),
            Unfit::Why(why) => format!("column {name}: {shown} does not fit {type_name}: {why}"),
        };
        Reason::new(ReasonClass::Value, text)
    }
}

fn field_text(field: &str) -> Result<FieldText<'_>, Unfit> {
    Ok(match field.as_bytes().first() {
        Some(b'"') => {
            let inner = field.get(1..field.len() - 1).unwrap_or_default();
            if inner.as_bytes().contains(&b'\\') {
                let why = |_| Unfit::Why("an escape in it is half of a character".into());
                FieldText::Text(serde_json::from_str::<String>(field).map_err(why)?.into())
            } else {
                FieldText::Text(inner.into())
            }
        }
        Some(b't') => FieldText::Boolean(true),
        Some(b'f') => FieldText::Boolean(false),
        Some(b'{' | b'[') | None => FieldText::Nested,
        Some(_) => FieldText::Number(field),
    })
}

/// A number, or a text that is one.
fn number_text(field: &str) -> Result<Cow<'_, str>, Unfit> {
    match field_text(field)? {
        FieldText::Number(number) => Ok(number.into()),
        FieldText::Text(Cow::Borrowed(text)) => Ok(text.trim_ascii().into()),
        FieldText::Text(Cow::Owned(text)) => Ok(text.trim_ascii().to_owned().into()),
        FieldText::Boolean(_) | FieldText::Nested => Err(Unfit::Other),
    }
}

fn integer<T: TryFrom<i128>>(field: &str) -> Result<T, Unfit> {
    let why = |why: &'static str| Unfit::Why(why.into());
    let value = scaled(&number_text(field)?, 0).map_err(|misfit| match misfit {
        Misfit::NotANumber => Unfit::Other,
        Misfit::Fraction => why("it is not a whole number"),
        Misfit::TooLarge => why("it is out of range"),
    })?;
    T::try_from(value).map_err(|_| why("it is out of range"))
}

fn numeric(field: &str, precision: u8, scale: i8) -> Result<i128, Unfit> {
    let digits = precision.saturating_sub(scale.unsigned_abs());
    let too_large = || Unfit::Why(format!("it has more than {digits} digits before the point").into());
    let value = scaled(&number_text(field)?, i32::from(scale)).map_err(|misfit| match misfit {
        Misfit::NotANumber => Unfit::Other,
        Misfit::Fraction => Unfit::Why(format!("it has more than {scale} digits after the point").into()),
        Misfit::TooLarge => too_large(),
    })?;
    if value.unsigned_abs() < 10_u128.pow(u32::from(precision)) { Ok(value) } else { Err(too_large()) }
}

/// The nearest float. `NaN` and `Infinity` are texts; a number is finite, and 0 only if it is written as 0.
fn float<T: FromStr + Copy>(field: &str, nan: T, classify: fn(T) -> FpCategory) -> Result<T, Unfit> {
    let text = number_text(field)?;
    let value: T = text.parse().map_err(|_| Unfit::Other)?;
    let is_number = text.bytes().any(|byte| byte.is_ascii_digit());
    match classify(value) {
        FpCategory::Infinite if is_number => Err(Unfit::Why("it is out of range".into())),
        FpCategory::Zero if !number_text::is_zero(&text) => Err(Unfit::Why("it is out of range, too near to 0".into())),
        // One NaN, whatever its sign.
        FpCategory::Nan => Ok(nan),
        _ => Ok(value),
    }
}

fn date(field: &str, takes_days: bool) -> Result<i32, Unfit> {
    let text = match field_text(field)? {
        FieldText::Text(text) => text,
        FieldText::Number(_) if takes_days => return shown_days(integer(field)?),
        _ => return Err(Unfit::Other),
    };
    let days = if text.len() <= 10 && !text.starts_with(['+', '-']) {
        Date32Type::parse(&text).ok_or(Unfit::Other)?
    } else {
        let us = text_us(&text).map_err(|_| Unfit::Other)?;
        if us.rem_euclid(DAY_US) != 0 {
            return Err(Unfit::Why("it has a time of day".into()));
        }
        i32::try_from(us.div_euclid(DAY_US)).map_err(|_| Unfit::Other)?
    };
    shown_days(days)
}

fn shown_days(days: i32) -> Result<i32, Unfit> {
    if DAYS_SHOWN.contains(&days) { Ok(days) } else { Err(Unfit::Why("it is not in the years 1 to 9999".into())) }
}

fn timestamp(field: &str, unit: Option<TimestampUnit>) -> Result<i64, Unfit> {
    let made = match field_text(field)? {
        FieldText::Text(text) => text_us(&text),
        FieldText::Number(number) => number_us(number, unit),
        FieldText::Boolean(_) | FieldText::Nested => return Err(Unfit::Other),
    };
    made.map_err(|why| Unfit::Why(why.into()))
}
