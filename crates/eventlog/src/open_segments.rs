//! The segments whose files are open because there is something to sync: at most so many at a time.
//!
//! What it is not: for readers, who open a file for as long as a read takes.
//!
//! What must hold: a file is synced before it is let go, because a write error is reported only to those who hold it.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use crate::{log::Result, segment::Segment};

pub(crate) struct OpenSegments {
    files_max: usize,
    /// By address, each with when it was used last. Weak, so that the files of a deleted topic are not kept open; an
    /// address is not used again as long as a weak reference is left.
    segments: HashMap<usize, (Weak<Segment>, u64)>,
    uses: u64,
}

impl OpenSegments {
    /// Room for `files_max` open files, at least one.
    pub(crate) fn new(files_max: usize) -> Self {
        Self { files_max: files_max.max(1), segments: HashMap::new(), uses: 0 }
    }

    /// Counts in a segment that is about to be written, and closes the one that was not written for longest if there
    /// would be too many.
    pub(crate) fn will_write(&mut self, segment: &Arc<Segment>) -> Result<()> {
        self.uses += 1;
        let address = Arc::as_ptr(segment).addr();
        if let Some((_, used)) = self.segments.get_mut(&address) {
            *used = self.uses;
            return Ok(());
        }
        if self.segments.len() >= self.files_max {
            // Checkpoints close files too.
            self.segments.retain(|_, (segment, _)| segment.upgrade().is_some_and(|segment| segment.is_open()));
        }
        while self.segments.len() >= self.files_max {
            let idle = self.segments.iter().min_by_key(|(_, (_, used))| *used).map(|(address, _)| *address);
            let Some((idle, _)) = idle.and_then(|address| self.segments.remove(&address)) else { break };
            if let Some(idle) = idle.upgrade() {
                idle.close()?;
            }
        }
        self.segments.insert(address, (Arc::downgrade(segment), self.uses));
        Ok(())
    }

    /// Closes all, so that their files can be opened by others.
    pub(crate) fn close_all(&mut self) -> Result<()> {
        for (_, (segment, _)) in self.segments.drain() {
            if let Some(segment) = segment.upgrade() {
                segment.close()?;
            }
        }
        Ok(())
    }
}
