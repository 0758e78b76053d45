//! [`ViewGroup`]: views that move on together.
//!
//! What must hold: whoever takes the snapshots of a group has all of its views at the same Positions: a change of several views
//! becomes visible in one step or not at all.

use std::sync::{Arc, Weak};

use model::{Error, Positions, Result};
use parking_lot::{Mutex, RwLock};
use streaming::Change;

use super::{Relation as _, Snapshot, View};

/// The views of one dataflow.
#[derive(Debug)]
pub struct ViewGroup {
    views: Vec<Weak<View>>,
    /// Held to write while all views change, and to read while all are looked at.
    border: RwLock<()>,
    /// There is one writer.
    writing: Mutex<()>,
}

impl ViewGroup {
    /// Lets views move on together from now on. A view is in one group at most.
    pub fn of(views: &[Arc<View>]) -> Arc<Self> {
        let views_of_group = views.iter().map(Arc::downgrade).collect();
        let group = Arc::new(Self { views: views_of_group, border: RwLock::new(()), writing: Mutex::new(()) });
        views.iter().for_each(|view| view.join(&group));
        group
    }

    /// Applies a change to each view, in the order in which the group was made of them, in one step; `positions` say what all of
    /// them reflect afterwards.
    ///
    /// # Errors
    /// As [`View::apply`]; nothing is changed then.
    pub fn apply(&self, changes: &[Change], positions: &Positions) -> Result<()> {
        let _one_writer = self.writing.lock();
        let views: Vec<Arc<View>> = self.views.iter().filter_map(Weak::upgrade).collect();
        if views.len() != changes.len() {
            return Err(Error::internal(format!("{} changes for a group of {} views", changes.len(), views.len())));
        }
        let after = views.iter().zip(changes).map(|(view, change)| view.after(change, positions));
        let after = after.collect::<Result<Vec<_>>>()?;
        let before: Vec<_> = {
            let _nobody_looks = self.border.write();
            views.iter().zip(after).map(|(view, after)| view.put(after)).collect()
        };
        // Freed after the lock.
        drop(before);
        views.iter().for_each(|view| view.tell());
        Ok(())
    }

    /// What readers see of all views, at one moment.
    pub(super) fn snapshots(&self) -> Vec<(String, Snapshot)> {
        let views: Vec<Arc<View>> = self.views.iter().filter_map(Weak::upgrade).collect();
        let _nobody_writes = self.border.read();
        views.iter().map(|view| (view.name().to_owned(), view.snapshot_now())).collect()
    }
}
