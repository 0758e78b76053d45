//! What the log is short of for a while: room on the disk, or files that it may open.
//!
//! What it is not: a failure. Nothing was half done, nothing is lost, and whoever lacked something tries again until
//! it is there; meanwhile writes are refused with an error that says so.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::{lack::Lack, log::Error};

/// The first pause before another attempt; each is twice as long as the one before.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(20);

/// Who lacks something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Writer,
    Flusher,
}

/// What a part lacks, since when, and what it could not do last.
struct Lacking {
    lack: Lack,
    since: Instant,
    doing: String,
}

/// What the parts of the log are short of.
#[derive(Default)]
pub(crate) struct Shortage {
    writer: Mutex<Option<Lacking>>,
    flusher: Mutex<Option<Lacking>>,
    wait: Mutex<()>,
    woken: Condvar,
}

impl Shortage {
    fn of(&self, part: Part) -> &Mutex<Option<Lacking>> {
        match part {
            Part::Writer => &self.writer,
            Part::Flusher => &self.flusher,
        }
    }

    /// Notes what a part lacks, if `error` says so; returns whether it does.
    pub(crate) fn begin(&self, part: Part, error: &Error, now: Instant) -> bool {
        let (lack, doing) = match error {
            Error::DiskFull { doing } => (Lack::DiskSpace, doing),
            Error::TooManyOpenFiles { doing } => (Lack::OpenFiles, doing),
            _ => return false,
        };
        let mut lacking = self.of(part).lock();
        if lacking.is_none() {
            tracing::warn!(%error, "the log takes no writes for now; it goes on by itself");
        }
        let since = lacking.as_ref().map_or(now, |before| before.since);
        *lacking = Some(Lacking { lack, since, doing: doing.clone() });
        true
    }

    /// The part has what it lacked.
    pub(crate) fn end(&self, part: Part) {
        let ended = self.of(part).lock().take();
        if ended.is_some() && self.writer.lock().is_none() && self.flusher.lock().is_none() {
            tracing::info!("the log takes writes again");
        }
    }

    /// What a part lacks, as an error that says for how long.
    pub(crate) fn error(&self, part: Part, now: Instant) -> Option<Error> {
        self.of(part).lock().as_ref().map(|Lacking { lack, since, doing }| {
            let seconds = now.saturating_duration_since(*since).as_secs();
            Error::lacking(*lack, format!("{doing}, for {seconds} s now"))
        })
    }

    /// Pauses before another attempt, unless it is to `end`.
    pub(crate) fn pause(&self, delay: Duration, end: impl Fn() -> bool) {
        let mut wait = self.wait.lock();
        if !end() {
            self.woken.wait_for(&mut wait, delay);
        }
    }

    /// Ends all pauses.
    pub(crate) fn wake(&self) {
        let _wait = self.wait.lock();
        self.woken.notify_all();
    }
}

/// The pauses between attempts: longer each time, up to a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses of at most `delay_ms_max`.
    pub(crate) fn new(delay_ms_max: u64) -> Self {
        let max = Duration::from_millis(delay_ms_max.max(1));
        Self { next: RETRY_DELAY_MIN.min(max), max }
    }

    /// How long to pause now.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.max);
        delay
    }
}
