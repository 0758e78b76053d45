//! What a query leaves out: the records of its sources that could not be read.

use std::collections::BTreeMap;

use streaming::UnreadRecords;

/// The sources that a query reads, with what each could not read. It is complete once the query's rows have been read.
#[derive(Clone, Debug, Default)]
pub struct Unread(BTreeMap<String, UnreadRecords>);

impl Unread {
    pub(super) fn new(sources: impl IntoIterator<Item = (String, UnreadRecords)>) -> Self {
        Self(sources.into_iter().collect())
    }

    /// Whether the query reads no source.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many records were left out, by the source; none where the query reads no source.
    pub fn records(&self) -> BTreeMap<&str, u64> {
        self.0.iter().map(|(source, unread)| (source.as_str(), unread.records())).collect()
    }

    /// What the user should know of them, one sentence each.
    pub fn notices(&self) -> Vec<String> {
        self.0.iter().flat_map(|(source, unread)| unread.notices(source)).collect()
    }
}
