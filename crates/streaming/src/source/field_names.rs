//! Which column a field of a record is.
//!
//! A field is the column of its name. A column that has no field of its name takes the one field whose name differs
//! only in case (`deviceId` for a column `deviceid`, as an unquoted name becomes); where several could be meant, the
//! record says so and is rejected.
//!
//! What must hold: which field is which column depends on the record alone; names that are remembered are bounded.

use std::borrow::Cow;

use arrow::datatypes::Fields;
use hashbrown::HashMap;

use super::reason::{Reason, ReasonClass};

/// Names of fields that are remembered, besides those of columns.
const NAMES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 256;

/// What a field's name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The column of this number.
    Column(usize),
    /// The name of some column but for its case; the number is that of the name without case.
    Like(usize),
    /// No column.
    Nothing,
}

/// The names of a source's columns.
pub(super) struct FieldNames {
    /// By name: those of the columns, and those that records have besides.
    meanings: HashMap<String, Meaning>,
    without_case: HashMap<String, usize>,
    /// The columns of each name without case.
    alike: Vec<Vec<usize>>,
    /// The name without case of each column.
    of_column: Vec<usize>,
    remembered_max: usize,
}

impl FieldNames {
    pub(super) fn new(columns: &Fields) -> Self {
        let mut names = Self {
            meanings: HashMap::new(),
            without_case: HashMap::new(),
            alike: Vec::new(),
            of_column: Vec::new(),
            remembered_max: columns.len() + NAMES_MAX,
        };
        for (column, field) in columns.iter().enumerate() {
            let next = names.alike.len();
            let alike = *names.without_case.entry(field.name().to_lowercase()).or_insert(next);
            if alike == next {
                names.alike.push(Vec::new());
            }
            names.alike[alike].push(column);
            names.of_column.push(alike);
            names.meanings.insert(field.name().clone(), Meaning::Column(column));
        }
        names
    }

    /// What a name means.
    pub(super) fn meaning(&mut self, name: &str) -> Meaning {
        if let Some(meaning) = self.meanings.get(name) {
            return *meaning;
        }
        let meaning = self.without_case.get(&name.to_lowercase()).map_or(Meaning::Nothing, |like| Meaning::Like(*like));
        if self.meanings.len() < self.remembered_max && name.len() <= NAME_BYTES_MAX {
            self.meanings.insert(name.to_owned(), meaning);
        }
        meaning
    }
}

/// The fields of one record that are columns, as text.
pub(super) struct FoundFields<'v> {
    columns: Vec<Option<&'v str>>,
    /// By the number of a name without case.
    alike: Vec<Alike<'v>>,
    any_alike: bool,
    any: bool,
}

/// The fields of a record that are some column but for their case.
#[derive(Clone)]
enum Alike<'v> {
    None,
    One { name: Cow<'v, str>, value: &'v str },
    Several { names: [String; 2] },
}

impl<'v> FoundFields<'v> {
    pub(super) fn new(names: &FieldNames) -> Self {
        let (columns, alike) = (vec![None; names.of_column.len()], vec![Alike::None; names.alike.len()]);
        Self { columns, alike, any_alike: false, any: false }
    }

    /// Forgets a record.
    pub(super) fn clear(&mut self) {
        self.columns.fill(None);
        if std::mem::take(&mut self.any_alike) {
            self.alike.fill(Alike::None);
        }
        self.any = false;
    }

    /// Whether the record has a field that is a column.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Takes a column's field; the last one of a name counts.
    pub(super) fn put(&mut self, column: usize, value: &'v str) {
        self.columns[column] = Some(value);
        self.any = true;
    }

    /// Takes a field whose name is some column's but for its case.
    pub(super) fn put_alike(&mut self, like: usize, name: Cow<'v, str>, value: &'v str) {
        (self.any, self.any_alike) = (true, true);
        let slot = &mut self.alike[like];
        *slot = match std::mem::replace(slot, Alike::None) {
            Alike::One { name: other, .. } if other != name => {
                Alike::Several { names: [other.into_owned(), name.into_owned()] }
            }
            several @ Alike::Several { .. } => several,
            _ => Alike::One { name, value },
        };
    }

    /// The text of a column's field, if the record has one; the error is the reason to reject the record.
    pub(super) fn of_column(&self, names: &FieldNames, column: usize, field: &str) -> Result<Option<&'v str>, Reason> {
        if let Some(value) = self.columns[column] {
            return Ok(Some(value));
        }
        if !self.any_alike {
            return Ok(None);
        }
        let ambiguous = |text: String| Err(Reason::new(ReasonClass::Name, text));
        match &self.alike[names.of_column[column]] {
            Alike::None => Ok(None),
            Alike::Several { names: [first, second] } => ambiguous(format!(
                "column {field}: the fields {first:?} and {second:?} differ only in case; write the column's name as \
                 the one that is meant, in double quotes"
            )),
            Alike::One { name, value } => {
                let open = names.alike[names.of_column[column]].iter().filter(|other| self.columns[**other].is_none());
                if open.count() > 1 {
                    return ambiguous(format!(
                        "field {name:?} could be column {field} or another that differs in case"
                    ));
                }
                Ok(Some(*value))
            }
        }
    }
}
