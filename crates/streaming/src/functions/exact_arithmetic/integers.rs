//! `+`, `-` and `*` of integers of one type.

use std::sync::Arc;

use arrow::{
    compute::kernels::numeric::{add, mul, neg, sub},
    datatypes::{DataType, FieldRef},
    error::ArrowError,
};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr::ScalarFunction,
    },
    physical_expr_common::datum::apply,
};

use super::{
    name_of, out_of_range,
    written::{Written, strict_field},
};

/// What is done with one or two integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Negate,
}

/// An operation whose result is refused where it does not fit.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Integers {
    operation: Operation,
    signature: Signature,
}

impl Integers {
    pub(super) fn call(operation: Operation, arguments: Vec<Expr>) -> Expr {
        let signature = Signature::any(arguments.len(), Volatility::Immutable);
        let function = ScalarUDF::new_from_impl(Self { operation, signature });
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), arguments))
    }
}

impl Written for Integers {
    fn stands_for(&self, arguments: &[Expr]) -> Expr {
        let operator = match self.operation {
            Operation::Add => Operator::Plus,
            Operation::Subtract => Operator::Minus,
            Operation::Multiply => Operator::Multiply,
            Operation::Negate => return Expr::Negative(Box::new(arguments[0].clone())),
        };
        let [left, right] = [&arguments[0], &arguments[1]].map(|argument| Box::new(argument.clone()));
        Expr::BinaryExpr(BinaryExpr { left, op: operator, right })
    }
}

impl ScalarUDFImpl for Integers {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Add => "int_plus",
            Operation::Subtract => "int_minus",
            Operation::Multiply => "int_times",
            Operation::Negate => "int_negative",
        }
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

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let data_type = arguments.arg_fields[0].data_type().clone();
        Ok(strict_field(self.name(), data_type, &arguments))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = match (self.operation, call.args.as_slice()) {
            (Operation::Add, [left, right]) => apply(left, right, add),
            (Operation::Subtract, [left, right]) => apply(left, right, sub),
            (Operation::Multiply, [left, right]) => apply(left, right, mul),
            (Operation::Negate, [ColumnarValue::Array(array)]) => negated(array).map(ColumnarValue::Array),
            (Operation::Negate, [ColumnarValue::Scalar(scalar)]) => {
                let array = negated(&scalar.to_array()?);
                array.and_then(|array| ScalarValue::try_from_array(&array, 0)).map(ColumnarValue::Scalar)
            }
            _ => Err(DataFusionError::Internal(format!("{} takes other arguments", self.name()))),
        };
        result.map_err(|error| match error {
            DataFusionError::ArrowError(arrow, _) if matches!(*arrow, ArrowError::ArithmeticOverflow(_)) => {
                out_of_range(format!("{} out of range", name_of(call.return_type())))
            }
            other => other,
        })
    }
}

fn negated(array: &arrow::array::ArrayRef) -> Result<arrow::array::ArrayRef> {
    Ok(neg(array.as_ref())?)
}
