//! The operators and the planner's own calls, turned into functions within bounds.
//!
//! `a || b` and `a ~ b` are no functions, and for lists the planner calls functions that no registry was asked for. This
//! rule puts the functions with bounds in the place of all of them, wherever they come from.

use std::{collections::HashMap, sync::Arc};

use arrow::{compute::kernels::concat_elements::concat_elements_dyn, datatypes::DataType};
use datafusion::{
    common::{DFSchema, config::ConfigOptions, tree_node::Transformed},
    error::{DataFusionError, Result},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, binary::BinaryTypeCoercer, expr::ScalarFunction, expr_rewriter::FunctionRewrite, lit,
    },
};

use super::Bounded;

/// The function that `||` of texts is.
pub(super) const CONCATENATION: &str = "textcat";

/// Puts functions with bounds in the place of those without.
#[derive(Debug)]
pub(super) struct WithBounds(pub(super) HashMap<&'static str, Arc<ScalarUDF>>);

impl FunctionRewrite for WithBounds {
    fn name(&self) -> &'static str {
        "with_bounds"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(call) if !call.func.inner().is::<Bounded>() => match self.0.get(call.func.name()) {
                Some(bounded) => Ok(Transformed::yes(called(bounded, call.args))),
                None => Ok(Transformed::no(Expr::ScalarFunction(call))),
            },
            Expr::BinaryExpr(binary) => self.operator(binary, schema),
            other => Ok(Transformed::no(other)),
        }
    }
}

impl WithBounds {
    fn operator(&self, binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let (with_flag, negated) = match binary.op {
            Operator::StringConcat => {
                let types = [binary.left.get_type(schema)?, binary.right.get_type(schema)?];
                return Ok(match self.0.get(CONCATENATION) {
                    Some(bounded) if Concatenation::types(&types).is_ok() => {
                        Transformed::yes(called(bounded, vec![*binary.left, *binary.right]))
                    }
                    _ => Transformed::no(Expr::BinaryExpr(binary)),
                });
            }
            Operator::RegexMatch => (false, false),
            Operator::RegexIMatch => (true, false),
            Operator::RegexNotMatch => (false, true),
            Operator::RegexNotIMatch => (true, true),
            _ => return Ok(Transformed::no(Expr::BinaryExpr(binary))),
        };
        let Some(bounded) = self.0.get("regexp_like") else { return Ok(Transformed::no(Expr::BinaryExpr(binary))) };
        let mut arguments = vec![*binary.left, *binary.right];
        if with_flag {
            arguments.push(lit("i"));
        }
        let call = called(bounded, arguments);
        Ok(Transformed::yes(if negated { Expr::Not(Box::new(call)) } else { call }))
    }
}

fn called(function: &Arc<ScalarUDF>, arguments: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))
}

/// `a || b` of texts: NULL where one is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Concatenation {
    signature: Signature,
}

impl Concatenation {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The types that both sides are given, and the type of the result.
    fn types(types: &[DataType]) -> Result<(Vec<DataType>, DataType)> {
        let [left, right] = types else {
            return Err(DataFusionError::Plan(format!("{CONCATENATION} takes two arguments")));
        };
        // NULL is a text here; of two of them nobody could say what they are.
        if left.is_null() && right.is_null() {
            return Ok((vec![DataType::Utf8, DataType::Utf8], DataType::Utf8));
        }
        let coercer = BinaryTypeCoercer::new(left, &Operator::StringConcat, right);
        let (left, right) = coercer.get_input_types()?;
        Ok((vec![left, right], coercer.get_result_type()?))
    }
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &str {
        CONCATENATION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(Self::types(types)?.1)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(Self::types(types)?.0)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = call.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arrays = if all_scalar {
            call.args.iter().map(|value| value.to_array(1)).collect::<Result<Vec<_>>>()?
        } else {
            call.args.iter().map(|value| value.to_array(call.number_rows)).collect::<Result<Vec<_>>>()?
        };
        let [left, right] = arrays.as_slice() else {
            return Err(DataFusionError::Plan(format!("{CONCATENATION} takes two arguments")));
        };
        let joined = concat_elements_dyn(left.as_ref(), right.as_ref())?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(joined))
    }
}
