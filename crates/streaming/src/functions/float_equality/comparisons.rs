//! [`Comparisons`]: the comparisons in the expressions of one node of a plan.

use std::sync::Arc;

use datafusion::{
    common::{Column, DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Between, BinaryExpr, Case, Cast, Expr, Filter, LogicalPlan, Operator, Projection, Subquery,
        expr::{InList, InSubquery, SetComparison},
    },
};

use super::{is_float, normal, normal_all, normal_order, normal_rows};

/// Puts in normal form what is compared.
pub(super) struct Comparisons<'a> {
    schema: &'a DFSchema,
    is_filter: bool,
    /// Normal forms that the node reads as columns, under their own names.
    columns: Vec<Expr>,
}

impl<'a> Comparisons<'a> {
    /// Those of `node`, which reads columns of `schema`.
    pub(super) fn of(node: &LogicalPlan, schema: &'a DFSchema) -> Self {
        Self { schema, is_filter: matches!(node, LogicalPlan::Filter(_)), columns: Vec::new() }
    }

    /// One part of an expression, the parts of which are done.
    pub(super) fn normal(&mut self, part: Expr) -> Result<Transformed<Expr>> {
        Ok(match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if op.supports_propagation() && is_float(&left, self.schema)? =>
            {
                let (left, right) = self.normal_sides(*left, op, *right)?;
                Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let (expr, low, high) = (self.boxed(*expr)?, self.boxed(*low)?, self.boxed(*high)?);
                Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
            }
            Expr::InList(InList { expr, list, negated }) => {
                let (expr, list) = (self.boxed(*expr)?, normal_all(list, self.schema)?);
                Transformed::yes(Expr::InList(InList { expr, list, negated }))
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let (expr, subquery) = (self.boxed(*expr)?, normal_answers(subquery)?);
                Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated }))
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let (expr, subquery) = (self.boxed(*expr)?, normal_answers(subquery)?);
                Transformed::yes(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }))
            }
            Expr::Case(Case { expr: Some(expr), when_then_expr, else_expr }) => {
                let expr = Some(self.boxed(*expr)?);
                let cases = when_then_expr.into_iter().map(|(when, then)| Ok((self.boxed(*when)?, then)));
                Transformed::yes(Expr::Case(Case { expr, when_then_expr: cases.collect::<Result<_>>()?, else_expr }))
            }
            Expr::AggregateFunction(mut call) => {
                if call.params.distinct {
                    call.params.args = normal_all(call.params.args, self.schema)?;
                }
                call.params.order_by = normal_order(call.params.order_by, self.schema)?;
                Transformed::yes(Expr::AggregateFunction(call))
            }
            Expr::WindowFunction(mut call) => {
                if call.params.distinct {
                    call.params.args = normal_all(call.params.args, self.schema)?;
                }
                call.params.partition_by = normal_all(call.params.partition_by, self.schema)?;
                call.params.order_by = normal_order(call.params.order_by, self.schema)?;
                Transformed::yes(Expr::WindowFunction(call))
            }
            other => Transformed::no(other),
        })
    }

    /// The node with the columns that it reads now, and no others above it than before.
    pub(super) fn provide(self, node: LogicalPlan) -> Result<LogicalPlan> {
        let LogicalPlan::Filter(Filter { predicate, input, .. }) = node else { return Ok(node) };
        if self.columns.is_empty() {
            return Ok(LogicalPlan::Filter(Filter::try_new(predicate, input)?));
        }
        let before: Vec<Expr> = input.schema().iter().map(|field| Expr::Column(Column::from(field))).collect();
        let with_columns = before.iter().cloned().chain(self.columns).collect();
        let provided = LogicalPlan::Projection(Projection::try_new(with_columns, input)?);
        let filter = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(provided))?);
        Ok(LogicalPlan::Projection(Projection::try_new(before, Arc::new(filter))?))
    }

    /// A subquery that depends on the row outside is planned as a join where a column stands alone on its side of `=`: so
    /// its normal form becomes a column.
    fn normal_sides(&mut self, left: Expr, op: Operator, right: Expr) -> Result<(Expr, Expr)> {
        let is_alone = |side: &Expr, other: &Expr| {
            let is_column = match side {
                Expr::Cast(Cast { expr, .. }) => matches!(**expr, Expr::Column(_)),
                side => matches!(side, Expr::Column(_)),
            };
            is_column && other.contains_outer() && !other.any_column_refs()
        };
        let may_be_column = self.is_filter && op == Operator::Eq;
        let (left_alone, right_alone) =
            (may_be_column && is_alone(&left, &right), may_be_column && is_alone(&right, &left));
        let (left, right) = (normal(left, self.schema)?, normal(right, self.schema)?);
        Ok((if left_alone { self.column(left) } else { left }, if right_alone { self.column(right) } else { right }))
    }

    fn column(&mut self, normal_form: Expr) -> Expr {
        let column = Expr::Column(Column::new_unqualified(normal_form.schema_name().to_string()));
        if !self.columns.contains(&normal_form) {
            self.columns.push(normal_form);
        }
        column
    }

    fn boxed(&self, expression: Expr) -> Result<Box<Expr>> {
        normal(expression, self.schema).map(Box::new)
    }
}

/// A subquery that answers in normal form.
fn normal_answers(subquery: Subquery) -> Result<Subquery> {
    Ok(Subquery { subquery: normal_rows(subquery.subquery)?, ..subquery })
}
