//! The seam to the file system: everything the log stores goes through [`Disk`] and [`DiskFile`].
//!
//! There are two implementations: [`FileSystem`], and the one in the crash tests that loses what was not synced.
//!
//! What must hold: a write counts as durable only after [`DiskFile::sync`], a new, renamed or removed name only after
//! [`Disk::sync_directory`]; nothing here retries.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

/// A place for files.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Makes a directory and those above it; an existing one is fine.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in order; none when it does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes an empty file, replacing what was there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; one that is gone already is fine.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory. One that is gone already is fine, and one with something in it stays.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// How many files may be open at a time.
    fn open_files_max(&self) -> usize;

    /// The whole of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file, read and written at positions.
pub(crate) trait DiskFile: Send + Sync + 'static {
    /// Fills `bytes` from `position` on.
    fn read_exact_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `position`.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Reserves space up to `size`, which reads as zeros.
    fn preallocate(&self, size: u64) -> io::Result<()>;
    /// Cuts the file off (or extends it with zeros) at `size`.
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// The file's size, in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Makes everything written durable, with what is needed to read it back.
    fn sync(&self) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSystem;

impl Disk for FileSystem {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        gone_is_fine(fs::remove_file(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => gone_is_fine(removed),
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn open_files_max(&self) -> usize {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
    }
}

impl DiskFile for File {
    fn read_exact_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, position)
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, position)
    }

    #[cfg(target_os = "linux")]
    fn preallocate(&self, size: u64) -> io::Result<()> {
        use rustix::{fs::FallocateFlags, io::Errno};
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, size) {
            // Not every file system can reserve space; without it a full disk is noticed later, at a write.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.set_len(size),
            reserved => Ok(reserved?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn preallocate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
