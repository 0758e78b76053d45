//! Lists taken apart.
//!
//! What must hold: what identifies a row that comes out is what identifies the row that it is of, and the number of the element, so
//! that two equal elements are two rows. Whether a row's elements are too many is decided before they are made, by the row alone:
//! a record of a source is a dead letter then, and above the records the list is NULL.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::{common::NullHandling, logical_expr::Unnest};
use sql::SqlError;

use super::{
    super::{
        expandable_list::ExpandableList,
        graph::UnnestPlan,
        step::{Expression, Step},
    },
    Lowering, Need, Relation, column_of, internal,
};

impl Lowering<'_> {
    /// A row for each element of lists; several lists stand beside each other.
    pub(super) fn unnest(&mut self, unnest: &Unnest, need: Need) -> Result<Relation, SqlError> {
        let keeps_empty = match unnest.options.null_handling {
            NullHandling::Drop => false,
            NullHandling::PreserveAndExpandEmpty => true,
            NullHandling::Preserve => return Err(internal("an unnest that keeps NULLs and no empty lists")),
        };
        let width = unnest.input.schema().fields().len();
        let is_one_to_one = unnest.dependency_indices.iter().copied().eq(0..width);
        if !is_one_to_one || !unnest.struct_type_columns.is_empty() {
            return Err(SqlError::unsupported("this unnest in a view").with_hint("take one list apart at a time"));
        }
        let input = self.lower(&unnest.input, Need { key: need.key, places: false })?;
        let lists: Vec<usize> = unnest.list_type_columns.iter().map(|(column, _)| *column).collect();
        let node = self.expandable(&input, &lists)?;
        let mut fields: Vec<Field> = Vec::new();
        for (column, field) in self.graph.node(node).schema.fields().iter().enumerate() {
            let name = unnest.schema.fields().get(column).filter(|_| column < input.visible).map(|shown| shown.name());
            let data_type = match field.data_type() {
                DataType::List(element) if lists.contains(&column) => element.data_type(),
                other => other,
            };
            fields.push(Field::new(name.unwrap_or_else(|| field.name()), data_type.clone(), true));
        }
        let mut key = input.key.clone();
        if need.key {
            key.push(fields.len());
            fields.push(Field::new("_ordinal", DataType::Int64, true));
        }
        let plan = UnnestPlan { lists, keeps_empty, is_numbered: need.key };
        let node = self.graph.unnest(node, plan, Schema::new(fields));
        Ok(Relation { node, visible: input.visible, key, places: None, is_one_row_at_most: false })
    }

    /// The rows with lists that fail where they would become too much beside the rest of their row.
    fn expandable(&mut self, input: &Relation, lists: &[usize]) -> Result<usize, SqlError> {
        let schema = self.schema(input);
        let mut expressions: Vec<Expression> = Vec::with_capacity(schema.fields().len());
        let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (column, field) in schema.fields().iter().enumerate() {
            let expression = column_of(&schema, column);
            expressions.push(match (lists.contains(&column), field.data_type()) {
                (false, _) => expression,
                (true, DataType::List(_)) => {
                    fields[column] = field.as_ref().clone().with_name("list");
                    let text = format!("unnest of {}", expression.text);
                    Expression { physical: Arc::new(ExpandableList::new(expression.physical, lists)), text }
                }
                (true, other) => return Err(SqlError::unsupported(format!("unnest of a {other} in a view"))),
            });
        }
        Ok(self.graph.extend(input.node, Step::Project { expressions, schema: Arc::new(Schema::new(fields)) }))
    }
}
