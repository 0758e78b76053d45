//! A file of entries of one size that grows along a segment: offset index, time index, arrivals.
//!
//! New entries stay in memory until a checkpoint writes them. They are few (the write-ahead log bounds them), and
//! what a crash takes away, replaying the write-ahead log brings back; so an index on disk never says more than a
//! checkpoint knows.

use std::{path::PathBuf, sync::Arc};

use crate::{
    disk::{Disk, DiskFile},
    log::{Error, Result, io_error},
};

/// Entries of `N` bytes.
#[derive(Debug)]
pub(crate) struct EntryFile<const N: usize> {
    path: PathBuf,
    /// How many entries the file holds.
    stored: u64,
    /// The entries after those.
    pending: Vec<[u8; N]>,
}

impl<const N: usize> EntryFile<N> {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, stored: 0, pending: Vec::new() }
    }

    /// Takes over a file that should hold `stored` entries; what is beyond them is cut off.
    pub(crate) fn recover(disk: &dyn Disk, path: PathBuf, stored: u64) -> Result<Self> {
        if stored > 0 {
            truncate_to(disk, &path, stored * N as u64)?;
        }
        Ok(Self { path, stored, pending: Vec::new() })
    }

    pub(crate) fn len(&self) -> u64 {
        self.stored + self.pending.len() as u64
    }

    pub(crate) fn push(&mut self, entry: [u8; N]) {
        self.pending.push(entry);
    }

    /// Writes and syncs what is pending. Returns whether that made the file: then its name is not durable yet.
    pub(crate) fn persist(&mut self, disk: &dyn Disk) -> Result<bool> {
        if self.pending.is_empty() {
            return Ok(false);
        }
        let is_new = self.stored == 0;
        let file = if is_new { disk.create(&self.path) } else { disk.open(&self.path) };
        let file = file.map_err(io_error("open", &self.path))?;
        let written = file.write_all_at(self.pending.as_flattened(), self.stored * N as u64);
        written.and_then(|()| file.sync()).map_err(io_error("write", &self.path))?;
        self.stored = self.len();
        self.pending = Vec::new();
        Ok(is_new)
    }

    /// Opens the entries for reading.
    pub(crate) fn read(&self, disk: &dyn Disk) -> Result<Entries<'_, N>> {
        let file = match self.stored {
            0 => None,
            _ => Some(disk.open(&self.path).map_err(io_error("open", &self.path))?),
        };
        Ok(Entries { entries: self, file })
    }

    pub(crate) fn corrupt(&self, index: u64, reason: &str) -> Error {
        Error::Corrupt { file: self.path.display().to_string(), position: index * N as u64, reason: reason.to_owned() }
    }
}

/// Entries that are being read.
pub(crate) struct Entries<'a, const N: usize> {
    entries: &'a EntryFile<N>,
    file: Option<Arc<dyn DiskFile>>,
}

impl<const N: usize> Entries<'_, N> {
    /// The entry at `index`, which must be below the number of entries.
    pub(crate) fn get(&self, index: u64) -> Result<[u8; N]> {
        let beyond = || self.entries.corrupt(index, "an entry is missing");
        match (index.checked_sub(self.entries.stored), &self.file) {
            (Some(pending), _) => {
                let pending = usize::try_from(pending).ok().and_then(|at| self.entries.pending.get(at));
                pending.copied().ok_or_else(beyond)
            }
            (None, Some(file)) => {
                let mut entry = [0; N];
                file.read_exact_at(&mut entry, index * N as u64).map_err(io_error("read", &self.entries.path))?;
                Ok(entry)
            }
            (None, None) => Err(beyond()),
        }
    }

    /// The last entry that `is_before` holds for, with its index; it must hold for none after one it does not hold for.
    pub(crate) fn last(&self, is_before: impl Fn(u64, [u8; N]) -> Result<bool>) -> Result<Option<(u64, [u8; N])>> {
        let (mut from, mut to) = (0, self.entries.len());
        while from < to {
            let middle = from + (to - from) / 2;
            if is_before(middle, self.get(middle)?)? {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from.checked_sub(1).map(|index| Ok((index, self.get(index)?))).transpose()
    }
}

/// Cuts a file to the size that a checkpoint knows.
pub(crate) fn truncate_to(disk: &dyn Disk, path: &std::path::Path, size: u64) -> Result<()> {
    let file = disk.open(path).map_err(io_error("open", path))?;
    let found = file.size().map_err(io_error("look at", path))?;
    if found < size {
        let reason = format!("the file has {found} bytes, the checkpoint says {size}");
        return Err(Error::Corrupt { file: path.display().to_string(), position: found, reason });
    }
    if found > size {
        file.truncate(size).map_err(io_error("truncate", path))?;
    }
    Ok(())
}
