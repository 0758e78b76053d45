//! The lock on a log's directory: one process has a log open at a time.
//!
//! The directory itself is locked, so that it stays locked when a file in it is taken away; and the file `lock` in it,
//! because some file systems lock no directories. The operating system lets go of both when the process dies.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::log::{Error, Result, io_error};

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    directory: PathBuf,
    _opened: Option<File>,
    file: Option<File>,
}

impl DirectoryLock {
    /// Takes the lock on a directory that exists. A file that is missing there is made by [`complete`](Self::complete)
    /// only, so that a directory that is not opened stays as it is.
    ///
    /// # Errors
    /// [`Error::DirectoryInUse`] when another has it, [`Error::Io`].
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        let opened = File::open(directory).map_err(io_error("open", directory))?;
        let opened = match opened.try_lock() {
            Ok(()) => Some(opened),
            Err(TryLockError::WouldBlock) => return Err(Error::DirectoryInUse(directory.display().to_string())),
            // Not every file system can; then the file has to do.
            Err(TryLockError::Error(_)) => None,
        };
        let file = lock_file(directory, opened.is_none())?;
        Ok(Self { directory: directory.to_owned(), _opened: opened, file })
    }

    /// Makes the file if it is missing.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn complete(&mut self) -> Result<()> {
        if self.file.is_none() {
            self.file = lock_file(&self.directory, true)?;
        }
        Ok(())
    }
}

fn lock_file(directory: &Path, create: bool) -> Result<Option<File>> {
    let path = directory.join("lock");
    let file = match File::options().read(true).write(true).create(create).truncate(false).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
        file => file.map_err(io_error("open", &path))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Error::DirectoryInUse(directory.display().to_string())),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}
