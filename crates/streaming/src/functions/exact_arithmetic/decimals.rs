//! `/` of decimals, and `*` of those that have many digits after the point.
//!
//! A type has 38 digits, and says how many of them stand after the point; PostgreSQL's NUMERIC has as many as it takes. So a
//! quotient has 16 digits after the point, which are PostgreSQL's below 10,000, or those of its operands where they have
//! more; and a product has all of its digits up to 20 after the point, and beyond that as many as a quotient.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Decimal128Array},
    datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef, i256},
    error::ArrowError,
};
use dataflow::{quotient_type, rounded_quotient};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr::ScalarFunction,
    },
};

use super::{
    out_of_range,
    written::{Written, strict_field},
};

/// The digits after the point of a product that has all of them, at most.
const EXACT_PRODUCT_SCALE_MAX: i8 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Divide,
    Multiply,
}

/// An operation on two decimals, rounded half away from zero.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::functions) struct Decimals {
    operation: Operation,
    signature: Signature,
}

impl Decimals {
    /// The operation on decimals of two types; `None` where DataFusion's own gives all digits, or there is none.
    pub(in crate::functions) fn call(left: &DataType, operator: Operator, right: &DataType) -> Option<ScalarUDF> {
        let (DataType::Decimal128(left_digits, left_scale), DataType::Decimal128(right_digits, right_scale)) =
            (left, right)
        else {
            return None;
        };
        let operation = match operator {
            Operator::Divide => Operation::Divide,
            Operator::Multiply
                if left_digits + right_digits >= DECIMAL128_MAX_PRECISION
                    && left_scale.saturating_add(*right_scale) > EXACT_PRODUCT_SCALE_MAX =>
            {
                Operation::Multiply
            }
            _ => return None,
        };
        let signature = Signature::any(2, Volatility::Immutable);
        Some(ScalarUDF::new_from_impl(Self { operation, signature }))
    }

    /// The call of what `call` has given.
    pub(in crate::functions) fn of(function: ScalarUDF, left: Expr, right: Expr) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![left, right]))
    }

    /// The numbers of both, as numbers of `scale`.
    fn computed(&self, left: &ArrayRef, right: &ArrayRef, scale: i8) -> Result<ArrayRef> {
        let scales = [left, right].map(|side| match side.data_type() {
            DataType::Decimal128(_, scale) => i32::from(*scale),
            _ => 0,
        });
        let both = left.as_primitive::<Decimal128Type>().iter().zip(right.as_primitive::<Decimal128Type>());
        let computed = both.map(|pair| match pair {
            (Some(left), Some(right)) => {
                self.of_one(i256::from_i128(left), i256::from_i128(right), scales, scale).map(Some)
            }
            _ => Ok(None),
        });
        let computed = computed.collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(computed.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale)?))
    }

    fn of_one(&self, left: i256, right: i256, scales: [i32; 2], scale: i8) -> Result<i128> {
        let [left_scale, right_scale] = scales;
        let result = match self.operation {
            Operation::Divide if right == i256::ZERO => {
                return Err(DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None));
            }
            // A quotient has no fewer digits than the dividend.
            Operation::Divide => power_of_ten(i32::from(scale) + right_scale - left_scale)
                .and_then(|factor| rounded_quotient(left.checked_mul(factor)?, right)),
            Operation::Multiply => power_of_ten(left_scale + right_scale - i32::from(scale))
                .and_then(|divisor| rounded_quotient(left.checked_mul(right)?, divisor)),
        };
        let fits = |number: &i128| number.unsigned_abs() < 10_u128.pow(DECIMAL128_MAX_PRECISION.into());
        let result = result.and_then(i256::to_i128).filter(fits);
        result.ok_or_else(|| out_of_range("numeric field overflow".to_owned()))
    }
}

fn power_of_ten(digits: i32) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::try_from(digits).ok()?)
}

impl Written for Decimals {
    fn stands_for(&self, arguments: &[Expr]) -> Expr {
        let op = match self.operation {
            Operation::Divide => Operator::Divide,
            Operation::Multiply => Operator::Multiply,
        };
        let [left, right] = [&arguments[0], &arguments[1]].map(|argument| Box::new(argument.clone()));
        Expr::BinaryExpr(BinaryExpr { left, op, right })
    }
}

impl ScalarUDFImpl for Decimals {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Divide => "numeric_divided_by",
            Operation::Multiply => "numeric_times",
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
        let [DataType::Decimal128(_, left), DataType::Decimal128(_, right)] = types else {
            return Err(DataFusionError::Internal(format!("{} of {types:?}", self.name())));
        };
        Ok(quotient_type(*left.max(right)))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(strict_field(self.name(), self.return_type(&types)?, &arguments))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Decimal128(_, scale) = *call.return_type() else {
            return Err(DataFusionError::Internal(format!("{} is {}", self.name(), call.return_type())));
        };
        match call.args.as_slice() {
            [ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)] => {
                let computed = self.computed(&left.to_array()?, &right.to_array()?, scale)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&computed, 0)?))
            }
            [left, right] => {
                let [left, right] = [left, right].map(|side| side.clone().into_array(call.number_rows));
                Ok(ColumnarValue::Array(self.computed(&left?, &right?, scale)?))
            }
            _ => Err(DataFusionError::Internal(format!("{} takes other arguments", self.name()))),
        }
    }
}
