//! A query's text to DataFusion's logical plan, and DataFusion's errors to ours.

use std::sync::Arc;

use datafusion::{
    common::{
        SchemaError, Span,
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
use sqlparser::{ast, tokenizer::Location};

use super::window;
use crate::{
    source::SourceDefinition,
    sql::{
        AMBIGUOUS_COLUMN, GROUPING_ERROR, INTERNAL, SYNTAX_ERROR, SqlError, UNDEFINED_COLUMN, UNDEFINED_FUNCTION,
        UNDEFINED_TABLE, byte_of_location, character_at,
    },
};

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
    let state = session(sources).map_err(|error| sql_error(text, sources, &error))?;
    let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
    // Nothing here waits: every table is in memory.
    let plan = state.statement_to_plan(statement).now_or_never();
    let plan = plan.unwrap_or_else(|| Err(DataFusionError::Internal("planning a view waited".to_owned())));
    let plan = plan.map_err(|error| sql_error(text, sources, &error))?;
    check_deterministic(&plan)?;
    let normalised = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .map_err(|error| sql_error(text, sources, &error))?;
    let rules = Optimizer::with_rules(vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(OptimizeProjections::new()),
        Arc::new(CommonSubexprEliminate::new()),
    ]);
    let optimised = rules
        .optimize(normalised.clone(), &OptimizerContext::new(), |_, _| {})
        .map_err(|error| sql_error(text, sources, &error))?;
    Ok(PlannedQuery { normalised, optimised, state })
}

fn session(sources: &[SourceDefinition]) -> Result<SessionState, DataFusionError> {
    let mut config = SessionConfig::new();
    let parser = &mut config.options_mut().sql_parser;
    parser.dialect = Dialect::PostgreSQL;
    parser.collect_spans = true;
    // Views keep plain strings: it is what the lake and the wires expect.
    parser.map_string_types_to_utf8view = false;
    let state = SessionStateBuilder::new_with_default_features().with_config(config).build();
    let context = SessionContext::new_with_state(state);
    for source in sources {
        context.register_table(source.name.as_str(), Arc::new(EmptyTable::new(source.schema())))?;
    }
    Ok(context.state())
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
        return Err(SqlError::new(INTERNAL, error.strip_backtrace()));
    }
    match offender {
        None => Ok(()),
        Some(name) => Err(SqlError::unsupported(format!("function {name} in a view"))
            .with_hint("its value is another one whenever the view is rebuilt; use a time column of the source")),
    }
}

/// Turns DataFusion's error about `text` into ours.
pub(super) fn sql_error(text: &str, sources: &[SourceDefinition], error: &DataFusionError) -> SqlError {
    let root = error.find_root();
    let message = root.strip_backtrace();
    let kinds = ["Error during planning: ", "This feature is not implemented: ", "SQL error: ", "Schema error: "];
    let message = kinds.iter().find_map(|kind| message.strip_prefix(kind)).unwrap_or(&message);
    let (sqlstate, message) = match root {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                (UNDEFINED_COLUMN, format!("column \"{}\" does not exist", field.name()))
            }
            SchemaError::AmbiguousReference { field } => {
                (AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", field.name()))
            }
            _ => (AMBIGUOUS_COLUMN, message.to_owned()),
        },
        DataFusionError::NotImplemented(_) => (crate::sql::UNSUPPORTED, message.to_owned()),
        DataFusionError::SQL(..) => (SYNTAX_ERROR, message.to_owned()),
        DataFusionError::Plan(_) => plan_error(message),
        _ => (INTERNAL, message.to_owned()),
    };
    let mut mapped = SqlError::new(sqlstate, message.lines().next().unwrap_or_default());
    if let Some(span) = error.diagnostic().and_then(|diagnostic| diagnostic.span) {
        mapped = place(text, mapped, span);
    }
    match sqlstate {
        UNDEFINED_TABLE => {
            let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
            mapped.with_hint(match names.as_slice() {
                [] => "a view reads a source, and there is none: CREATE SOURCE first".to_owned(),
                names => format!("a view reads a source; the sources are: {}", names.join(", ")),
            })
        }
        UNDEFINED_COLUMN => match valid_fields(root) {
            Some(names) => mapped.with_hint(format!("the columns are: {names}")),
            None => mapped,
        },
        _ => mapped,
    }
}

fn plan_error(message: &str) -> (&'static str, String) {
    if let Some(name) = message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found")) {
        let name = name.rsplit('.').next().unwrap_or(name);
        return (UNDEFINED_TABLE, format!("source \"{name}\" does not exist"));
    }
    let sqlstate = if message.starts_with("Invalid function") {
        UNDEFINED_FUNCTION
    } else if message.contains("GROUP BY") {
        GROUPING_ERROR
    } else {
        // PostgreSQL's syntax_error_or_access_rule_violation: wrong, but nothing more exact is known.
        "42000"
    };
    (sqlstate, message.to_owned())
}

fn valid_fields(error: &DataFusionError) -> Option<String> {
    let DataFusionError::SchemaError(schema, _) = error else { return None };
    let SchemaError::FieldNotFound { valid_fields, .. } = schema.as_ref() else { return None };
    let names: Vec<&str> = valid_fields.iter().map(|field| field.name()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn place(text: &str, error: SqlError, span: Span) -> SqlError {
    if span.start.line == 0 {
        return error;
    }
    let start = Location { line: span.start.line, column: span.start.column };
    error.at(character_at(text, byte_of_location(text, start)))
}
