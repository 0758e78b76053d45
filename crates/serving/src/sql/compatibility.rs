//! The queries with which clients look at PostgreSQL's catalogue, rewritten to what DataFusion can run.
//!
//! What must hold: a user's own query is never rewritten, so only statements that name something of the catalogue come
//! here.

use std::sync::LazyLock;

use datafusion::sql::sqlparser::{ast::Statement, parser::ParserError};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

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
    PARSER.parse(text)
}
