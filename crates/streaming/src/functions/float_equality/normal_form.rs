//! [`NormalForm`]: the function that gives floats the one form in which equal ones are equal bit by bit.

use std::sync::Arc;

use dataflow::normal_key;
use datafusion::{
    arrow::datatypes::DataType,
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, expr::ScalarFunction,
    },
};

/// `-0.0` becomes `0.0`, and each NaN the positive one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct NormalForm {
    signature: Signature,
}

impl NormalForm {
    /// The normal form of an expression of floats.
    pub(super) fn of(floats: Expr) -> Expr {
        if matches!(&floats, Expr::ScalarFunction(call) if call.func.inner().is::<Self>()) {
            return floats;
        }
        let function = ScalarUDF::new_from_impl(Self { signature: Signature::any(1, Volatility::Immutable) });
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![floats]))
    }
}

impl ScalarUDFImpl for NormalForm {
    fn name(&self) -> &'static str {
        "normal_form"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match &arguments.args[0] {
            ColumnarValue::Array(floats) => ColumnarValue::Array(normal_key(floats)),
            ColumnarValue::Scalar(float) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&normal_key(&float.to_array()?), 0)?)
            }
        })
    }
}
