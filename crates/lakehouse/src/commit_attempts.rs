//! [`CommitAttempts`]: how long a commit is tried again that found its version taken.
//!
//! What must hold: whoever commits the next version makes the table younger. Where it stays as old as it was, no commit
//! has the place, and trying again for ever would end at nothing.

use crate::error::{LakeError, Result};

// Each attempt begins with a fresh look at the table, so that attempts only end when others commit all the time.
const ATTEMPTS_MAX: u32 = 50;
// A listing may be older than what was written beside it.
const UNCHANGED_MAX: u32 = 3;

/// The attempts at one commit.
pub(crate) struct CommitAttempts {
    table: String,
    conflicts: u32,
    /// The version that was the newest at the last conflict, and at how many.
    newest: Option<(u64, u32)>,
}

impl CommitAttempts {
    /// `table` is named in errors.
    pub(crate) fn new(table: impl Into<String>) -> Self {
        Self { table: table.into(), conflicts: 0, newest: None }
    }

    /// Counts an attempt that found the version after `newest` taken.
    ///
    /// # Errors
    /// When no further one makes sense.
    pub(crate) fn conflicted(&mut self, newest: u64) -> Result<()> {
        self.conflicts += 1;
        let unchanged = match self.newest {
            Some((before, count)) if before == newest => count + 1,
            _ => 1,
        };
        self.newest = Some((newest, unchanged));
        if unchanged >= UNCHANGED_MAX {
            return Err(LakeError::Obstructed { table: self.table.clone(), version: newest + 1 });
        }
        if self.conflicts >= ATTEMPTS_MAX {
            return Err(LakeError::Contended { table: self.table.clone(), attempts: self.conflicts });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::CommitAttempts;
    use crate::error::LakeError;

    #[test]
    fn a_table_that_others_change_is_tried_often_and_one_that_stays_as_it_is_is_not() {
        let mut attempts = CommitAttempts::new("readings");
        let ended = (0..).map(|version| attempts.conflicted(version)).find_map(Result::err);
        assert!(matches!(ended, Some(LakeError::Contended { attempts: 50, .. })));

        let mut attempts = CommitAttempts::new("readings");
        let ended: Vec<bool> = [1, 2, 2, 3, 3, 3].map(|version| attempts.conflicted(version).is_err()).to_vec();
        assert_eq!(ended, [false, false, false, false, false, true]);
    }
}
