//! DataFusion's and sqlparser's errors about a statement as an [`SqlError`]: PostgreSQL's code, the place in the text, and
//! what to do.
//!
//! What must hold: a mistake has one code, whether it stands in a view's definition or in a query; a message is one line.

use datafusion::{
    arrow::error::ArrowError,
    common::{SchemaError, utils::datafusion_strsim::normalized_levenshtein},
    error::DataFusionError,
};
use model::memory::MEMORY_SETTING;
use sqlparser::{parser::ParserError, tokenizer::Location};

use crate::{
    SqlError,
    cursor::{byte_of_location, character_at},
    sql_error, sqlstate,
};

/// How alike a name must be to be what was meant; 1 is the same.
const NEAR: f64 = 0.5;
/// How many columns a hint lists.
const COLUMNS_LISTED_MAX: usize = 20;

/// What a statement can read, for hints.
#[derive(Clone, Copy, Debug)]
pub enum Readable<'a> {
    /// Views, sources and whatever else there is: what a query can read.
    Relations(&'a [String]),
    /// Sources: what a view can read.
    Sources(&'a [&'a str]),
}

/// What DataFusion says of a plan, and the code of that; the first that fits counts.
const PLAN_FAILURES: &[(&str, &str)] = &[
    ("No function matches", sqlstate::UNDEFINED_FUNCTION),
    ("does not support", sqlstate::UNDEFINED_FUNCTION),
    ("Cannot coerce", sqlstate::UNDEFINED_FUNCTION),
    ("Cannot infer common argument type", sqlstate::UNDEFINED_FUNCTION),
    ("Aggregate functions are not allowed in the WHERE", sqlstate::GROUPING_ERROR),
    ("GROUP BY", sqlstate::GROUPING_ERROR),
    ("laceholder", sqlstate::INDETERMINATE_DATATYPE),
    ("coerc", sqlstate::DATATYPE_MISMATCH),
    ("data type", sqlstate::DATATYPE_MISMATCH),
];

/// What the failure of an evaluation says, in small letters, and the code of that; the first that fits counts.
const EXECUTION_FAILURES: &[(&str, &str)] = &[
    ("overflow", sqlstate::NUMERIC_VALUE_OUT_OF_RANGE),
    ("out of range", sqlstate::NUMERIC_VALUE_OUT_OF_RANGE),
    ("too large to store in a decimal", sqlstate::NUMERIC_VALUE_OUT_OF_RANGE),
    ("parsing", sqlstate::INVALID_TEXT_REPRESENTATION),
    ("cannot cast", sqlstate::INVALID_TEXT_REPRESENTATION),
    ("parse date from", sqlstate::DATETIME_FIELD_OVERFLOW),
];

/// DataFusion's error in PostgreSQL's terms. `text` is the statement, for positions.
pub fn datafusion_error(error: &DataFusionError, text: &str, readable: Readable<'_>) -> SqlError {
    let mapped = match error.find_root() {
        DataFusionError::External(source) => external(source.as_ref()),
        DataFusionError::SQL(error, _) => return syntax_error(error, text),
        DataFusionError::SchemaError(error, _) => schema_error(error),
        DataFusionError::Plan(message) => plan_error(message, readable),
        DataFusionError::NotImplemented(message) => not_implemented(message),
        DataFusionError::ResourcesExhausted(message) => SqlError::new(sqlstate::OUT_OF_MEMORY, sentence(message))
            .with_hint(format!("let the query read fewer rows or columns, or raise the setting `{MEMORY_SETTING}`")),
        DataFusionError::ArrowError(error, _) => arrow_error(error),
        DataFusionError::Execution(message) => SqlError::new(execution_code(message), sentence(message)),
        other => SqlError::new(sqlstate::INTERNAL_ERROR, sentence(&other.strip_backtrace())),
    };
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).filter(|span| span.start.line > 0);
    match (mapped.position, span) {
        (None, Some(span)) => {
            let start = Location { line: span.start.line, column: span.start.column };
            mapped.at(character_at(text, byte_of_location(text, start)))
        }
        _ => mapped,
    }
}

