//! [`WindowMemory`]: the rows that window operators hold are reserved from the budget of memory.
//!
//! DataFusion's keep a whole partition, and a copy of it, and reserve nothing. So what goes into one is reserved on the way,
//! twice, and what comes out once, until nobody holds it any more.
//!
//! What must hold: the rows that leave are those that come in.

use std::sync::Arc;

use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    execution::SendableRecordBatchStream,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan, replace_children_if_necessary,
        stream::RecordBatchStreamAdapter,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};
use futures::StreamExt as _;
use model::MemoryBudget;

use super::passing::Passing;

/// The rule that puts reservations around window operators.
#[derive(Debug)]
pub(super) struct WindowMemory(pub(super) MemoryBudget);

impl PhysicalOptimizerRule for WindowMemory {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let around = |plan, copies| {
            let memory = self.0.clone();
            Passing::around("Reserved", plan, move |rows| reserved(rows, memory.clone(), copies))
        };
        let rewritten = plan.transform_up(|node| {
            if !node.is::<WindowAggExec>() && !node.is::<BoundedWindowAggExec>() {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().map(|input| around(Arc::clone(input), 2)).collect();
            Ok(Transformed::yes(around(replace_children_if_necessary(node, inputs)?, 1)))
        });
        Ok(rewritten?.data)
    }

    fn name(&self) -> &'static str {
        "window_memory"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Rows that are reserved as often as they are held.
fn reserved(rows: SendableRecordBatchStream, memory: MemoryBudget, copies: u64) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let reserved = rows.map(move |batch| streaming::reserved(&batch?, &memory, copies));
    Box::pin(RecordBatchStreamAdapter::new(schema, reserved))
}
