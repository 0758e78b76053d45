//! [`CountedRows`]: rows of no columns that a join holds are held as their count.
//!
//! DataFusion's joins keep one side as the batches that it comes in. Where nothing of it is read (`SELECT count(*)` over a cross
//! join), these batches have no columns and no bytes to reserve, and millions of them fill the memory all the same.
//!
//! What must hold: the other side meets as many rows as there were.

use std::{fmt, sync::Arc};

use arrow::array::{RecordBatch, RecordBatchOptions};
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
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        joins::{CrossJoinExec, NestedLoopJoinExec},
        replace_children_if_necessary,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt as _, stream};

/// The rule that counts what joins hold.
#[derive(Debug)]
pub(super) struct CountedRows;

impl PhysicalOptimizerRule for CountedRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let counted = plan.transform_up(|node| {
            if !node.is::<CrossJoinExec>() && !node.is::<NestedLoopJoinExec>() {
                return Ok(Transformed::no(node));
            }
            let mut inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
            match inputs.first_mut() {
                // Of the two it is the first that is held.
                Some(held) if held.schema().fields().is_empty() => *held = Arc::new(Counted(Arc::clone(held))),
                _ => return Ok(Transformed::no(node)),
            }
            Ok(Transformed::yes(replace_children_if_necessary(node, inputs)?))
        });
        Ok(counted?.data)
    }

    fn name(&self) -> &'static str {
        "counted_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Passes rows without columns on as one batch.
#[derive(Debug)]
struct Counted(Arc<dyn ExecutionPlan>);

impl DisplayAs for Counted {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl ExecutionPlan for Counted {
    fn name(&self) -> &'static str {
        "Counted"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if children.is_empty() => Ok(Arc::new(Self(input))),
            _ => internal_err!("rows are counted of one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut rows = self.0.execute(partition, context)?;
        let schema = rows.schema();
        let held = Arc::clone(&schema);
        let counted = stream::once(async move {
            let mut count = 0;
            while let Some(batch) = rows.next().await {
                count += batch?.num_rows();
            }
            let options = RecordBatchOptions::new().with_row_count(Some(count));
            Ok(RecordBatch::try_new_with_options(held, Vec::new(), &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }
}
