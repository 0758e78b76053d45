//! DataFusion's expressions, compiled for rows as they come; and with them the groups of an aggregate.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use dataflow::{AggregateSignature, GroupBy};
use datafusion::{
    common::DFSchema,
    execution::SessionState,
    logical_expr::{Aggregate, Expr},
    sql::utils::UNNEST_PLACEHOLDER,
};
use sql::{SqlError, sqlstate};

use super::{
    aggregate::{self, AggregateCall},
    array_expression::with_arrays,
    checked_arithmetic::checked,
    step::Expression,
};
use crate::functions::as_written;

/// How rows are grouped, and what is kept of them.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    /// What groups.
    pub(crate) keys: Vec<Expression>,
    /// What is computed.
    pub(crate) aggregates: Vec<AggregateCall>,
    /// The schema of finished groups: keys, then aggregates.
    pub(crate) schema: SchemaRef,
}

impl Grouping {
    /// The operator that groups so.
    pub(crate) fn operator(&self) -> dataflow::Result<GroupBy> {
        let aggregates = self.aggregates.iter().map(|call| call.signature.clone()).collect();
        // What a source gives stays: the log only grows.
        GroupBy::new(Arc::clone(&self.schema), self.keys.len(), aggregates, false)
    }
}

/// Compiles the expressions of a plan.
pub(super) struct Compiler<'a> {
    pub(super) state: &'a SessionState,
}

impl Compiler<'_> {
    /// One expression over rows of `input`.
    pub(super) fn compile(&self, expression: &Expr, input: &DFSchema) -> Result<Expression, SqlError> {
        // A list that is taken apart has a name that nobody wrote.
        let written = match expression {
            Expr::Alias(alias) if alias.name.starts_with(UNNEST_PLACEHOLDER) => alias.expr.as_ref(),
            other => other,
        };
        let text = as_written(written).to_string();
        let compiled =
            self.state.create_physical_expr(expression.clone(), input).and_then(checked).and_then(with_arrays);
        let physical = compiled.map_err(|error| {
            SqlError::new(sqlstate::INTERNAL_ERROR, format!("cannot compile {text}: {}", error.strip_backtrace()))
        })?;
        Ok(Expression { physical, text })
    }

    /// Some expressions over rows of `input`.
    pub(super) fn compile_all(&self, expressions: &[Expr], input: &DFSchema) -> Result<Vec<Expression>, SqlError> {
        expressions.iter().map(|expression| self.compile(expression, input)).collect()
    }

    /// Each row once: groups of nothing but keys.
    pub(super) fn distinct(&self, input: &DFSchema) -> Result<Grouping, SqlError> {
        let columns: Vec<Expr> = input.columns().into_iter().map(Expr::Column).collect();
        Ok(Grouping {
            keys: self.compile_all(&columns, input)?,
            aggregates: Vec::new(),
            schema: Arc::clone(input.inner()),
        })
    }

    /// Groups, and what each comes to.
    pub(super) fn grouping(&self, node: &Aggregate) -> Result<Grouping, SqlError> {
        let input = node.input.schema();
        let schema = Arc::clone(node.schema.inner());
        let keys = self.compile_all(&node.group_expr, input)?;
        let outputs = schema.fields().iter().skip(keys.len());
        let aggregates = node.aggr_expr.iter().zip(outputs);
        let aggregates = aggregates.map(|(expression, output)| self.call(expression, output.data_type(), input));
        let aggregates = aggregates.collect::<Result<Vec<_>, SqlError>>()?;
        Ok(Grouping { keys, aggregates, schema })
    }

    /// An aggregate over rows of `input` that gives `output_type`.
    pub(super) fn call(
        &self,
        expression: &Expr,
        output_type: &DataType,
        input: &DFSchema,
    ) -> Result<AggregateCall, SqlError> {
        let checked = aggregate::check(expression)?;
        let argument = checked.argument.map(|argument| self.compile(argument, input)).transpose()?;
        let text = as_written(expression).to_string();
        let argument_type = match &argument {
            Some(argument) => argument.physical.data_type(input.as_arrow()).map_err(|error| {
                SqlError::new(sqlstate::INTERNAL_ERROR, format!("{text} has no type: {}", error.strip_backtrace()))
            })?,
            None => DataType::Int64,
        };
        aggregate::check_type(checked.kind, checked.is_distinct, &argument_type, &text)?;
        let signature = AggregateSignature {
            kind: checked.kind,
            is_distinct: checked.is_distinct,
            argument_type,
            output_type: output_type.clone(),
        };
        let filter = checked.filter.map(|filter| self.compile(filter, input)).transpose()?;
        Ok(AggregateCall { signature, argument, filter })
    }
}

/// The column of the input that an expression is, unchanged.
pub(super) fn plain_column(expression: &Expr, input: &DFSchema) -> Option<usize> {
    match expression {
        Expr::Column(column) => input.maybe_index_of_column(column),
        Expr::Alias(alias) => plain_column(&alias.expr, input),
        _ => None,
    }
}
