//! `COPY (query) TO STDOUT`: how the rows are to be written.

use datafusion::sql::sqlparser::ast::{self, CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource};
use sql::{SqlError, sqlstate};

use super::parser::{self, identifier};

/// The form of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyFormat {
    /// PostgreSQL's own text.
    #[default]
    Text,
    /// Comma-separated values.
    Csv,
    /// Values as the protocol's binary form has them, in PostgreSQL's own frame.
    Binary,
}

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// The form.
    pub format: CopyFormat,
    /// Between two values.
    pub delimiter: char,
    /// For NULL.
    pub null: String,
    /// Around a value that needs it; for CSV.
    pub quote: char,
    /// Whether the names of the columns come first.
    pub header: bool,
}

impl CopyOptions {
    fn of_format(format: CopyFormat) -> Self {
        match format {
            CopyFormat::Text | CopyFormat::Binary => {
                Self { format, delimiter: '\t', null: "\\N".to_owned(), quote: '"', header: false }
            }
            CopyFormat::Csv => Self { format, delimiter: ',', null: String::new(), quote: '"', header: false },
        }
    }
}

/// The query of a `COPY ... TO STDOUT` and how its rows are written.
pub(super) fn read(
    source: CopySource,
    options: &[CopyOption],
    legacy: &[CopyLegacyOption],
) -> Result<(ast::Statement, CopyOptions), SqlError> {
    let query = match source {
        CopySource::Query(query) => ast::Statement::Query(query),
        CopySource::Table { table_name, columns } => {
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
            parser::tree(&format!("SELECT {columns} FROM {table_name}"))?
        }
    };
    let mut copy = CopyOptions::of_format(format_of(options, legacy)?);
    for option in options {
        match option {
            CopyOption::Format(_) => {}
            CopyOption::Delimiter(delimiter) => copy.delimiter = single_byte("DELIMITER", *delimiter)?,
            CopyOption::Null(null) => copy.null.clone_from(null),
            CopyOption::Header(header) => copy.header = *header,
            CopyOption::Quote(quote) => copy.quote = single_byte("QUOTE", *quote)?,
            CopyOption::Encoding(encoding) if encoding.eq_ignore_ascii_case("utf8") => {}
            other => return Err(SqlError::unsupported(format!("the COPY option {other}"))),
        }
    }
    for option in legacy {
        match option {
            CopyLegacyOption::Delimiter(delimiter) => copy.delimiter = single_byte("DELIMITER", *delimiter)?,
            CopyLegacyOption::Null(null) => copy.null.clone_from(null),
            CopyLegacyOption::Header => copy.header = true,
            CopyLegacyOption::Binary => {}
            CopyLegacyOption::Csv(csv) => {
                for option in csv {
                    match option {
                        CopyLegacyCsvOption::Header => copy.header = true,
                        CopyLegacyCsvOption::Quote(quote) => copy.quote = single_byte("QUOTE", *quote)?,
                        other => return Err(SqlError::unsupported(format!("the COPY option {other}"))),
                    }
                }
            }
            other => return Err(SqlError::unsupported(format!("the COPY option {other}"))),
        }
    }
    Ok((query, copy))
}

fn format_of(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<CopyFormat, SqlError> {
    if legacy.iter().any(|option| matches!(option, CopyLegacyOption::Csv(_))) {
        return Ok(CopyFormat::Csv);
    }
    if legacy.iter().any(|option| matches!(option, CopyLegacyOption::Binary)) {
        return Ok(CopyFormat::Binary);
    }
    let format = options.iter().find_map(|option| match option {
        CopyOption::Format(format) => Some(identifier(format)),
        _ => None,
    });
    match format.as_deref() {
        None | Some("text") => Ok(CopyFormat::Text),
        Some("csv") => Ok(CopyFormat::Csv),
        Some("binary") => Ok(CopyFormat::Binary),
        Some(other) => {
            Err(SqlError::unsupported(format!("COPY in the format {other:?}")).with_hint("use text, csv or binary"))
        }
    }
}

fn single_byte(option: &str, character: char) -> Result<char, SqlError> {
    if character.is_ascii() && character != '\n' && character != '\r' {
        return Ok(character);
    }
    let message = format!("COPY {option} must be a single one-byte character and no line break");
    Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
}
