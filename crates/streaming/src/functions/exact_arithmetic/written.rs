//! [`Written`]: a function that stands for an operator or a cast, which is what people are shown.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::logical_expr::{Expr, ReturnFieldArgs, ScalarUDFImpl};

use super::{Conversion, Decimals, Integers, as_written};

/// What a function stands for.
pub(super) trait Written {
    /// The operator or cast over arguments that are as written.
    fn stands_for(&self, arguments: &[Expr]) -> Expr;

    /// The same over arguments of which some may be such functions.
    fn shown(&self, arguments: &[Expr]) -> Expr {
        self.stands_for(&arguments.iter().map(as_written).collect::<Vec<_>>())
    }
}

/// What a function stands for, if it is one of these.
pub(super) fn written(function: &dyn ScalarUDFImpl) -> Option<&dyn Written> {
    let integers = function.downcast_ref::<Integers>().map(|function| function as &dyn Written);
    let decimals = || function.downcast_ref::<Decimals>().map(|function| function as &dyn Written);
    let conversion = || function.downcast_ref::<Conversion>().map(|function| function as &dyn Written);
    integers.or_else(decimals).or_else(conversion)
}

/// The field of a result that is NULL where an argument is.
pub(super) fn strict_field(name: &str, data_type: DataType, arguments: &ReturnFieldArgs<'_>) -> FieldRef {
    let is_nullable = arguments.arg_fields.iter().any(|field| field.is_nullable());
    Arc::new(Field::new(name, data_type, is_nullable))
}
