//! Bounds around functions whose results can be much larger than their arguments.
//!
//! The length comes from data as often as from the statement, and DataFusion allocates what it is asked for. So the
//! size of each value is estimated from the arguments before the function is called, and a batch is computed in pieces
//! whose sizes are added up.
//!
//! What must hold: whether one value is refused depends on its own arguments alone, however rows are batched.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    compute::{cast, concat, kernels::length::length},
    datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNano, TimeUnit},
};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    execution::FunctionRegistry,
    logical_expr::{
        ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    },
};

use crate::sql::{SqlError, TOO_LARGE};

/// The largest value that a function may make, in bytes.
const VALUE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The most that one call may make for all rows of a batch, in bytes.
const RESULT_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A batch is computed in pieces that are estimated at this many bytes.
const PIECE_BYTES: u64 = 32 * 1024 * 1024;

/// A character in UTF-8, at most.
const CHARACTER_BYTES: u64 = 4;

/// A number or an offset in a list.
const ELEMENT_BYTES: u64 = 8;

type Estimate = fn(&[Argument], usize) -> u64;

/// The functions, and at most how many bytes they make of the arguments in a row.
const FUNCTIONS: &[(&str, Estimate)] = &[
    ("repeat", |arguments, row| bytes(arguments, 0, row).saturating_mul(number(arguments, 1, row))),
    ("lpad", |arguments, row| number(arguments, 1, row).saturating_mul(CHARACTER_BYTES)),
    ("rpad", |arguments, row| number(arguments, 1, row).saturating_mul(CHARACTER_BYTES)),
    ("replace", |arguments, row| {
        let (text, from, to) = (bytes(arguments, 0, row), bytes(arguments, 1, row), bytes(arguments, 2, row));
        text.saturating_add((text / from.max(1) + 1).saturating_mul(to))
    }),
    ("regexp_replace", |arguments, row| {
        let (text, to) = (bytes(arguments, 0, row), bytes(arguments, 2, row));
        text.saturating_add((text + 1).saturating_mul(to))
    }),
    ("concat", |arguments, row| sum(arguments, row)),
    ("concat_ws", |arguments, row| {
        let separators = bytes(arguments, 0, row).saturating_mul(arguments.len() as u64);
        sum(arguments, row).saturating_add(separators)
    }),
    ("array_to_string", |arguments, row| {
        let (elements, separator, null) =
            (bytes(arguments, 0, row), bytes(arguments, 1, row), bytes(arguments, 2, row));
        elements.saturating_mul(separator.saturating_add(null).saturating_add(ELEMENT_BYTES))
    }),
    ("array_repeat", |arguments, row| {
        let element = bytes(arguments, 0, row).saturating_add(ELEMENT_BYTES);
        element.saturating_mul(number(arguments, 1, row))
    }),
    ("array_resize", |arguments, row| {
        let element = bytes(arguments, 2, row).saturating_add(ELEMENT_BYTES);
        element.saturating_mul(number(arguments, 1, row))
    }),
    ("range", |arguments, row| steps(arguments, row).saturating_mul(ELEMENT_BYTES)),
    ("generate_series", |arguments, row| steps(arguments, row).saturating_mul(ELEMENT_BYTES)),
];

/// Registers the functions anew, with bounds; those that the registry does not know stay unknown.
pub(super) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for (name, estimate) in FUNCTIONS {
        let Ok(inner) = registry.udf(name) else { continue };
        let name = (*name).to_owned();
        registry.register_udf(Arc::new(ScalarUDF::new_from_impl(Bounded { inner, name, estimate: *estimate })))?;
    }
    Ok(())
}

/// A function within bounds.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    name: String,
    estimate: Estimate,
}

// The name tells the estimate.
impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && self.name == other.name
    }
}

impl Eq for Bounded {}

impl std::hash::Hash for Bounded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let row_count = call.args.iter().find_map(|value| match value {
            ColumnarValue::Array(array) => Some(array.len()),
            ColumnarValue::Scalar(_) => None,
        });
        let arguments = call.args.iter().map(Argument::new).collect::<Result<Vec<_>>>()?;
        let Some(row_count) = row_count else {
            self.check(&arguments, 0)?;
            return self.inner.invoke_with_args(call);
        };
        let (mut pieces, mut result_bytes): (Vec<ArrayRef>, u64) = (Vec::new(), 0);
        let mut rows = 0..0;
        while rows.end < row_count || pieces.is_empty() {
            rows = self.piece(&arguments, rows.end..row_count)?;
            let piece = self.inner.invoke_with_args(slice(&call, &rows))?.into_array(rows.len())?;
            result_bytes += piece.to_data().get_slice_memory_size()? as u64;
            if result_bytes > RESULT_BYTES_MAX {
                return Err(too_large(self.name(), "values", RESULT_BYTES_MAX));
            }
            pieces.push(piece);
        }
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(match pieces.as_slice() {
            [_] => pieces[0].slice(0, row_count),
            _ => concat(&pieces)?,
        }))
    }
}

