//! Every error as an [`SqlError`]: PostgreSQL's code, the place in the text, and what to do.

use datafusion::{
    arrow::error::ArrowError,
    common::{Diagnostic, SchemaError, utils::datafusion_strsim::normalized_levenshtein},
    error::DataFusionError,
    sql::sqlparser::{parser::ParserError, tokenizer::Location},
};
use model::{ErrorKind, MemoryExhausted, memory::MEMORY_SETTING};
use streaming::SqlError;

use crate::views::Unread;

/// PostgreSQL's codes for what can go wrong here.
pub mod sqlstate {
    /// The message does not fit the protocol.
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    /// Not built.
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    /// A number does not fit its type.
    pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
    /// A date or time does not fit its type.
    pub const DATETIME_FIELD_OVERFLOW: &str = "22008";
    /// Division by zero.
    pub const DIVISION_BY_ZERO: &str = "22012";
    /// A value is needed.
    pub const NULL_VALUE_NOT_ALLOWED: &str = "22004";
    /// Bytes that are no text.
    pub const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
    /// A setting or option cannot have this value.
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    /// A text is no value of the type.
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    /// Bytes are no value of the type.
    pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
    /// The transaction failed earlier and only a rollback is left.
    pub const IN_FAILED_TRANSACTION: &str = "25P02";
    /// Nothing can be written here.
    pub const READ_ONLY: &str = "25006";
    /// No such prepared statement.
    pub const INVALID_STATEMENT_NAME: &str = "26000";
    /// No such cursor.
    pub const INVALID_CURSOR_NAME: &str = "34000";
    /// No such database.
    pub const INVALID_CATALOG_NAME: &str = "3D000";
    /// Not allowed.
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// Not SQL.
    pub const SYNTAX_ERROR: &str = "42601";
    /// Two columns could be meant.
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    /// No such column.
    pub const UNDEFINED_COLUMN: &str = "42703";
    /// No such setting or type.
    pub const UNDEFINED_OBJECT: &str = "42704";
    /// The name is taken.
    pub const DUPLICATE_CURSOR: &str = "42P03";
    /// The thing is there already.
    pub const DUPLICATE_OBJECT: &str = "42710";
    /// A column outside an aggregate and outside GROUP BY.
    pub const GROUPING_ERROR: &str = "42803";
    /// Types do not go together.
    pub const DATATYPE_MISMATCH: &str = "42804";
    /// No such function.
    pub const UNDEFINED_FUNCTION: &str = "42883";
    /// No such view or source.
    pub const UNDEFINED_TABLE: &str = "42P01";
    /// The type of a parameter cannot be told.
    pub const INDETERMINATE_DATATYPE: &str = "42P18";
    /// Out of memory.
    pub const OUT_OF_MEMORY: &str = "53200";
    /// Too many connections.
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    /// A limit of the settings is reached.
    pub const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
    /// Larger than a limit.
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    /// Too long or too deep.
    pub const STATEMENT_TOO_COMPLEX: &str = "54001";
    /// What is read is still being made.
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
    /// Waited in vain; a retry may help.
    pub const NOT_AVAILABLE: &str = "55P03";
    /// Cancelled, or took longer than the statement timeout.
    pub const QUERY_CANCELED: &str = "57014";
    /// The server is stopping.
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    /// Stored data failed a check.
    pub const DATA_CORRUPTED: &str = "XX001";
    /// A bug, or a failure of the machine.
    pub const INTERNAL_ERROR: &str = "XX000";
    /// A business rule said no.
    pub const RAISED: &str = "P0001";
}

/// The shared error in PostgreSQL's terms.
pub fn sql_error(error: &model::Error) -> SqlError {
    let code = match error.kind() {
        ErrorKind::Invalid => sqlstate::INVALID_PARAMETER_VALUE,
        ErrorKind::NotFound => sqlstate::UNDEFINED_TABLE,
        ErrorKind::Conflict => sqlstate::DUPLICATE_OBJECT,
        ErrorKind::Denied => sqlstate::INSUFFICIENT_PRIVILEGE,
        ErrorKind::Rejected => sqlstate::RAISED,
        ErrorKind::Unavailable => sqlstate::NOT_AVAILABLE,
        ErrorKind::Corrupt => sqlstate::DATA_CORRUPTED,
        ErrorKind::Unsupported => sqlstate::FEATURE_NOT_SUPPORTED,
        ErrorKind::Internal => sqlstate::INTERNAL_ERROR,
    };
    let mapped = SqlError::new(code, error.to_string());
    match error.hint() {
        Some(hint) => mapped.with_hint(hint),
        None => mapped,
    }
}

