//! The seam through which time enters: only [`SystemClock`] reads the machine's clock.
//!
//! What must hold: below the binary nothing calls `SystemTime::now` or `Instant::now`; code that needs the time is given a [`Clock`].

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// A reading that never goes back, to measure how long something took or to wait until.
    fn instant(&self) -> Instant;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn now_ms(&self) -> i64 {
        // A clock set before 1970 reads as 1970: arrival times only need to be non-negative and not decreasing.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that stands still until it is told: for tests and the simulator.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
    begin: Instant,
    /// How far the clock was set forward, all times together.
    forward_ms: AtomicU64,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::at(0)
    }
}

impl ManualClock {
    /// A clock that shows `now_ms`.
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms: AtomicI64::new(now_ms), begin: SystemClock.instant(), forward_ms: AtomicU64::new(0) }
    }

    /// Sets the clock, also backwards; [`instant`](Clock::instant) goes forward only.
    pub fn set(&self, now_ms: i64) {
        let before_ms = self.now_ms.swap(now_ms, Ordering::SeqCst);
        let forward_ms = u64::try_from(now_ms.saturating_sub(before_ms)).unwrap_or(0);
        self.forward_ms.fetch_add(forward_ms, Ordering::SeqCst);
    }

    /// Sets the clock forward.
    pub fn advance(&self, by_ms: u32) {
        self.now_ms.fetch_add(i64::from(by_ms), Ordering::SeqCst);
        self.forward_ms.fetch_add(u64::from(by_ms), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn instant(&self) -> Instant {
        // Beyond what the machine can count, the clock stands still.
        let forward = Duration::from_millis(self.forward_ms.load(Ordering::SeqCst));
        self.begin.checked_add(forward).unwrap_or(self.begin)
    }
}