/// sqlparser's error, with the place that it names at the end of its message.
pub fn syntax_error(error: &ParserError, text: &str) -> SqlError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.as_str(),
        ParserError::RecursionLimitExceeded => {
            return SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "the statement is nested too deeply");
        }
    };
    let (message, location) = split_location(message);
    let error = SqlError::new(sqlstate::SYNTAX_ERROR, format!("syntax error: {}", sentence(message)));
    match location {
        Some(location) => error.at(character_at(text, byte_of_location(text, location))),
        None => error,
    }
}

/// The name among `candidates` that is nearest to `name`, where one is near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|candidate| (normalized_levenshtein(name, candidate), candidate));
    let best = scored.filter(|(score, _)| *score >= NEAR).max_by(|left, right| left.0.total_cmp(&right.0));
    best.map(|(_, candidate)| candidate)
}

fn external(source: &(dyn std::error::Error + Send + Sync + 'static)) -> SqlError {
    if let Some(error) = source.downcast_ref::<SqlError>() {
        return error.clone();
    }
    match source.downcast_ref::<model::Error>() {
        Some(error) => sql_error(error),
        None => SqlError::new(sqlstate::INTERNAL_ERROR, source.to_string()),
    }
}

fn schema_error(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let unknown = format!("column \"{}\" does not exist", field.name);
            let mapped = SqlError::new(sqlstate::UNDEFINED_COLUMN, unknown);
            let names: Vec<&str> = valid_fields.iter().map(|valid| valid.name.as_str()).collect();
            match nearest(&field.name, names.iter().copied()) {
                Some(near) if near != field.name => mapped.with_hint(format!("perhaps you meant \"{near}\"")),
                None if (1..=COLUMNS_LISTED_MAX).contains(&names.len()) => {
                    mapped.with_hint(format!("the columns are: {}", names.join(", ")))
                }
                _ => mapped,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column reference \"{}\" is ambiguous", field.name);
            SqlError::new(sqlstate::AMBIGUOUS_COLUMN, message).with_hint("put the name of the relation before it")
        }
        other => SqlError::new(sqlstate::DUPLICATE_COLUMN, sentence(&other.to_string())).with_hint(RENAME),
    }
}

const RENAME: &str = "give one of the columns another name with AS";

fn not_implemented(message: &str) -> SqlError {
    // The rest of the message is the syntax tree as its programmers see it.
    let node = message.split_once("nsupported ast node in sqltorel: ").map(|(_, node)| node);
    let name = node.and_then(|node| node.split(|c: char| !c.is_alphanumeric()).next());
    // A subquery that no rule has made a join of.
    let left_over =
        message.split_once("hysical plan does not support logical expression ").map(|(_, left_over)| left_over);
    match left_over.and_then(|left_over| left_over.split('(').next()) {
        Some("OuterReferenceColumn") => {
            return SqlError::unsupported("a subquery, or LATERAL, that reads the row around it in this way")
                .with_hint("let it read the row in equalities of its WHERE alone, or write it as a join");
        }
        Some("Exists" | "InSubquery" | "ScalarSubquery" | "SetComparison") => {
            return SqlError::unsupported("a subquery in this place")
                .with_hint("let it be a condition of WHERE, or compute it in a subquery of FROM");
        }
        _ => {}
    }
    match name {
        Some(name) => SqlError::unsupported(name.to_uppercase()),
        None => SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, sentence(message)),
    }
}

