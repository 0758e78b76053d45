//! Functions of our own, and bounds around those that others brought.

mod bounded;
mod certain_subqueries;
mod collecting;
mod evaluation;
mod exact_aggregate;
mod exact_arithmetic;
mod exact_comparison;
mod exists_value;
mod float_equality;
mod input_schema;
mod lateral_unnest;
mod number_pattern;
mod number_types;
mod rewriting;
mod time_pattern;
mod to_char;
mod tumble;
mod zone;

use std::sync::Arc;

use datafusion::{error::DataFusionError, execution::FunctionRegistry, logical_expr::ScalarUDF};

pub(crate) use bounded::bytes_of;
pub use certain_subqueries::CertainSubqueries;
pub use collecting::reserved;
pub use evaluation::{Evaluation, Stage};
pub use exact_arithmetic::ExactArithmetic;
pub(crate) use exact_arithmetic::{as_written, exact, is_failing_constant};
pub use exact_comparison::ExactComparison;
pub use exists_value::ExistsValue;
pub use float_equality::FloatEquality;
pub use lateral_unnest::with_lateral_unnests;
use model::MemoryBudget;
pub use number_types::with_settled_numbers;
use to_char::{FromText, ToChar};
use tumble::{Edge, Tumble};
use zone::InZone;

/// Registers the functions that windows are written with.
pub(crate) fn register_windows(registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    for edge in [Edge::Start, Edge::End] {
        registry.register_udf(Arc::new(ScalarUDF::new_from_impl(Tumble::new(edge))))?;
    }
    Ok(())
}

/// Registers PostgreSQL's functions of times that DataFusion has not, or has otherwise.
///
/// # Errors
/// When the registry takes no functions.
pub fn register_times(registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    let functions = [
        ScalarUDF::new_from_impl(ToChar::new()),
        ScalarUDF::new_from_impl(FromText::new("to_date")),
        ScalarUDF::new_from_impl(FromText::new("to_timestamp")),
        ScalarUDF::new_from_impl(InZone::new()),
    ];
    functions.into_iter().try_for_each(|function| registry.register_udf(Arc::new(function)).map(drop))
}

/// Puts `sum`, `avg`, `min`, `max`, variances and standard deviations as views compute them in the place of DataFusion's.
///
/// # Errors
/// When the registry takes no functions.
pub fn register_aggregates(registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    exact_aggregate::register(registry)
}

/// Puts bounds around the functions of a session whose results can be much larger than what they are given: `repeat`,
/// `lpad`, `replace` and the like. A value that would be too large is refused with SQLSTATE 54000 before it is made.
///
/// # Errors
/// When the registry takes no functions.
pub fn bound_functions(registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    bounded::register(registry)
}

/// Puts bounds around the aggregates of a session that collect what they are given: `array_agg`, `string_agg`, `median`
/// and the like. A value that would be too large is refused with SQLSTATE 54000, and what the budget does not have with
/// 53200, before it is kept.
///
/// # Errors
/// When the registry takes no functions.
pub fn bound_aggregates(registry: &mut dyn FunctionRegistry, memory: &MemoryBudget) -> Result<(), DataFusionError> {
    collecting::register(registry, memory)
}
