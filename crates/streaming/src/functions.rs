//! Functions of our own, and bounds around those that others brought.

mod bounded;
mod tumble;

use std::sync::Arc;

use datafusion::{error::DataFusionError, execution::FunctionRegistry, logical_expr::ScalarUDF};

use tumble::{Edge, Tumble};

/// Registers the functions that windows are written with.
pub(crate) fn register_windows(registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    for edge in [Edge::Start, Edge::End] {
        registry.register_udf(Arc::new(ScalarUDF::new_from_impl(Tumble::new(edge))))?;
    }
    Ok(())
}

/// Puts bounds around the functions of a session whose results can be much larger than what they are given: `repeat`,
/// `lpad`, `replace` and the like. A value that would be too large is refused with SQLSTATE 54000 before it is made.
///
/// # Errors
/// When the registry takes no functions.
pub fn bound_functions(registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    bounded::register(registry)
}
