//! Bounds around functions whose results can be much larger than their arguments, or take much longer.
//!
//! The length comes from data as often as from the statement, and DataFusion allocates and computes what it is asked
//! for. So the size of each value, and the steps to make it, are estimated from the arguments before the function is
//! called, and a batch is computed in pieces that are added up. Between two pieces a statement can be given up.
//!
//! What must hold: whether one value is refused depends on its own arguments alone, however rows are batched; an
//! estimate is never too small, and too large by no more than a few bytes a character or an element.

mod argument;
mod estimate;
mod operators;

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

use super::evaluation::{Cost, Evaluation};
pub(super) use argument::ELEMENT_BYTES;
pub(crate) use argument::bytes_of;
use argument::{Arguments, Row};
use estimate::{Estimates, FUNCTIONS};
use operators::{CONCATENATION, Concatenation, WithBounds};
use sql::{SqlError, sqlstate};

/// The largest value that a function may make, in bytes.
pub(super) const VALUE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The most that one call may make for all rows of a batch, in bytes.
const RESULT_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The most steps that one value may take; a second of computing, or less.
const VALUE_WORK_MAX: u64 = 256 * 1024 * 1024;

/// A batch is computed in pieces that are estimated at this many bytes or steps.
const PIECE_BYTES: u64 = 32 * 1024 * 1024;
const PIECE_WORK: u64 = 64 * 1024 * 1024;

/// Results from this size on are reserved.
const HELD_BYTES_LEAST: u64 = 64 * 1024;

/// `a || b`, the operator.
const CONCATENATION_ESTIMATES: Estimates = Estimates { name: CONCATENATION, bytes: estimate::all, work: |_| 0 };

/// Registers the functions anew, with bounds; those that the registry does not know stay unknown.
pub(super) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    let mut bounded = std::collections::HashMap::new();
    for estimates in FUNCTIONS {
        let Ok(inner) = registry.udf(estimates.name) else { continue };
        let function = Arc::new(ScalarUDF::new_from_impl(Bounded { inner, estimates }));
        registry.register_udf(Arc::clone(&function))?;
        bounded.insert(estimates.name, function);
    }
    let concatenation = Bounded {
        inner: Arc::new(ScalarUDF::new_from_impl(Concatenation::new())),
        estimates: &CONCATENATION_ESTIMATES,
    };
    bounded.insert(CONCATENATION, Arc::new(ScalarUDF::new_from_impl(concatenation)));
    registry.register_function_rewrite(Arc::new(WithBounds(bounded)))
}

/// A function within bounds.
struct Bounded {
    inner: Arc<ScalarUDF>,
    estimates: &'static Estimates,
}

// The function tells the estimates.
impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl std::hash::Hash for Bounded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl std::fmt::Debug for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bounded({})", self.inner.name())
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
        let options = Arc::clone(&call.config_options);
        let evaluation = Evaluation::of(&options);
        let Some(row_count) = row_count else {
            let cost = self.check(&arguments.row(0))?;
            if let Some(evaluation) = evaluation {
                evaluation.admit_constant(self.name(), cost)?;
            }
            return self.inner.invoke_with_args(call);
        };
        let (mut pieces, mut result_bytes): (Vec<ArrayRef>, u64) = (Vec::new(), 0);
        let mut rows = 0..0;
        while rows.end < row_count || pieces.is_empty() {
            evaluation.map_or(Ok(()), Evaluation::check)?;
            rows = self.piece(&arguments, rows.end..row_count)?;
            let piece = self.inner.invoke_with_args(slice(&call, &rows))?.into_array(rows.len())?;
            result_bytes += piece.to_data().get_slice_memory_size()? as u64;
            if result_bytes > RESULT_BYTES_MAX {
                let message = format!("{} would make values of more than {RESULT_BYTES_MAX} bytes", self.name());
                return Err(refused(message, "let it make shorter values, or read fewer rows"));
            }
            pieces.push(piece);
        }
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        let result = match pieces.as_slice() {
            [_] => pieces[0].slice(0, row_count),
            _ => concat(&pieces)?,
        };
        match evaluation {
            Some(evaluation) if result_bytes >= HELD_BYTES_LEAST => evaluation.hold(result.as_ref())?,
            _ => {}
        }
        Ok(ColumnarValue::Array(result))
    }
}

impl Bounded {
    /// At most what the value of a row costs.
    fn check(&self, row: &Row<'_>) -> Result<Cost> {
        let (bytes, work) = ((self.estimates.bytes)(row), (self.estimates.work)(row));
        if bytes > VALUE_BYTES_MAX {
            let message = format!("{} would make a value of more than {VALUE_BYTES_MAX} bytes", self.name());
            return Err(refused(message, "let it make shorter values"));
        }
        if work > VALUE_WORK_MAX {
            let message = format!("{} would take more than {VALUE_WORK_MAX} steps for one value", self.name());
            return Err(refused(message, "give it shorter values"));
        }
        Ok(Cost { bytes, work: work.saturating_add(bytes) })
    }

    /// The first of `rows` that are computed together.
    fn piece(&self, arguments: &Arguments, rows: Range<usize>) -> Result<Range<usize>> {
        let (mut bytes, mut work) = (0, 0);
        for row in rows.clone() {
            let cost = self.check(&arguments.row(row))?;
            bytes += cost.bytes;
            work += cost.work;
            if bytes >= PIECE_BYTES || work >= PIECE_WORK {
                return Ok(rows.start..row + 1);
            }
        }
        Ok(rows)
    }
}

pub(super) fn refused(message: String, hint: &str) -> DataFusionError {
    DataFusionError::External(Box::new(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).with_hint(hint)))
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
