//! The queries with which clients look at PostgreSQL's catalogue, rewritten to what DataFusion can run.
//!
//! What must hold: a user's own query is never rewritten, so only statements that name something of the catalogue come
//! here. What is rewritten answers the same.

mod calls;
mod names;
mod subqueries;

use std::{ops::ControlFlow, sync::LazyLock};

use datafusion::sql::sqlparser::{
    ast::{ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, FunctionArguments, Statement, Value},
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use sql::visit_expressions_mut;

static PARSER: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);

/// What names something of the catalogue.
const MARKS: &[&str] = &[
    "pg_",
    "information_schema",
    "regclass",
    "regtype",
    "regproc",
    "regnamespace",
    "regrole",
    "current_schema",
    "current_schemas",
    "current_database",
    "current_catalog",
    "current_user",
    "session_user",
    "version(",
    "current_setting",
    "set_config",
    "_description(",
    "array_upper",
    "array_lower",
    "quote_ident",
    "has_table_privilege",
    "has_schema_privilege",
    "has_database_privilege",
    "format_type",
];

/// Whether a statement looks at the catalogue.
pub(super) fn concerns(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    MARKS.iter().any(|mark| lower.contains(mark))
}

/// Parses and rewrites.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>, ParserError> {
    // What the library cannot do is done before it, and what it would replace by NULL is kept from it.
    let own = Parser::parse_sql(&PostgreSqlDialect {}, text);
    let Some(mut own) = own.ok().filter(|own| own.len() == 1) else { return finish(PARSER.parse(text)?) };
    let Some(statement) = own.first_mut() else { return finish(PARSER.parse(text)?) };
    let before = statement.clone();
    names::resolve(statement);
    let kept = subqueries::set_aside(statement)?;
    // Places in the text are told only where it is as it was.
    let statements = if *statement == before { PARSER.parse(text)? } else { PARSER.parse(&statement.to_string())? };
    let mut statements = finish(statements)?;
    for statement in &mut statements {
        subqueries::put_back(statement, &kept);
    }
    Ok(statements)
}

/// A query within a statement.
fn parse_query(query: &Statement) -> Result<Statement, ParserError> {
    let mut statements = parse(&query.to_string())?;
    match (statements.pop(), statements.pop()) {
        (Some(statement), None) => Ok(statement),
        _ => Err(ParserError::ParserError("one query is expected".to_owned())),
    }
}

fn finish(mut statements: Vec<Statement>) -> Result<Vec<Statement>, ParserError> {
    for statement in &mut statements {
        forget_arrays_of_rows(statement);
        calls::read_as_tables(statement)?;
        names::show(statement)?;
    }
    Ok(statements)
}

/// An expression from its text.
fn expression(text: &str) -> Result<Expr, ParserError> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text)?.parse_expr()
}

/// What is beyond DataFusion, or not in its catalogue, becomes NULL: `ARRAY(SELECT ...)`, with which psql lists the
/// members of a role, and `reloptions` and lists of rights, of which no view has any.
fn forget_arrays_of_rows(statement: &mut Statement) {
    // The walk has nothing to stop for.
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        let forgotten = match &*expr {
            Expr::Function(function) => {
                function.name.to_string().eq_ignore_ascii_case("array")
                    && matches!(function.args, FunctionArguments::Subquery(_))
            }
            Expr::BinaryOp { left, op: BinaryOperator::StringConcat, .. } => is_column(left, &["reloptions"]),
            other => is_column(other, &["reloptions", "relacl", "nspacl", "datacl"]),
        };
        if forgotten {
            *expr = NO_TEXTS.clone();
        }
        ControlFlow::Continue(())
    });
}

fn is_column(expr: &Expr, names: &[&str]) -> bool {
    matches!(expr, Expr::CompoundIdentifier(parts) if parts.last().is_some_and(|part| names.contains(&&*part.value)))
}

/// `NULL::TEXT[]`.
static NO_TEXTS: LazyLock<Expr> = LazyLock::new(|| Expr::Cast {
    kind: CastKind::DoubleColon,
    expr: Box::new(Expr::Value(Value::Null.with_empty_span())),
    data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
    array: false,
    format: None,
});
