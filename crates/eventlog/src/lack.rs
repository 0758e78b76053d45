//! [`Lack`]: what an error of the operating system says is lacking for a while.

use std::io;

use rustix::io::Errno;

/// What is lacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    DiskSpace,
    OpenFiles,
}

impl Lack {
    /// What an error of the operating system says is lacking; `None` when it means something else.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Some(Self::DiskSpace);
        }
        let files = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
        error.raw_os_error().filter(|code| files.contains(code)).map(|_| Self::OpenFiles)
    }
}