/// Why a view was not read, in PostgreSQL's terms: one that is being built, and one that has failed, is refused as one
/// that was not populated.
pub(super) fn unread(unread: Unread) -> SqlError {
    let may_come = matches!(unread, Unread::Late(_));
    let mapped = sql_error(&unread.into());
    match mapped.sqlstate {
        sqlstate::NOT_AVAILABLE if !may_come => {
            SqlError { sqlstate: sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, ..mapped }
        }
        _ => mapped,
    }
}

/// A refusal of memory in PostgreSQL's terms.
pub(super) fn exhausted(error: &MemoryExhausted) -> SqlError {
    SqlError::new(sqlstate::OUT_OF_MEMORY, error.to_string()).with_hint(error.hint())
}

/// DataFusion's error in PostgreSQL's terms. `text` is the statement, for positions; `relations` are the names that it
/// could have meant.
pub(super) fn datafusion_error(error: &DataFusionError, text: &str, relations: &[String]) -> SqlError {
    let root = error.find_root();
    let mapped = match root {
        DataFusionError::External(source) => external(source.as_ref()),
        DataFusionError::SQL(error, _) => return syntax_error(error, text),
        DataFusionError::SchemaError(error, _) => schema_error(error),
        DataFusionError::Plan(message) => plan_error(message, relations),
        DataFusionError::NotImplemented(message) => not_implemented(message),
        DataFusionError::ResourcesExhausted(message) => SqlError::new(sqlstate::OUT_OF_MEMORY, lower(message))
            .with_hint(format!("let the query read fewer rows or columns, or raise the setting `{MEMORY_SETTING}`")),
        DataFusionError::ArrowError(error, _) => arrow_error(error),
        DataFusionError::Execution(message) => SqlError::new(execution_code(message), lower(message)),
        other => SqlError::new(sqlstate::INTERNAL_ERROR, lower(&other.strip_backtrace())),
    };
    match (mapped.position, error.diagnostic()) {
        (None, Some(diagnostic)) => with_place(mapped, diagnostic, text),
        _ => mapped,
    }
}

/// sqlparser's error, with the place that it names at the end of its message.
pub(super) fn syntax_error(error: &ParserError, text: &str) -> SqlError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.as_str(),
        ParserError::RecursionLimitExceeded => {
            return SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "the statement is nested too deeply");
        }
    };
    let (message, location) = split_location(message);
    let error = SqlError::new(sqlstate::SYNTAX_ERROR, format!("syntax error: {}", lower(message)));
    match location {
        Some(location) => error.at(character_of(text, location)),
        None => error,
    }
}

/// The name among `candidates` that is nearest to `name`, where one is near.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.into_iter().map(|candidate| (normalized_levenshtein(name, candidate), candidate));
    let best = scored.filter(|(score, _)| *score >= 0.5).max_by(|left, right| left.0.total_cmp(&right.0));
    best.map(|(_, candidate)| candidate)
}

/// An unknown view or source, with the name that may have been meant.
pub(super) fn undefined_table(name: &str, relations: &[String]) -> SqlError {
    let error = SqlError::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
    match nearest(name, relations.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("perhaps you meant \"{near}\"")),
        None if relations.is_empty() => {
            error.with_hint("nothing is defined yet: CREATE SOURCE, then CREATE MATERIALIZED VIEW")
        }
        None => error.with_hint("SHOW VIEWS and SHOW SOURCES list what there is"),
    }
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
            match nearest(&field.name, valid_fields.iter().map(|valid| valid.name.as_str())) {
                Some(near) if near != field.name => mapped.with_hint(format!("perhaps you meant \"{near}\"")),
                _ => mapped,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("column reference \"{}\" is ambiguous", field.name);
            SqlError::new(sqlstate::AMBIGUOUS_COLUMN, message).with_hint("put the name of the relation before it")
        }
        other => {
            SqlError::new("42701", lower(&other.to_string())).with_hint("give one of the columns another name with AS")
        }
    }
}

