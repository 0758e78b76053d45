//! Records in which a source finds none of its columns: usually the names are other ones than declared.
//!
//! What must hold: what is remembered is bounded, whatever records contain.

use std::collections::BTreeSet;

use arrow::datatypes::Schema;

const NAMES_MAX: usize = 20;
const NAME_CHARACTERS_MAX: usize = 60;

/// How many records in a row had none of the columns, and what they had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmatched {
    /// Whether any record had a column.
    any_matched: bool,
    /// Records since the last one that had a column.
    records: u64,
    /// Names of fields in them, as far as they are kept.
    names: BTreeSet<String>,
}

impl Unmatched {
    /// A record had a column.
    pub(super) fn matched(&mut self) {
        if !self.any_matched || self.records > 0 {
            *self = Self { any_matched: true, ..Self::default() };
        }
    }

    /// A record had none; `names` are asked for while more are wanted.
    pub(super) fn missed(&mut self, names: impl FnOnce() -> BTreeSet<String>) {
        self.records += 1;
        if self.names.len() < NAMES_MAX && self.records <= NAMES_MAX as u64 {
            self.keep(names());
        }
    }

    /// Adds what came after.
    pub(super) fn then(&mut self, later: Self) {
        if later.any_matched {
            *self = later;
        } else {
            self.records += later.records;
            self.keep(later.names);
        }
    }

    /// Records in a row that had none of the columns, where that is remarkable: there was never another one, or there
    /// are many; and the names that they have.
    pub(crate) fn warning(&self) -> Option<(u64, &BTreeSet<String>)> {
        const MANY: u64 = 100;
        let remarkable = self.records >= MANY || (self.records > 0 && !self.any_matched);
        remarkable.then_some((self.records, &self.names))
    }

    /// The warning as a sentence.
    pub(crate) fn sentence(&self, columns: &Schema) -> Option<String> {
        let (records, names) = self.warning()?;
        let columns: Vec<&str> = columns.fields().iter().take(NAMES_MAX).map(|field| field.name().as_str()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let have = if names.is_empty() {
            "they have no fields".to_owned()
        } else {
            format!("they have: {}", names.join(", "))
        };
        Some(format!("none of the columns {} is found in the last {records} records; {have}", columns.join(", ")))
    }

    fn keep(&mut self, names: BTreeSet<String>) {
        for name in names {
            if self.names.len() >= NAMES_MAX {
                break;
            }
            self.names.insert(match name.char_indices().nth(NAME_CHARACTERS_MAX) {
                Some((end, _)) => format!("{}...", &name[..end]),
                None => name,
            });
        }
    }
}
