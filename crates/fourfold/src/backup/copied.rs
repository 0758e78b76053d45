//! Files copied to another folder, each synced before it counts.
//!
//! What must hold: of a file of the write-ahead log, no frame is copied without those before it, although the log goes on
//! writing to it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::frozen::FrozenFile;

const PAGE_BYTES: usize = 4096;

/// Copies the bytes of a file that were taken; answers how many.
pub(super) fn copy(file: &FrozenFile, to: &Path) -> io::Result<u64> {
    let (from, mut to) = (File::open(&file.link)?, create(to)?);
    let copied = io::copy(&mut from.take(file.bytes), &mut to)?;
    if copied != file.bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it has {copied} of {} bytes", file.bytes)));
    }
    to.sync_all()?;
    Ok(copied)
}

/// Copies a file of the write-ahead log, which is written to from its beginning towards its end, from its end towards its
/// beginning: what stands before something that was read, was written before it.
pub(super) fn copy_backwards(file: &FrozenFile, to: &Path) -> io::Result<u64> {
    let (mut from, mut to) = (File::open(&file.link)?, create(to)?);
    // What was reserved and not written reads as zeros, and takes no room.
    to.set_len(file.bytes)?;
    let mut page = [0; PAGE_BYTES];
    let mut end = file.bytes;
    while end > 0 {
        let start = (end - 1) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
        let bytes = &mut page[..usize::try_from(end - start).unwrap_or(PAGE_BYTES)];
        from.seek(SeekFrom::Start(start))?;
        from.read_exact(bytes)?;
        if bytes.iter().any(|byte| *byte != 0) {
            to.seek(SeekFrom::Start(start))?;
            to.write_all(bytes)?;
        }
        end = start;
    }
    to.sync_all()?;
    Ok(file.bytes)
}

/// Syncs the names of everything below a folder, and its own.
pub(super) fn sync_names(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_names(&entry.path())?;
        }
    }
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn create(file: &Path) -> io::Result<File> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create_new(file)
}
