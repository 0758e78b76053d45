//! Bounds around functions whose results can be much larger than their arguments.
//!
//! The length comes from data as often as from the statement, and DataFusion allocates what it is asked for. So the
//! size of each value is estimated from the arguments before the function is called, and a batch is computed in pieces
//! whose sizes are added up.
//!
//! What must hold: whether one value is refused depends on its own arguments alone, however rows are batched; an
//! estimate is never too small, and too large by no more than a few bytes a character or an element.

mod argument;

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef},
    compute::concat,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    error::{DataFusionError, Result},
    execution::FunctionRegistry,
    logical_expr::{
        ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    },
};
use regex::Regex;

use crate::sql::{SqlError, TOO_LARGE};
use argument::{Arguments, ELEMENT_BYTES, Row};

/// The largest value that a function may make, in bytes.
const VALUE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The most that one call may make for all rows of a batch, in bytes.
const RESULT_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A batch is computed in pieces that are estimated at this many bytes.
const PIECE_BYTES: u64 = 32 * 1024 * 1024;

/// The text of a number, a time or a truth value, beyond the bytes that it has in an array.
const WRITTEN_BYTES: u64 = 16;

/// At most how many bytes a function makes of the arguments in a row.
type Estimate = fn(&Row<'_>) -> u64;

const FUNCTIONS: &[(&str, Estimate)] = &[
    ("repeat", |row| row.bytes(0).saturating_mul(row.count(1))),
    ("lpad", padded),
    ("rpad", padded),
    ("replace", replaced),
    ("regexp_replace", matches_replaced),
    ("concat", |row| (0..row.len()).fold(0, |sum, index| row.bytes(index).saturating_add(sum))),
    ("concat_ws", |row| {
        let separators = row.bytes(0).saturating_mul(row.len() as u64);
        (1..row.len()).fold(separators, |sum, index| row.bytes(index).saturating_add(sum))
    }),
    ("array_to_string", |row| {
        let beside = row.bytes(1).saturating_add(row.bytes(2)).saturating_add(WRITTEN_BYTES);
        row.bytes(0).saturating_add(row.elements_max(0).saturating_mul(beside))
    }),
    ("array_repeat", |row| row.bytes(0).saturating_add(ELEMENT_BYTES).saturating_mul(row.count(1))),
    ("array_resize", |row| {
        let filled = row.bytes(2).saturating_add(ELEMENT_BYTES).saturating_mul(row.count(1));
        row.bytes(0).saturating_add(filled)
    }),
    ("array_replace_n", elements_replaced),
    ("array_replace_all", elements_replaced),
    ("range", |row| row.steps().saturating_mul(ELEMENT_BYTES)),
    ("generate_series", |row| row.steps().saturating_mul(ELEMENT_BYTES)),
];

/// `lpad(text, length, fill)`: so many characters.
fn padded(row: &Row<'_>) -> u64 {
    if row.is_null() {
        return 0;
    }
    let is_ascii = [0, 2].into_iter().all(|index| row.text(index).is_none_or(str::is_ascii));
    row.count(1).saturating_mul(if is_ascii { 1 } else { 4 })
}

/// `replace(text, from, to)`: looked for only where it matters.
fn replaced(row: &Row<'_>) -> u64 {
    let (text, from, to) = (row.bytes(0), row.bytes(1), row.bytes(2));
    let at_most = text.saturating_add((text / from.max(1) + 1).saturating_mul(to));
    match (row.text(0), row.text(1)) {
        (Some(text), Some(from)) if at_most > VALUE_BYTES_MAX => {
            let found = text.matches(from).count() as u64;
            row.bytes(0).saturating_add(found.saturating_mul(to))
        }
        _ => at_most,
    }
}

/// `regexp_replace(text, pattern, to, flags)`: matches are counted only where it matters.
fn matches_replaced(row: &Row<'_>) -> u64 {
    let (text, to) = (row.bytes(0), row.bytes(2));
    // A reference gives a part of the match; matches do not overlap, so each gives the text once at most.
    let references = row.text(2).map_or(0, |to| to.matches(['\\', '$']).count() as u64);
    let kept = text.saturating_add(text.saturating_mul(references));
    let flags = row.text(3).unwrap_or_default();
    if !flags.contains('g') {
        return kept.saturating_add(to);
    }
    let at_most = kept.saturating_add((text + 1).saturating_mul(to));
    let (Some(text), Some(pattern), true) = (row.text(0), row.text(1), at_most > VALUE_BYTES_MAX) else {
        return at_most;
    };
    let flags = flags.replace('g', "");
    let pattern = if flags.is_empty() { pattern.to_owned() } else { format!("(?{flags}){pattern}") };
    // A pattern that cannot be read is refused by the function itself.
    let found = Regex::new(&pattern).map_or(0, |pattern| pattern.find_iter(text).count() as u64);
    kept.saturating_add(found.saturating_mul(to))
}

/// `array_replace_all(array, from, to)`.
fn elements_replaced(row: &Row<'_>) -> u64 {
    let replacement = row.bytes(2).saturating_add(ELEMENT_BYTES);
    row.bytes(0).saturating_add(row.elements_max(0).saturating_mul(replacement))
}

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
        let arguments = Arguments::new(&call.args)?;
        let Some(row_count) = row_count else {
            self.check(&arguments.row(0))?;
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
    fn check(&self, row: &Row<'_>) -> Result<u64> {
        let bytes = (self.estimate)(row);
        if bytes > VALUE_BYTES_MAX { Err(too_large(self.name(), "a value", VALUE_BYTES_MAX)) } else { Ok(bytes) }
    }

    /// The first of `rows` that are computed together.
    fn piece(&self, arguments: &Arguments, rows: Range<usize>) -> Result<Range<usize>> {
        let mut bytes = 0;
        for row in rows.clone() {
            bytes += self.check(&arguments.row(row))?;
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

#[cfg(test)]
mod tests;
