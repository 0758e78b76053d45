//! A file of entries of one size that grows along a segment: offset index, time index, arrivals.
//!
//! New entries stay in memory until a checkpoint writes them. They are few (the write-ahead log bounds them), and
//! what a crash takes away, replaying the write-ahead log brings back.
//!
//! What it is not: needed. What is missing or wrong is [`Unusable::Damaged`], and `repair` makes it anew.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    disk::{Disk, DiskFile},
    log::{Error, Result, io_error},
};

/// What a file of entries says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexKind {
    Offsets,
    Times,
    Arrivals,
}

impl IndexKind {
    /// The end of the file's name.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Offsets => "index",
            Self::Times => "timeindex",
            Self::Arrivals => "arrivals",
        }
    }
}

/// Why something could not be read.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// Entries are missing or wrong, for this reason: they can be rebuilt.
    Damaged(IndexKind, String),
    Other(Error),
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Entries of `N` bytes.
#[derive(Debug)]
pub(crate) struct EntryFile<const N: usize> {
    kind: IndexKind,
    path: PathBuf,
    /// How many entries the file holds.
    stored: u64,
    /// The entries after those.
    pending: Vec<[u8; N]>,
}

impl<const N: usize> EntryFile<N> {
    /// A file of which `stored` entries are believed to be there.
    pub(crate) fn new(kind: IndexKind, log_path: &Path, stored: u64) -> Self {
        Self { kind, path: log_path.with_extension(kind.extension()), stored, pending: Vec::new() }
    }

    /// Takes over a file that should hold `stored` entries that `belongs` to the segment. More that belong are kept
    /// (a rebuilt file can have them), what is beyond them is cut off. Returns whether nothing is missing.
    pub(crate) fn recover(
        mut self,
        disk: &dyn Disk,
        stored: u64,
        belongs: impl Fn([u8; N]) -> bool,
    ) -> Result<(Self, bool)> {
        let file = match disk.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.stored = 0;
                return Ok((self, stored == 0));
            }
            opened => opened.map_err(io_error("open", &self.path))?,
        };
        let size = file.size().map_err(io_error("look at", &self.path))?;
        self.stored = size / N as u64;
        let belongs_at = |index: u64| {
            let mut entry = [0; N];
            let read = file.read_exact_at(&mut entry, index * N as u64);
            read.map(|()| belongs(entry)).map_err(io_error("read", &self.path))
        };
        if self.stored < stored || (stored > 0 && !belongs_at(stored - 1)?) {
            return Ok((self, false));
        }
        let mut kept = stored;
        while kept < self.stored && belongs_at(kept)? {
            kept += 1;
        }
        if size > kept * N as u64 {
            file.truncate(kept * N as u64).map_err(io_error("truncate", &self.path))?;
        }
        self.stored = kept;
        Ok((self, true))
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

    /// Puts `rebuilt` (all of it pending) in the place of what is there, in one step and durably.
    pub(crate) fn replace(&mut self, disk: &dyn Disk, rebuilt: &Self) -> Result<()> {
        let new = self.path.with_extension(format!("{}.new", self.kind.extension()));
        let file = disk.create(&new).map_err(io_error("create", &new))?;
        let written = file.write_all_at(rebuilt.pending.as_flattened(), 0);
        written.and_then(|()| file.sync()).map_err(io_error("write", &new))?;
        disk.rename(&new, &self.path).map_err(io_error("rename", &new))?;
        if let Some(directory) = self.path.parent() {
            disk.sync_directory(directory).map_err(io_error("sync", directory))?;
        }
        (self.stored, self.pending) = (rebuilt.pending.len() as u64, Vec::new());
        Ok(())
    }

    /// What is left of the entries, `None` for those that are not there.
    pub(crate) fn remains(&self, disk: &dyn Disk) -> Result<Vec<Option<[u8; N]>>> {
        let bytes = match disk.read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(io_error("read", &self.path))?,
        };
        let stored = usize::try_from(self.stored).unwrap_or(usize::MAX);
        let (found, _) = bytes.as_chunks();
        let found = found.iter().take(stored);
        let missing = stored - found.len();
        let pending = self.pending.iter().copied().map(Some);
        Ok(found.copied().map(Some).chain(std::iter::repeat_n(None, missing)).chain(pending).collect())
    }

    /// Opens the entries for reading.
    pub(crate) fn read(&self, disk: &dyn Disk) -> Result<Entries<'_, N>, Unusable> {
        let file = match self.stored {
            0 => None,
            _ => Some(disk.open(&self.path).map_err(|error| self.unreadable("open", error))?),
        };
        Ok(Entries { entries: self, file })
    }

    pub(crate) fn damaged(&self, reason: &str) -> Unusable {
        Unusable::Damaged(self.kind, reason.to_owned())
    }

    fn unreadable(&self, doing: &'static str, error: io::Error) -> Unusable {
        match error.kind() {
            io::ErrorKind::NotFound => self.damaged("the file is missing"),
            io::ErrorKind::UnexpectedEof => self.damaged("the file is too short"),
            _ => io_error(doing, &self.path)(error).into(),
        }
    }
}

/// Entries that are being read.
pub(crate) struct Entries<'a, const N: usize> {
    entries: &'a EntryFile<N>,
    file: Option<Arc<dyn DiskFile>>,
}

impl<const N: usize> Entries<'_, N> {
    /// The entry at `index`, which must be below the number of entries.
    pub(crate) fn get(&self, index: u64) -> Result<[u8; N], Unusable> {
        let beyond = || self.entries.damaged("an entry is missing");
        match (index.checked_sub(self.entries.stored), &self.file) {
            (Some(pending), _) => {
                let pending = usize::try_from(pending).ok().and_then(|at| self.entries.pending.get(at));
                pending.copied().ok_or_else(beyond)
            }
            (None, Some(file)) => {
                let mut entry = [0; N];
                let read = file.read_exact_at(&mut entry, index * N as u64);
                read.map_err(|error| self.entries.unreadable("read", error))?;
                Ok(entry)
            }
            (None, None) => Err(beyond()),
        }
    }

    /// The last entry that `is_before` holds for, with its index; it must hold for none after one it does not hold for.
    pub(crate) fn last(
        &self,
        is_before: impl Fn([u8; N]) -> Result<bool, Unusable>,
    ) -> Result<Option<(u64, [u8; N])>, Unusable> {
        let (mut from, mut to) = (0, self.entries.len());
        while from < to {
            let middle = from + (to - from) / 2;
            if is_before(self.get(middle)?)? {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from.checked_sub(1).map(|index| Ok((index, self.get(index)?))).transpose()
    }
}
