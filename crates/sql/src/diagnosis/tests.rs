//! What other libraries say, and what becomes of it.

use datafusion::{arrow::error::ArrowError, error::DataFusionError};

use super::{Readable, datafusion_error, syntax_error};
use crate::SqlError;

fn check(error: &DataFusionError, code: &str, message: &str, hint: &str) {
    let relations = ["flights".to_owned(), "hours".to_owned()];
    let mapped = datafusion_error(error, "SELECT 1", Readable::Relations(&relations));
    assert_eq!((mapped.sqlstate, mapped.message.as_str()), (code, message), "{error:?}");
    assert_eq!(mapped.hint.as_deref().unwrap_or_default(), hint, "{error:?}");
}

#[test]
fn what_datafusion_says_has_a_code_one_line_and_a_hint() {
    let plan = |text: &str| DataFusionError::Plan(text.to_owned());
    let hint = "perhaps you meant \"flights\"";
    check(&plan("table 'a.b.flihgts' not found"), "42P01", "relation \"flihgts\" does not exist", hint);
    check(&plan("Cannot coerce arithmetic\nbacktrace"), "42883", "cannot coerce arithmetic", "");
    check(&plan("UNION queries have wrong lengths."), "42000", "UNION queries have wrong lengths", "");
    let hint = "string_to_array makes a list of a text, ARRAY[...] one of values";
    check(&plan("unnest() can only be applied to array, struct and null"), "42883", "unnest of what is no list", hint);
    let inner = SqlError::new("22023", "no").with_hint("yes");
    check(&DataFusionError::External(Box::new(inner)), "22023", "no", "yes");
    let arrow = |error| DataFusionError::ArrowError(Box::new(error), None);
    check(&arrow(ArrowError::DivideByZero), "22012", "division by zero", "");
    check(
        &DataFusionError::Execution("Overflow happened on: 1 + 1".to_owned()),
        "22003",
        "overflow happened on: 1 + 1",
        "",
    );
    check(&DataFusionError::Execution("Regex is broken".to_owned()), "22023", "regex is broken", "");
    check(&DataFusionError::Internal("broken".to_owned()).context("while"), "XX000", "internal error: broken", "");
}

#[test]
fn a_syntax_error_has_its_place() {
    let text = "SELECT 'ü',\n FROM ,";
    let error = sqlparser::parser::Parser::parse_sql(&sqlparser::dialect::PostgreSqlDialect {}, text).unwrap_err();
    let mapped = syntax_error(&error, text);
    assert_eq!((mapped.sqlstate, mapped.position), ("42601", Some(19)), "{error:?}: {mapped:?}");
}
