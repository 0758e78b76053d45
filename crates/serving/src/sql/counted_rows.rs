//! [`CountedRows`]: rows of no columns that a join holds are held as their count.
//!
//! DataFusion's joins keep one side as the batches that it comes in. Where nothing of it is read (`SELECT count(*)` over a cross
//! join), these batches have no columns and no bytes to reserve, and millions of them fill the memory all the same.
//!
//! What must hold: the other side meets as many rows as there were.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    execution::SendableRecordBatchStream,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan,
        joins::{CrossJoinExec, NestedLoopJoinExec},
        replace_children_if_necessary,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt as _, stream};

use super::passing::Passing;

/// The rule that counts what joins hold.
#[derive(Debug)]
pub(super) struct CountedRows;

impl PhysicalOptimizerRule for CountedRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let rewritten = plan.transform_up(|node| {
            if !node.is::<CrossJoinExec>() && !node.is::<NestedLoopJoinExec>() {
                return Ok(Transformed::no(node));
            }
            let mut inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
            match inputs.first_mut() {
                // Of the two it is the first that is held.
                Some(held) if held.schema().fields().is_empty() => {
                    *held = Passing::around("Counted", Arc::clone(held), counted);
                }
                _ => return Ok(Transformed::no(node)),
            }
            Ok(Transformed::yes(replace_children_if_necessary(node, inputs)?))
        });
        Ok(rewritten?.data)
    }

    fn name(&self) -> &'static str {
        "counted_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Rows without columns as one batch.
fn counted(mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
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
    Box::pin(RecordBatchStreamAdapter::new(schema, counted))
}
