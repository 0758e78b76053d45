//! [`Identity`]: which data folder this is, kept in the file `identity` in it; and the mark of a copy that is not finished.
//!
//! The file says which file it is itself: its number in the file system, and when it was made. So a folder that was copied
//! in whatever way is told from the one that it was copied from; one that was renamed stays what it is.
//!
//! What it is not: a lock. Two processes are kept from one folder by the log. Nor can it tell an image of a whole file
//! system from what it is an image of.
//!
//! What must hold: no two folders of which a server or a backup has opened both have the same id; a folder that bears the
//! mark of an unfinished copy is never opened.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

use model::{Clock, Entropy, Error, Result};
use uuid::Uuid;

const FILE: &str = "identity";
const UNFINISHED: &str = "backup.unfinished";
const TITLE: &str = "fourfold data 2";
// Without the line that says which file it is.
const TITLE_WITHOUT_PLACE: &str = "fourfold data 1";

/// Which data folder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its own id.
    pub(crate) id: Uuid,
    /// The folder that it was copied from, and when that was done or noticed, in milliseconds since 1970.
    pub(crate) copy_of: Option<(Uuid, i64)>,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    identity: Identity,
    /// Which file this was written to; not known of one of version 1.
    place: Option<Place>,
}

/// A file, as nothing but it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    number: u64,
    /// When it was made, in nanoseconds since 1970; 0 where the file system does not say.
    made_ns: u128,
}

impl Identity {
    /// Of the folder, which nobody else has open. It gets an id when it has none, and another one when it is a copy.
    ///
    /// # Errors
    /// `Corrupt` when the file is not readable, and what the file system says.
    pub(crate) fn of(directory: &Path, entropy: &dyn Entropy, clock: &dyn Clock) -> Result<Self> {
        let file = directory.join(FILE);
        let cannot_read =
            |error: io::Error| Error::unavailable(format!("cannot read {}", file.display())).with_source(error);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Self { id: entropy.uuid(), copy_of: None };
                identity.write(directory)?;
                return Ok(identity);
            }
            Err(error) => return Err(cannot_read(error)),
        };
        let Content { identity, place } = text.parse::<Content>().map_err(|reason| {
            Error::corrupt(format!("{} is damaged: {reason}", file.display()))
                .with_hint("delete it, and the folder gets another id")
        })?;
        let found = Place::of(&std::fs::metadata(&file).map_err(cannot_read)?);
        match place {
            Some(written) if written == found => Ok(identity),
            Some(_) => {
                let copy = identity.copied(entropy, clock);
                copy.write(directory)?;
                let (directory, id, original) = (directory.display(), copy.id, identity.id);
                tracing::info!(%directory, %id, %original, "this data folder was copied from another one, and has its own id now");
                Ok(copy)
            }
            None => {
                identity.write(directory)?;
                Ok(identity)
            }
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
        let written = || {
            let mut opened = File::create(&new)?;
            // The file keeps its number when it is renamed.
            let content = Content { identity: *self, place: Some(Place::of(&opened.metadata()?)) };
            opened.write_all(content.to_string().as_bytes())?;
            opened.sync_all()?;
            std::fs::rename(&new, &file)
        };
        written().map_err(|error| Error::unavailable(format!("cannot write {}", file.display())).with_source(error))
    }
}

