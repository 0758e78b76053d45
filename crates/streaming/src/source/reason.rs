//! Why a record is rejected, as one of a few classes that can be counted.
//!
//! The reason itself is a sentence for people; the class is for counters, alarms and tables, and is part of a dead
//! letter (`docs/formats/dead-letter.md`).

use std::fmt;

/// The class of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonClass {
    /// The value is not exactly one JSON object.
    Syntax,
    /// A field's value does not fit its column exactly.
    Value,
    /// Several fields could be the same column: their names differ only in case.
    Name,
    /// The attributes of an event are missing or wrong.
    Attribute,
    /// The record has no value: a tombstone.
    NoValue,
    /// The batch that holds the record cannot be read.
    Unreadable,
    /// An expression of a view fails for the record.
    Expression,
    /// A letter that was written before letters had a class.
    Unknown,
}

impl ReasonClass {
    /// All of them, in the order of their counters.
    pub(crate) const ALL: [Self; 8] = [
        Self::Syntax,
        Self::Value,
        Self::Name,
        Self::Attribute,
        Self::NoValue,
        Self::Unreadable,
        Self::Expression,
        Self::Unknown,
    ];

    /// Its name in letters, metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Value => "value",
            Self::Name => "name",
            Self::Attribute => "attribute",
            Self::NoValue => "no_value",
            Self::Unreadable => "unreadable",
            Self::Expression => "expression",
            Self::Unknown => "unknown",
        }
    }

    /// The class of that name.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

impl fmt::Display for ReasonClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a record is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Its class.
    pub class: ReasonClass,
    /// For people: what does not fit, and what to do.
    pub text: String,
}

impl Reason {
    pub(crate) fn new(class: ReasonClass, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