fn not_implemented(message: &str) -> SqlError {
    // The rest of the message is the syntax tree as its programmers see it.
    let node = message.split_once("nsupported ast node in sqltorel: ").map(|(_, node)| node);
    let name = node.and_then(|node| node.split(|c: char| !c.is_alphanumeric()).next());
    match name {
        Some(name) => SqlError::unsupported(name.to_uppercase()),
        None => SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, lower(message)),
    }
}

/// DataFusion plans most of what is wrong into sentences; the ones that clients tell apart are told apart here.
fn plan_error(message: &str, relations: &[String]) -> SqlError {
    if let Some(table) = between(message, "table '", "' not found") {
        return undefined_table(table.rsplit('.').next().unwrap_or(table), relations);
    }
    let message = message.split("\n\nbacktrace").next().unwrap_or(message);
    if let Some(function) = between(message, "Invalid function '", "'") {
        let error = SqlError::new(sqlstate::UNDEFINED_FUNCTION, format!("function {function} does not exist"));
        return match between(message, "Did you mean '", "'") {
            Some(near) if nearest(function, [near]).is_some() => {
                error.with_hint(format!("perhaps you meant \"{near}\""))
            }
            _ => error,
        };
    }
    if let Some(function) = between(message, "table function '", "' not found") {
        let error = SqlError::new(sqlstate::UNDEFINED_FUNCTION, format!("table function {function} does not exist"));
        return match function.eq_ignore_ascii_case("tumble") {
            true => error.with_hint(
                "windows belong to CREATE MATERIALIZED VIEW; in a query write date_bin(INTERVAL '1 hour', time_column)",
            ),
            false => error,
        };
    }
    let contains = |part: &str| message.contains(part);
    let code = if contains("No function matches") || contains("does not support") {
        sqlstate::UNDEFINED_FUNCTION
    } else if contains("GROUP BY") {
        sqlstate::GROUPING_ERROR
    } else if contains("laceholder") {
        sqlstate::INDETERMINATE_DATATYPE
    } else if contains("coerc") || contains("Cannot infer common argument type") || contains("type") {
        sqlstate::DATATYPE_MISMATCH
    } else {
        sqlstate::SYNTAX_ERROR
    };
    SqlError::new(code, lower(message))
}

fn arrow_error(error: &ArrowError) -> SqlError {
    let code = match error {
        ArrowError::DivideByZero => sqlstate::DIVISION_BY_ZERO,
        ArrowError::CastError(_) | ArrowError::ParseError(_) => sqlstate::INVALID_TEXT_REPRESENTATION,
        ArrowError::ArithmeticOverflow(_) => sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        ArrowError::ComputeError(message) => execution_code(message),
        ArrowError::InvalidArgumentError(_) => sqlstate::INVALID_PARAMETER_VALUE,
        ArrowError::NotYetImplemented(_) => sqlstate::FEATURE_NOT_SUPPORTED,
        ArrowError::ExternalError(source) => return external(source.as_ref()),
        _ => sqlstate::INTERNAL_ERROR,
    };
    SqlError::new(code, lower(&error.to_string()))
}

fn execution_code(message: &str) -> &'static str {
    let lower = message.to_lowercase();
    match () {
        () if lower.contains("overflow") || lower.contains("out of range") => sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        () if lower.contains("parsing") || lower.contains("cannot cast") => sqlstate::INVALID_TEXT_REPRESENTATION,
        () if lower.contains("parse date from") => sqlstate::DATETIME_FIELD_OVERFLOW,
        // What a function says of its arguments; what should never happen is DataFusion's `Internal`.
        () => sqlstate::INVALID_PARAMETER_VALUE,
    }
}

fn with_place(error: SqlError, diagnostic: &Diagnostic, text: &str) -> SqlError {
    match diagnostic.span {
        Some(span) if span.start.line > 0 => {
            error.at(character_of(text, Location { line: span.start.line, column: span.start.column }))
        }
        _ => error,
    }
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

/// The character of `text`, counted from 1, at a line and column.
fn character_of(text: &str, location: Location) -> usize {
    let line = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
    let column = usize::try_from(location.column).unwrap_or(1);
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    before + column.max(1)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

/// Messages here begin with a small letter.
fn lower(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut characters = message.chars();
    match (characters.next(), characters.clone().next()) {
        // An abbreviation stays as it is.
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => message.to_owned(),
    }
}
