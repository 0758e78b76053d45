//! Ranges of offsets in which nothing is left to reject.
//!
//! What must hold: ranges neither overlap nor touch; an offset is contained only if a range with it was added.

use std::collections::BTreeMap;

use model::Offset;

/// Beyond this the shortest range is forgotten: its records would be rejected once more, and none would be lost.
const RANGES_MAX: usize = 1_024;

/// Ranges of offsets, by their first: their last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckedRanges(BTreeMap<Offset, Offset>);

impl CheckedRanges {
    pub(super) fn contains(&self, offset: Offset) -> bool {
        self.0.range(..=offset).next_back().is_some_and(|(_, last)| *last >= offset)
    }

    /// Adds the offsets from `first` to `last`, both among them.
    pub(super) fn add(&mut self, first: Offset, last: Offset) {
        let before_end = self.0.range(..=last.saturating_add(1)).rev();
        let touching = before_end.take_while(|(_, end)| end.saturating_add(1) >= first);
        let touching: Vec<_> = touching.map(|(start, end)| (*start, *end)).collect();
        let (mut start, mut end) = (first, last);
        for (joined_start, joined_end) in touching {
            self.0.remove(&joined_start);
            (start, end) = (start.min(joined_start), end.max(joined_end));
        }
        self.0.insert(start, end);
        if self.0.len() > RANGES_MAX
            && let Some(shortest) = self.0.iter().min_by_key(|(start, end)| *end - *start).map(|(start, _)| *start)
        {
            self.0.remove(&shortest);
        }
    }
}

#[cfg(test)]
mod tests;
