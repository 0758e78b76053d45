//! The window functions that repeat values of other rows, within bounds: each row can be given a large value of another one.

use std::{
    hash::{Hash, Hasher},
    ops::Range,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef},
    compute::SortOptions,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    error::Result,
    logical_expr::{
        Documentation, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF, WindowUDFImpl,
        function::{ExpressionArgs, PartitionEvaluatorArgs, WindowFunctionSimplification, WindowUDFFieldArgs},
        window_state::WindowAggState,
    },
    physical_expr::PhysicalExpr,
    scalar::ScalarValue,
};
use model::MemoryBudget;

use super::{account::Account, claim::claimed};

/// Their names.
pub(super) const FUNCTIONS: [&str; 5] = ["first_value", "lag", "last_value", "lead", "nth_value"];

/// A window function within bounds.
pub(super) struct Repeating {
    /// DataFusion's.
    inner: Arc<WindowUDF>,
    memory: MemoryBudget,
}

impl Repeating {
    pub(super) fn around(inner: Arc<WindowUDF>, memory: &MemoryBudget) -> WindowUDF {
        WindowUDF::new_from_impl(Self { inner, memory: memory.clone() })
    }
}

// There is one budget, so the function tells all.
impl PartialEq for Repeating {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Repeating {}

impl Hash for Repeating {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl std::fmt::Debug for Repeating {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repeating({})", self.inner.name())
    }
}

// Whatever a planner asks, the function within answers.
#[deny(clippy::missing_trait_methods)]
impl WindowUDFImpl for Repeating {
    fn partition_evaluator(&self, args: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        let inner = self.inner.partition_evaluator_factory(args)?;
        Ok(Box::new(Evaluator { inner, account: Account::new(&self.memory) }))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Reversed(reversed) => ReversedUDWF::Reversed(Arc::new(Self::around(reversed, &self.memory))),
            identical_or_none => identical_or_none,
        }
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, args: ExpressionArgs<'_>) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn simplify(&self) -> Option<WindowFunctionSimplification> {
        self.inner.simplify()
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.field(args)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
    }
}

/// The evaluator of one partition.
#[derive(Debug)]
struct Evaluator {
    inner: Box<dyn PartitionEvaluator>,
    account: Account,
}

#[deny(clippy::missing_trait_methods)]
impl PartitionEvaluator for Evaluator {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, row: usize, row_count: usize) -> Result<Range<usize>> {
        self.inner.get_range(row, row_count)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, columns: &[ArrayRef], row_count: usize) -> Result<ArrayRef> {
        let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0) as u64;
        self.account.make_room(columns.iter().map(bytes).sum())?;
        let values = self.inner.evaluate_all(columns, row_count)?;
        self.account.settle(0)?;
        claimed(values, self.account.memory(), 1)
    }

    fn evaluate(&mut self, columns: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let value = self.inner.evaluate(columns, range)?;
        self.account.hand_out(value.size())?;
        Ok(value)
    }

    fn evaluate_all_with_rank(&self, row_count: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        claimed(self.inner.evaluate_all_with_rank(row_count, ranks)?, self.account.memory(), 1)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