impl Place {
    fn of(file: &Metadata) -> Self {
        let made = file.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        Self { number: file.ino(), made_ns: made.map_or(0, |made| made.as_nanos()) }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, place } = self;
        let title = if place.is_some() { TITLE } else { TITLE_WITHOUT_PLACE };
        writeln!(f, "{title}\nid {}", identity.id)?;
        if let Some(Place { number, made_ns }) = place {
            writeln!(f, "file {number} made at {made_ns}")?;
        }
        match identity.copy_of {
            Some((of, at_ms)) => writeln!(f, "copy of {of} at {at_ms}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Content {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let has_place = match lines.next() {
            Some(TITLE) => true,
            Some(TITLE_WITHOUT_PLACE) => false,
            _ => return Err(format!("it does not begin with {TITLE:?}")),
        };
        let id = lines.next().and_then(|line| line.strip_prefix("id ")).and_then(|id| id.parse().ok());
        let id = id.ok_or("its second line has no id")?;
        let place = |line: &str| {
            let (number, made_ns) = line.strip_prefix("file ")?.split_once(" made at ")?;
            Some(Place { number: number.parse().ok()?, made_ns: made_ns.parse().ok()? })
        };
        let place = match has_place {
            true => Some(lines.next().and_then(place).ok_or("its third line does not say which file it is")?),
            false => None,
        };
        let copy = |line: &str| {
            let (of, at_ms) = line.strip_prefix("copy of ")?.split_once(" at ")?;
            Some((of.parse().ok()?, at_ms.parse().ok()?))
        };
        let copy_of = match lines.next() {
            Some(line) => Some(copy(line).ok_or("its last line does not say what it is a copy of")?),
            None => None,
        };
        Ok(Self { identity: Identity { id, copy_of }, place })
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

    use std::path::Path;

    use model::{ManualClock, SeededEntropy};

    use super::{Content, FILE, Identity, mark_finished, mark_unfinished, refuse_unfinished};

    fn content(directory: &Path) -> String {
        std::fs::read_to_string(directory.join(FILE)).unwrap()
    }

    #[test]
    fn a_folder_keeps_its_id_and_a_copy_has_another() {
        let directory = tempfile::tempdir().unwrap();
        let (entropy, clock) = (SeededEntropy::new(1), ManualClock::at(7));
        let of = |directory: &Path| Identity::of(directory, &entropy, &clock).unwrap();
        let original = of(directory.path());
        assert_eq!((of(directory.path()), original.copy_of), (original, None));
        let copies = [(); 2].map(|()| original.copied(&entropy, &clock));
        assert!(copies[0].id != copies[1].id && copies[0].id != original.id);
        for copy in copies {
            let backup = tempfile::tempdir().unwrap();
            copy.write(backup.path()).unwrap();
            assert_eq!((of(backup.path()), copy.copy_of), (copy, Some((original.id, 7))));
        }
        mark_unfinished(directory.path()).unwrap();
        assert!(refuse_unfinished(directory.path()).unwrap_err().message().contains("not finished"));
        mark_finished(directory.path()).unwrap();
        refuse_unfinished(directory.path()).unwrap();
    }

    #[test]
    fn a_folder_that_others_copied_gets_an_id_of_its_own_and_one_that_was_renamed_keeps_its() {
        let root = tempfile::tempdir().unwrap();
        let (entropy, clock) = (SeededEntropy::new(2), ManualClock::at(7));
        let of = |directory: &Path| Identity::of(directory, &entropy, &clock).unwrap();
        let [first, renamed, copied] = ["first", "renamed", "copied"].map(|name| root.path().join(name));
        std::fs::create_dir(&first).unwrap();
        let original = of(&first);
        std::fs::rename(&first, &renamed).unwrap();
        assert_eq!(of(&renamed), original);
        // With all of its times, as an archive keeps them.
        let status = std::process::Command::new("cp").arg("-a").args([&renamed, &copied]).status().unwrap();
        assert!(status.success());
        let copy = of(&copied);
        assert!(copy.id != original.id);
        assert_eq!(copy.copy_of, Some((original.id, 7)));
        clock.set(8);
        assert_eq!([of(&copied), of(&renamed)], [copy, original], "each stays what it is");
    }

    #[test]
    fn a_file_of_the_first_version_keeps_its_id_and_others_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (entropy, clock) = (SeededEntropy::new(3), ManualClock::at(7));
        let id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
        let first = format!("fourfold data 1\nid {id}\ncopy of {id} at 5\n");
        std::fs::write(directory.path().join(FILE), &first).unwrap();
        for _ in 0..2 {
            let found = Identity::of(directory.path(), &entropy, &clock).unwrap();
            assert_eq!((found.id.to_string(), found.copy_of), (id.to_owned(), Some((found.id, 5))));
        }
        let second = content(directory.path());
        assert!(second.starts_with("fourfold data 2\n"), "{second}");
        assert_eq!(second.parse::<Content>().unwrap().to_string(), second);
        let cut = second.lines().take(2).collect::<Vec<_>>().join("\n");
        let wrong_copy = format!("fourfold data 1\nid {id}\ncopy of x at y\n");
        for text in ["", "fourfold data 3\nid 1\n", "fourfold data 1\n", &cut, &wrong_copy] {
            assert!(text.parse::<Content>().is_err(), "{text}");
        }
    }
}
