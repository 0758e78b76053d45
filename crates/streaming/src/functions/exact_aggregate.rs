//! `sum`, `avg`, `min`, `max`, variances and standard deviations as views compute them, for every query: with the kernels of the
//! fold.
//!
//! DataFusion's own wrap around (integers), depend on the order of their input (floats), and pass over NaN where they
//! group. What the kernels do not know (intervals, texts, windows that slide over `min` and `max`) stays with
//! DataFusion.
//!
//! The types are PostgreSQL's: a sum of `SMALLINT`s and `INT`s is a `BIGINT`, one of `BIGINT`s a `NUMERIC`. An average
//! of integers is the nearest `DOUBLE PRECISION`, one of `NUMERIC`s has 16 digits after the point or more.

use std::{hash::Hash, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef};
use dataflow::{AggregateKind, quotient_type};
use datafusion::{
    error::{DataFusionError, Result},
    execution::FunctionRegistry,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
        Signature, StatisticsArgs, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::{AggregateOrderSensitivity, format_state_name},
    },
    scalar::ScalarValue,
};

use crate::fold::Aggregate;

/// The type of a sum of `BIGINT`s.
const NUMERIC: DataType = DataType::Decimal128(38, 0);

/// Registers the aggregates in the place of DataFusion's.
pub(super) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    let kinds = [
        ("sum", AggregateKind::Sum),
        ("avg", AggregateKind::Avg),
        ("min", AggregateKind::Min),
        ("max", AggregateKind::Max),
        ("var_pop", AggregateKind::Variance { is_sample: false, is_root: false }),
        ("var_samp", AggregateKind::Variance { is_sample: true, is_root: false }),
        ("stddev_pop", AggregateKind::Variance { is_sample: false, is_root: true }),
        ("stddev_samp", AggregateKind::Variance { is_sample: true, is_root: true }),
    ];
    for (name, kind) in kinds {
        let Ok(inner) = registry.udaf(name) else { continue };
        let signature = Signature::user_defined(Volatility::Immutable);
        registry.register_udaf(Arc::new(AggregateUDF::new_from_impl(ExactAggregate { inner, kind, signature })))?;
    }
    // The name that the standard has for it.
    if let Ok(all) = registry.udaf("bool_and") {
        registry.register_udaf(Arc::new(AggregateUDF::clone(&all).with_aliases(["every"])))?;
    }
    Ok(())
}

/// An aggregate that is exact where its types allow it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactAggregate {
    /// DataFusion's.
    inner: Arc<AggregateUDF>,
    kind: AggregateKind,
    signature: Signature,
}

impl ExactAggregate {
    /// The kernel's aggregate over a type, where there is one.
    fn exact(&self, argument: &DataType, output: &DataType) -> Option<Aggregate> {
        let is_known = match self.kind {
            AggregateKind::Sum | AggregateKind::Avg => {
                matches!(argument, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Decimal128(_, _))
            }
            AggregateKind::Variance { .. } => *argument == DataType::Float64,
            _ => matches!(argument, DataType::Float32 | DataType::Float64),
        };
        is_known.then(|| Aggregate::new(self.kind, argument, output))
    }

    fn exact_of(&self, args: &AccumulatorArgs<'_>) -> Option<Aggregate> {
        self.exact(args.expr_fields.first()?.data_type(), args.return_type())
    }

    /// Whether each value counts once: for the ends of an order that makes no difference.
    fn counts_once(&self, is_distinct: bool) -> bool {
        is_distinct && self.kind.is_linear()
    }
}

impl AggregateUDFImpl for ExactAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let (AggregateKind::Variance { .. }, [argument]) = (self.kind, types)
            && (argument.is_numeric() || *argument == DataType::Null)
        {
            return Ok(vec![DataType::Float64]);
        }
        let (AggregateKind::Sum | AggregateKind::Avg, [argument]) = (self.kind, types) else {
            return self.inner.coerce_types(types);
        };
        let taken = match argument {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
            DataType::Int64 | DataType::UInt32 | DataType::Null => DataType::Int64,
            DataType::UInt64 => DataType::Decimal128(20, 0),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                DataType::Decimal128(*precision, *scale)
            }
            DataType::Decimal128(_, _) | DataType::Decimal256(_, _) | DataType::Duration(_) => argument.clone(),
            DataType::Interval(_) if self.kind == AggregateKind::Sum => argument.clone(),
            DataType::Dictionary(_, value) => return self.coerce_types(&[value.as_ref().clone()]),
            other => {
                let call = format!("'{}({other})'", self.name());
                let hint = "You might need to add explicit type casts.";
                let message = format!("No function matches the given name and argument types {call}. {hint}");
                return Err(DataFusionError::Plan(message));
            }
        };
        Ok(vec![taken])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.kind, types) {
            (AggregateKind::Sum, [DataType::Int32]) => Ok(DataType::Int64),
            (AggregateKind::Sum, [DataType::Int64]) => Ok(NUMERIC),
            (AggregateKind::Avg, [DataType::Decimal128(_, scale)]) => Ok(quotient_type(*scale)),
            (AggregateKind::Variance { .. }, _) => Ok(DataType::Float64),
            _ => self.inner.return_type(types),
        }
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let argument = args.input_fields.first().map(|field| field.data_type());
        let Some(exact) = argument.and_then(|argument| self.exact(argument, args.return_type())) else {
            return self.inner.state_fields(args);
        };
        let name = |suffix: &str| format_state_name(args.name, suffix);
        let fields =
            if self.counts_once(args.is_distinct) { exact.distinct_state_fields() } else { exact.state_fields() };
        let named = |field: Field| -> FieldRef { Arc::new(field.clone().with_name(name(field.name()))) };
        Ok(fields.into_iter().map(named).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.exact_of(&args) {
            Some(exact) if self.counts_once(args.is_distinct) => exact.distinct_accumulator(),
            Some(exact) => exact.accumulator(),
            None => self.inner.accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match self.exact_of(&args) {
            Some(_) => !self.counts_once(args.is_distinct),
            None => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match self.exact_of(&args) {
            Some(exact) => exact.groups_accumulator(),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match self.exact_of(&args) {
            Some(exact) if self.kind.is_linear() && !args.is_distinct => exact.accumulator(),
            _ => self.inner.inner().create_sliding_accumulator(args),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        // Sums of statistics are not of the types that sums have here.
        if self.kind.is_linear() { None } else { self.inner.value_from_stats(args) }
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
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
