//! [`Backup`]: a copy of a data folder that can be opened, made while the server runs and takes writes, or of a folder that
//! nobody has open.
//!
//! What it is not: a copy of one moment. What is derived is a little older than the log, from which it is folded on when
//! the copy is opened.
//!
//! What must hold: nothing derived is beyond the copied log; a copy counts only once it was opened and all its
//! checksums were right, or as wrong as those of the data and that is said, and bears a mark until then; it has an id of
//! its own.

mod copied;
mod frozen;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventlog::{EmbeddedLog, EventLog as _, EventLogSettings};
use lakehouse::LakeLocation;
use model::{Clock, Entropy, Error, ErrorKind, Metrics, Positions, Result};
use serving::http::BackupReport;

use self::frozen::{Frozen, FrozenFile};
use crate::identity::{self, Identity};

const LOG: &str = "log";
const CATALOGUE: &str = "catalogue.redb";
const LAKE: &str = "lake";
// Results of batch runs, which can be run again.
const BATCHES: &str = "lake/batch";

/// What a backup is made of, and with.
pub(crate) struct Backup {
    pub(crate) data: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) log: EventLogSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// How many damaged places of the log are known: the copy may have them too.
    pub(crate) known_damage: usize,
}

impl Backup {
    /// Makes the copy in `target`, which is made where it is missing. `copy_catalogue` writes the catalogue to a file.
    ///
    /// # Errors
    /// `Conflict` when there is something in `target`; `Unavailable` when the disk fails; `Corrupt` when the copy is
    /// not what it should be, because what it was made of is damaged. What is in `target` then is never opened.
    pub(crate) async fn make(
        self,
        target: PathBuf,
        copy_catalogue: impl FnOnce(&Path) -> Result<()> + Send + 'static,
    ) -> Result<BackupReport> {
        let copy = self.identity.copied(self.entropy.as_ref(), self.clock.as_ref());
        let (data, to) = (self.data.clone(), target.clone());
        let copying = tokio::task::spawn_blocking(move || {
            begin(&data, &to)?;
            let copied = copy_all(&data, &to, copy_catalogue)?;
            copy.write(&to)?;
            Ok::<_, Error>(copied)
        });
        let (files, bytes) =
            copying.await.map_err(|error| Error::internal("the copying ended").with_source(error))??;
        let (positions, damage) = self.verify(&target).await?;
        identity::mark_finished(&target)
            .and_then(|()| copied::sync_names(&target))
            .map_err(|error| failed("finish", &target, error))?;
        let (id, copy_of) = (copy.id.to_string(), self.identity.id.to_string());
        Ok(BackupReport { id, copy_of, files, bytes, damage, positions })
    }

    // Opens what was copied; answers where its log ends, and what of its lake is damaged.
    async fn verify(&self, target: &Path) -> Result<(Positions, Vec<String>)> {
        let damaged = |what: String| unusable(target, &what);
        let (settings, clock) = (self.log.clone(), Arc::clone(&self.clock));
        let log = EmbeddedLog::open(&target.join(LOG), settings, clock, Metrics::default()).await;
        let log = log.map_err(|error| damaged(error.to_string()))?;
        let mut positions = Positions::new();
        for partition in log.topics().iter().flat_map(|topic| topic.topic_partitions()) {
            let bounds = log.bounds(&partition)?;
            positions.advance(partition, bounds.high_watermark);
        }
        let damage = log.damage();
        log.close().await?;
        if let Some(found) = damage.get(self.known_damage) {
            return Err(damaged(format!("{}: {}", found.file, found.reason)));
        }
        if target.join(CATALOGUE).exists() {
            patterns::check_catalogue(&target.join(CATALOGUE)).map_err(|error| damaged(error.to_string()))?;
        }
        let mut lake_damage = Vec::new();
        for table in tables(&target.join(LAKE)).map_err(|error| failed("read", target, error))? {
            if let Err(error) = LakeLocation::directory(&table).check_files().await {
                lake_damage.push(self.damaged_table(target, &table, &error).await?);
            }
        }
        Ok((positions, lake_damage))
    }

