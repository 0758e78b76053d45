//! Casts to numbers, of floats to texts, and of texts to times.
//!
//! What must hold: a float becomes the nearest whole number, and of two the even one; what is written with a point, and a
//! NUMERIC, becomes the nearest, and of two the one that is further from zero.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, LargeStringArray, StringArray, UInt64Array},
    compute::{CastOptions, cast, cast_with_options},
    datatypes::{DataType, Decimal128Type, Decimal256Type, FieldRef, Float32Type, Float64Type},
};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    logical_expr::{
        Cast, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, expr::ScalarFunction,
    },
};

use sql::{SqlError, double_text, real_text, sqlstate};

use super::{
    name_of, out_of_range,
    written::{Written, strict_field},
};
use crate::source::with_seconds;

/// A cast to a type of numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Conversion {
    target: FieldRef,
    /// Whether it is a float that is written in the statement, which PostgreSQL takes for a NUMERIC.
    of_written_number: bool,
    signature: Signature,
}

impl Conversion {
    /// Whether DataFusion's cast could give another number.
    pub(super) fn is_needed(from: &DataType, to: &DataType) -> bool {
        let is_text = is_text_type(from);
        match to {
            to if to.is_integer() => {
                is_text || from.is_floating() || is_decimal(from) || (from.is_integer() && !fits(from, to))
            }
            DataType::Float64 => is_text,
            DataType::Float32 => is_text || *from == DataType::Float64,
            to if is_text_type(to) => from.is_floating(),
            DataType::Timestamp(..) => is_text,
            _ => false,
        }
    }

    pub(super) fn call(argument: Expr, target: &FieldRef) -> Expr {
        let of_written_number = matches!(argument, Expr::Literal(ScalarValue::Float64(_) | ScalarValue::Float32(_), _));
        let signature = Signature::any(1, Volatility::Immutable);
        let function = ScalarUDF::new_from_impl(Self { target: Arc::clone(target), of_written_number, signature });
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![argument]))
    }

    fn converted(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let target = self.target.data_type();
        match target {
            DataType::Timestamp(..) => return time_of_text(values, target),
            text if is_text_type(text) => return text_of_float(values, target),
            DataType::Float32 if *values.data_type() == DataType::Float64 => return narrowed(values),
            DataType::Float32 | DataType::Float64 => return float_of_text(values, target),
            _ => {}
        }
        match values.data_type() {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                let floats = cast(values, &DataType::Float64)?;
                let floats = floats.as_primitive::<Float64Type>();
                let round = if self.of_written_number { f64::round } else { f64::round_ties_even };
                // The cast from a float stops at the ends of 128 bits, which lie beyond those of any type here.
                whole(
                    floats.iter().map(|float| float.map(|float| (!float.is_nan()).then(|| round(float) as i128))),
                    target,
                )
            }
            DataType::Decimal256(..) => {
                let rounded = cast(values, &DataType::Decimal256(76, 0))?;
                let rounded = rounded.as_primitive::<Decimal256Type>();
                whole(rounded.iter().map(|number| number.map(arrow::datatypes::i256::to_i128)), target)
            }
            other if is_decimal(other) => {
                let rounded = cast(values, &DataType::Decimal128(38, 0))?;
                whole(rounded.as_primitive::<Decimal128Type>().iter().map(|number| number.map(Some)), target)
            }
            other if other.is_integer() => {
                let numbers = cast(values, &DataType::Decimal128(38, 0))?;
                whole(numbers.as_primitive::<Decimal128Type>().iter().map(|number| number.map(Some)), target)
            }
            _ => integer_of_text(values, target),
        }
    }
}

impl Written for Conversion {
    fn stands_for(&self, arguments: &[Expr]) -> Expr {
        Expr::Cast(Cast::new_from_field(Box::new(arguments[0].clone()), Arc::clone(&self.target)))
    }
}

impl ScalarUDFImpl for Conversion {
    fn name(&self) -> &'static str {
        "to_number_in_range"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn display_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(self.shown(arguments).to_string())
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(self.shown(arguments).schema_name().to_string())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.target.data_type().clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(strict_field(self.name(), self.target.data_type().clone(), &arguments))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match &call.args[0] {
            ColumnarValue::Array(array) => ColumnarValue::Array(self.converted(array)?),
            ColumnarValue::Scalar(scalar) => {
                let converted = self.converted(&scalar.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?)
            }
        })
    }
}

fn is_text_type(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
    )
}

/// Whether every number of an integer type is one of another.
fn fits(from: &DataType, to: &DataType) -> bool {
    let ((from_least, from_most), (least, most)) = (range(from), range(to));
    least <= from_least && from_most <= most
}

