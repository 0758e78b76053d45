//! DataFusion's errors about a view's query, in PostgreSQL's terms: code, place in the text, and what to do.

use datafusion::{
    common::{SchemaError, Span, utils::datafusion_strsim::normalized_levenshtein},
    error::DataFusionError,
};
use sqlparser::tokenizer::Location;

use crate::{
    source::SourceDefinition,
    sql::{
        AMBIGUOUS_COLUMN, DATATYPE_MISMATCH, DUPLICATE_COLUMN, GROUPING_ERROR, INTERNAL, SYNTAX_ERROR, SqlError,
        UNDEFINED_COLUMN, UNDEFINED_FUNCTION, UNDEFINED_TABLE, UNSUPPORTED, byte_of_location, character_at,
        lower_first,
    },
};

/// How alike a name must be to be what was meant; 1 is the same.
const NEAR: f64 = 0.5;

/// Turns DataFusion's error about `text` into ours.
pub(super) fn sql_error(text: &str, sources: &[SourceDefinition], error: &DataFusionError) -> SqlError {
    let root = error.find_root();
    let message = root.strip_backtrace();
    let kinds = ["Error during planning: ", "This feature is not implemented: ", "SQL error: ", "Schema error: "];
    let message = kinds.iter().find_map(|kind| message.strip_prefix(kind)).unwrap_or(&message);
    let mut mapped = match root {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                SqlError::new(UNDEFINED_COLUMN, format!("column \"{}\" does not exist", field.name()))
            }
            SchemaError::AmbiguousReference { field } => {
                SqlError::new(AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", field.name()))
            }
            _ => SqlError::new(AMBIGUOUS_COLUMN, sentence(message)),
        },
        DataFusionError::NotImplemented(_) => SqlError::new(UNSUPPORTED, sentence(message)),
        DataFusionError::SQL(..) => SqlError::new(SYNTAX_ERROR, sentence(message)),
        DataFusionError::Plan(_) => plan_error(message),
        _ => SqlError::new(INTERNAL, sentence(message)),
    };
    if let Some(span) = error.diagnostic().and_then(|diagnostic| diagnostic.span) {
        mapped = place(text, mapped, span);
    }
    match mapped.sqlstate {
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

/// DataFusion says what is wrong with a plan in sentences; each one here is told in PostgreSQL's terms, with its code.
fn plan_error(message: &str) -> SqlError {
    if let Some(name) = between(message, "table '", "' not found") {
        return SqlError::new(UNDEFINED_TABLE, format!("source \"{}\" does not exist", last_part(name)));
    }
    if let Some(name) = between(message, "Invalid function '", "'") {
        let error = SqlError::new(UNDEFINED_FUNCTION, format!("function {name} does not exist"));
        let near = between(message, "Did you mean '", "'").filter(|near| normalized_levenshtein(name, near) >= NEAR);
        return match near {
            Some(near) => error.with_hint(format!("perhaps you meant \"{near}\"")),
            None => error,
        };
    }
    if let Some(call) = between(message, "given name and argument types '", "'. ") {
        return SqlError::new(UNDEFINED_FUNCTION, format!("there is no {call}")).with_hint("CAST changes a type");
    }
    if let Some(column) = between(message, "column \"", "\" must appear in the GROUP BY clause") {
        let message = format!("column \"{column}\" must appear in GROUP BY or be used in an aggregate");
        return SqlError::new(GROUPING_ERROR, message);
    }
    if let Some(expression) = between(message, "unique expression names but the expression \"", "\" at position") {
        let name = expression.rsplit_once(" AS ").map_or_else(|| last_part(expression), |(_, alias)| alias);
        return SqlError::new(DUPLICATE_COLUMN, format!("column \"{name}\" is given twice"))
            .with_hint("give one of them another name with AS");
    }
    if let Some(predicate) = between(message, "non-boolean predicate '", "' returning") {
        return SqlError::new(DATATYPE_MISMATCH, format!("the condition {predicate} is not a boolean"));
    }
    let sqlstate = if message.starts_with("Aggregate functions are not allowed in the WHERE") {
        GROUPING_ERROR
    } else if message.starts_with("Cannot coerce") || message.starts_with("Cannot infer common argument type") {
        UNDEFINED_FUNCTION
    } else if message.contains("GROUP BY") {
        GROUPING_ERROR
    } else {
        // PostgreSQL's syntax_error_or_access_rule_violation: wrong, but nothing more exact is known.
        "42000"
    };
    SqlError::new(sqlstate, sentence(message))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A message of one line that begins small and has no full stop.
fn sentence(message: &str) -> String {
    lower_first(message.lines().next().unwrap_or_default().trim_end_matches('.'))
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