impl Bounded {
    /// At most how many bytes the value of a row has.
    fn check(&self, arguments: &[Argument], row: usize) -> Result<u64> {
        let bytes = (self.estimate)(arguments, row);
        if bytes > VALUE_BYTES_MAX { Err(too_large(self.name(), "a value", VALUE_BYTES_MAX)) } else { Ok(bytes) }
    }

    /// The first of `rows` that are computed together.
    fn piece(&self, arguments: &[Argument], rows: Range<usize>) -> Result<Range<usize>> {
        let mut bytes = 0;
        for row in rows.clone() {
            bytes += self.check(arguments, row)?;
            if bytes >= PIECE_BYTES {
                return Ok(rows.start..row + 1);
            }
        }
        Ok(rows)
    }
}

fn too_large(function: &str, what: &str, bytes_max: u64) -> DataFusionError {
    let message = format!("{function} would make {what} of more than {bytes_max} bytes");
    DataFusionError::External(Box::new(SqlError::new(TOO_LARGE, message)))
}

fn slice(call: &ScalarFunctionArgs, rows: &Range<usize>) -> ScalarFunctionArgs {
    let args = call.args.iter().map(|value| match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(rows.start, rows.len())),
        ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
    });
    ScalarFunctionArgs { args: args.collect(), number_rows: rows.len(), ..call.clone() }
}

/// What the size of a result depends on.
struct Argument {
    /// Bytes of a text, elements of a list; none of anything else.
    lengths: Option<Int64Array>,
    /// Whole numbers, and times in microseconds.
    numbers: Option<Int64Array>,
    /// How long a step is, in nanoseconds.
    step_ns: Option<i128>,
    is_time: bool,
}

impl Argument {
    fn new(value: &ColumnarValue) -> Result<Self> {
        let array = value.to_array(1)?;
        let data_type = array.data_type();
        let is_time = matches!(data_type, DataType::Timestamp(..) | DataType::Date32);
        let lengths = match data_type {
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::List(_)
            | DataType::LargeList(_) => Some(int64(&length(&array)?)?),
            _ => None,
        };
        let numbers = if data_type.is_integer() {
            Some(int64(&array)?)
        } else if is_time {
            Some(int64(&cast(&array, &DataType::Timestamp(TimeUnit::Microsecond, None))?)?)
        } else {
            None
        };
        let step_ns = match value {
            ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(step))) => Some(nanoseconds(*step)),
            _ => None,
        };
        Ok(Self { lengths, numbers, step_ns, is_time })
    }
}

fn int64(array: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// The least that an interval can be.
fn nanoseconds(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * 28 + i128::from(interval.days);
    days * 86_400_000_000_000 + i128::from(interval.nanoseconds)
}

/// The value of a row; a constant is one value for all rows. NULL makes nothing.
fn at(values: Option<&Int64Array>, row: usize) -> i64 {
    let Some(values) = values else { return 0 };
    let row = if values.len() == 1 { 0 } else { row };
    if row < values.len() && values.is_valid(row) { values.value(row) } else { 0 }
}

fn bytes(arguments: &[Argument], index: usize, row: usize) -> u64 {
    let length = arguments.get(index).map_or(0, |argument| at(argument.lengths.as_ref(), row));
    u64::try_from(length).unwrap_or(0)
}

fn number(arguments: &[Argument], index: usize, row: usize) -> u64 {
    let number = arguments.get(index).map_or(0, |argument| at(argument.numbers.as_ref(), row));
    u64::try_from(number).unwrap_or(0)
}

fn sum(arguments: &[Argument], row: usize) -> u64 {
    (0..arguments.len()).fold(0, |sum, index| sum.saturating_add(bytes(arguments, index, row)))
}

/// The elements of `range(start, stop, step)`, or of `range(stop)`.
fn steps(arguments: &[Argument], row: usize) -> u64 {
    let value = |index: usize| arguments.get(index).map_or(0, |argument| at(argument.numbers.as_ref(), row));
    let (start, stop) = if arguments.len() == 1 { (0, value(0)) } else { (value(0), value(1)) };
    let distance = (i128::from(stop) - i128::from(start)).unsigned_abs();
    let is_time = arguments.first().is_some_and(|argument| argument.is_time);
    let (distance, step) = match arguments.get(2) {
        Some(Argument { step_ns: Some(step), .. }) => (distance * 1_000, step.unsigned_abs()),
        // A step from a column can be as short as there are.
        Some(Argument { numbers: None, .. }) if is_time => (distance * 1_000, 1),
        Some(_) => (distance, u128::from(value(2).unsigned_abs())),
        None => (distance, 1),
    };
    u64::try_from(distance / step.max(1)).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests;
