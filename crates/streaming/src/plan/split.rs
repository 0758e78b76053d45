//! The logical plan cut at its aggregate: linear steps below, the groups, linear steps above.
//!
//! What must hold: every node of the plan is either compiled here or refused by name; none is skipped.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use dataflow::{AggregateSignature, GroupBy};
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{Aggregate, Distinct, Expr, LogicalPlan},
};
use sql::{SqlError, character_at, is_word, sqlstate, tokenize};
use sqlparser::tokenizer::Token;

use super::{
    aggregate::{self, AggregateCall},
    array_expression::with_arrays,
    checked_arithmetic::checked,
    step::{Expression, Step},
};
use crate::functions::as_written;

/// A plan in its parts.
pub(super) struct SplitPlan {
    /// The source's name.
    pub(super) source: String,
    /// The columns of the source that are read.
    pub(super) source_columns: Vec<usize>,
    /// From the source's rows to the groups, or to the view's rows.
    pub(super) below: Vec<Step>,
    /// The groups; none in a view that does not group.
    pub(super) grouping: Option<Grouping>,
    /// From finished groups to the view's rows.
    pub(super) above: Vec<Step>,
    /// The schema of the view's rows.
    pub(super) schema: SchemaRef,
    /// For each column of the view's rows: which column of the groups (or of the source) it is, unchanged.
    pub(super) origins: Vec<Option<usize>>,
}

/// How rows are grouped, and what is kept of them.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    /// What groups.
    pub(crate) keys: Vec<Expression>,
    /// What is computed.
    pub(crate) aggregates: Vec<AggregateCall>,
    /// The schema of finished groups: keys, then aggregates.
    pub(crate) schema: SchemaRef,
}

impl Grouping {
    /// The operator that groups so.
    pub(crate) fn operator(&self) -> dataflow::Result<GroupBy> {
        let aggregates = self.aggregates.iter().map(|call| call.signature.clone()).collect();
        // What a source gives stays: the log only grows.
        GroupBy::new(Arc::clone(&self.schema), self.keys.len(), aggregates, false)
    }
}

/// Splits a plan; `text` is the query, for the places of what is refused.
pub(super) fn split(text: &str, plan: &LogicalPlan, state: &SessionState) -> Result<SplitPlan, SqlError> {
    check_subqueries(plan)?;
    let compiler = Compiler { state };
    let mut origins: Vec<Option<usize>> = (0..plan.schema().fields().len()).map(Some).collect();
    let (mut steps, mut above, mut grouping) = (Vec::new(), Vec::new(), None);
    let mut node = plan;
    loop {
        match node {
            LogicalPlan::Projection(projection) => {
                let input = projection.input.schema();
                // Below an aggregate the origins already speak of the groups.
                if grouping.is_none() {
                    for origin in &mut origins {
                        *origin = origin.and_then(|i| plain_column(projection.expr.get(i)?, input));
                    }
                }
                steps.push(Step::Project {
                    expressions: compiler.compile_all(&projection.expr, input)?,
                    schema: Arc::clone(projection.schema.inner()),
                });
                node = &projection.input;
            }
            LogicalPlan::Filter(filter) => {
                steps.push(Step::Filter(compiler.compile(&filter.predicate, filter.input.schema())?));
                node = &filter.input;
            }
            LogicalPlan::SubqueryAlias(alias) => node = &alias.input,
            LogicalPlan::Aggregate(found) if grouping.is_none() => {
                grouping = Some(compiler.grouping(found)?);
                steps.reverse();
                above = std::mem::take(&mut steps).into_iter().map(Step::with_nullable_columns).collect();
                node = &found.input;
            }
            LogicalPlan::Distinct(Distinct::All(input)) if grouping.is_none() => {
                grouping = Some(compiler.distinct(input.schema())?);
                steps.reverse();
                above = std::mem::take(&mut steps).into_iter().map(Step::with_nullable_columns).collect();
                node = input;
            }
            LogicalPlan::TableScan(scan) => {
                let source_columns = match &scan.projection {
                    Some(columns) => columns.clone(),
                    None => (0..scan.source.schema().fields().len()).collect(),
                };
                if grouping.is_none() {
                    for origin in &mut origins {
                        *origin = origin.and_then(|i| source_columns.get(i).copied());
                    }
                }
                steps.push(Step::Select(source_columns.clone()));
                steps.reverse();
                return Ok(SplitPlan {
                    source: scan.table_name.table().to_owned(),
                    source_columns,
                    below: steps,
                    grouping,
                    above,
                    schema: Arc::clone(plan.schema().inner()),
                    origins,
                });
            }
            other => return Err(refuse(text, other)),
        }
    }
}

struct Compiler<'a> {
    state: &'a SessionState,
}

