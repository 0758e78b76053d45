//! Whether there is room for what a group wants to commit: a bound on all committed offsets and their notes.
//!
//! What it is not: the keeper of offsets, which is the log.
//!
//! What must hold: the totals are not passed, whatever is under way at the same time; a commit that takes the place of an
//! earlier one and is not larger is never refused, so that who has committed can go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use eventlog::{CommittedOffset, EventLog, OffsetTotals};
use kafka_wire::ErrorCode;
use model::TopicPartition;
use parking_lot::Mutex;

use crate::error::error_code;
use crate::settings::GroupSettings;

type Offsets = Vec<(TopicPartition, CommittedOffset)>;

pub(crate) struct OffsetRoom {
    max: OffsetTotals,
    /// What is being committed and may not be counted by the log yet.
    under_way: Mutex<OffsetTotals>,
    /// Whether the last commit that needed room found none: that is told once.
    is_full: AtomicBool,
}

/// Room that a commit takes until it is counted by the log, or has failed.
#[derive(Debug)]
struct Taken<'a> {
    under_way: &'a Mutex<OffsetTotals>,
    totals: OffsetTotals,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.under_way.lock() -= self.totals;
    }
}

impl OffsetRoom {
    pub(crate) fn new(settings: &GroupSettings) -> Self {
        let max = OffsetTotals { offsets: settings.offsets_max, note_bytes: settings.offset_notes_bytes_max };
        Self { max, under_way: Mutex::default(), is_full: AtomicBool::new(false) }
    }

    /// Stores what a group commits, if there is room.
    pub(crate) async fn commit(&self, log: &dyn EventLog, group: &str, offsets: Offsets) -> Result<(), ErrorCode> {
        let Some(_taken) = self.take(log, group, &offsets) else { return Err(ErrorCode::PolicyViolation) };
        log.commit_offsets(group, offsets).await.map_err(|error| error_code(&error))
    }

    fn take(&self, log: &dyn EventLog, group: &str, offsets: &Offsets) -> Option<Taken<'_>> {
        let note_bytes = offsets.iter().map(|(_, offset)| offset.metadata.len()).sum();
        let mut more = OffsetTotals { offsets: offsets.len(), note_bytes };
        let mut under_way = self.under_way.lock();
        let mut totals = log.offset_totals();
        totals += *under_way;
        if !self.has_room(totals, more) {
            // Near the limit it matters what is there already.
            more = growth(&log.committed_offsets(group), offsets);
            if !self.has_room(totals, more) {
                drop(under_way);
                self.tell(group, totals);
                return None;
            }
        }
        *under_way += more;
        drop(under_way);
        self.is_full.store(false, Ordering::Relaxed);
        Some(Taken { under_way: &self.under_way, totals: more })
    }

    /// What does not grow has room even where the limit was lowered.
    fn has_room(&self, totals: OffsetTotals, more: OffsetTotals) -> bool {
        let fits = |now: usize, more: usize, max: usize| more == 0 || now.saturating_add(more) <= max;
        fits(totals.offsets, more.offsets, self.max.offsets)
            && fits(totals.note_bytes, more.note_bytes, self.max.note_bytes)
    }

    fn tell(&self, group: &str, totals: OffsetTotals) {
        if self.is_full.swap(true, Ordering::Relaxed) {
            return;
        }
        let OffsetTotals { offsets, note_bytes } = totals;
        tracing::warn!(
            group,
            offsets,
            note_bytes,
            offsets_max = self.max.offsets,
            note_bytes_max = self.max.note_bytes,
            "further committed offsets are refused: delete groups that nobody needs, or raise kafka.offsets_max and \
             kafka.offset_notes_bytes_max"
        );
    }
}

/// How much more there is after a commit than before.
fn growth(before: &BTreeMap<TopicPartition, CommittedOffset>, offsets: &Offsets) -> OffsetTotals {
    // Of a partition that is named twice the last counts.
    let after: BTreeMap<_, _> = offsets.iter().map(|(partition, offset)| (partition, offset)).collect();
    let replaced = after.keys().filter_map(|partition| before.get(*partition));
    let (mut count, mut replaced_bytes) = (0, 0);
    for offset in replaced {
        (count, replaced_bytes) = (count + 1, replaced_bytes + offset.metadata.len());
    }
    let note_bytes: usize = after.values().map(|offset| offset.metadata.len()).sum();
    OffsetTotals { offsets: after.len() - count, note_bytes: note_bytes.saturating_sub(replaced_bytes) }
}

#[cfg(test)]
mod tests;