/// DataFusion says what is wrong with a plan in sentences; the ones that clients tell apart are told apart here.
fn plan_error(message: &str, readable: Readable<'_>) -> SqlError {
    if let Some(table) = between(message, "table '", "' not found") {
        return undefined_table(last_part(table), readable);
    }
    if let Some(function) = between(message, "Invalid function '", "'") {
        let error = SqlError::new(sqlstate::UNDEFINED_FUNCTION, format!("function {function} does not exist"));
        let near = between(message, "Did you mean '", "'").filter(|near| nearest(function, [*near]).is_some());
        return match near {
            Some(near) => error.with_hint(format!("perhaps you meant \"{near}\"")),
            None => error,
        };
    }
    if let Some(function) = between(message, "table function '", "' not found") {
        let message = format!("table function {function} does not exist");
        let error = SqlError::new(sqlstate::UNDEFINED_FUNCTION, message);
        return match function.eq_ignore_ascii_case("tumble") {
            true => error.with_hint(
                "windows belong to CREATE MATERIALIZED VIEW; in a query write date_bin(INTERVAL '1 hour', time_column)",
            ),
            false => error,
        };
    }
    if let Some(call) = between(message, "given name and argument types '", "'. ") {
        let error = SqlError::new(sqlstate::UNDEFINED_FUNCTION, format!("there is no {call}"));
        return error.with_hint("CAST changes a type");
    }
    if message.contains("unnest() can only be applied to array") {
        let error = SqlError::new(sqlstate::UNDEFINED_FUNCTION, "unnest of what is no list");
        return error.with_hint("string_to_array makes a list of a text, ARRAY[...] one of values");
    }
    if let Some(column) = between(message, "column \"", "\" must appear in the GROUP BY clause") {
        let message = format!("column \"{column}\" must appear in GROUP BY or be used in an aggregate");
        return SqlError::new(sqlstate::GROUPING_ERROR, message);
    }
    if let Some(expression) = between(message, "unique expression names but the expression \"", "\" at position") {
        let name = expression.rsplit_once(" AS ").map_or_else(|| last_part(expression), |(_, alias)| alias);
        let message = format!("column \"{name}\" is given twice");
        return SqlError::new(sqlstate::DUPLICATE_COLUMN, message).with_hint(RENAME);
    }
    if let Some(predicate) = between(message, "non-boolean predicate '", "' returning") {
        return SqlError::new(sqlstate::DATATYPE_MISMATCH, format!("the condition {predicate} is not a boolean"));
    }
    let code = code_of(message, PLAN_FAILURES).unwrap_or(sqlstate::SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION);
    SqlError::new(code, sentence(message))
}

/// An unknown view or source, with the name that may have been meant.
fn undefined_table(name: &str, readable: Readable<'_>) -> SqlError {
    let (noun, names): (_, Vec<&str>) = match readable {
        Readable::Relations(names) => ("relation", names.iter().map(String::as_str).collect()),
        Readable::Sources(names) => ("source", names.to_vec()),
    };
    let error = SqlError::new(sqlstate::UNDEFINED_TABLE, format!("{noun} \"{name}\" does not exist"));
    match (nearest(name, names.iter().copied()), readable) {
        (Some(near), Readable::Relations(_)) => error.with_hint(format!("perhaps you meant \"{near}\"")),
        (None, Readable::Relations([])) => {
            error.with_hint("nothing is defined yet: CREATE SOURCE, then CREATE MATERIALIZED VIEW")
        }
        (None, Readable::Relations(_)) => error.with_hint("SHOW VIEWS and SHOW SOURCES list what there is"),
        (_, Readable::Sources([])) => error.with_hint("a view reads a source, and there is none: CREATE SOURCE first"),
        (_, Readable::Sources(_)) => {
            error.with_hint(format!("a view reads a source; the sources are: {}", names.join(", ")))
        }
    }
}

fn arrow_error(error: &ArrowError) -> SqlError {
    let code = match error {
        ArrowError::DivideByZero => return SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::CastError(_) | ArrowError::ParseError(_) => sqlstate::INVALID_TEXT_REPRESENTATION,
        ArrowError::ArithmeticOverflow(_) => sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        ArrowError::ComputeError(message) | ArrowError::InvalidArgumentError(message) => execution_code(message),
        ArrowError::NotYetImplemented(_) => sqlstate::FEATURE_NOT_SUPPORTED,
        ArrowError::ExternalError(source) => return external(source.as_ref()),
        _ => sqlstate::INTERNAL_ERROR,
    };
    SqlError::new(code, sentence(&error.to_string()))
}

/// What a function says of its arguments has the general code; what should never happen is DataFusion's `Internal`.
fn execution_code(message: &str) -> &'static str {
    code_of(&message.to_lowercase(), EXECUTION_FAILURES).unwrap_or(sqlstate::INVALID_PARAMETER_VALUE)
}

fn code_of(message: &str, failures: &[(&str, &'static str)]) -> Option<&'static str> {
    failures.iter().find(|(part, _)| message.contains(part)).map(|(_, code)| *code)
}

/// `... at Line: 1, Column: 8` taken apart.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let Some((before, place)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        let digits = column.find(|c: char| !c.is_ascii_digit()).map_or(column, |end| &column[..end]);
        Some(Location { line: line.trim().parse().ok()?, column: digits.parse().ok()? })
    });
    (before, location)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A message of one line that begins small, unless with an abbreviation, and has no full stop.
fn sentence(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default().trim_end_matches('.');
    let mut characters = message.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
