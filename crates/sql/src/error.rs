//! What is wrong with a text of SQL, in PostgreSQL's terms.

use std::fmt;

use model::{ErrorKind as Kind, MemoryExhausted};

use crate::sqlstate;

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
        Self::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} is not supported yet"))
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

    /// The same error where its place is one in a text that nobody wrote.
    #[must_use]
    pub fn without_position(self) -> Self {
        Self { position: None, ..self }
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
        let kind = match error.sqlstate {
            sqlstate::FEATURE_NOT_SUPPORTED => Kind::Unsupported,
            sqlstate::UNDEFINED_TABLE => Kind::NotFound,
            sqlstate::INTERNAL_ERROR => Kind::Internal,
            _ => Kind::Invalid,
        };
        let mapped = Self::new(kind, error.to_string());
        match error.hint {
            Some(hint) => mapped.with_hint(hint),
            None => mapped,
        }
    }
}

/// The shared error in PostgreSQL's terms.
pub fn sql_error(error: &model::Error) -> SqlError {
    let code = match error.kind() {
        Kind::Invalid => sqlstate::INVALID_PARAMETER_VALUE,
        Kind::NotFound => sqlstate::UNDEFINED_TABLE,
        Kind::Conflict => sqlstate::DUPLICATE_OBJECT,
        Kind::Denied => sqlstate::INSUFFICIENT_PRIVILEGE,
        Kind::Rejected => sqlstate::RAISED,
        Kind::Unavailable => sqlstate::NOT_AVAILABLE,
        Kind::Corrupt => sqlstate::DATA_CORRUPTED,
        Kind::Unsupported => sqlstate::FEATURE_NOT_SUPPORTED,
        Kind::Internal => sqlstate::INTERNAL_ERROR,
    };
    let mapped = SqlError::new(code, error.to_string());
    match error.hint() {
        Some(hint) => mapped.with_hint(hint),
        None => mapped,
    }
}

impl From<&MemoryExhausted> for SqlError {
    fn from(exhausted: &MemoryExhausted) -> Self {
        Self::new(sqlstate::OUT_OF_MEMORY, exhausted.to_string()).with_hint(exhausted.hint())
    }
}
