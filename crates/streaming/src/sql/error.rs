//! What is wrong with a text of SQL, in PostgreSQL's terms.

use std::fmt;

/// Syntax error.
pub(crate) const SYNTAX_ERROR: &str = "42601";
/// Feature not supported.
pub(crate) const UNSUPPORTED: &str = "0A000";
/// Undefined table (also: source, view).
pub(crate) const UNDEFINED_TABLE: &str = "42P01";
/// Undefined column.
pub(crate) const UNDEFINED_COLUMN: &str = "42703";
/// Undefined function.
pub(crate) const UNDEFINED_FUNCTION: &str = "42883";
/// Undefined object (also: type).
pub(crate) const UNDEFINED_OBJECT: &str = "42704";
/// Two columns of one name.
pub(crate) const DUPLICATE_COLUMN: &str = "42701";
/// A column reference that could mean two columns.
pub(crate) const AMBIGUOUS_COLUMN: &str = "42702";
/// A name that is not allowed.
pub(crate) const INVALID_NAME: &str = "42602";
/// A value of the wrong type.
pub(crate) const DATATYPE_MISMATCH: &str = "42804";
/// A column outside an aggregate and outside GROUP BY.
pub(crate) const GROUPING_ERROR: &str = "42803";
/// An option with a value it cannot have.
pub(crate) const INVALID_PARAMETER: &str = "22023";
/// A text is no time.
pub(crate) const INVALID_DATETIME: &str = "22007";
/// There is no such time.
pub(crate) const DATETIME_OVERFLOW: &str = "22008";
/// Division by zero.
pub(crate) const DIVISION_BY_ZERO: &str = "22012";
/// A value that is too large.
pub(crate) const TOO_LARGE: &str = "54000";
/// A statement that is too long a chain or nested too deeply.
pub(crate) const TOO_COMPLEX: &str = "54001";
/// Out of memory.
pub(crate) const OUT_OF_MEMORY: &str = "53200";
/// Cancelled, or nobody waits for it any more.
pub(crate) const GIVEN_UP: &str = "57014";
/// A bug.
pub(crate) const INTERNAL: &str = "XX000";

/// An error in a text of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// PostgreSQL's five-character code.
    pub sqlstate: &'static str,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// Where in the text, counted in characters from 1, where that is known.
    pub position: Option<usize>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SqlError {
    /// An error without a place.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), position: None, hint: None }
    }

    /// Something that is not built; `what` is the subject of the sentence.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(UNSUPPORTED, format!("{what} is not supported yet"))
    }

    /// Adds the place: a character of the text, counted from 1.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error for a text in which this one begins after `characters` others.
    #[must_use]
    pub fn shifted(mut self, characters: usize) -> Self {
        self.position = self.position.map(|position| position + characters);
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.position {
            Some(position) => write!(f, " (at character {position})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlError {}

impl From<SqlError> for model::Error {
    fn from(error: SqlError) -> Self {
        use model::ErrorKind as Kind;
        let kind = match error.sqlstate {
            UNSUPPORTED => Kind::Unsupported,
            UNDEFINED_TABLE => Kind::NotFound,
            INTERNAL => Kind::Internal,
            _ => Kind::Invalid,
        };
        let mapped = Self::new(kind, error.to_string());
        match error.hint {
            Some(hint) => mapped.with_hint(hint),
            None => mapped,
        }
    }
}