impl Compiler<'_> {
    fn compile(&self, expression: &Expr, input: &DFSchema) -> Result<Expression, SqlError> {
        let text = as_written(expression).to_string();
        let compiled =
            self.state.create_physical_expr(expression.clone(), input).and_then(checked).and_then(with_arrays);
        let physical = compiled.map_err(|error| {
            SqlError::new(sqlstate::INTERNAL_ERROR, format!("cannot compile {text}: {}", error.strip_backtrace()))
        })?;
        Ok(Expression { physical, text })
    }

    fn compile_all(&self, expressions: &[Expr], input: &DFSchema) -> Result<Vec<Expression>, SqlError> {
        expressions.iter().map(|expression| self.compile(expression, input)).collect()
    }

    /// Each row once: groups of nothing but keys.
    fn distinct(&self, input: &DFSchema) -> Result<Grouping, SqlError> {
        let columns: Vec<Expr> = input.columns().into_iter().map(Expr::Column).collect();
        Ok(Grouping {
            keys: self.compile_all(&columns, input)?,
            aggregates: Vec::new(),
            schema: Arc::clone(input.inner()),
        })
    }

    fn grouping(&self, node: &Aggregate) -> Result<Grouping, SqlError> {
        if node.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_))) {
            return Err(SqlError::unsupported("GROUPING SETS, ROLLUP or CUBE in a view"));
        }
        let input = node.input.schema();
        let schema = Arc::clone(node.schema.inner());
        let keys = self.compile_all(&node.group_expr, input)?;
        let outputs = schema.fields().iter().skip(keys.len());
        let aggregates = node.aggr_expr.iter().zip(outputs).map(|(expression, output)| {
            let checked = aggregate::check(expression)?;
            let argument = checked.argument.map(|argument| self.compile(argument, input)).transpose()?;
            let text = as_written(expression).to_string();
            let argument_type = match &argument {
                Some(argument) => argument.physical.data_type(input.as_arrow()).map_err(|error| {
                    SqlError::new(sqlstate::INTERNAL_ERROR, format!("{text} has no type: {}", error.strip_backtrace()))
                })?,
                None => arrow::datatypes::DataType::Int64,
            };
            aggregate::check_type(checked.kind, checked.is_distinct, &argument_type, &text)?;
            let output_type = output.data_type().clone();
            Ok(AggregateCall {
                signature: AggregateSignature {
                    kind: checked.kind,
                    is_distinct: checked.is_distinct,
                    argument_type,
                    output_type,
                },
                argument,
                filter: checked.filter.map(|filter| self.compile(filter, input)).transpose()?,
            })
        });
        let aggregates = aggregates.collect::<Result<Vec<_>, SqlError>>()?;
        Ok(Grouping { keys, aggregates, schema })
    }
}

/// The column of the input that an expression is, unchanged.
fn plain_column(expression: &Expr, input: &DFSchema) -> Option<usize> {
    match expression {
        Expr::Column(column) => input.maybe_index_of_column(column),
        Expr::Alias(alias) => plain_column(&alias.expr, input),
        _ => None,
    }
}

fn check_subqueries(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut found = false;
    let walked = plan.apply(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                found |= matches!(inner, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    match walked {
        Err(error) => Err(SqlError::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace())),
        Ok(_) if found => Err(SqlError::unsupported("a subquery in an expression of a view")),
        Ok(_) => Ok(()),
    }
}

/// The error for a node that is not built.
fn refuse(text: &str, node: &LogicalPlan) -> SqlError {
    let in_query = "put it into the query over the view";
    let (what, word, hint) = match node {
        LogicalPlan::Join(_) => ("a join in a view", "join", "join the views in the query that reads them"),
        LogicalPlan::Union(_) => ("UNION, INTERSECT or EXCEPT in a view", "union", "write one view for each part"),
        LogicalPlan::Sort(_) => ("ORDER BY in a view", "order", in_query),
        LogicalPlan::Limit(_) => ("LIMIT or OFFSET in a view", "limit", in_query),
        LogicalPlan::Window(_) => ("a window function (OVER) in a view", "over", in_query),
        LogicalPlan::Distinct(Distinct::On(_)) => ("DISTINCT ON in a view", "distinct", in_query),
        LogicalPlan::Distinct(_) => ("DISTINCT over an aggregate in a view", "distinct", in_query),
        LogicalPlan::Aggregate(_) => ("an aggregate over an aggregate in a view", "from", in_query),
        LogicalPlan::Values(_) => ("VALUES in a view", "values", "a view reads a source"),
        LogicalPlan::EmptyRelation(_) => ("a view without FROM", "select", "a view reads a source"),
        LogicalPlan::Unnest(_) => ("unnest in a view", "unnest", in_query),
        LogicalPlan::RecursiveQuery(_) => ("WITH RECURSIVE in a view", "recursive", in_query),
        _ => ("this kind of statement as a view", "", "write a SELECT over one source"),
    };
    let error = SqlError::unsupported(what).with_hint(hint);
    let tokens = tokenize(text).unwrap_or_default();
    match tokens.iter().find(|placed| is_word(&placed.token, word) || matches_comma_join(word, &placed.token)) {
        Some(placed) => error.at(character_at(text, placed.start)),
        None => error,
    }
}

fn matches_comma_join(word: &str, token: &Token) -> bool {
    word == "join" && matches!(token, Token::Word(w) if w.value.eq_ignore_ascii_case("cross"))
}
