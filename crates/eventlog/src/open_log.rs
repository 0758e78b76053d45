//! An open log, as its parts share it: where it is, what it was given, and whether it still takes writes.
//!
//! What it is not: the log that others see. That is [`EmbeddedLog`](crate::EmbeddedLog), which starts the parts.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use model::{Clock, Metrics};

use crate::{
    catalogue::Catalogue,
    disk::Disk,
    log::{Error, Result},
    settings::EventLogSettings,
};

/// What the parts of an open log share.
pub(crate) struct OpenLog {
    pub(crate) directory: PathBuf,
    pub(crate) settings: EventLogSettings,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) catalogue: Catalogue,
    /// Why nothing is appended any more.
    stopped: OnceLock<String>,
}

impl OpenLog {
    pub(crate) fn new(
        directory: PathBuf,
        settings: EventLogSettings,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let (catalogue, stopped) = (Catalogue::default(), OnceLock::new());
        Self { directory, settings, disk, clock, metrics, catalogue, stopped }
    }

    pub(crate) fn wal_directory(&self) -> PathBuf {
        self.directory.join("wal")
    }

    pub(crate) fn topics_directory(&self) -> PathBuf {
        self.directory.join("topics")
    }

    /// Ends all appending; the first reason stays.
    pub(crate) fn stop(&self, reason: &str) {
        if self.stopped.set(reason.to_owned()).is_ok() {
            tracing::error!(directory = %self.directory.display(), reason, "the log stops taking writes");
        }
    }

    /// An error when the log was stopped.
    pub(crate) fn check_running(&self) -> Result<()> {
        self.stopped.get().map_or(Ok(()), |reason| Err(Error::Stopped(reason.clone())))
    }
}
