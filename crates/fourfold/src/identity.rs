//! [`Identity`]: which data folder this is, kept in the file `identity` in it; and the mark of a copy that is not finished.
//!
//! What it is not: a lock. Two processes are kept from one folder by the log.
//!
//! What must hold: no two folders that were made by a first start or by a backup have the same id; a folder that
//! bears the mark of an unfinished copy is never opened.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::str::FromStr;

use model::{Clock, Entropy, Error, Result};
use uuid::Uuid;

const FILE: &str = "identity";
const UNFINISHED: &str = "backup.unfinished";
const TITLE: &str = "fourfold data 1";

/// Which data folder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its own id.
    pub(crate) id: Uuid,
    /// The folder that it was copied from, and when, in milliseconds since 1970.
    pub(crate) copy_of: Option<(Uuid, i64)>,
}

impl Identity {
    /// Of the folder; it gets one when it has none.
    ///
    /// # Errors
    /// `Corrupt` when the file is not readable, and what the file system says.
    pub(crate) fn of(directory: &Path, entropy: &dyn Entropy) -> Result<Self> {
        let file = directory.join(FILE);
        match std::fs::read_to_string(&file) {
            Ok(text) => text.parse().map_err(|reason| {
                Error::corrupt(format!("{} is damaged: {reason}", file.display()))
                    .with_hint("delete it, and the folder gets another id")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Self { id: entropy.uuid(), copy_of: None };
                identity.write(directory)?;
                Ok(identity)
            }
            Err(error) => Err(Error::unavailable(format!("cannot read {}", file.display())).with_source(error)),
        }
    }

    /// Of a copy that is made now.
    pub(crate) fn copied(&self, entropy: &dyn Entropy, clock: &dyn Clock) -> Self {
        Self { id: entropy.uuid(), copy_of: Some((self.id, clock.now_ms())) }
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let (file, new) = (directory.join(FILE), directory.join("identity.new"));
        let written = write_synced(&new, &self.to_string()).and_then(|()| std::fs::rename(&new, &file));
        written.map_err(|error| Error::unavailable(format!("cannot write {}", file.display())).with_source(error))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}\nid {}", self.id)?;
        match self.copy_of {
            Some((of, at_ms)) => writeln!(f, "copy of {of} at {at_ms}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(format!("it does not begin with {TITLE:?}"));
        }
        let id = lines.next().and_then(|line| line.strip_prefix("id ")).and_then(|id| id.parse().ok());
        let id = id.ok_or("its second line has no id")?;
        let copy = |line: &str| {
            let (of, at_ms) = line.strip_prefix("copy of ")?.split_once(" at ")?;
            Some((of.parse().ok()?, at_ms.parse().ok()?))
        };
        let copy_of = match lines.next() {
            Some(line) => Some(copy(line).ok_or("its third line does not say what it is a copy of")?),
            None => None,
        };
        Ok(Self { id, copy_of })
    }
}

/// Marks a folder as a copy that is being made.
pub(crate) fn mark_unfinished(directory: &Path) -> io::Result<()> {
    write_synced(&directory.join(UNFINISHED), "a backup that is being made, or was given up: not to be opened\n")
}

/// Takes the mark away: the copy is whole.
pub(crate) fn mark_finished(directory: &Path) -> io::Result<()> {
    std::fs::remove_file(directory.join(UNFINISHED))
}

/// Refuses a folder with the mark.
///
/// # Errors
/// `Conflict`.
pub(crate) fn refuse_unfinished(directory: &Path) -> Result<()> {
    if !directory.join(UNFINISHED).exists() {
        return Ok(());
    }
    Err(Error::conflict(format!("{} is a backup that was not finished", directory.display()))
        .with_hint("delete it and make another"))
}

fn write_synced(file: &Path, text: &str) -> io::Result<()> {
    let mut opened = File::create(file)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()
}

#[cfg(test)]
mod tests {
    //! Folders, their copies, and files that are none of ours.

    use model::{ManualClock, SeededEntropy};

    use super::{Identity, mark_finished, mark_unfinished, refuse_unfinished};

    #[test]
    fn a_folder_keeps_its_id_and_a_copy_has_another() {
        let directory = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(1);
        let original = Identity::of(directory.path(), &entropy).unwrap();
        assert_eq!(Identity::of(directory.path(), &entropy).unwrap(), original);
        let copies = [(); 2].map(|()| original.copied(&entropy, &ManualClock::at(7)));
        assert!(copies[0].id != copies[1].id && copies[0].id != original.id);
        for copy in copies {
            assert_eq!((copy.copy_of, copy.to_string().parse()), (Some((original.id, 7)), Ok(copy)));
        }
        for text in ["", "fourfold data 2\nid 1\n", "fourfold data 1\n", &format!("{original}copy of x at y\n")] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
        mark_unfinished(directory.path()).unwrap();
        assert!(refuse_unfinished(directory.path()).unwrap_err().message().contains("not finished"));
        mark_finished(directory.path()).unwrap();
        refuse_unfinished(directory.path()).unwrap();
    }
}
