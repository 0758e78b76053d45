//! What the expressions of a node of a plan are typed by.

use datafusion::{
    common::{DFSchema, Result},
    logical_expr::{LogicalPlan, utils::merge_schema},
};

/// The columns that the expressions of a node read.
pub(super) fn schema_of_inputs(node: &LogicalPlan) -> Result<DFSchema> {
    let mut schema = merge_schema(&node.inputs());
    if let LogicalPlan::TableScan(scan) = node {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    Ok(schema)
}
