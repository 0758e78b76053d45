//! [`WindowMemory`]: the rows that window operators hold are reserved from the budget of memory.
//!
//! DataFusion's keep a whole partition, and a copy of it, and reserve nothing. So what goes into one is reserved on the way,
//! twice, and what comes out once, until nobody holds it any more.
//!
//! What must hold: the rows that leave are those that come in.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{
        config::ConfigOptions,
        internal_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
        stream::RecordBatchStreamAdapter,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};
use futures::StreamExt as _;
use model::MemoryBudget;

/// The rule that puts reservations around window operators.
#[derive(Debug)]
pub(super) struct WindowMemory(pub(super) MemoryBudget);

impl PhysicalOptimizerRule for WindowMemory {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let around = |plan, copies| -> Arc<dyn ExecutionPlan> {
            Arc::new(Reserved { input: plan, memory: self.0.clone(), copies })
        };
        let reserved = plan.transform_up(|node| {
            if !node.is::<WindowAggExec>() && !node.is::<BoundedWindowAggExec>() {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().map(|input| around(Arc::clone(input), 2)).collect();
            Ok(Transformed::yes(around(replace_children_if_necessary(node, inputs)?, 1)))
        });
        Ok(reserved?.data)
    }

    fn name(&self) -> &'static str {
        "window_memory"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Passes rows on, reserved.
#[derive(Debug)]
struct Reserved {
    input: Arc<dyn ExecutionPlan>,
    memory: MemoryBudget,
    /// How often the rows are held.
    copies: u64,
}

impl DisplayAs for Reserved {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reserved")
    }
}

impl ExecutionPlan for Reserved {
    fn name(&self) -> &'static str {
        "Reserved"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if children.is_empty() => {
                Ok(Arc::new(Self { input, memory: self.memory.clone(), copies: self.copies }))
            }
            _ => internal_err!("rows are reserved for one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let (schema, memory, copies) = (rows.schema(), self.memory.clone(), self.copies);
        let reserved = rows.map(move |batch| streaming::reserved(&batch?, &memory, copies));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, reserved)))
    }
}
