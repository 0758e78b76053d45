//! An open log, as its parts share it: where it is, what it was given, and whether it still takes writes.
//!
//! What it is not: the log that others see. That is [`EmbeddedLog`](crate::EmbeddedLog), which starts the parts.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use model::{Clock, Entropy, Metrics};

use crate::{
    catalogue::Catalogue,
    disk::Disk,
    log::{Error, Result},
    settings::EventLogSettings,
    shortage::{Part, Shortage},
};

/// What the parts of an open log share.
pub(crate) struct OpenLog {
    pub(crate) directory: PathBuf,
    pub(crate) settings: EventLogSettings,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: Metrics,
    pub(crate) catalogue: Catalogue,
    /// What it lacks for a while.
    pub(crate) shortage: Shortage,
    /// Until when it is closed.
    end_by: OnceLock<Instant>,
    /// Why nothing is appended any more.
    stopped: OnceLock<String>,
}

impl OpenLog {
    pub(crate) fn new(
        directory: PathBuf,
        settings: EventLogSettings,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Metrics,
    ) -> Self {
        let (catalogue, shortage) = (Catalogue::default(), Shortage::default());
        let (end_by, stopped) = (OnceLock::new(), OnceLock::new());
        Self { directory, settings, disk, clock, entropy, metrics, catalogue, shortage, end_by, stopped }
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

    /// An error when the log was stopped, or lacks something for a while.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_running()?;
        let now = self.clock.instant();
        let lacking = [Part::Writer, Part::Flusher].into_iter().find_map(|part| self.shortage.error(part, now));
        lacking.map_or(Ok(()), Err)
    }

    /// The log is being closed: what is not done when the time for that is over is left to the next start.
    pub(crate) fn begin_end(&self) {
        let time = Duration::from_millis(self.settings.close_ms_max);
        let now = self.clock.instant();
        self.end_by.get_or_init(|| now.checked_add(time).unwrap_or(now));
        self.shortage.wake();
    }

    /// Whether the log is being closed.
    pub(crate) fn is_ending(&self) -> bool {
        self.end_by.get().is_some()
    }

    /// Whether the time for closing is over.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.end_by.get().is_some_and(|end_by| self.clock.instant() >= *end_by)
    }
}
