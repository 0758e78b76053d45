//! A query's text to DataFusion's logical plan.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::Schema,
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
        Optimizer, OptimizerContext, common_subexpr_eliminate::CommonSubexprEliminate,
        optimize_projections::OptimizeProjections, simplify_expressions::SimplifyExpressions,
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

/// A query, planned.
pub(super) struct PlannedQuery {
    /// With names resolved and types settled, as written otherwise: what is hashed.
    pub(super) normalised: LogicalPlan,
    /// Simplified, and without the columns that are not needed: what is run.
    pub(super) optimised: LogicalPlan,
    /// What compiles expressions.
    pub(super) state: SessionState,
}

/// Plans `text` over `sources`.
pub(super) fn plan(text: &str, sources: &[SourceDefinition]) -> Result<PlannedQuery, SqlError> {
    let query = window::parse_query(text, sources)?;
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let diagnosed = |error: DataFusionError| datafusion_error(&error, text, Readable::Sources(&names));
    let state = session(sources).map_err(diagnosed)?;
    let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
    // Nothing here waits: every table is in memory.
    let plan = state.statement_to_plan(statement).now_or_never();
    let plan = plan.unwrap_or_else(|| Err(DataFusionError::Internal("planning a view waited".to_owned())));
    let plan = plan.map_err(diagnosed)?;
    check_deterministic(&plan)?;
    let normalised = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).map_err(diagnosed)?;
    let rules = Optimizer::with_rules(vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(OptimizeProjections::new()),
        Arc::new(CommonSubexprEliminate::new()),
    ]);
    // What a view computes for ever is not to be computed anew for each batch, nor for long while it is planned, nor is
    // much held for it: a planner computes only what is cheap.
    let evaluation = Evaluation::new(MemoryBudget::new(Evaluation::PLANNED_BYTES_MAX));
    let mut options = state.config_options().as_ref().clone();
    evaluation.attach(&mut options);
    // Not in what is hashed: it is the same query.
    let exact = functions::exact(normalised.clone()).map_err(diagnosed)?;
    let optimised = rules
        .optimize(exact, &OptimizerContext::new_with_config_options(Arc::new(options)), |_, _| {})
        .map_err(diagnosed)?;
    if evaluation.has_deferred() {
        return Err(SqlError::new(
            sqlstate::PROGRAM_LIMIT_EXCEEDED,
            "a constant of the view is too large, or takes too long to compute",
        )
        .with_hint("write what it comes to, or a shorter one"));
    }
    check_constants(&optimised, &state).map_err(diagnosed)?;
    Ok(PlannedQuery { normalised, optimised, state })
}

fn session(sources: &[SourceDefinition]) -> Result<SessionState, DataFusionError> {
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
    context.add_analyzer_rule(Arc::new(functions::ExactComparison));
    for source in sources {
        context.register_table(source.name.as_str(), Arc::new(EmptyTable::new(source.schema())))?;
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
