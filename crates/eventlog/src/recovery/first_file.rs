//! Where reading the write-ahead log begins.

use std::path::Path;

use crate::log::{Error, Result};

/// Which file of the write-ahead log is the first that is needed. `covered` is the checkpoint's last frame, `files` the
/// first sequence of each file.
///
/// # Errors
/// [`Error::Corrupt`] when checkpoint, write-ahead log and partitions cannot be of one log.
pub(super) fn first_file(directory: &Path, covered: Option<u64>, files: &[u64], has_partitions: bool) -> Result<usize> {
    let (checkpoint, wal) = (directory.join("checkpoint"), directory.join("wal"));
    let Some(covered) = covered else {
        return match files.first() {
            // Without a checkpoint everything since the log began is in the write-ahead log.
            Some(1) => Ok(0),
            None if !has_partitions => Ok(0),
            None => Err(Error::corrupt(
                &checkpoint,
                0,
                format!(
                    "the file is missing, and so is the write-ahead log, but there are partitions in {}: put both back \
                 from one copy; nothing was changed",
                    directory.join("topics").display()
                ),
            )),
            Some(first) => Err(Error::corrupt(
                &checkpoint,
                0,
                format!(
                    "the file is missing: the write-ahead log begins with frame {first}, so there was one: put it back \
                 from a copy; nothing was changed"
                ),
            )),
        };
    };
    let next = covered + 1;
    files.iter().rposition(|first| *first <= next).ok_or_else(|| {
        let what = match files.first() {
            None => "it is empty".to_owned(),
            Some(first) => format!("it begins with frame {first}, so the checkpoint is older"),
        };
        let reason = format!(
            "the write-ahead log from frame {next} on is missing, which the checkpoint needs: {what}; put back both from \
             one copy; nothing was changed"
        );
        Error::corrupt(&wal, 0, reason)
    })
}

#[cfg(test)]
mod tests;
