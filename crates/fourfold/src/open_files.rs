//! How many files the process may have open: each partition that is written has one, each connection is one.
//!
//! What it is not: a setting. The system's administrator sets the hard limit; the soft one is only where shells begin.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than this is not asked for, however high the hard limit.
const FILES_MAX: u64 = 65_536;

/// Raises the soft limit towards the hard one. Where that is refused, the log does with fewer open files.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(FILES_MAX).min(FILES_MAX);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
        tracing::warn!(%error, wanted, current = limit.current, "the limit of open files could not be raised");
    }
}