/// The least and the most of an integer type.
fn range(data_type: &DataType) -> (i128, i128) {
    match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        DataType::UInt64 => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

/// Whole numbers as a type, where each of them fits. Within a value that is there, `None` is a number that is too large.
fn whole(numbers: impl Iterator<Item = Option<Option<i128>>>, target: &DataType) -> Result<ArrayRef> {
    let (least, most) = range(target);
    let within = |number: Option<i128>| {
        let within = number.filter(|number| (least..=most).contains(number));
        within.ok_or_else(|| out_of_range(format!("{} out of range", name_of(target))))
    };
    let numbers = numbers.map(|number| number.map(within).transpose());
    // The range says that nothing is lost.
    if *target == DataType::UInt64 {
        return Ok(Arc::new(
            numbers.map(|number| Ok(number?.map(|number| number as u64))).collect::<Result<UInt64Array>>()?,
        ));
    }
    let numbers = numbers.map(|number| Ok(number?.map(|number| number as i64))).collect::<Result<Int64Array>>()?;
    Ok(cast(&numbers, target)?)
}

/// A DOUBLE PRECISION as a REAL.
fn narrowed(values: &ArrayRef) -> Result<ArrayRef> {
    let floats = values.as_primitive::<Float64Type>();
    let narrow = cast(values, &DataType::Float32)?;
    let overflows = floats.iter().zip(narrow.as_primitive::<Float32Type>()).any(|(wide, narrow)| {
        wide.zip(narrow)
            .is_some_and(|(wide, narrow)| (narrow.is_infinite() && wide.is_finite()) || (narrow == 0.0 && wide != 0.0))
    });
    if overflows {
        return Err(out_of_range("value out of range for type real".to_owned()));
    }
    Ok(narrow)
}

const STRICT: CastOptions<'_> = CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

fn integer_of_text(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let failed = match cast_with_options(values, target, &STRICT) {
        Ok(integers) => return Ok(integers),
        Err(failed) => failed,
    };
    let read = cast(values, target)?;
    let texts = cast(values, &DataType::LargeUtf8)?;
    let texts = texts.as_string::<i64>();
    let first = (0..texts.len()).find(|row| texts.is_valid(*row) && read.is_null(*row)).map(|row| texts.value(row));
    match first.filter(|text| is_integer(text)) {
        Some(text) => Err(out_of_range(format!("value {}", too_large(text, target)))),
        None => Err(failed.into()),
    }
}

fn float_of_text(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let read = cast_with_options(values, target, &STRICT)?;
    let floats = cast(&read, &DataType::Float64)?;
    let texts = cast(values, &DataType::LargeUtf8)?;
    for (text, float) in texts.as_string::<i64>().iter().zip(floats.as_primitive::<Float64Type>()) {
        let Some((text, float)) = text.zip(float) else { continue };
        let is_lost = (float.is_infinite() && has_digit(text, '0')) || (float == 0.0 && has_digit(text, '1'));
        if is_lost {
            return Err(out_of_range(too_large(text, target)));
        }
    }
    Ok(read)
}

fn text_of_float(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let texts: StringArray = match values.data_type() {
        DataType::Float64 => values.as_primitive::<Float64Type>().iter().map(|value| value.map(double_text)).collect(),
        _ => cast(values, &DataType::Float32)?
            .as_primitive::<Float32Type>()
            .iter()
            .map(|value| value.map(real_text))
            .collect(),
    };
    Ok(cast(&texts, target)?)
}

/// What a text says of a time, also where it says no second.
fn time_of_text(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let texts = cast(values, &DataType::LargeUtf8)?;
    let texts = texts.as_string::<i64>();
    let complete: LargeStringArray = texts.iter().map(|text| text.map(with_seconds)).collect();
    cast_with_options(&complete, target, &STRICT).map_err(|failed| {
        let read = cast(&complete, target).ok();
        let is_wrong = |row: &usize| texts.is_valid(*row) && read.as_ref().is_some_and(|read| read.is_null(*row));
        match (0..texts.len()).find(is_wrong) {
            Some(row) => {
                let message = format!("invalid input syntax for type timestamp: \"{}\"", texts.value(row));
                let error = SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message);
                DataFusionError::External(Box::new(error.with_hint("write it as 2024-01-31 12:00:00")))
            }
            None => failed.into(),
        }
    })
}

fn too_large(text: &str, target: &DataType) -> String {
    format!("\"{text}\" is out of range for type {}", name_of(target))
}

/// Whether a text is a whole number of any size.
fn is_integer(text: &str) -> bool {
    let digits = text.trim().trim_start_matches(['+', '-']);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether what stands before the exponent has a digit from `least` on.
fn has_digit(text: &str, least: char) -> bool {
    text.split(['e', 'E']).next().is_some_and(|digits| digits.contains(|digit| (least..='9').contains(&digit)))
}
