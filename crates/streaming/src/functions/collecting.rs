//! Bounds around the aggregates that collect what they are given, `array_agg`, `string_agg`, `median` and the like, and around
//! the window functions that repeat it.
//!
//! DataFusion's grow first and tell afterwards, and nobody counts what they hand out. Here what they are about to keep is
//! reserved from the one budget of memory before they see it, and what they hand out stays reserved for as long as
//! anybody holds it. One value is as large as one that a function makes, and no larger.
//!
//! What it is not: another way of computing them. Types, names, states and answers are DataFusion's.
//!
//! What must hold: everything is given back when the accumulators and what they handed out are gone; whether a value is
//! refused depends on the rows of its group, however they are batched.

mod account;
mod arguments;
mod claim;
mod groups;
mod single;
mod weight;
mod window;

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    error::Result,
    execution::FunctionRegistry,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator, ReversedUDAF,
        SetMonotonicity, Signature, StatisticsArgs,
        expr::{AggregateFunction, AggregateFunctionParams, WindowFunctionParams},
        function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
    physical_expr::GroupsAccumulatorAdapter,
    scalar::ScalarValue,
};
use model::MemoryBudget;

use account::Account;
use arguments::OwnedArguments;
pub use claim::reserved;
use groups::Groups;
use single::Single;
use weight::Weight;
use window::Repeating;

/// The aggregates that keep more than a number of each group.
const FUNCTIONS: [&str; 12] = [
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "first_value",
    "last_value",
    "median",
    "nth_value",
    "percentile_cont",
    "string_agg",
];

/// Registers the aggregates anew, with bounds; those that the registry does not know stay unknown.
pub(super) fn register(registry: &mut dyn FunctionRegistry, memory: &MemoryBudget) -> Result<()> {
    for name in FUNCTIONS {
        let Ok(inner) = registry.udaf(name) else { continue };
        registry.register_udaf(Arc::new(Collecting::around(inner, memory)))?;
    }
    for name in window::FUNCTIONS {
        let Ok(inner) = registry.udwf(name) else { continue };
        registry.register_udwf(Arc::new(Repeating::around(inner, memory)))?;
    }
    Ok(())
}

/// An aggregate within bounds.
struct Collecting {
    /// DataFusion's.
    inner: Arc<AggregateUDF>,
    memory: MemoryBudget,
}

impl Collecting {
    fn around(inner: Arc<AggregateUDF>, memory: &MemoryBudget) -> AggregateUDF {
        AggregateUDF::new_from_impl(Self { inner, memory: memory.clone() })
    }

    fn single(&self, args: &AccumulatorArgs<'_>, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(Single::new(inner, Weight::of(self.name(), args), Account::new(&self.memory)))
    }
}

// There is one budget, so the function tells all.
impl PartialEq for Collecting {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Collecting {}

impl Hash for Collecting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl std::fmt::Debug for Collecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Collecting({})", self.inner.name())
    }
}

// Whatever a planner asks, the function within answers.
#[deny(clippy::missing_trait_methods)]
impl AggregateUDFImpl for Collecting {
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let arguments = OwnedArguments::of(&args);
        Ok(self.single(&args, self.inner.accumulator(arguments.borrowed())?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let arguments = OwnedArguments::of(&args);
        Ok(self.single(&args, self.inner.create_sliding_accumulator(arguments.borrowed())?))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let weight = Weight::of(self.name(), &args);
        let arguments = OwnedArguments::of(&args);
        let inner = if self.inner.groups_accumulator_supported(args) {
            self.inner.create_groups_accumulator(arguments.borrowed())?
        } else {
            let inner = Arc::clone(&self.inner);
            Box::new(GroupsAccumulatorAdapter::new(move || inner.accumulator(arguments.borrowed())))
        };
        Ok(Box::new(Groups::new(inner, weight, Account::new(&self.memory))))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Reversed(reversed) => ReversedUDAF::Reversed(Arc::new(Self::around(reversed, &self.memory))),
            identical_or_none => identical_or_none,
        }
    }

    fn with_beneficial_ordering(self: Arc<Self>, is_ordered: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let changed = AggregateUDF::clone(&self.inner).with_beneficial_ordering(is_ordered)?;
        Ok(changed.map(|inner| Arc::new(Self { inner: Arc::new(inner), memory: self.memory.clone() }) as _))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner.simplify()
    }

    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        argument: &Expr,
        operator: Operator,
        literal: &Expr,
        argument_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.inner.simplify_expr_op_literal(function, argument, operator, literal, argument_is_left)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

#[cfg(test)]
mod tests;
