//! Placeholders of parameters: `$1`, `$2` and so on.

use datafusion::sql::sqlparser::ast;

/// More than this many parameters are refused, as in PostgreSQL's protocol.
const PARAMETERS_MAX: usize = 65_535;

/// The number of a placeholder, or what it is called where that is no number from 1.
pub(super) fn placeholder(expr: &ast::Expr) -> Option<Result<usize, String>> {
    let ast::Expr::Value(value) = expr else { return None };
    let ast::Value::Placeholder(name) = &value.value else { return None };
    let index = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
    Some(index.filter(|index| (1..=PARAMETERS_MAX).contains(index)).ok_or_else(|| name.clone()))
}
