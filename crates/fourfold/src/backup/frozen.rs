//! [`Frozen`]: the files of a data folder as they were at one moment, held by links while they are copied.
//!
//! A link costs no space and keeps the bytes of a file that is removed meanwhile. It does not keep a file from growing: of
//! a file that grows, only the bytes are taken that it had at that moment.
//!
//! What must hold:
//! - of what is derived each table and each checkpoint is taken whole, from one moment, and the log after all of them,
//!   so that nothing lies beyond the log;
//! - of the log, everything is taken that its checkpoint needs: the checkpoint did not change meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

// Below the data folder, so that links are possible.
const FOLDER: &str = "backup.links";
// A writer changes a table a few times a second, and a listing takes milliseconds.
const ATTEMPTS_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_millis(20);

/// A file that was linked.
pub(super) struct FrozenFile {
    /// Where its bytes are.
    pub(super) link: PathBuf,
    /// How many of them are taken.
    pub(super) bytes: u64,
}

/// Files by their paths below the data folder.
pub(super) struct Frozen {
    data: PathBuf,
    links: PathBuf,
    /// All files but those of the write-ahead log.
    pub(super) files: BTreeMap<PathBuf, FrozenFile>,
    /// The files of the write-ahead log.
    pub(super) wal: BTreeMap<PathBuf, FrozenFile>,
}

// What tells that a file is still the same: those that are listed are replaced, and not changed.
type Listing = BTreeMap<PathBuf, Option<SystemTime>>;

impl Frozen {
    /// Of nothing yet. What an earlier one left behind is removed.
    pub(super) fn new(data: &Path) -> io::Result<Self> {
        let links = data.join(FOLDER);
        remove(&links)?;
        fs::create_dir(&links)?;
        Ok(Self { data: data.to_owned(), links, files: BTreeMap::new(), wal: BTreeMap::new() })
    }

    /// Takes the tables and checkpoints below `folder`.
    pub(super) fn take_derived(&mut self, folder: &str) -> io::Result<()> {
        self.take_units(Path::new(folder))
    }

    /// Takes the log.
    pub(super) fn take_log(&mut self) -> io::Result<()> {
        let (topics, wal) = (Path::new("log/topics"), Path::new("log/wal"));
        let checkpoint = PathBuf::from("log/checkpoint");
        let state = |frozen: &Self| -> io::Result<_> {
            Ok((frozen.list(wal)?.into_keys().collect::<Vec<_>>(), identity_of(&frozen.data.join(&checkpoint))?))
        };
        attempts("the log wrote checkpoints all the time", || {
            let before = state(self)?;
            let mut files = self.link_all([checkpoint.clone()])?;
            // What a segment has then has frames in the write-ahead log that is linked after it.
            files.extend(self.link_all(self.list(topics)?.into_keys())?);
            let frames = self.link_all(before.0.iter().cloned())?;
            if state(self)? != before {
                return Ok(None);
            }
            Ok(Some((files, frames)))
        })
        .map(|(files, frames)| {
            self.files.extend(files);
            self.wal = frames;
        })
    }

    // A folder with files of its own, or with a Delta log, belongs together; others are looked into.
    fn take_units(&mut self, folder: &Path) -> io::Result<()> {
        let mut folders = Vec::new();
        let mut is_unit = false;
        let entries = match fs::read_dir(self.data.join(folder)) {
            // Dropped meanwhile, or not there yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != "_delta_log" {
                folders.push(folder.join(entry.file_name()));
            } else {
                is_unit = true;
            }
        }
        if !is_unit {
            return folders.iter().try_for_each(|folder| self.take_units(folder));
        }
        let files = attempts(&format!("{} changed all the time", folder.display()), || {
            let before = self.list(folder)?;
            let files = self.link_all(before.keys().cloned())?;
            Ok((self.list(folder)? == before).then_some(files))
        })?;
        self.files.extend(files);
        Ok(())
    }

    // All files below a folder; one that is gone has none.
    fn list(&self, folder: &Path) -> io::Result<Listing> {
        let mut listing = Listing::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(self.data.join(&folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                match entry.file_type()? {
                    kind if kind.is_dir() => folders.push(path),
                    // Files that are being written have another name until they are whole.
                    _ if entry.file_name().to_string_lossy().contains('#') => {}
                    _ => drop(listing.insert(path, entry.metadata()?.modified().ok())),
                }
            }
        }
        Ok(listing)
    }

    fn link_all(&self, paths: impl IntoIterator<Item = PathBuf>) -> io::Result<BTreeMap<PathBuf, FrozenFile>> {
        let mut files = BTreeMap::new();
        for path in paths {
            let link = self.links.join(&path);
            if let Some(parent) = link.parent() {
                fs::create_dir_all(parent)?;
            }
            // An attempt before may have linked what has the name no more.
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let linked = fs::hard_link(self.data.join(&path), &link);
            match linked {
                // A log that has not written one yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound && path.ends_with("log/checkpoint") => continue,
                linked => linked?,
            }
            let bytes = fs::metadata(&link)?.len();
            files.insert(path, FrozenFile { link, bytes });
        }
        Ok(files)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // What stays is removed by the next one.
        let _ = remove(&self.links);
    }
}

// A file that goes while it is linked is one more reason to begin again.
#[expect(clippy::disallowed_methods, reason = "who changes the files is another process, and says nothing")]
fn attempts<T>(busy: &str, mut attempt: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..ATTEMPTS_MAX {
        match attempt() {
            Ok(Some(taken)) => return Ok(taken),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        sleep(PAUSE);
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, busy.to_owned()))
}

fn identity_of(file: &Path) -> io::Result<Option<(u64, Option<SystemTime>)>> {
    match fs::metadata(file) {
        Ok(metadata) => Ok(Some((metadata.len(), metadata.modified().ok()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