    // What becomes of a table of the copy that is damaged, as a sentence. A batch can be run again, so that the copy does
    // without. What was captured may be all that there is of it: it is copied as it is, if it is as damaged here.
    async fn damaged_table(&self, target: &Path, table: &Path, error: &Error) -> Result<String> {
        let place = table.strip_prefix(target).unwrap_or(table);
        if error.kind() != ErrorKind::Corrupt {
            return Err(unusable(target, &error.to_string()));
        }
        if place.starts_with(BATCHES) {
            fs::remove_dir_all(table).map_err(|error| failed("leave out", table, error))?;
            return Ok(format!("{} was left out, and its view does without a batch: {error}", place.display()));
        }
        let original = self.data.join(place);
        let is_original_damaged = original.is_dir()
            && LakeLocation::directory(original).check_files().await.is_err_and(|e| e.kind() == ErrorKind::Corrupt);
        match is_original_damaged {
            true => Ok(format!("{} was copied as it is, which is damaged: {error}", place.display())),
            false => Err(unusable(target, &error.to_string())),
        }
    }
}

fn unusable(target: &Path, what: &str) -> Error {
    Error::corrupt(format!("the copy in {} cannot be used: {what}", target.display()))
        .with_hint("see what the server says of its own data; delete the copy")
}

fn begin(data: &Path, target: &Path) -> Result<()> {
    let fail = |error| failed("make a backup in", target, error);
    fs::create_dir_all(target).map_err(fail)?;
    if fs::read_dir(target).map_err(fail)?.next().is_some() {
        return Err(Error::conflict(format!("{} is not empty", target.display()))
            .with_hint("name a folder that is empty, or none that is there"));
    }
    let (data, place) = (data.canonicalize().map_err(fail)?, target.canonicalize().map_err(fail)?);
    if place.starts_with(&data) {
        return Err(Error::invalid(format!("{} is in the data folder itself", target.display())));
    }
    // The mark has its name before anything else has one.
    identity::mark_unfinished(target).and_then(|()| copied::sync_names(target)).map_err(fail)
}

// In an order in which nothing that is taken speaks of what was not taken.
fn copy_all(data: &Path, target: &Path, copy_catalogue: impl FnOnce(&Path) -> Result<()>) -> Result<(u64, u64)> {
    let fail = |error| failed("take the files of", data, error);
    let mut frozen = Frozen::new(data).map_err(fail)?;
    for derived in [LAKE, "checkpoints"] {
        frozen.take_derived(derived).map_err(fail)?;
    }
    copy_catalogue(&target.join(CATALOGUE))?;
    frozen.take_log().map_err(fail)?;
    let (mut files, mut bytes) = (0, 0);
    let mut copy = |path: &Path, file: &FrozenFile, copy: fn(&FrozenFile, &Path) -> io::Result<u64>| {
        bytes += copy(file, &target.join(path)).map_err(|error| failed("copy", path, error))?;
        files += 1;
        Ok::<_, Error>(())
    };
    frozen.files.iter().try_for_each(|(path, file)| copy(path, file, copied::copy))?;
    frozen.wal.iter().try_for_each(|(path, file)| copy(path, file, copied::copy_backwards))?;
    copied::sync_names(target).map_err(|error| failed("sync", target, error))?;
    Ok((files, bytes))
}

// The Delta tables below a folder.
fn tables(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if folder.join("_delta_log").is_dir() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.extend(tables(&entry.path())?);
            }
        }
    }
    Ok(found)
}

fn failed(doing: &str, path: &Path, error: io::Error) -> Error {
    let error = Error::unavailable(format!("cannot {doing} {}: {error}", path.display())).with_source(error);
    error.with_hint("see that the disk has room, and make another backup")
}
