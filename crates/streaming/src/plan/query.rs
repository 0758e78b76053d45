//! A query's text to DataFusion's logical plan.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    config::Dialect,
    datasource::empty::EmptyTable,
    error::DataFusionError,
    execution::{SessionState, SessionStateBuilder},
    logical_expr::{Expr, LogicalPlan, Volatility},
    optimizer::{
        Optimizer, OptimizerContext, OptimizerRule, common_subexpr_eliminate::CommonSubexprEliminate,
        decorrelate_lateral_join::DecorrelateLateralJoin, decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        eliminate_cross_join::EliminateCrossJoin, eliminate_duplicated_expr::EliminateDuplicatedExpr,
        eliminate_outer_join::EliminateOuterJoin, extract_equijoin_predicate::ExtractEquijoinPredicate,
        optimize_projections::OptimizeProjections, push_down_filter::PushDownFilter,
        rewrite_set_comparison::RewriteSetComparison, scalar_subquery_to_join::ScalarSubqueryToJoin,
        simplify_expressions::SimplifyExpressions,
    },
    prelude::{SessionConfig, SessionContext},
    sql::parser::Statement,
};
use futures::FutureExt;
use model::MemoryBudget;
use sql::{Readable, SourceDefinition, SqlError, datafusion_error, sqlstate};
use sqlparser::ast;

use super::window;
use crate::functions::{self, Evaluation};

/// A table that a view may read.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    pub(super) name: &'a str,
    pub(super) schema: SchemaRef,
}

/// Sources as tables.
pub(super) fn tables(sources: &[SourceDefinition]) -> Vec<Table<'_>> {
    sources.iter().map(|source| Table { name: &source.name, schema: source.schema() }).collect()
}

/// A query with names resolved and types settled, as written otherwise: what is hashed.
pub(super) struct AnalysedQuery {
    pub(super) plan: LogicalPlan,
    /// What compiles expressions.
    pub(super) state: SessionState,
}

/// Resolves `text` over `tables`; `sources` are those of them that windows can be over.
pub(super) fn analyse(
    text: &str,
    tables: &[Table<'_>],
    sources: &[SourceDefinition],
) -> Result<AnalysedQuery, SqlError> {
    let query = window::parse_query(text, sources)?;
    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    let diagnosed = |error: DataFusionError| datafusion_error(&error, text, Readable::Sources(&names));
    let state = session(tables).map_err(diagnosed)?;
    let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
    // Nothing here waits: every table is in memory.
    let plan = state.statement_to_plan(statement).now_or_never();
    let plan = plan.unwrap_or_else(|| Err(DataFusionError::Internal("planning a view waited".to_owned())));
    let plan =
        plan.and_then(functions::with_lateral_unnests).and_then(functions::with_settled_numbers).map_err(diagnosed)?;
    check_deterministic(&plan)?;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).map_err(diagnosed)?;
    Ok(AnalysedQuery { plan, state })
}

impl AnalysedQuery {
    /// What is run: the query by `rules`, without the columns that are not needed.
    pub(super) fn optimised(&self, text: &str, rules: Rules) -> Result<LogicalPlan, SqlError> {
        let diagnosed = |error: DataFusionError| datafusion_error(&error, text, Readable::Sources(&[]));
        // What a view computes for ever is not to be computed anew for each batch, nor for long while it is planned, nor is
        // much held for it: a planner computes only what is cheap.
        let evaluation = Evaluation::new(MemoryBudget::new(Evaluation::PLANNED_BYTES_MAX));
        let mut options = self.state.config_options().as_ref().clone();
        evaluation.attach(&mut options);
        // A scalar subquery is a join like any other.
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        // Not in what is hashed: it is the same query.
        let exact = functions::exact(self.plan.clone()).map_err(diagnosed)?;
        let optimised = Optimizer::with_rules(rules.list())
            .optimize(exact, &OptimizerContext::new_with_config_options(Arc::new(options)), |_, _| {})
            .map_err(diagnosed)?;
        if evaluation.has_deferred() {
            return Err(SqlError::new(
                sqlstate::PROGRAM_LIMIT_EXCEEDED,
                "a constant of the view is too large, or takes too long to compute",
            )
            .with_hint("write what it comes to, or a shorter one"));
        }
        check_constants(&optimised, &self.state).map_err(diagnosed)?;
        Ok(optimised)
    }
}

/// Which rewritings a plan goes through.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rules {
    /// Those of a chain of steps with at most one aggregate.
    Chain,
    /// Those of an operator graph. Not those that leave out a source because a condition is never true: what a view reads is
    /// what is written; nor those that make `first_value` of DISTINCT ON, that split distinct aggregates, that move
    /// limits, or that change keys.
    Graph,
}

impl Rules {
    fn list(self) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
        match self {
            Self::Chain => vec![
                Arc::new(SimplifyExpressions::new()),
                Arc::new(OptimizeProjections::new()),
                Arc::new(CommonSubexprEliminate::new()),
            ],
            Self::Graph => vec![
                Arc::new(RewriteSetComparison::new()),
                Arc::new(SimplifyExpressions::new()),
                Arc::new(DecorrelatePredicateSubquery::new()),
                Arc::new(ScalarSubqueryToJoin::new()),
                Arc::new(DecorrelateLateralJoin::new()),
                Arc::new(ExtractEquijoinPredicate::new()),
                Arc::new(EliminateDuplicatedExpr::new()),
                Arc::new(EliminateCrossJoin::new()),
                Arc::new(EliminateOuterJoin::new()),
                Arc::new(PushDownFilter::new()),
                Arc::new(OptimizeProjections::new()),
                Arc::new(CommonSubexprEliminate::new()),
            ],
        }
    }
}

fn session(tables: &[Table<'_>]) -> Result<SessionState, DataFusionError> {
    let mut config = SessionConfig::new();
    let parser = &mut config.options_mut().sql_parser;
    parser.dialect = Dialect::PostgreSQL;
    parser.collect_spans = true;
    // Views keep plain strings: it is what the lake and the wires expect.
    parser.map_string_types_to_utf8view = false;
    // `timestamptz` is UTC.
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    let state = SessionStateBuilder::new_with_default_features().with_config(config).build();
    let mut context = SessionContext::new_with_state(state);
    functions::register_windows(&mut context)?;
    functions::register_times(&mut context)?;
    functions::bound_functions(&mut context)?;
    functions::register_aggregates(&mut context)?;
    context.add_analyzer_rule(Arc::new(functions::CertainSubqueries));
    context.add_analyzer_rule(Arc::new(functions::ExistsValue));
    context.add_analyzer_rule(Arc::new(functions::ExactComparison));
    for table in tables {
        context.register_table(table.name, Arc::new(EmptyTable::new(Arc::clone(&table.schema))))?;
    }
    Ok(context.state())
}

/// What fails for every record is refused, with the reason for which it fails.
fn check_constants(plan: &LogicalPlan, state: &SessionState) -> Result<(), DataFusionError> {
    let nothing = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if functions::is_failing_constant(inner) {
                    state.create_physical_expr(inner.clone(), &DFSchema::empty())?.evaluate(&nothing)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.map(drop)
}

/// A view has to give the same rows whenever it is rebuilt, so its expressions may depend on the rows alone.
fn check_deterministic(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut offender = None;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::ScalarFunction(call) = inner
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    offender = Some(call.func.name().to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    if let Err(error) = walked {
        return Err(SqlError::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace()));
    }
    match offender {
        None => Ok(()),
        Some(name) => Err(SqlError::unsupported(format!("function {name} in a view"))
            .with_hint("its value is another one whenever the view is rebuilt; use a time column of the source")),
    }
}
