//! Calls in `FROM`: `SELECT * FROM current_schema()` is a table of one row and one column.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{Ident, Query, Statement, TableAlias, TableFactor, VisitorMut},
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
};
use sql::visit_mut;

/// Functions that give tables by themselves.
const TABLES: &[&str] = &["generate_series", "range", "unnest", "tumble", "pg_get_keywords"];

/// PostgreSQL's function behind the view `pg_settings`.
const SETTINGS: &str = "pg_show_all_settings";

/// Rewrites all that stand in `FROM`.
pub(super) fn read_as_tables(statement: &mut Statement) -> Result<(), ParserError> {
    match visit_mut(statement, Calls) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Calls;

impl VisitorMut for Calls {
    type Break = ParserError;

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<ParserError> {
        match rewritten(table) {
            Ok(Some(rewritten)) => *table = rewritten,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn rewritten(table: &TableFactor) -> Result<Option<TableFactor>, ParserError> {
    let TableFactor::Table { name, args: Some(arguments), alias, with_ordinality: false, .. } = table else {
        return Ok(None);
    };
    let Some(function) = name.0.last().and_then(|part| part.as_ident()) else { return Ok(None) };
    let lower = function.value.to_lowercase();
    if TABLES.contains(&lower.as_str()) {
        return Ok(None);
    }
    let text = if lower == SETTINGS {
        "SELECT * FROM pg_catalog.pg_settings".to_owned()
    } else {
        let arguments: Vec<String> = arguments.args.iter().map(ToString::to_string).collect();
        // The column is called as the table is.
        let column = alias.as_ref().map_or(function, |alias| &alias.name);
        format!("SELECT {function}({}) AS {column}", arguments.join(", "))
    };
    let alias = alias.clone().unwrap_or_else(|| named(function));
    Ok(Some(TableFactor::Derived { lateral: false, subquery: query(&text)?, alias: Some(alias), sample: None }))
}

fn named(name: &Ident) -> TableAlias {
    TableAlias { explicit: true, name: name.clone(), columns: Vec::new(), at: None }
}

fn query(text: &str) -> Result<Box<Query>, ParserError> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text)?.parse_query()
}
