//! `EXPLAIN`, also as PostgreSQL writes its options.

use datafusion::sql::sqlparser::ast;
use sql::{SqlError, sqlstate};

use super::parser;

/// `EXPLAIN query`, from the text of the query.
pub(super) fn of_query(text: &str) -> Result<ast::Statement, SqlError> {
    explain(parser::tree(text)?, false, false)
}

/// `EXPLAIN ANALYZE query` and `EXPLAIN (options) query`, from the whole text.
pub(super) fn with_options(text: &str) -> Result<ast::Statement, SqlError> {
    let ast::Statement::Explain { analyze, verbose, statement, options, .. } = parser::tree(text)? else {
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error: EXPLAIN needs a query"));
    };
    let (mut analyze, mut verbose) = (analyze, verbose);
    for option in options.unwrap_or_default() {
        let argument = option.arg.as_ref().map(|arg| arg.to_string().to_lowercase());
        let on = !matches!(argument.as_deref(), Some("false" | "off" | "0"));
        match option.name.value.to_lowercase().as_str() {
            "analyze" => analyze = on,
            "verbose" => verbose = on,
            // What PostgreSQL would add to its plan; there is nothing to add to this one.
            "costs" | "settings" | "buffers" | "timing" | "summary" | "wal" | "generic_plan" => {}
            "format" if argument.as_deref() == Some("text") => {}
            other => return Err(SqlError::unsupported(format!("EXPLAIN option {}", other.to_uppercase()))),
        }
    }
    explain(*statement, analyze, verbose)
}

fn explain(statement: ast::Statement, analyze: bool, verbose: bool) -> Result<ast::Statement, SqlError> {
    if !matches!(statement, ast::Statement::Query(_)) {
        return Err(SqlError::unsupported("EXPLAIN of this statement").with_hint("EXPLAIN takes a query"));
    }
    Ok(ast::Statement::Explain {
        describe_alias: ast::DescribeAlias::Explain,
        analyze,
        verbose,
        query_plan: false,
        estimate: false,
        statement: Box::new(statement),
        format: None,
        options: None,
    })
}
